"""Rules for device nodes: which may be opened and made. The last rule that matches decides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Literal

import attrs

from cgroupkit.errors import InvalidValueError
from cgroupkit.units import invalid

DeviceType = Literal["a", "b", "c"]
ACCESS: Final = "rwm"
MAJOR_MAX: Final = 2**12 - 1
MINOR_MAX: Final = 2**20 - 1
_ACCEPTED: Final = (
    'give rules such as "c 1:3 rw", "b 8:* r" or "deny c 10:200 w" (type a, b or c; numbers or *; '
    'r, w and m), or "docker"'
)
_RULE: Final = re.compile(
    r"(?:(allow|deny)\s+)?([abc])(?:\s+(\d{1,9}|\*)\s*:\s*(\d{1,9}|\*)(?:\s+([rwm]+))?)?", re.ASCII
)


@attrs.frozen
class DeviceRule:
    """Allows, or denies, some kinds of access to device nodes.

    *type* is "b" (block), "c" (character) or "a" (both); *major* and *minor* are numbers, None for
    any; *access* has some of "r" (read), "w" (write) and "m" (mknod).
    """

    type: DeviceType
    major: int | None = None
    minor: int | None = None
    access: str = ACCESS
    allow: bool = True

    def __attrs_post_init__(self) -> None:
        if self.type not in ("a", "b", "c"):
            raise invalid("type", self.type, 'give "a", "b" or "c"')
        for name, high in {"major": MAJOR_MAX, "minor": MINOR_MAX}.items():
            value = getattr(self, name)
            whole = value is None or (isinstance(value, int) and not isinstance(value, bool))
            if not whole or (value is not None and not 0 <= value <= high):
                raise invalid(name, value, f"give a number from 0 to {high}, or None for any")
        letters = self.access if isinstance(self.access, str) else ""
        if not letters or set(letters) - set(ACCESS) or len(set(letters)) < len(letters):
            raise invalid("access", self.access, 'give some of "r", "w" and "m", each once')
        object.__setattr__(self, "access", "".join(c for c in ACCESS if c in letters))

    def covers(self, type: str, major: int, minor: int) -> bool:
        """Whether the rule is about that device node."""
        return self.type in ("a", type) and self.major in (None, major) and self.minor in (None, minor)

    def __str__(self) -> str:
        major, minor = ("*" if n is None else str(n) for n in (self.major, self.minor))
        return f"{'' if self.allow else 'deny '}{self.type} {major}:{minor} {self.access}"


Rules = tuple[DeviceRule, ...]


def visible(rules: Iterable[DeviceRule]) -> Rules:
    """The same without what later rules hide: shorter, and to the same effect."""
    kept: list[DeviceRule] = []
    for rule in reversed(tuple(rules)):
        hidden = "".join(later.access for later in kept if _contains(later, rule))
        access = "".join(letter for letter in rule.access if letter not in hidden)
        if access:
            kept.append(attrs.evolve(rule, access=access))
    return tuple(reversed(kept))


def _contains(outer: DeviceRule, inner: DeviceRule) -> bool:
    return (
        outer.type in ("a", inner.type)
        and outer.major in (None, inner.major)
        and outer.minor in (None, inner.minor)
    )


def allowed(rules: Rules, type: str, major: int, minor: int, access: str) -> bool:
    """Whether *rules* allow all of *access* to that device node.

    The last rule that is about the node decides, for each kind of access by itself; what no rule
    names is denied.
    """
    about = [rule for rule in rules if rule.covers(type, major, minor)]
    if not access:  # an open that neither reads nor writes
        seen = visible(rules)
        return any(rule.allow for rule in seen if rule.covers(type, major, minor))
    return all(
        next((rule.allow for rule in reversed(about) if letter in rule.access), False)
        for letter in access
    )


def parse_rules(value: Any, option: str = "devices") -> Rules:
    """Rules from a preset's name, one rule, or several: :class:`DeviceRule` or text.

    Text is Docker's and the v1 kernel's, "c 1:3 rwm", with "deny " before it to take away. Raises
    :class:`InvalidValueError`.
    """
    if isinstance(value, str) and value.strip().lower() in PRESETS:
        return PRESETS[value.strip().lower()]
    if isinstance(value, (str, DeviceRule)):
        value = [value]
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise invalid(option, value, _ACCEPTED)
    rules: list[DeviceRule] = []
    for item in value:
        if isinstance(item, DeviceRule):
            rules.append(item)
        elif isinstance(item, str) and item.strip().lower() in PRESETS:
            rules += PRESETS[item.strip().lower()]
        else:
            rules.append(_parse(item, option))
    return tuple(rules)


def _parse(text: object, option: str) -> DeviceRule:
    match = _RULE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise invalid(option, text, _ACCEPTED)
    verb, kind, major, minor, access = match.groups()
    if kind != "a" and major is None:
        raise invalid(option, text, _ACCEPTED)
    try:
        return DeviceRule(
            kind,  # type: ignore[arg-type]
            None if major in (None, "*") else int(major),
            None if minor in (None, "*") else int(minor),
            access or ACCESS,
            verb != "deny",
        )
    except InvalidValueError as error:
        raise invalid(option, text, str(error)) from None


#: What Docker allows in a container: any node may be made, these be used (runc's
#: libcontainer/specconv, AllowedDevices; the console is moby's, daemon/pkg/oci/defaults.go). Only runc
#: 1.2.0 to 1.2.3 left out net/tun; ["docker", "deny c 10:200 rwm"] does.
DOCKER: Final[Rules] = (
    DeviceRule("c", access="m"),
    DeviceRule("b", access="m"),
    DeviceRule("c", 1, 3),  # null
    DeviceRule("c", 1, 8),  # random
    DeviceRule("c", 1, 7),  # full
    DeviceRule("c", 5, 0),  # tty
    DeviceRule("c", 1, 5),  # zero
    DeviceRule("c", 1, 9),  # urandom
    DeviceRule("c", 5, 1),  # console
    DeviceRule("c", 136),  # pts/*
    DeviceRule("c", 5, 2),  # ptmx
    DeviceRule("c", 10, 200),  # net/tun
)
PRESETS: Final = {"docker": DOCKER}
