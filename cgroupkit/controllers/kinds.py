"""What stands in an interface file: how to parse it into a value and print a value back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs

from cgroupkit import units
from cgroupkit.units import IdList, Size

T = TypeVar("T")
W = TypeVar("W")


@attrs.frozen
class Kind(Generic[T, W]):
    """One type of value: its unit for the reference table, its parser and its printer."""

    unit: str
    parse: Callable[[str], T]
    print: Callable[[W, str], str]
    """Gets the value and the option's name for messages; an invalid value is refused here."""
    print_v1: Callable[[W, str], str] | None = None
    """Where v1 spells the value in another way."""


def _never(value: object, option: str) -> str:
    raise TypeError(f"{option} can only be read")


def reading(unit: str, parse: Callable[[str], T]) -> Kind[T, Any]:
    return Kind(unit, parse, _never)


def _limit(text: str) -> int | None:
    text = text.strip()
    if text == "max":
        return None
    number = int(text)
    return None if number >= units.V1_UNLIMITED or number == -1 else number


def is_number(kind: object) -> bool:
    """Whether values of *kind* are plain whole numbers."""
    return isinstance(kind, Kind) and kind.parse is int


def is_limit(kind: object) -> bool:
    """Whether they are numbers or no limit, which is ``max``, v1's largest number, or -1."""
    return isinstance(kind, Kind) and kind.parse is _limit


def _print_bytes(value: Size, option: str) -> str:
    size = units.parse_bytes(value, option)
    return "max" if size is None else str(size)


def _print_bytes_v1(value: Size, option: str) -> str:
    size = units.parse_bytes(value, option)
    return "-1" if size is None else str(size)


def _flag(text: str) -> bool:
    return {"0": False, "1": True}[text.strip()]


def _print_flag(value: bool, option: str) -> str:
    return str(int(units.parse_bool(value, option)))


def _print_ids(value: IdList, option: str) -> str:
    return units.format_ids(units.parse_ids(value, option)) or "\n"


#: bytes, None for no limit; "-1" is v1's word for v2's "max"
BYTES: Kind[int | None, Size] = Kind("bytes", _limit, _print_bytes, _print_bytes_v1)
FLAG: Kind[bool, bool] = Kind("bool", _flag, _print_flag)
IDS: Kind[frozenset[int], IdList] = Kind("id list", units.parse_ids, _print_ids)
WORDS: Kind[tuple[str, ...], Any] = reading("names", lambda text: tuple(text.split()))
TEXT: Kind[str, Any] = reading("text", lambda text: text.rstrip("\n"))
PIDS: Kind[tuple[int, ...], Any] = reading("pids", lambda text: tuple(map(int, text.split())))
COUNTER: Kind[int, Any] = reading("count", int)
NANOSECONDS: Kind[int, Any] = reading("ns", int)
SIZE: Kind[int, Any] = reading("bytes", int)


def whole(unit: str, low: int, high: int) -> Kind[int, int | str]:
    """A whole number within the kernel's range."""
    return Kind(unit, int, lambda value, option: str(units.parse_int(value, option, low, high)))


def limit(unit: str, low: int, high: int, *, word: str = "max") -> Kind[int | None, int | str | None]:
    """A whole number within the kernel's range, or no limit, which the kernel calls *word*."""

    def show(value: int | str | None, option: str) -> str:
        number = units.parse_limit(value, option, low, high)
        return word if number is None else str(number)

    return Kind(unit, _limit, show)


def rate(unit: str, high: int) -> Kind[int | None, Size]:
    """A positive amount a second, with a suffix if need be, or no limit: 0 has no meaning there."""

    def show(value: Size, option: str) -> str:
        number = units.parse_bytes(value, option)
        if number is not None and not 1 <= number <= high:
            raise units.invalid(option, value, f'give 1 to {high} {unit}, or "max" for no limit')
        return "max" if number is None else str(number)

    return Kind(unit, _limit, show)


def node_table(text: str) -> dict[str, dict[int, int]]:
    """``anon N0=4096 N1=0`` -> {"anon": {0: 4096, 1: 0}}; the sum of a line is left out."""
    table = {}
    for line in text.splitlines():
        key, *nodes = line.split()
        table[key.partition("=")[0]] = {
            int(node[1:]): int(number)
            for node, _, number in (word.partition("=") for word in nodes)
            if node[:1] == "N"
        }
    return table
