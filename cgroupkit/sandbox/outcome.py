"""How a run ended and what it used."""

from __future__ import annotations

import enum
import signal
import subprocess
from typing import Any

from cgroupkit.errors import CgroupKitError
from cgroupkit.stats import Stats
from cgroupkit.units import format_bytes


class Verdict(enum.Enum):
    """How a run ended, proven by the kernel's own counters where a limit was the reason."""

    OK = "ok"
    """Exit status 0."""
    EXIT = "exit"
    """Another exit status."""
    SIGNAL = "signal"
    """Ended by a signal that was not one of the following."""
    OOM = "oom"
    """The kernel's OOM killer ended a process of the box (oom_kill in memory.events)."""
    TIMEOUT = "timeout"
    """The time was up, and the box was killed."""


class Done(subprocess.CompletedProcess[Any]):
    """A finished run: a ``subprocess.CompletedProcess`` with a verdict and the resources used."""

    verdict: Verdict
    usage: Stats
    """What this run used, other runs of the same box not counted; None where unknown."""

    def __init__(
        self, args: Any, returncode: int, stdout: Any, stderr: Any, verdict: Verdict, usage: Stats
    ) -> None:
        super().__init__(args, returncode, stdout, stderr)
        self.verdict = verdict
        self.usage = usage

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, verdict={self.verdict})"

    @property
    def reason(self) -> str:
        """One line that says how it ended, and by which limit."""
        match self.verdict:
            case Verdict.OOM:
                memory = self.usage.memory
                peak = "unknown" if memory.peak is None else format_bytes(memory.peak)
                limit = "none" if memory.max is None else format_bytes(memory.max)
                return f"out of memory: killed by the kernel (peak {peak}, limit {limit})"
            case Verdict.TIMEOUT:
                return "out of time: killed with all its processes"
            case Verdict.SIGNAL:
                return f"ended by {_signal_name(-self.returncode)}"
            case _:
                return f"exit status {self.returncode}"

    def check_returncode(self) -> None:
        """Raise :class:`RunError` unless the verdict is OK."""
        if self.verdict is not Verdict.OK:
            raise RunError(self)


class RunError(CgroupKitError, subprocess.CalledProcessError):
    """A run with ``check=True`` that did not end well; ``done`` has verdict, output and usage."""

    def __init__(self, done: Done) -> None:
        super().__init__(done.returncode, done.args, done.stdout, done.stderr)
        self.done = done

    def __str__(self) -> str:
        return f"command {self.cmd!r}: {self.done.reason}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.done,)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
