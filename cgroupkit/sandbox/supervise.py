"""A program that is started again when it ends, as Docker's restart policies have it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs

from cgroupkit import threads
from cgroupkit.errors import (
    CgroupKitError,
    InvalidValueError,
    ProgramAccessError,
    ProgramNotFoundError,
)
from cgroupkit.sandbox.outcome import Done, Verdict
from cgroupkit.sandbox.usage import Meter
from cgroupkit.stats import Stats
from cgroupkit.units import invalid

if TYPE_CHECKING:
    from cgroupkit.sandbox.box import Argv, Sandbox
    from cgroupkit.sandbox.launch import Launch

State = Literal["running", "restarting", "exited"]

FIRST_PAUSE = 0.1
"""Seconds before the first restart; each one after it waits twice as long."""
LONGEST_PAUSE = 60.0
GOOD_RUN = 10.0
"""Seconds after which a run counts as well begun: the pauses start anew."""
_THAW_POLL = 0.1
_PATIENCE = 10.0

_WORDS = ("no", "always", "unless-stopped", "on-failure")
_POLICY = re.compile(r"(no|always|unless-stopped|on-failure)(?::(\d{1,9}))?", re.ASCII)


@attrs.frozen
class RestartPolicy:
    """When a program that has ended is started again."""

    name: str = "no"
    most: int = 0
    """Restarts of on-failure at most; 0 is any number."""

    @classmethod
    def parse(cls, text: object, option: str = "restart") -> Self:
        """From Docker's spelling: "no", "always", "unless-stopped", "on-failure" or "on-failure:3"."""
        match = _POLICY.fullmatch(text) if isinstance(text, str) else None
        if match is None or (match[2] and match[1] != "on-failure"):
            raise invalid(option, text, _accepted(text))
        return cls(match[1], int(match[2] or 0))

    def __str__(self) -> str:
        return f"{self.name}:{self.most}" if self.most else self.name

    def restarts(self, returncode: int, before: int) -> bool:
        """Whether to start again after *returncode*, and *before* restarts so far."""
        if self.name == "on-failure":
            return returncode != 0 and (self.most == 0 or before < self.most)
        return self.name != "no"


def _accepted(text: object) -> str:
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(str(text).partition(":")[0], _WORDS, 1)
    hint = f"; did you mean {near[0]!r}?" if near and text not in _WORDS else ""
    return f'give "no", "always", "unless-stopped", "on-failure" or "on-failure:MAX"{hint}'


def pause(before: float, ran: float) -> float:
    """Seconds to wait after a run of *ran* seconds, when the pause before that was *before* (0: none).

    moby, restartmanager: 100 ms, doubled up to a minute, begun anew after a run of 10 seconds.
    """
    if ran >= GOOD_RUN or before == 0:
        return FIRST_PAUSE
    return min(before * 2, LONGEST_PAUSE)


def check_streams(kwargs: Mapping[str, Any]) -> None:
    """Nobody would read a pipe over several runs, and a full one stops the program."""
    for name in ("stdin", "stdout", "stderr"):
        if kwargs.get(name) == subprocess.PIPE:
            raise invalid(
                name, "PIPE", "a program that is started again needs a file, subprocess.DEVNULL or None"
            )


class Supervised:
    """A program of a box that is kept running; made by :meth:`Sandbox.supervise`.

    Close it with :meth:`stop`, or use it as a context manager; the end of the box ends it too.
    """

    def __init__(
        self, box: Sandbox, args: Argv, policy: RestartPolicy, start: Callable[[], Launch], fresh: bool
    ) -> None:
        self.args = args
        self._box = box
        self._policy = policy
        self._start = start
        self._changed = threading.Condition()
        self._stopped = False
        self._failed: int | None = None
        self._owner = os.getpid()
        self._state: State = "running"
        self._restarts = 0
        self._last: Done | None = None
        self._meter = Meter(box.cgroup, fresh=fresh)
        try:
            self._process: subprocess.Popen[Any] = start().begun()
        except BaseException:
            self._meter.close()
            raise
        self._thread = threading.Thread(target=self._keep, name="cgroupkit-supervise", daemon=True)
        try:
            threads.start(self._thread)
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._meter.close()
            raise

    def __repr__(self) -> str:
        return f"<Supervised {self._state} restart={self.restart} restarts={self._restarts}>"

    # What it is and was

    @property
    def restart(self) -> str:
        """The policy; a change applies at once, also between two runs."""
        return str(self._policy)

    @restart.setter
    def restart(self, policy: str) -> None:
        parsed = RestartPolicy.parse(policy)
        with self._changed:
            self._policy = parsed
            self._changed.notify_all()

    @property
    def state(self) -> State:
        """ "running", "restarting" (it waits for the next run) or "exited"."""
        return self._state

    @property
    def pid(self) -> int | None:
        """Of the present run's supervisor, as that of :meth:`Sandbox.popen`; None between runs."""
        return self._process.pid if self._state == "running" and self._failed is None else None

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return self._restarts

    @property
    def last(self) -> Done | None:
        """How the last run that is over ended, with its own verdict and usage."""
        return self._last

    def poll(self) -> Done | None:
        """How it ended for good, or None while it goes on."""
        return self._last if self._state == "exited" else None

    def wait(self, timeout: float | None = None) -> Done:
        """Wait until it has ended for good. Raises ``subprocess.TimeoutExpired``, as Popen does."""
        self._check_owner()
        with self._changed:
            ended = self._changed.wait_for(lambda: self._state == "exited", timeout)
        if not ended or self._last is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._last

    # Its end

    def stop(self, timeout: float = 10) -> Done:
        """SIGTERM, after *timeout* seconds SIGKILL; it is not started again, whatever the policy."""
        self._check_owner()
        self.give_up()
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self.wait()

    def give_up(self) -> None:
        """Never start it again; a run goes on to its end. When this returns, none is beginning."""
        self._stopped = True  # before the lock, which a start has that waits for a thaw
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def join(self) -> None:
        """Wait for the thread, when the box has killed all that was running."""
        if os.getpid() != self._owner:
            return
        # The program may have stopped the launcher that waits for it, which is outside of the box.
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise InvalidValueError(
                f"process {self._owner} supervises this program, and this is a fork of that: ask there"
            )

    # The thread

    def _keep(self) -> None:
        waited = 0.0
        began = time.monotonic()
        returncode = self._process.wait()
        while True:
            self._last = self._outcome(returncode)
            waited = pause(waited, time.monotonic() - began)
            if not self._again(waited):
                break
            began = time.monotonic()
            returncode = self._run()
        with self._changed:
            self._state = "exited"
            self._changed.notify_all()

    def _again(self, seconds: float) -> bool:
        """Wait, and begin a run unless that is not wanted (any more)."""
        with self._changed:
            self._state = "restarting"
            self._changed.notify_all()
            if self._changed.wait_for(self._unwanted, seconds) or self._unwanted():
                return False
            while self._frozen() or not self._begin():
                if self._changed.wait_for(self._unwanted, _THAW_POLL):
                    return False
            self._restarts += 1
            self._state = "running"
            self._changed.notify_all()
            return True

    def _frozen(self) -> bool:
        """Whether a program that is started would wait for the thaw."""
        try:
            return self._box.cgroup.frozen
        except (CgroupKitError, OSError):
            return False

    def _unwanted(self) -> bool:
        code = self._last.returncode if self._last else 0
        return self._stopped or not self._policy.restarts(code, self._restarts)

    def _begin(self) -> bool:
        """Under the lock: who closes the box knows that nothing is just being started.

        False if the box has been frozen meanwhile: what waits in it for the thaw is taken back.
        """
        self._failed = None
        try:
            self._meter = Meter(self._box.cgroup, fresh=False)
            launch = self._start()
            if not launch.answers(unless=lambda: self._stopped or self._frozen()):
                launch.abandon()
                self._meter.close()
                return False
            self._process = launch.begun()
        except ProgramNotFoundError:
            self._failed = 127
        except ProgramAccessError:
            self._failed = 126
        except Exception:  # whatever it is, who waits has to learn that it did not start
            self._failed = 125
        return True

    def _run(self) -> int:
        return self._process.wait() if self._failed is None else self._failed

    def _outcome(self, returncode: int) -> Done:
        from cgroupkit.sandbox.box import verdict_of  # noqa: PLC0415

        usage = Stats(time_ns=time.monotonic_ns())
        with self._meter, suppress(CgroupKitError, OSError):
            usage = self._meter.read()
        verdict: Verdict = verdict_of(returncode, usage, late=False)
        return Done(self.args, returncode, None, None, verdict, usage)
