"""Rules as v1's devices controller keeps them: an allow list, or a deny list, of exceptions.

security/device_cgroup.c: with everything denied, one exception has to cover all of an access; with
everything allowed, any exception that overlaps it refuses. So an order of rules has to be turned into
exceptions by themselves, and not every order can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from cgroupkit.devices.rules import ACCESS, DeviceRule, DeviceType, Rules, parse_rules, visible
from cgroupkit.errors import UnsupportedError

Write = tuple[str, str]
"""A file, and what to write to it."""

_ALLOW, _DENY = "devices.allow", "devices.deny"
_TYPES: tuple[DeviceType, ...] = ("b", "c")
_Pattern = tuple[int | None, int | None]
_Masks = dict[DeviceType, dict[_Pattern, frozenset[str]]]


@attrs.frozen
class Listed:
    """What v1 keeps: *exceptions*, texts such as "c 1:3 rw", from everything denied (or allowed)."""

    allow_all: bool
    exceptions: frozenset[tuple[str, str]] = frozenset()
    """("c 1:3", "rw")."""


EVERYTHING = Listed(allow_all=True)


def listed(rules: Rules) -> Listed:
    """The exceptions that amount to *rules*; :class:`UnsupportedError` where v1 cannot say it.

    To the same effect for all that opens or makes a node. An access(2) that asks for nothing (F_OK) is
    not refused by a deny list.
    """
    short = visible(rules)
    masks = {kind: _masks(short, kind) for kind in _TYPES}
    denied = _exceptions(masks, allow=True)
    if denied is not None:
        plain = denied == {(f"{kind} *:*", ACCESS) for kind in _TYPES}
        return EVERYTHING if plain else Listed(False, frozenset(denied))
    allowed = _exceptions(masks, allow=False)
    if allowed is not None:
        return Listed(True, frozenset(allowed))
    raise UnsupportedError(
        f"devices: v1 cannot express the rule '{_culprit(short, masks)}' after those before it: its "
        "list either allows or denies, and cannot take a part out of a wildcard; name the devices one "
        "by one"
    )


def _culprit(rules: Rules, masks: _Masks) -> DeviceRule:
    """The rule that takes from some devices what a wildcard gives them."""
    pattern, kind, lost = next(
        (pattern, kind, lost)
        for kind, allowed in masks.items()
        for pattern, mask in allowed.items()
        for wider in _wider(pattern)
        if (lost := allowed.get(wider, frozenset()) - mask)
    )
    about = (pattern, *_wider(pattern))
    return next(
        rule
        for rule in reversed(rules)
        if rule.type in ("a", kind) and (rule.major, rule.minor) in about and lost & set(rule.access)
    )


def _exceptions(masks: _Masks, *, allow: bool) -> set[tuple[str, str]] | None:
    """The exceptions of an allow list (else a deny list), None if wildcards would say too much."""
    found: set[tuple[str, str]] = set()
    for kind, allowed in masks.items():
        own = {p: mask if allow else frozenset(ACCESS) - mask for p, mask in allowed.items()}
        for pattern, mask in own.items():
            wider = [own[p] for p in _wider(pattern) if p in own]
            if any(not m <= mask for m in wider):
                return None
            if mask and mask not in wider:
                found.add((_text(kind, pattern), _letters(mask)))
    return found


def _masks(rules: Rules, kind: DeviceType) -> dict[_Pattern, frozenset[str]]:
    """What is allowed to the kinds of device that *rules* tell apart.

    That is to those named, where two meet, and all others; of each to a device that nothing narrower
    names.
    """
    named: dict[_Pattern, list[tuple[int, DeviceRule]]] = {(None, None): []}
    for place, rule in enumerate(rules):
        if rule.type in ("a", kind):
            named.setdefault((rule.major, rule.minor), []).append((place, rule))
    majors = [major for major, minor in named if minor is None and major is not None]
    minors = [minor for major, minor in named if major is None and minor is not None]
    meetings = [(major, minor) for major in majors for minor in minors]
    found: dict[_Pattern, frozenset[str]] = {}
    for pattern in dict.fromkeys([*named, *meetings]):
        about = [item for p in (pattern, *_wider(pattern)) for item in named.get(p, ())]
        decided: dict[str, bool] = {}
        for _, rule in sorted(about, key=lambda item: item[0]):
            decided.update(dict.fromkeys(rule.access, rule.allow))
        found[pattern] = frozenset(letter for letter, allow in decided.items() if allow)
    return found


def _wider(pattern: _Pattern) -> set[_Pattern]:
    """The patterns that take in all that *pattern* does, and more."""
    major, minor = pattern
    return {(a, b) for a in (major, None) for b in (minor, None)} - {pattern}


def _letters(mask: Iterable[str]) -> str:
    return "".join(letter for letter in ACCESS if letter in set(mask))


def _text(kind: str, pattern: _Pattern) -> str:
    major, minor = ("*" if number is None else str(number) for number in pattern)
    return f"{kind} {major}:{minor}"


def parse(text: str) -> Listed:
    """devices.list. With everything allowed, the kernel does not show what is denied."""
    exceptions: dict[str, set[str]] = {}
    for line in text.splitlines():
        kind, numbers, access = line.split()
        if kind == "a":
            return EVERYTHING
        exceptions.setdefault(f"{kind} {numbers}", set()).update(access)
    return Listed(False, frozenset((key, _letters(mask)) for key, mask in exceptions.items()))


def as_rules(kept: Listed) -> Rules | None:
    """The same as rules, sorted; None where everything is allowed."""
    if kept.allow_all and not kept.exceptions:
        return None
    texts = [f"{key} {access}" for key, access in kept.exceptions]
    rules = sorted(parse_rules(texts), key=_order)
    if kept.allow_all:
        return (DeviceRule("a"), *(attrs.evolve(rule, allow=False) for rule in rules))
    return tuple(rules)


def _order(rule: DeviceRule) -> tuple[str, int, int]:
    return rule.type, -1 if rule.major is None else rule.major, -1 if rule.minor is None else rule.minor


def changes(now: Listed, wanted: Listed) -> Iterator[Write]:
    """The writes from one to the other.

    In between there is never more than *now* allows until there is never more than *wanted* does, and
    what both allow stays: an exception is added before the wider one that stood for it goes, and goes
    after the wider one that stands for it has come. But to and from a list of all devices there is no
    such way: the kernel begins with everything denied, or everything allowed.
    """
    if wanted.allow_all:
        yield _ALLOW, "a"
        yield from ((_DENY, f"{key} {access}") for key, access in sorted(wanted.exceptions))
        return
    have = {} if now.allow_all else {key: set(access) for key, access in now.exceptions}
    want = {key: set(access) for key, access in wanted.exceptions}
    early = {key: _common(key, want[key], have) for key in want.keys() - have.keys()}
    late = {key: _common(key, have[key], want) for key in have.keys() - want.keys()}
    nothing = set[str]()
    if now.allow_all:
        yield _DENY, "a"
    yield from _writes(_ALLOW, early)
    yield from _writes(
        _DENY, {key: have[key] - want.get(key, nothing) - late.get(key, nothing) for key in have}
    )
    yield from _writes(
        _ALLOW, {key: want[key] - have.get(key, nothing) - early.get(key, nothing) for key in want}
    )
    yield from _writes(_DENY, late)


def _common(key: str, access: set[str], kept: dict[str, set[str]]) -> set[str]:
    """The most of *access* that one exception of *kept* allows to all that *key* names."""
    kind, major, minor = key.replace(":", " ").split()
    wider = (f"{kind} {a}:{b}" for a in (major, "*") for b in (minor, "*"))
    return max((access & kept.get(name, set()) for name in wider), key=len)


def _writes(file: str, masks: dict[str, set[str]]) -> Iterator[Write]:
    yield from ((file, f"{key} {_letters(masks[key])}") for key in sorted(masks) if masks[key])
