"""Recorder: a cgroup sampled at a steady rate, in a thread of its own, into a file."""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

import attrs

from cgroupkit import threads, units
from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.errors import InvalidValueError, NotFoundError
from cgroupkit.recording.lines import Lines, Path
from cgroupkit.recording.values import PACES, Pace, Values
from cgroupkit.sampling import Sampler
from cgroupkit.sandbox import Done

LOW, HIGH, DEFAULT = 10, 1000, 100
"""Samples a second."""


Argv = Sequence[str | bytes | os.PathLike[str]]


class Recorder(Closing):
    """Records *cgroup* in *file* while its block lasts, *hz* (10 to 1000) samples a second.

    *argv* is the command that the recording is of, for its readers. The first sample is taken on
    entering the block and the last on leaving it, so leave it before the cgroup is removed. A file that
    exists is overwritten if it is a recording or empty; any other raises :class:`InvalidValueError`, as
    one does that cannot be written. On entering, :class:`NotFoundError` says that there is no such
    cgroup. After that nothing raises: what goes wrong ends the recording, not the block, and is kept
    in :attr:`error`.
    """

    def __init__(
        self,
        cgroup: Cgroup,
        file: Path,
        *,
        hz: int = DEFAULT,
        argv: Argv | None = None,
    ) -> None:
        if not isinstance(cgroup, Cgroup):
            raise units.invalid("cgroup", cgroup, "give a Cgroup, such as Cgroup('/docker')")
        self.hz = units.parse_int(hz, "hz", LOW, HIGH)
        self.samples = 0
        """How many were taken."""
        self.missed = 0
        """How many more there would have been had the machine had the time."""
        self.seconds = 0.0
        """From the first sample to the last."""
        self.error: Exception | None = None
        """What ended the recording before its time."""
        self._cgroup, self._file, self._argv = cgroup, file, argv
        self._lines: Lines | None = None
        self._samplers: list[tuple[Pace, Sampler]] = []
        self._next = dict.fromkeys(PACES, 0)
        self._thread = threading.Thread(target=self._go_on, name="cgroupkit-recorder", daemon=True)
        self._leave = threading.Event()
        self._over = threading.Event()
        self._start_ns = 0
        self._inodes: tuple[int, ...] = ()
        self._before: Values = {}
        self._end: dict[str, Any] = {}

    @property
    def rate(self) -> float:
        """Samples a second that were achieved."""
        return (self.samples - 1) / self.seconds if self.samples > 1 and self.seconds else 0.0

    def __enter__(self) -> Self:
        if self._lines is not None:
            raise InvalidValueError("this Recorder was used already; make another one")
        self._lines = Lines(self._file)
        try:
            self._samplers = [(pace, Sampler([self._cgroup], fields=pace.fields)) for pace in PACES]
            self._begin()
            threads.start(self._thread)
        except BaseException:
            # An interrupt may come when the thread has just begun.
            (self.close if self._thread.is_alive() else self._release)()
            raise
        return self

    def _begin(self) -> None:
        if not self._cgroup.exists():
            raise NotFoundError(2, f"there is no cgroup {self._cgroup.name}", self._cgroup.name)
        assert self._lines
        self._start_ns = time.monotonic_ns()
        self._lines.header(
            {
                "argv": None if self._argv is None else _words(self._argv),
                "cgroup": self._cgroup.name,
                "hz": self.hz,
                "started": datetime.now(UTC).isoformat(),
                "host": {"kernel": platform.release(), "cpus": os.cpu_count()},
            }
        )
        self._take(0)

    def ended(self, done: Done) -> None:
        """Note how the run went, for the file's last line."""
        self._end = {
            "argv": None if self._argv else _words(done.args),
            "verdict": done.verdict.value,
            "returncode": done.returncode,
            "reason": done.reason,
            "usage": attrs.asdict(done.usage),
        }

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the cgroup is gone, or the recording failed; False if the time was up before."""
        return self._over.wait(timeout)

    def __exit__(self, *caught: object) -> None:
        error = caught[1]
        if isinstance(error, Exception) and not self._end:
            self._end = {"reason": str(error)}
        self.close()

    def close(self) -> None:
        """Take the last sample and end the file; nothing to do when that is done."""
        if not self._samplers:
            return
        self._leave.set()
        self._thread.join()
        if not self._over.is_set():
            self._take(0)
        try:
            self._finish()
        except OSError as error:
            self.error = self.error or error
        finally:
            self._release()

    def _finish(self) -> None:
        assert self._lines
        about = {
            "samples": self.samples,
            "missed": self.missed,
            "rate": round(self.rate, 3),
            "error": None if self.error is None else str(self.error),
        }
        self._lines.write({"end": {**about, **self._end}})

    def _release(self) -> None:
        self._leave.set()
        for _, sampler in self._samplers:
            sampler.close()
        self._samplers.clear()
        if self._lines:
            self._lines.close()
        self._over.set()

    # The thread

    def _go_on(self) -> None:
        # Signals are for the main thread, which waits for the program.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        period, tick = 10**9 // self.hz, 1
        while not self._over.is_set():
            due = self._start_ns + tick * period
            if self._leave.wait(max(due - time.monotonic_ns(), 0) / 1e9):
                return
            self._take(tick)
            late = max((time.monotonic_ns() - due) // period, 0)
            self.missed += late
            tick += late + 1

    def _take(self, tick: int) -> None:
        """One sample: what is different from the one before. All is looked at in tick 0."""
        assert self._lines
        try:
            time_ns, now = self._read(tick)
            if not time_ns:
                self._over.set()
                return
            before = self._before
            changed = {name: value for name, value in now.items() if value != before.get(name)}
            self.seconds = max(time_ns - self._start_ns, 0) / 1e9
            self._lines.write({"t": round(self.seconds, 6), **changed})
            before.update(changed)
            self.samples += 1
        except Exception as error:  # the run matters more than its picture
            self.error = error
            self._over.set()

    def _read(self, tick: int) -> tuple[int, Values]:
        """When, and what; 0 if the cgroup is gone or was made anew."""
        time_ns = 0
        found: Values = {}
        for pace, sampler in self._samplers:
            if 0 < tick < self._next[pace]:
                continue
            self._next[pace] = tick + max(self.hz // pace.hz, 1)
            stats = sampler.sample().get(self._cgroup)
            # Where there is no such controller there is nothing to tell one cgroup from another by.
            if stats is None or (pace is PACES[0] and self._inodes not in ((), stats.inodes)):
                return 0, {}
            if pace is PACES[0]:
                time_ns, self._inodes = stats.time_ns, stats.inodes
            found |= pace.values(stats)
        return time_ns, found


def _words(argv: Argv) -> list[str]:
    return [os.fsdecode(word) for word in argv]
