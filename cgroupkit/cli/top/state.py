"""What the user has chosen so far, and what each key changes: no terminal here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from cgroupkit.cli.top.arranging import Choice, Line

SORTS = {
    "c": "cpu", "m": "memory", "w": "swap", "i": "io", "p": "pids", "s": "pressure", "n": "name",
}  # fmt: skip
INTERVALS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 30, 60)
"""Seconds, that + and - step through."""
_MOVES = ("up", "down", "pageup", "pagedown", "home", "end")
_CLEAR_LINE = ("\x15", "\x17")


@attrs.define(kw_only=True)
class State:
    """Of the live view."""

    choice: Choice
    interval: float
    typing: bool = False
    """Whether keys go into the filter."""
    paused: bool = False
    helping: bool = False
    over: bool = False
    selected: str | None = None
    """Name of the cgroup under the cursor; None while nobody has moved it."""
    _at: int = 0
    """The line it was in, for when it is gone."""
    _top: int = 0
    """The first line in sight."""

    def press(self, key: str, lines: Sequence[Line], page: int) -> None:
        """*key* was pressed while *lines* were shown, of which *page* fit."""
        if self.helping and key != "q":
            self.helping = False
        elif key in _MOVES:
            self._move(key, lines, page)
        elif self.typing:
            self._type(key)
        elif key in SORTS:
            self._change(by=SORTS[key], reverse=False)
        else:
            self._command(key, lines)

    def _command(self, key: str, lines: Sequence[Line]) -> None:
        match key:
            case "q":
                self.over = True
            case "r":
                self._change(reverse=not self.choice.reverse)
            case "t":
                self._change(flat=not self.choice.flat)
            case "/":
                self.typing = True
            case "h" | "?":
                self.helping = True
            case " ":
                self.paused = not self.paused
            case "+" | "=":
                self.interval = min((i for i in INTERVALS if i > self.interval), default=self.interval)
            case "-":
                self.interval = max((i for i in INTERVALS if i < self.interval), default=self.interval)
            case "left" | "right" | "enter":
                self._fold(key, lines)
            case "escape" if self.choice.text:
                self._change(text="")
            case "escape":
                self.selected = None

    def _change(self, **changes: Any) -> None:
        self.choice = attrs.evolve(self.choice, **changes)

    def _type(self, key: str) -> None:
        text = self.choice.text
        if key == "enter":
            self.typing = False
        elif key == "escape":
            self.typing = False
            self._change(text="")
        elif key == "backspace":
            self._change(text=text[:-1])
        elif key in _CLEAR_LINE:
            self._change(text="")
        elif len(key) == 1 and key.isprintable():
            self._change(text=text + key)

    def _fold(self, key: str, lines: Sequence[Line]) -> None:
        at = self.cursor(lines)
        if at is None or self.choice.flat:
            return
        name, folded = lines[at].row.name, self.choice.folded
        if key == "enter":
            self._change(folded=folded ^ {name})
        else:
            self._change(folded=folded | {name} if key == "left" else folded - {name})

    # The cursor

    def cursor(self, lines: Sequence[Line]) -> int | None:
        """Which of *lines* is selected; the one in its place where that is gone."""
        if self.selected is None or not lines:
            return None
        found = (n for n, line in enumerate(lines) if line.row.name == self.selected)
        self._at = next(found, min(self._at, len(lines) - 1))
        return self._at

    def _move(self, key: str, lines: Sequence[Line], page: int) -> None:
        if not lines:
            return
        if key == "home":
            self.selected, self._top = None, 0
            return
        at, last = self.cursor(lines), len(lines) - 1
        steps = {"up": -1, "down": 1, "pageup": -page, "pagedown": page, "end": last}
        # The first step shows where the cursor is.
        at = 0 if at is None and key in ("up", "down") else (at or 0) + steps[key]
        self._at = max(0, min(at, last))
        self.selected = lines[self._at].row.name

    def window(self, lines: Sequence[Line], page: int) -> int:
        """The first of *lines* in sight, such that the selected one is."""
        at = self.cursor(lines)
        if at is None:
            self._top = 0
        else:
            self._top = min(max(self._top, at - page + 1), at)
        self._top = max(0, min(self._top, len(lines) - page))
        return self._top
