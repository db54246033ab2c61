"""The terminal while the live view has it, and as it was afterwards, whatever happens."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, Self

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from cgroupkit.cli.messages import OutputError
from cgroupkit.cli.top.keys import Keys

REDRAW = "redraw"
"""A key (Ctrl-L), and what a terminal that has changed does: all has to be drawn anew."""

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_SIGNALS = (*_ENDS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
_ESCAPE = 0.05
"""Seconds in which the rest of a sequence follows its Escape."""
_STUCK = 1.0
"""Seconds after which a second signal ends us where we are."""


class EndedError(Exception):
    """Somebody wants it to end: a signal, or a terminal that is gone."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Terminal:
    """Keys without Enter, and a screen that replaces the shell's for as long as this is entered."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._console = Console(file=sys.stdout, force_terminal=True, highlight=False, markup=False)
        self._keys = Keys()
        self._drawn: list[list[Segment]] = []
        self._handlers: dict[int, Any] = {}
        self._first: float | None = None
        self._continued = False

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        self._awake, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
                    self._handlers[number] = signal.signal(number, self._arrived)
            self._open()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        self._close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._awake)
        os.close(self._wake)

    def _open(self) -> None:
        mode = termios.tcgetattr(self._fd)
        mode[0] &= ~termios.IXON  # Ctrl-S would stop the output, and us with it
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        self._drawn = []
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _close(self) -> None:
        with suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        with suppress(OSError):
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)

    # Signals

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        """The signal is in the pipe as well; this is for when nobody looks, as the terminal blocks."""
        if number not in _ENDS:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first > _STUCK:
            with suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _stop(self) -> None:
        """Ctrl-Z: until somebody lets us go on."""
        self._close()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        self._continued = True
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self._open()

    def _signalled(self) -> list[str]:
        try:
            numbers = os.read(self._awake, 512)
        except BlockingIOError:
            return []
        for number in numbers:
            if number in _ENDS:
                raise EndedError(number)
            if number == signal.SIGTSTP:
                self._stop()
            elif number == signal.SIGCONT and not self._continued:
                self._open()  # it was SIGSTOP, and the shell has set the terminal up for itself
            elif number == signal.SIGCONT:
                self._continued = False
        return [REDRAW] if any(numbers) else []

    # Keys and text

    def wait(self, timeout: float | None) -> list[str]:
        """The keys that were pressed, after at most *timeout* seconds; :data:`REDRAW` among them.

        Raises :class:`EndedError`.
        """
        if self._keys.waiting:
            timeout = _ESCAPE
        poll = select.poll()  # select(2) knows no descriptor above 1023, and samplers have many
        for fd in (self._fd, self._awake):
            poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(None if timeout is None else timeout * 1000)]
        keys = self._signalled() if self._awake in ready else []
        if self._fd in ready:
            keys += self._keys.feed(self._read())
        elif self._keys.waiting:
            keys += self._keys.end()
        return keys

    def wake(self) -> None:
        """From another thread: let :meth:`wait` return."""
        with suppress(OSError):  # it is full, or over
            os.write(self._wake, b"\0")

    def _read(self) -> bytes:
        with suppress(OSError):
            if data := os.read(self._fd, 1024):
                return data
        raise EndedError(signal.SIGHUP)

    def size(self) -> tuple[int, int]:
        """Columns and lines now."""
        with suppress(OSError):
            width, height = os.get_terminal_size(sys.stdout.fileno())
            if width and height:
                return width, height
        return 80, 24

    def draw(self, texts: Sequence[Text], *, anew: bool = False) -> None:
        """Show *texts*, one a line; those lines that have changed are written, or all *anew*."""
        width, height = self.size()
        self._console.size = (width, height)
        options = self._console.options.update(width=width, no_wrap=True, overflow="crop")
        filled = [*texts[:height], *[Text("")] * (height - len(texts))]
        lines = [self._console.render_lines(text, options)[0] for text in filled]
        try:
            with self._console:  # in one write
                if anew:
                    self._drawn = []
                    self._console.clear()
                for number, line in enumerate(lines):
                    if number >= len(self._drawn) or self._drawn[number] != line:
                        self._console.update_screen_lines([line], 0, number)
        except OSError as error:
            raise OutputError(f"cannot write to the terminal: {error.strerror}") from None
        self._drawn = lines
