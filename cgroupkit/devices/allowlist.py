"""Rules as v1's devices controller keeps them: an allow list, or a deny list, of exceptions.

security/device_cgroup.c: with everything denied, one exception has to cover all of an access; with
everything allowed, any exception that overlaps it refuses. So an order of rules has to be turned into
exceptions by themselves, and not every order can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from cgroupkit.devices.rules import ACCESS, DeviceRule, DeviceType, Rules, visible
from cgroupkit.errors import UnsupportedError

Write = tuple[str, str]
"""A file, and what to write to it."""

_ALLOW, _DENY = "devices.allow", "devices.deny"
_TYPES: tuple[DeviceType, ...] = ("b", "c")
_Pattern = tuple[int | None, int | None]


@attrs.frozen
class Listed:
    """What v1 keeps: *exceptions*, texts such as "c 1:3 rw", from everything denied (or allowed)."""

    allow_all: bool
    exceptions: frozenset[tuple[str, str]] = frozenset()
    """("c 1:3", "rw")."""


EVERYTHING = Listed(allow_all=True)


def listed(rules: Rules) -> Listed:
    """The exceptions that amount to *rules*; :class:`UnsupportedError` where v1 cannot say it."""
    short = visible(rules)
    denied = _exceptions(short, allow=True)
    if denied is not None:
        plain = denied == {(f"{kind} *:*", ACCESS) for kind in _TYPES}
        return EVERYTHING if plain else Listed(False, frozenset(denied))
    allowed = _exceptions(short, allow=False)
    if allowed is not None:
        return Listed(True, frozenset(allowed))
    culprit = next(rule for n, rule in enumerate(short) if _inexpressible(short[: n + 1]))
    raise UnsupportedError(
        f"devices: v1 cannot express the rule '{culprit}' after those before it: its list either "
        "allows or denies, and cannot take a part out of a wildcard; name the devices one by one"
    )


def _inexpressible(rules: Rules) -> bool:
    return _exceptions(rules, allow=True) is None and _exceptions(rules, allow=False) is None


def _exceptions(rules: Rules, *, allow: bool) -> set[tuple[str, str]] | None:
    """The exceptions of an allow list (else a deny list), None if wildcards would say too much."""
    found: set[tuple[str, str]] = set()
    for kind in _TYPES:
        masks = {
            pattern: _mask(rules, kind, pattern, allow=allow) for pattern in _patterns(rules, kind)
        }
        for pattern, mask in masks.items():
            wider = [m for p, m in masks.items() if p != pattern and _contains(p, pattern)]
            if any(not m <= mask for m in wider):
                return None
            if mask and mask not in wider:
                found.add((_text(kind, pattern), _letters(mask)))
    return found


def _patterns(rules: Rules, kind: DeviceType) -> set[_Pattern]:
    """The kinds of device that the rules tell apart: those named, where two meet, and all others."""
    named: set[_Pattern] = {(r.major, r.minor) for r in rules if r.type in ("a", kind)}
    named.add((None, None))
    majors = {major for major, minor in named if minor is None and major is not None}
    minors = {minor for major, minor in named if major is None and minor is not None}
    return named | {(major, minor) for major in majors for minor in minors}


def _mask(rules: Rules, kind: DeviceType, pattern: _Pattern, *, allow: bool) -> frozenset[str]:
    """What is allowed (else denied) to a device that *pattern* names and nothing narrower does."""
    decided: dict[str, bool] = {}
    for rule in rules:
        if rule.type in ("a", kind) and _contains((rule.major, rule.minor), pattern):
            decided.update(dict.fromkeys(rule.access, rule.allow))
    return frozenset(letter for letter in ACCESS if decided.get(letter, False) == allow)


def _contains(outer: _Pattern, inner: _Pattern) -> bool:
    return all(o is None or o == i for o, i in zip(outer, inner, strict=True))


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
    from cgroupkit.devices.rules import parse_rules  # noqa: PLC0415

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
    """The writes from one to the other. Nothing that both refuse is open in between.

    But for a list that begins to be a deny list: the kernel allows everything first.
    """
    if wanted.allow_all:
        yield _ALLOW, "a"
        yield from ((_DENY, f"{key} {access}") for key, access in sorted(wanted.exceptions))
        return
    have = {} if now.allow_all else dict(now.exceptions)
    want = dict(wanted.exceptions)
    if now.allow_all:
        yield _DENY, "a"
    for key in sorted(have):
        gone = _letters(set(have[key]) - set(want.get(key, "")))
        if gone:
            yield _DENY, f"{key} {gone}"
    for key in sorted(want):
        new = _letters(set(want[key]) - set(have.get(key, "")))
        if new:
            yield _ALLOW, f"{key} {new}"
