"""Tables and JSON on stdout."""

from __future__ import annotations

import enum
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import attrs

from cgroupkit.units import format_ids

NONE = "-"


def clean(text: str) -> str:
    """Without what would make a terminal do something: a cgroup's name may hold any byte."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def short_ids(text: str) -> str:
    """Container ids as Docker shortens them, to 12 digits."""
    return re.sub(r"[0-9a-f]{32,}", lambda match: match[0][:12], text)


def redrawable() -> bool:
    """Whether stdout is a terminal on which a text can be replaced by the next."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"


def table(rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Columns as wide as they need to be, three blanks between them."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    aligned = set(right)
    lines = (
        "   ".join(
            cell.rjust(width) if number in aligned else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def dump(value: object, *, indent: int | None = 2) -> str:
    """JSON: records as objects, sets as sorted arrays, None as null."""
    return json.dumps(value, default=_plain, indent=indent)


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return attrs.asdict(value)
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Decimal):
        return float(value)
    return str(value)


def decimal_size(size: int | None) -> str:
    """As ``docker stats`` prints traffic: powers of 1000, three significant digits."""
    if size is None:
        return "--"
    number = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if number < 1000:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}EB"


def ids(numbers: Iterable[int]) -> str:
    return format_ids(numbers) or NONE
