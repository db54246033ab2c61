"""From rows to the lines that are shown: sorted, filtered, and drawn as a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from cgroupkit.cli import printing
from cgroupkit.cli.top.rows import Row

KEYS: Mapping[str, Callable[[Row], float | None]] = {
    "cpu": lambda row: row.cpu_cores,
    "memory": lambda row: row.memory_current,
    "swap": lambda row: row.swap_current,
    "io": lambda row: row.io,
    "pids": lambda row: row.pids_current,
    "pressure": lambda row: row.pressure,
    "throttled": lambda row: row.throttled,
}
NAME = "name"
ORDERS = (*KEYS, NAME)
"""What rows can be sorted by."""


@attrs.frozen(kw_only=True)
class Choice:
    """What the user wants to see, and in which order."""

    by: str = "cpu"
    """One of :data:`ORDERS`: the largest first, names from a to z."""
    reverse: bool = False
    flat: bool = False
    """A list of all, in place of the tree whose siblings are sorted."""
    text: str = ""
    """Show those alone in whose line it is or, if it has a /, in whose path; any case."""
    folded: frozenset[str] = frozenset()
    """Names of cgroups below which nothing is shown."""


@attrs.frozen
class Line:
    """One row as it is shown."""

    row: Row
    lead: str
    """The branches of the tree that are drawn before the title."""
    title: str
    found: bool = True
    """False for one that is there for the sake of those below it alone."""
    hidden: int = 0
    """How many cgroups are folded away below it."""


def arrange(rows: Iterable[Row], choice: Choice) -> list[Line]:
    """The lines to show, from top to bottom."""
    if choice.flat:
        lines = (Line(row, "", _title(row, row.name)) for row in _sorted(rows, choice))
        return [line for line in lines if _matches(line.row, line.title, choice.text)]
    return list(_Tree(rows, choice).lines())


def _title(row: Row, name: str) -> str:
    label = _label(row)
    if label and row.container:
        return printing.clean(f"{label} ({row.container[:12]})")
    return printing.clean(printing.short_ids(name))


def _label(row: Row) -> str | None:
    """The container's name, where the cgroup's does not say it already."""
    return row.label if row.label != row.container else None


def _matches(row: Row, title: str, text: str) -> bool:
    wanted = text.lower()
    return wanted in title.lower() or ("/" in wanted and wanted in row.name.lower())


def _sorted(rows: Iterable[Row], choice: Choice) -> list[Row]:
    """What is not known comes last, either way."""
    if choice.by == NAME:
        key_of = _by_path if choice.flat else _by_title
        return sorted(rows, key=key_of, reverse=choice.reverse)
    get, sign = KEYS[choice.by], 1 if choice.reverse else -1

    def key(row: Row) -> tuple[bool, float, str]:
        value = get(row)
        return value is None, sign * (value or 0), row.name

    return sorted(rows, key=key)


def _by_path(row: Row) -> tuple[str, ...]:
    return tuple(row.name.split("/"))


def _by_title(row: Row) -> tuple[str, ...]:
    shown = _label(row) or row.name.rpartition("/")[2]
    return shown.lower(), row.name


class _Tree:
    def __init__(self, rows: Iterable[Row], choice: Choice) -> None:
        self._choice = choice
        all_rows = list(rows)
        names = {row.name for row in all_rows}
        self._below: dict[str | None, list[Row]] = {}
        self._titles: dict[str, str] = {}
        for row in all_rows:
            parent = _parent(row.name, names)
            self._below.setdefault(parent, []).append(row)
            self._titles[row.name] = _title(row, _relative(row.name, parent))
        self._wanted = self._find(all_rows, names) if choice.text else None

    def _find(self, rows: Sequence[Row], names: set[str]) -> dict[str, bool]:
        """Matches, and their ancestors with False."""
        found: dict[str, bool] = {}
        for row in rows:
            if _matches(row, self._titles[row.name], self._choice.text):
                found[row.name] = True
                parent = _parent(row.name, names)
                while parent is not None and parent not in found:
                    found[parent] = False
                    parent = _parent(parent, names)
        return found

    def lines(self, parent: str | None = None, below: str = "") -> Iterator[Line]:
        children = _sorted(self._children(parent), self._choice)
        for number, row in enumerate(children, 1):
            last = number == len(children)
            lead, deeper = ("", "") if parent is None else _branches(below, last)
            inner = self._children(row.name)
            # What is looked for is shown, folded or not.
            folded = row.name in self._choice.folded and self._wanted is None
            yield Line(
                row,
                lead,
                self._titles[row.name],
                self._wanted is None or self._wanted[row.name],
                self._count(row.name) if folded else 0,
            )
            if inner and not folded:
                yield from self.lines(row.name, deeper)

    def _children(self, parent: str | None) -> list[Row]:
        found = self._below.get(parent, [])
        return found if self._wanted is None else [row for row in found if row.name in self._wanted]

    def _count(self, name: str) -> int:
        found = self._below.get(name, [])
        return len(found) + sum(self._count(row.name) for row in found)


def _branches(below: str, last: bool) -> tuple[str, str]:
    return below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")


def _parent(name: str, names: set[str]) -> str | None:
    """The nearest ancestor that is shown."""
    while name != "/":
        name = name.rpartition("/")[0] or "/"
        if name in names:
            return name
    return None


def _relative(name: str, parent: str | None) -> str:
    return name if parent is None else name[len(parent.rstrip("/")) + 1 :]
