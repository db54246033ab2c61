"""Quantities as people write them and as the kernel prints them: "200M", "1.5", "0-3,8"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from cgroupkit.errors import InvalidValueError

Size = int | str | None
"""A number of bytes: an int, a str such as "200M" or "1.5G", or None (no limit)."""

IdList = str | Iterable[int]
"""CPU or memory-node numbers: "0-3,8" or any iterable of ints."""

#: What the kernel prints on v1 for "no limit": LONG_MAX rounded down to a page (or a huge page).
V1_UNLIMITED: Final = 0x7FFFFFFF00000000

MAX_BYTES: Final = 2**63 - 1
MAX_ID: Final = 65535
_UNLIMITED_WORDS: Final = frozenset({"max", "-1", "unlimited"})
_SIZE = re.compile(r"(\d{1,40}(?:\.\d{1,40})?)\s*(?:([kmgtpe])(?:i?b)?|b)?", re.ASCII | re.IGNORECASE)
_POWER: Final = {letter: 1024**power for power, letter in enumerate("kmgtpe", 1)}


def invalid(option: str, value: object, accepted: str) -> InvalidValueError:
    try:
        shown = repr(value)
    except ValueError:  # an int of more digits than Python prints
        shown = "(a number too long to print)"
    return InvalidValueError(f"{option}={shown} is not valid: {accepted}")


def parse_bytes(value: Size, option: str = "size") -> int | None:
    """Bytes from an int or from text with a suffix b, k, m, g, t, p, e (powers of 1024).

    None, "max", "unlimited" and -1 mean no limit and give None. "1.5G" is exact; a fraction of a
    byte, a sign, an exponent, a bool or a float is an :class:`InvalidValueError`.
    """
    if value is None:
        return None
    accepted = (
        'give bytes as an int, or text such as "200M" or "1.5G" (suffix k, m, g, t, p or e, powers '
        'of 1024), or "max" for no limit'
    )
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise invalid(option, value, accepted)
    if value == -1:
        return None
    if isinstance(value, int):
        size = Fraction(value)
    else:
        text = value.strip()
        if text.lower() in _UNLIMITED_WORDS:
            return None
        match = _SIZE.fullmatch(text)
        if match is None:
            raise invalid(option, value, accepted)
        number, suffix = match.groups()
        size = Fraction(number) * _POWER.get((suffix or "").lower(), 1)
    if size < 0 or size.denominator != 1:
        raise invalid(option, value, accepted)
    if size > MAX_BYTES:
        raise invalid(option, value, f"the kernel counts up to {MAX_BYTES} bytes (8E - 1)")
    return int(size)


def format_bytes(size: int | None) -> str:
    """The largest binary unit with at most four significant digits: ``200MiB``, ``1.5GiB``."""
    if size is None:
        return "max"
    number = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(number) < 1024:
            return f"{number:.4g}{unit}"
        number /= 1024
    return f"{number:.4g}EiB"


def parse_int(value: object, option: str, low: int, high: int) -> int:
    """An int, or decimal text, within *low*..*high*; never a bool or a float."""
    accepted = f"give a whole number from {low} to {high}"
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,20}\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid(option, value, accepted)
    return value


def parse_limit(value: object, option: str, low: int, high: int) -> int | None:
    """As :func:`parse_int`, and None, "max" or -1 for no limit."""
    if value is None or (isinstance(value, int) and value == -1):
        return None
    if isinstance(value, str) and value.strip().lower() in _UNLIMITED_WORDS:
        return None
    try:
        return parse_int(value, option, low, high)
    except InvalidValueError:
        accepted = f'give a whole number from {low} to {high}, or "max" for no limit'
        raise invalid(option, value, accepted) from None


def parse_bool(value: object, option: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, str)) and value in (0, 1, "0", "1"):
        return bool(int(value))
    raise invalid(option, value, "give True or False")


def parse_decimal(value: object, option: str) -> Decimal:
    """An exact, finite, non-negative decimal from an int, a float or text such as "1.5"."""
    accepted = 'give a positive number such as 2, 0.5 or "1.5"'
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise invalid(option, value, accepted)
    try:
        text = str(value).strip()
    except ValueError:  # an int of thousands of digits
        raise InvalidValueError(f"{option} is not valid: {accepted}") from None
    if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?|\.\d+", text, re.ASCII):
        raise invalid(option, value, accepted)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise invalid(option, value, accepted) from None
    if not number.is_finite() or number < 0:
        raise invalid(option, value, accepted)
    return number


def parse_ids(value: IdList, option: str = "list") -> frozenset[int]:
    """CPU or node numbers from the kernel's list format ("0-3,8") or an iterable of ints."""
    accepted = 'give numbers and ranges such as "0-3,8", or an iterable of ints'
    ids: set[int] = set()
    if isinstance(value, str):
        for part in value.split(",") if value.strip() else []:
            match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part, re.ASCII)
            if match is None:
                raise invalid(option, value, accepted)
            first = int(match[1])
            last = first if match[2] is None else int(match[2])
            if last < first or last > MAX_ID:
                raise invalid(option, value, accepted)
            ids.update(range(first, last + 1))
        return frozenset(ids)
    if isinstance(value, (bytes, int)) or not isinstance(value, Iterable):
        raise invalid(option, value, accepted)
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_ID:
            raise invalid(option, value, accepted)
        ids.add(number)
    return frozenset(ids)


def format_ids(ids: Iterable[int]) -> str:
    """The kernel's list format, ranges joined: ``0-3,8``; empty for none."""
    runs: list[list[int]] = []
    for number in sorted(ids):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def format_names(names: Iterable[str]) -> str:
    """``a, b and c`` for messages."""
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last
