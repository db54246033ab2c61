"""Sandbox: a cgroup for one block of code, commands run inside it, and its certain end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any, Self, Unpack

from cgroupkit import delegation, tree
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import InvalidValueError
from cgroupkit.options import Options
from cgroupkit.plan import apply
from cgroupkit.resources import Resources
from cgroupkit.sandbox import leftovers
from cgroupkit.sandbox.isolation import Isolate, isolation
from cgroupkit.sandbox.launch import Launch, launcher_path, start
from cgroupkit.sandbox.outcome import Done, Verdict
from cgroupkit.sandbox.supervise import RestartPolicy, Supervised, check_streams
from cgroupkit.sandbox.usage import Meter
from cgroupkit.stats import Stats

Argv = Sequence[str | bytes | os.PathLike[str]]

_PAUSE = 0.1
"""Seconds after which a box that was killed is killed again: somebody may have come in since."""
_PATIENCE = 5.0
"""Seconds that the supervisor may take to end when all inside are dead."""

_swept: set[int] = set()


class Sandbox:
    """Limits and namespaces for the commands of one ``with`` block.

    The options are those of :class:`Resources`; besides, *isolate* names what is walled off
    (namespaces, or the presets "process" and "strict"), *hostname* the host name inside (uts), and
    *parent* an absolute cgroup path to create the box in. Swap is off unless *memory_swap* allows
    it, so that a box that needs too much memory ends at once.

    Leaving the block ends every process inside and removes the cgroups; so does the death of the
    calling process, even by SIGKILL. Raises :class:`InvalidValueError` for bad options here, and on
    entering :class:`DelegationError` where cgroups may not be created, :class:`FileError` where the
    kernel refuses a limit.
    """

    def __init__(
        self,
        *,
        isolate: Isolate = (),
        hostname: str | None = None,
        parent: str | None = None,
        **resources: Unpack[Options],
    ) -> None:
        self._resources = Resources.of(resources)
        self._isolation = isolation(isolate)
        if hostname is not None and "uts" not in self._isolation.namespaces:
            raise InvalidValueError(
                f"hostname={hostname!r} needs a host name of its own: add uts to isolate"
            )
        if hostname is not None and not re.fullmatch(r"[\x21-\x7e]{1,64}", hostname):
            raise InvalidValueError(
                f"hostname={hostname!r} is not valid: give 1 to 64 printable ASCII characters"
            )
        self._hostname = hostname
        self._parent = parent
        self._cgroup: Cgroup | None = None
        self._owner = 0
        self._options: list[str] = []
        self._runs = 0
        self._swap_wanted = False
        self._frozen = False
        self._supervised: list[Supervised] = []

    def __repr__(self) -> str:
        state = self._cgroup.name if self._cgroup else "not entered"
        return f"<Sandbox {state}>"

    # The block

    def __enter__(self) -> Self:
        if self._cgroup is not None:
            raise InvalidValueError("this Sandbox is entered already; make another one")
        self._owner = os.getpid()
        self._runs = 0
        self._frozen = False
        self._swap_wanted = self._resources.memory_swap is not None
        place = delegation.place(self._parent)
        if self._owner not in _swept:
            _swept.add(self._owner)
            leftovers.sweep(place.paths)
        cgroup = self._cgroup = Cgroup.at(leftovers.new_box(place.paths))
        try:
            tree.make(cgroup.branches)
            apply(cgroup, self._without_swap(cgroup, self._resources), fresh=True)
            _end_as_one(cgroup)
        except BaseException:
            self.close()
            raise
        self._options = [
            f"--owner={self._owner}",
            *(f"--v{branch.version}={branch.directory}" for branch in cgroup.branches),
            *self._isolation.options(self._hostname),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process of the box and remove its cgroups; nothing to do when it is closed.

        If that fails (:class:`KillTimeoutError`), it can be called again. In a fork of the process
        that entered the box it does nothing: the box is not the fork's.
        """
        cgroup = self._cgroup
        if cgroup is None:
            return
        if os.getpid() == self._owner:
            for supervised in self._supervised:
                supervised.give_up()
            try:
                leftovers.end(cgroup.branches)
            except KeyboardInterrupt:  # first things first
                leftovers.end(cgroup.branches)
                self._cgroup = None
                raise
            for supervised in self._supervised:
                supervised.join()
            self._supervised.clear()
        self._cgroup = None

    @property
    def cgroup(self) -> Cgroup:
        """The box's cgroup, while the block lasts."""
        if self._cgroup is None:
            raise InvalidValueError("this Sandbox is not entered: use it in a with statement")
        return self._cgroup

    # Commands

    def wrap(self, args: Argv) -> list[str | bytes]:
        """*args* as a command line that runs in the box when any program starts it.

        For ``asyncio.create_subprocess_exec(*box.wrap(args))`` and the like. The launcher reports
        what fails on stderr and exits with 127 (no such program), 126 (not executable) or 125.
        """
        self.cgroup  # noqa: B018  (raises when the block is over)
        return [launcher_path(), *self._options, "--", *_command(args)]

    def popen(
        self,
        args: Argv,
        *,
        pass_fds: Sequence[int] = (),
        **kwargs: Any,
    ) -> subprocess.Popen[Any]:
        """Start *args* in the box: a ``subprocess.Popen`` with its keyword arguments.

        Its ``pid`` is that of the launcher's supervisor, which passes signals on and ends as the
        program ends. Raises :class:`ProgramNotFoundError` (a FileNotFoundError),
        :class:`ProgramAccessError` (a PermissionError) or :class:`LaunchError`.
        """
        self._refuse_frozen()
        return self._start(args, pass_fds, kwargs).begun()

    def _refuse_frozen(self) -> None:
        if self._frozen and self.cgroup.frozen:
            raise InvalidValueError("nothing can start in a frozen box: thaw() it first")

    def _start(self, args: Argv, pass_fds: Sequence[int], kwargs: dict[str, Any]) -> Launch:
        self.cgroup  # noqa: B018
        command = _command(args)
        _refuse(kwargs)
        self._runs += 1
        return start(self._options, command, tuple(pass_fds), **kwargs)

    def run(
        self,
        args: Argv,
        *,
        input: str | bytes | None = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        pass_fds: Sequence[int] = (),
        **kwargs: Any,
    ) -> Done:
        """Run *args* in the box and wait, as ``subprocess.run`` does, with its arguments.

        When *timeout* seconds are over everything in the box is killed, and the result has the
        verdict TIMEOUT and the output so far; no exception is raised for it. With *check* any
        verdict but OK raises :class:`RunError`, a ``subprocess.CalledProcessError``.
        """
        if input is not None:
            if kwargs.get("stdin") is not None:
                raise InvalidValueError("input and stdin exclude each other: input is the stdin")
            kwargs["stdin"] = subprocess.PIPE
        if capture_output:
            if kwargs.get("stdout") is not None or kwargs.get("stderr") is not None:
                raise InvalidValueError("capture_output excludes stdout and stderr")
            kwargs["stdout"] = kwargs["stderr"] = subprocess.PIPE
        timeout = _seconds(timeout)
        self._refuse_frozen()
        with Meter(self.cgroup, fresh=self._runs == 0) as meter:
            launch = self._start(args, pass_fds, kwargs)
            try:
                stdout, stderr, late = self._communicate(launch.process, input, timeout)
                launch.confirm(wait=False)
            except BaseException:
                launch.abandon()
                raise
            launch.close()
            usage = meter.read()
        returncode = launch.process.returncode
        verdict = verdict_of(returncode, usage, late=late)
        done = Done(args, returncode, stdout, stderr, verdict, usage)
        if check:
            done.check_returncode()
        return done

    def supervise(
        self, args: Argv, restart: str = "no", *, pass_fds: Sequence[int] = (), **kwargs: Any
    ) -> Supervised:
        """Start *args* in the box and start it again when it ends, as :meth:`popen` would.

        *restart* is Docker's: "no", "always", "unless-stopped" or "on-failure[:max]", with Docker's
        pauses: 100 ms, doubled up to a minute, begun anew after a run of 10 seconds. Leaving the
        block, or :meth:`Supervised.stop`, ends it. Raises what :meth:`popen` raises if the first
        start fails; a later one that does is a run with exit status 127, 126 or 125. A frozen box
        waits for the thaw. Streams are files, DEVNULL or None, not PIPE.
        """
        policy = RestartPolicy.parse(restart)
        check_streams(kwargs)
        self._refuse_frozen()
        fresh = self._runs == 0

        def start() -> Launch:
            return self._start(args, pass_fds, dict(kwargs))

        supervised = Supervised(self, args, policy, start, fresh)
        self._supervised.append(supervised)
        return supervised

    def _communicate(
        self, process: subprocess.Popen[Any], data: str | bytes | None, timeout: float | None
    ) -> tuple[Any, Any, bool]:
        """The output, and whether the time was up. Whatever goes wrong, nothing runs on."""
        try:
            return *process.communicate(data, timeout), False
        except subprocess.TimeoutExpired:
            self.kill()
            return *self._last_output(process), True
        except BaseException:
            self.kill()
            raise

    def _last_output(self, process: subprocess.Popen[Any]) -> tuple[Any, Any]:
        """What was written before the box was killed, and in any case an end.

        The command may just have been on its way into the box. Without isolation a program may have
        stopped the supervisor, which goes on then; a root program may have left its cgroups and hold
        the pipes open, which are closed in the end.
        """
        process.send_signal(signal.SIGCONT)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                return process.communicate(timeout=_PAUSE)
            except subprocess.TimeoutExpired:
                self.kill()
        process.kill()
        try:
            return process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired as expired:
            so_far = (expired.output, expired.stderr)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        return _decoded(so_far[0], process.stdout), _decoded(so_far[1], process.stderr)

    # The box while it runs

    def update(self, *, check: bool | None = None, **resources: Unpack[Options]) -> None:
        """Change the limits of what is running; as :meth:`Cgroup.update`."""
        wanted = Resources.of(resources)
        if wanted.memory_swap is not None:
            self._swap_wanted = True
        apply(self.cgroup, self._without_swap(self.cgroup, wanted), check=check)

    def freeze(self, timeout: float = 5) -> None:
        """Stop every process where it is; as :meth:`Cgroup.freeze`."""
        self.cgroup.freeze(timeout)
        self._frozen = True

    def thaw(self) -> None:
        """Let the processes run again."""
        self.cgroup.thaw()
        self._frozen = False

    def kill(self, timeout: float = 10) -> None:
        """SIGKILL every process of the box; as :meth:`Cgroup.kill`. It can be used again."""
        self.cgroup.kill(timeout)
        if self._frozen:
            self.thaw()

    def stats(self) -> Stats:
        """What is known of the box now; as :meth:`Cgroup.stats`."""
        return self.cgroup.stats()

    def _without_swap(self, cgroup: Cgroup, wanted: Resources) -> Resources:
        """The same limit on memory and on memory plus swap, unless swap was asked for."""
        if not isinstance(wanted.memory, int) or wanted.memory_swap is not None or self._swap_wanted:
            return wanted
        memory = cgroup.memory
        if not memory.has("memory.swap.max" if memory.version == 2 else "memory.memsw.limit_in_bytes"):
            return wanted
        return Resources.of({**wanted.asked(), "memory_swap": wanted.memory})


def _end_as_one(cgroup: Cgroup) -> None:
    """v2: when the OOM killer comes it takes the whole box, so that the verdict is about all of it."""
    if "memory" in cgroup.branches[0].hierarchy.controllers and cgroup.memory.version == 2:
        cgroup.memory.oom_group = True


def _decoded(output: bytes | None, stream: Any) -> Any:
    """TimeoutExpired has bytes, whatever the stream's mode."""
    if stream is None or output is None:
        return None if stream is None else "" if hasattr(stream, "encoding") else b""
    if not hasattr(stream, "encoding"):
        return output
    return output.decode(stream.encoding, stream.errors).replace("\r\n", "\n").replace("\r", "\n")


def verdict_of(returncode: int, usage: Stats, *, late: bool) -> Verdict:
    if late:
        return Verdict.TIMEOUT
    if usage.memory.events.oom_kill:
        return Verdict.OOM
    if returncode < 0:
        return Verdict.SIGNAL
    return Verdict.EXIT if returncode else Verdict.OK


def _command(args: Argv) -> list[str | bytes]:
    if isinstance(args, (str, bytes, os.PathLike)):
        raise InvalidValueError(
            f"args={args!r} is not valid: give a list such as ['sh', '-c', 'echo hi']"
        )
    command = [os.fspath(arg) for arg in args]
    if not command:
        raise InvalidValueError("args=[] is not valid: name the program to run")
    return command


_UNFIT = {
    "preexec_fn": "code between fork and exec is not safe in threaded programs",
    "executable": "name the program as the first of args",
    "shell": "run ['/bin/sh', '-c', command] instead",
    "user": "the launcher needs the caller's rights to enter the box; use setpriv(1) inside",
    "group": "the launcher needs the caller's rights to enter the box; use setpriv(1) inside",
    "extra_groups": "the launcher needs the caller's rights to enter the box; use setpriv(1) inside",
}


def _refuse(kwargs: dict[str, Any]) -> None:
    for name, why in _UNFIT.items():
        value = kwargs.pop(name, None)
        if value is not None and value is not False:
            raise InvalidValueError(f"{name} does not work in a box: {why}")
    if kwargs.get("close_fds") is False:
        raise InvalidValueError("close_fds=False does not work in a box: name them in pass_fds")


def _seconds(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise InvalidValueError(f"timeout={timeout!r} is not valid: give seconds, 0 or more")
    return timeout if timeout < threading.TIMEOUT_MAX else None
