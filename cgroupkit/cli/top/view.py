"""The screen of the live view: a text for each of its lines."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from cgroupkit.cli import machine, printing
from cgroupkit.cli.top.arranging import Choice, Line
from cgroupkit.cli.top.columns import Column, cell, fitting, known
from cgroupkit.cli.top.rows import Row
from cgroupkit.cli.top.source import Reading
from cgroupkit.cli.top.state import State
from cgroupkit.units import format_bytes

_DIM, _WARN, _BAD, _TITLE, _SORTED, _CURSOR = (
    "dim", "yellow", "bold red", "bold reverse", "bold cyan reverse", "reverse",
)  # fmt: skip


def screen(
    state: State, reading: Reading, lines: Sequence[Line], width: int, height: int
) -> list[Text]:
    """The whole screen, one text a line."""
    from cgroupkit.cli.top.help import HELP  # noqa: PLC0415

    if state.helping:
        return [_fit(Text(line), width) for line in HELP.splitlines()[:height]]
    head, foot = _frame(height)
    columns = fitting(known(reading), width)
    room = width - sum(column.width + 1 for column in columns)
    top, size = state.window(lines, page(height)), page(height)
    cursor = state.cursor(lines)
    shown = [
        _line(line, columns, room, chosen=top + number == cursor)
        for number, line in enumerate(lines[top : top + size])
    ]
    if not lines:
        shown = [Text(_nothing(state, reading), style=_DIM)]
    shown += [Text("")] * (size - len(shown))
    above = [_summary(state, reading, len(lines)), _load(reading)][:head]
    below = [_prompt(state) if state.typing else _footer(state, lines, cursor)][:foot]
    whole = [*above, _titles(columns, room, state.choice), *shown, *below]
    return [_fit(text, width) for text in whole[:height]]


def page(height: int) -> int:
    """How many rows a screen has room for."""
    return max(1, height - sum(_frame(height)) - 1)


def _frame(height: int) -> tuple[int, int]:
    """Lines above the titles and below the rows."""
    return (2, 1) if height >= 8 else (0, 1) if height >= 4 else (0, 0)


def _fit(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text


def _summary(state: State, reading: Reading, count: int) -> Text:
    choice = state.choice
    order = f"{choice.by}{', reversed' if choice.reverse else ''}"
    parts = [
        reading.clock,
        f"every {state.interval:g}s",
        f"{count} cgroups" if count != 1 else "1 cgroup",
        f"by {order}",
    ]
    text = Text("cgroupkit top", style="bold")
    text.append("  " + "  ".join(parts), style="not bold")
    if choice.text and not state.typing:
        text.append(f"  filter: {printing.clean(choice.text)}", style="not bold yellow")
    if state.paused:
        text.append("  PAUSED", style=_WARN)
    return text


def _load(reading: Reading) -> Text:
    load = reading.load
    cpu = f"{load.cpu_cores * 100:.0f}%" if reading.settled else printing.NONE
    parts = [
        f"machine: cpu {cpu} of {machine.cpus() * 100}%",
        f"memory {format_bytes(load.memory_used)} of {format_bytes(load.memory_total)}",
    ]
    if load.swap_total:
        parts.append(f"swap {format_bytes(load.swap_used)} of {format_bytes(load.swap_total)}")
    return Text("  ".join(parts))


def _titles(columns: Sequence[Column], room: int, choice: Choice) -> Text:
    text = Text()
    arrow = "▲" if choice.reverse != (choice.by == "name") else "▼"
    first = "CGROUP" + (arrow if choice.by == "name" else "")
    text.append(set_cell_size(first, room), style=_SORTED if choice.by == "name" else _TITLE)
    for column in columns:
        chosen = column.key == choice.by
        text.append(f" {column.title:>{column.width}}", style=_SORTED if chosen else _TITLE)
    return text


def _line(line: Line, columns: Sequence[Column], room: int, *, chosen: bool) -> Text:
    text = Text(style=_CURSOR if chosen else _DIM if not line.found else "")
    text.append(line.lead, style=_DIM)
    title = _shorten(line, room - cell_len(line.lead))
    text.append(title, style="bold" if line.row.container else "")
    text.append(" " * max(0, room - cell_len(line.lead) - cell_len(title)))
    for column in columns:
        shown = cell(column, line.row)
        text.append(f" {shown:>{column.width}}", style="" if chosen else _style(column, line.row))
    return text


def _shorten(line: Line, room: int) -> str:
    """A path loses its beginning, a name its end: the rest tells more."""
    more = f" (+{line.hidden})" if line.hidden else ""
    title, room = line.title, max(0, room - len(more))
    if cell_len(title) > room:
        if title.startswith("/"):
            while title and cell_len(title) >= room:
                title = title[1:]
            title = "…" + title
        else:
            title = set_cell_size(title, max(0, room - 1)).rstrip() + "…"
    return title + more


def _style(column: Column, row: Row) -> str:
    if not column.get(row):
        return _DIM
    heat = column.heat(row) or 0
    return _BAD if heat >= 0.9 else _WARN if heat >= 0.5 else ""


def _nothing(state: State, reading: Reading) -> str:
    if reading.rows:
        return f"nothing matches {state.choice.text!r}; Esc shows all"
    return "there is no such cgroup any more"


def _prompt(state: State) -> Text:
    text = Text("filter: ", style="bold")
    text.append(printing.clean(state.choice.text), style="not bold")
    text.append(" ", style=_CURSOR)
    return text.append("  Enter keeps it, Esc clears it", style=_DIM)


def _footer(state: State, lines: Sequence[Line], cursor: int | None) -> Text:
    if cursor is None:
        words = (
            "h help  q quit  / filter  t tree  r reverse  "
            "sort: c cpu  m memory  i io  p pids  s pressure  n name"
        )
        return Text(words, style=_DIM)
    row = lines[cursor].row
    parts = [printing.clean(row.name)]
    if row.cpu_limit is not None:
        parts.append(f"cpus {row.cpu_limit:g}")
    if row.memory_max is not None:
        parts.append(f"memory {format_bytes(row.memory_max)}")
    if row.pids_max is not None:
        parts.append(f"pids {row.pids_max}")
    return Text("  ".join(parts), style="bold")
