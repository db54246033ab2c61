"""The columns of the table: what they show of a row, and which of them fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from cgroupkit.cli import machine, printing
from cgroupkit.cli.top.arranging import Line
from cgroupkit.cli.top.rows import Row
from cgroupkit.cli.top.source import Reading
from cgroupkit.units import format_bytes

_LEAST = 24
"""Cells that the names have before a column is left out; in a narrow window a third of it."""


@attrs.frozen
class Column:
    """One figure of each row."""

    title: str
    width: int
    rank: int
    """Those of the highest are left out first where there is no room."""
    get: Callable[[Row], float | None]
    show: Callable[[float], str]
    heat: Callable[[Row], float | None] = lambda row: None
    """How near it is to where it hurts: 1 is there."""
    key: str = ""
    """What it is sorted by."""


def _cpu_limit(row: Row) -> float | None:
    return row.cpu_limit


def _memory(row: Row) -> float | None:
    return row.memory_current


def _percent(share: float) -> str:
    return f"{share * 100:.1f}"


def _size(number: float) -> str:
    return format_bytes(int(number))


def _cpu_heat(row: Row) -> float | None:
    if row.cpu_cores is None:
        return None
    return max(row.cpu_cores / (row.cpu_limit or machine.cpus()), 1.0 if row.throttled else 0)


def _share(value: float | None, limit: float | None) -> float | None:
    return None if value is None or not limit else value / limit


def _memory_heat(row: Row) -> float | None:
    return _share(row.memory_current, row.memory_max)


def _psi(title: str, rank: int, get: Callable[[Row], float | None]) -> Column:
    """Half of the time waiting is bad enough."""
    return Column(title, 7, rank, get, _percent, lambda row: (get(row) or 0) * 2, "pressure")


COLUMNS = (
    Column("CPU%", 6, 0, lambda r: r.cpu_cores, _percent, _cpu_heat, "cpu"),
    Column("THROT%", 6, 9, lambda r: r.throttled, _percent, lambda r: r.throttled and 1.0, "throttled"),
    Column("MEMORY", 8, 1, _memory, _size, _memory_heat, "memory"),
    Column("LIMIT", 8, 8, lambda r: r.memory_max, _size),
    Column("MEM%", 5, 3, lambda r: r.memory_percent, lambda p: f"{p:.1f}", _memory_heat),
    Column("SWAP", 8, 10, lambda r: r.swap_current, _size, key="swap"),
    Column("READ/s", 8, 4, lambda r: r.read_bytes, _size, key="io"),
    Column("WRITE/s", 8, 4, lambda r: r.written_bytes, _size, key="io"),
    Column(
        "PIDS", 6, 2, lambda r: r.pids_current, "{:.0f}".format,
        lambda r: _share(r.pids_current, r.pids_max), "pids",
    ),
    _psi("PSI-CPU", 5, lambda r: r.cpu_pressure),
    _psi("PSI-MEM", 6, lambda r: r.memory_pressure),
    _psi("PSI-IO", 7, lambda r: r.io_pressure),
)  # fmt: skip


def known(reading: Reading) -> list[Column]:
    """The columns of which this machine knows anything."""
    if not reading.settled:
        return list(COLUMNS)
    # By what stays: a column that comes and goes would make all others jump.
    by = {"THROT%": _cpu_limit, "LIMIT": _memory}
    return [c for c in COLUMNS if any(by.get(c.title, c.get)(row) is not None for row in reading.rows)]


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Those for which there is room beside the names."""
    kept = list(columns)
    least = min(_LEAST, width // 3)
    while kept and sum(column.width + 1 for column in kept) > width - least:
        kept = _without_worst(kept)
    return kept


def _without_worst(columns: Sequence[Column]) -> list[Column]:
    worst = max(column.rank for column in columns)
    return [column for column in columns if column.rank != worst]


def table(lines: Sequence[Line], reading: Reading, width: int | None = None) -> str:
    """All of it as plain text; with *width* without the columns for which there is no room."""
    columns = known(reading)
    while True:
        head = ("CGROUP", *(column.title for column in columns))
        cells = [(_name(line), *(cell(column, line.row) for column in columns)) for line in lines]
        text = printing.table([head, *cells], right=range(1, len(head)))
        if width is None or not columns or max(map(len, text.splitlines())) <= width:
            return text
        columns = _without_worst(columns)


def _name(line: Line) -> str:
    return line.lead + line.title + (f" (+{line.hidden})" if line.hidden else "")


def cell(column: Column, row: Row) -> str:
    value = column.get(row)
    if value is None:
        return "max" if column.title == "LIMIT" and row.memory_current is not None else printing.NONE
    return column.show(value)
