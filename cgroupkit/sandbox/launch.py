"""Start the launcher, and turn its error reports into exceptions."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from cgroupkit.errors import LaunchError, ProgramAccessError, ProgramNotFoundError, errno_name

_REPORT = struct.Struct("=IIi")

#: enum stage in launcher.h: what the launcher was doing, and what helps.
_STAGES = {
    1: ("reading its options", ""),
    2: ("watching the caller", "the process that owns the box has ended"),
    3: ("keeping a descriptor open", "is every number in pass_fds an open descriptor?"),
    4: ("preparing to supervise", ""),
    5: ("opening the v2 cgroup", "ENOENT: the box was removed by somebody else"),
    6: ("opening a v1 cgroup", "ENOENT: the box was removed by somebody else"),
    7: (
        "creating the process in the box",
        "EAGAIN: pids_limit leaves no room; EPERM: these namespaces need root, or user too; ENOSPC: "
        "the machine's limit on namespaces (/proc/sys/user); EBUSY: the box has child cgroups with "
        "controllers",
    ),
    8: ("joining a v1 cgroup", "ENOSPC: its cpuset has no CPUs or nodes"),
    9: ("making the time namespace", ""),
    10: ("mapping the user into its namespace", ""),
    11: ("making the cgroup namespace", ""),
    12: ("bringing up the loopback interface", ""),
    13: ("making the mounts private", "this needs root, or the user namespace too"),
    14: (
        "mounting /proc",
        "EPERM: a user namespace may not mount it where the outer /proc is partly covered, as in "
        "containers",
    ),
    15: ("making a path read-only", ""),
    16: ("hiding a path", ""),
    17: ("setting the host name", "this needs the uts namespace, and root or the user namespace"),
    18: ("starting a session", ""),
    19: ("dropping capabilities", ""),
    20: ("setting no_new_privs", ""),
    21: ("closing descriptors", ""),
    22: ("starting the init of the box", "EAGAIN: pids_limit leaves no room; the init takes one"),
    24: ("joining the v2 cgroup", "ENODEV: the box was removed by somebody else"),
    25: ("forbidding user namespaces inside", ""),
}
_EXEC = 23
_LOOK = 100
"""Milliseconds between looks whether a start is still wanted."""


@cache
def launcher_path() -> str:
    """The launcher executable of this installation."""
    path = os.path.join(os.path.dirname(__file__), "launcher")
    if not os.path.exists(path):
        with suppress(ImportError):  # who may not read the installation cannot import either
            from importlib.resources import files  # noqa: PLC0415

            path = str(files("cgroupkit.sandbox") / "launcher")  # an editable installation
    if not os.access(path, os.X_OK):
        raise LaunchError(
            errno.ENOENT,
            f"the launcher {path} is missing or not executable: install cgroupkit with pip, which "
            "builds it (a C compiler is needed)",
        )
    return path


class Launch:
    """A launcher at work: the process, and the pipe on which it reports that it failed."""

    def __init__(self, process: subprocess.Popen[Any], report: int, program: Any) -> None:
        self.process = process
        self._report = report
        self._program = program

    def confirm(self, *, wait: bool) -> None:
        """Raise why the program could not be run, if so; *wait* until that is known."""
        if not wait:
            os.set_blocking(self._report, False)
        try:
            failure = os.read(self._report, _REPORT.size)
        except BlockingIOError:
            return
        if len(failure) == _REPORT.size:
            stage, index, number = _REPORT.unpack(failure)
            raise _error(stage, index, number, self._program)

    def answers(self, unless: Callable[[], bool]) -> bool:
        """Wait until :meth:`confirm` has an answer; False if *unless* came before one."""
        poller = select.poll()
        poller.register(self._report, select.POLLIN)
        while not poller.poll(_LOOK):
            if unless() and not poller.poll(0):
                return False
        return True

    def begun(self) -> subprocess.Popen[Any]:
        """The process, when the program runs. Raises why it could not be run, and nothing is left."""
        try:
            self.confirm(wait=True)
        except BaseException:
            self.abandon()
            raise
        self.close()
        return self.process

    def abandon(self) -> None:
        """End the launcher, and with it the program; close what is open."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                with suppress(OSError):  # unwritten input
                    stream.close()
        self.close()

    def close(self) -> None:
        fd, self._report = self._report, -1
        if fd >= 0:
            os.close(fd)


def start(
    options: Sequence[str], command: Sequence[Any], pass_fds: Sequence[int], **kwargs: Any
) -> Launch:
    """Popen the launcher on *command*."""
    launcher = launcher_path()
    report, status = _pipe()
    try:
        keep = [f"--keep={fd}" for fd in pass_fds]
        argv = [launcher, f"--status={status}", *options, *keep, "--", *command]
        process = subprocess.Popen(argv, pass_fds=(*pass_fds, status), **kwargs)
    except BaseException:
        os.close(report)
        raise
    finally:
        os.close(status)
    return Launch(process, report, command[0])


def _pipe() -> tuple[int, int]:
    """A pipe that does not take the numbers 0 to 2, which may be free in a daemon."""
    ends = os.pipe2(os.O_CLOEXEC)
    if min(ends) > 2:
        return ends
    try:
        reader = fcntl.fcntl(ends[0], fcntl.F_DUPFD_CLOEXEC, 3)
        return reader, fcntl.fcntl(ends[1], fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        for end in ends:
            os.close(end)


def _error(stage: int, index: int, number: int, program: Any) -> LaunchError:
    if stage == _EXEC:
        kinds: dict[int, type[LaunchError]] = {
            errno.ENOENT: ProgramNotFoundError,
            errno.ENOTDIR: ProgramNotFoundError,
            errno.EACCES: ProgramAccessError,
            errno.EPERM: ProgramAccessError,
        }
        message = f"cannot run {os.fspath(program)!r}: {errno_name(number)}"
        if number == errno.ENOENT:
            message += ": no such program, or the interpreter in its first line is missing"
        return kinds.get(number, LaunchError)(number, message, program)
    doing, hint = _STAGES.get(stage, (f"at stage {stage}", ""))
    return LaunchError(
        number,
        f"the launcher failed when {doing} (item {index}): {errno_name(number)}"
        + (f". {hint}" if hint else ""),
    )
