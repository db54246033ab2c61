"""Signals to `cgroupkit run`: passed on to the command, and in the end enforced."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from cgroupkit.errors import InvalidValueError
from cgroupkit.sandbox import Sandbox

if TYPE_CHECKING:
    import subprocess

    from cgroupkit.sandbox.launch import Launch

GRACE = 5.0
"""Seconds that the command has to end after a signal that we passed on to it."""

_KEYS = (signal.SIGINT, signal.SIGQUIT)


class InterruptedRunError(Exception):
    """A signal came before the command was started."""

    def __init__(self, number: int) -> None:
        super().__init__(f"{signal.Signals(number).name} came before the command was started")
        self.number = number


class Box(Sandbox):
    """A sandbox whose one process is known while it runs, to pass signals on to."""

    process: subprocess.Popen[Any] | None = None
    early: int | None = None
    """A signal that came before the process was there."""

    def _start(self, *args: Any, **kwargs: Any) -> Launch:
        if self.early is not None:
            raise InterruptedRunError(self.early)
        launch = super()._start(*args, **kwargs)
        self.process = launch.process
        if self.early is not None:  # now there is somebody to pass it on to
            signal.raise_signal(self.early)
        return launch


class Signals:
    """While this lasts, signals to us are for the command.

    One that a process sent is passed on, and what has not ended some seconds later, or on the next
    signal, is killed. A key at the terminal (Ctrl-C) has reached the command already, and it may
    live on, as an editor does; the third within two seconds kills it.
    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._before: dict[int, Any] = {}
        self._keys: list[float] = []
        self._passed = False

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGHUP, *_KEYS):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
                self._before[number] = signal.signal(number, self._arrived)
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._kill)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        process = self._box.process
        if process is None:
            if self._box.early is not None:
                raise InterruptedRunError(number)
            self._box.early = number
        elif number in _KEYS and _at_terminal():
            self._keys = [*self._keys[-2:], time.monotonic()]
            if len(self._keys) == 3 and self._keys[2] - self._keys[0] < 2:
                self._kill(number, frame)
        elif self._passed:
            self._kill(number, frame)
        else:
            self._passed = True
            process.send_signal(number)
            signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _kill(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(InvalidValueError):  # the block is over
            self._box.kill()


def _at_terminal() -> bool:
    """Whether keys at the terminal send their signals to our process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
