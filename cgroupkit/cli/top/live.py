"""The two ways to show readings: printed one after the other, and live."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

from cgroupkit.cli import printing
from cgroupkit.cli.messages import put
from cgroupkit.cli.top import columns, view
from cgroupkit.cli.top.arranging import Choice, arrange
from cgroupkit.cli.top.source import Reading, Source
from cgroupkit.cli.top.state import State
from cgroupkit.cli.top.terminal import REDRAW, EndedError, Terminal

_SOON = 0.5
"""Seconds to the first rates: with a long interval nobody should wait for them."""


def has_keys() -> bool:
    """Whether stdin is a terminal that tells which keys are pressed."""
    return sys.stdin is not None and sys.stdin.isatty()


def stream(source: Source, choice: Choice, interval: float, count: int | None, *, json: bool) -> int:
    """Print each reading; the first takes an interval, as there are no rates before."""
    source.read()
    due = time.monotonic()
    done, took = 0, 0.0
    while count is None or done < count:
        due = max(due + interval, time.monotonic() + took)
        time.sleep(max(0.0, due - time.monotonic()))
        reading = source.read()
        took = reading.took
        lines = arrange(reading.rows, choice)
        if json:
            put(printing.dump([line.row for line in lines], indent=None))
        else:
            put(("\n" if done else "") + columns.table(lines, reading, _width()))
        done += 1
    return 0


def show(source: Source, choice: Choice, interval: float, count: int | None) -> int:
    """Take the terminal until the user quits or, with *count*, so many readings were shown."""
    state = State(choice=choice, interval=interval)
    reading = source.read()
    with ThreadPoolExecutor(1) as reader, Terminal() as terminal:
        try:
            reading = _Live(source, state, terminal, reader).run(reading, count)
        except EndedError as end:
            return 0 if end.number == signal.SIGINT else 128 + end.number
    if count is not None:  # what was on the screen is gone with it
        put(columns.table(arrange(reading.rows, state.choice), reading, _width()))
    return 0


def _width() -> int | None:
    """Of the terminal that stdout is; None where it is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):  # the latter where it is closed
        return None


class _Live:
    """A thread reads, so that no key waits for it."""

    def __init__(
        self, source: Source, state: State, terminal: Terminal, reader: ThreadPoolExecutor
    ) -> None:
        self._source = source
        self._state = state
        self._terminal = terminal
        self._reader = reader
        self._coming: Future[Reading] | None = None
        self._due = time.monotonic() + min(state.interval, _SOON)

    def run(self, reading: Reading, count: int | None) -> Reading:
        state, terminal = self._state, self._terminal
        done, anew, skip = 0, True, False
        while True:
            lines = arrange(reading.rows, state.choice)
            width, height = terminal.size()
            terminal.draw(view.screen(state, reading, lines, width, height), anew=anew)
            if done == count:
                return reading
            keys = terminal.wait(self._pause())
            was_paused, interval = state.paused, state.interval
            for key in keys:
                if key != REDRAW:
                    # Of keys that came together, each acts on what the one before has made of it.
                    state.press(key, arrange(reading.rows, state.choice), view.page(height))
            anew = REDRAW in keys
            if state.over:
                return reading
            if was_paused and not state.paused:
                self._due, skip = 0.0, True  # what comes next has rates over the whole pause
            elif interval != state.interval:
                self._due = min(self._due, time.monotonic() + state.interval)
            came = self._read()
            if came is None or state.paused:
                continue
            if skip:
                skip, self._due = False, time.monotonic() + min(state.interval, _SOON)
            else:
                reading, done = came, done + 1

    def _pause(self) -> float | None:
        """Seconds to wait for a key; None where somebody will wake us."""
        if self._coming is not None or self._state.paused:
            return None
        return max(0.0, self._due - time.monotonic())

    def _read(self) -> Reading | None:
        """What was read meanwhile; begins with the next reading when it is time to."""
        if self._coming is None:
            if not self._state.paused and time.monotonic() >= self._due:
                self._coming = self._reader.submit(self._source.read)
                self._coming.add_done_callback(lambda _: self._terminal.wake())
            return None
        if not self._coming.done():
            return None
        reading, self._coming = self._coming.result(), None
        self._due = max(self._due + self._state.interval, time.monotonic() + reading.took)
        return reading
