"""Sandbox: a cgroup for one block of code, commands run inside it, and its certain end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import attrs

from cgroupkit import delegation, tree
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import CgroupKitError, InvalidValueError
from cgroupkit.resources import Options, Resources, apply
from cgroupkit.sandbox import leftovers
from cgroupkit.sandbox.isolation import Isolate, isolation
from cgroupkit.sandbox.launch import launcher_path, popen
from cgroupkit.sandbox.outcome import Done, Verdict
from cgroupkit.sandbox.usage import Meter
from cgroupkit.stats import Stats
from cgroupkit.tree import Branch

Argv = Sequence[str | bytes | os.PathLike[str]]

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
        self._hostname = hostname
        self._parent = parent
        self._cgroup: Cgroup | None = None
        self._options: list[str] = []
        self._runs = 0
        self._swap_wanted = self._resources.memory_swap is not None

    def __repr__(self) -> str:
        state = self._cgroup.name if self._cgroup else "not entered"
        return f"<Sandbox {state}>"

    # The block

    def __enter__(self) -> Self:
        if self._cgroup is not None:
            raise InvalidValueError("this Sandbox is entered already; make another one")
        place = delegation.place(self._parent)
        if os.getpid() not in _swept:
            _swept.add(os.getpid())
            leftovers.sweep(place.paths)
        name = leftovers.new_name()
        branches = tuple(
            branch
            for hierarchy, path in place.paths.items()
            if (branch := Branch.find(hierarchy, f"{path.rstrip('/')}/{name}"))
        )
        made = tree.make(branches)
        cgroup = Cgroup.at(branches)
        try:
            apply(cgroup, self._without_swap(cgroup, self._resources), fresh=True)
            _end_as_one(cgroup)
        except BaseException:
            tree.unmake(made)
            raise
        self._cgroup = cgroup
        self._runs = 0
        self._options = [
            f"--owner={os.getpid()}",
            *(f"--v{branch.version}={branch.directory}" for branch in branches),
            *self._isolation.options(self._hostname),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process of the box and remove its cgroups; nothing to do when it is closed."""
        cgroup, self._cgroup = self._cgroup, None
        if cgroup is None:
            return
        try:
            tree.remove(cgroup.branches)
        except CgroupKitError:
            leftovers.end(cgroup.branches)

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
        self.cgroup  # noqa: B018
        _refuse(kwargs)
        self._runs += 1
        return popen(self._options, _command(args), tuple(pass_fds), **kwargs)

    def run(
        self,
        args: Argv,
        *,
        input: str | bytes | None = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
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
        if timeout is not None and not timeout >= 0:
            raise InvalidValueError(f"timeout={timeout!r} is not valid: give seconds, 0 or more")
        with Meter(self.cgroup, fresh=self._runs == 0) as meter:
            process = self.popen(args, **kwargs)
            with process:
                stdout, stderr, late = self._communicate(process, input, timeout)
            usage = meter.read()
        verdict = _verdict(process.returncode, usage, late=late)
        done = Done(args, process.returncode, stdout, stderr, verdict, usage)
        if check:
            done.check_returncode()
        return done

    def _communicate(
        self, process: subprocess.Popen[Any], data: str | bytes | None, timeout: float | None
    ) -> tuple[Any, Any, bool]:
        """The output, and whether the time was up. Whatever goes wrong, nothing runs on."""
        try:
            return *process.communicate(data, timeout), False
        except subprocess.TimeoutExpired:
            self._kill_for(process)
            return *process.communicate(), True
        except BaseException:
            self._kill_for(process)
            raise

    def _kill_for(self, process: subprocess.Popen[Any]) -> None:
        try:
            self.kill()
        except CgroupKitError:
            process.kill()
            raise

    # The box while it runs

    def update(self, *, check: bool = True, **resources: Unpack[Options]) -> None:
        """Change the limits of what is running; as :meth:`Cgroup.update`."""
        wanted = Resources.of(resources)
        if wanted.memory_swap is not None:
            self._swap_wanted = True
        apply(self.cgroup, self._without_swap(self.cgroup, wanted), check=check)

    def freeze(self, timeout: float = 5) -> None:
        """Stop every process where it is; as :meth:`Cgroup.freeze`."""
        self.cgroup.freeze(timeout)

    def thaw(self) -> None:
        """Let the processes run again."""
        self.cgroup.thaw()

    def kill(self, timeout: float = 10) -> None:
        """SIGKILL every process of the box; as :meth:`Cgroup.kill`."""
        self.cgroup.kill(timeout)

    def stats(self) -> Stats:
        """What is known of the box now; as :meth:`Cgroup.stats`."""
        return self.cgroup.stats()

    def _without_swap(self, cgroup: Cgroup, wanted: Resources) -> Resources:
        """The same limit on memory and on memory plus swap, unless swap was asked for."""
        if wanted.memory is None or wanted.memory_swap is not None or self._swap_wanted:
            return wanted
        memory = cgroup.memory
        if not memory.has("memory.swap.max" if memory.version == 2 else "memory.memsw.limit_in_bytes"):
            return wanted
        return attrs.evolve(wanted, memory_swap=wanted.memory)


def _end_as_one(cgroup: Cgroup) -> None:
    """v2: when the OOM killer comes it takes the whole box, so that the verdict is about all of it."""
    if "memory" in cgroup.branches[0].hierarchy.controllers and cgroup.memory.version == 2:
        cgroup.memory.oom_group = True


def _verdict(returncode: int, usage: Stats, *, late: bool) -> Verdict:
    if late:
        return Verdict.TIMEOUT
    events = usage.memory.events if usage.memory else None
    if events and events.oom_kill:
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


def _refuse(kwargs: Mapping[str, Any]) -> None:
    for name, why in _UNFIT.items():
        if kwargs.get(name) not in (None, False):
            raise InvalidValueError(f"{name} does not work in a box: {why}")
    if kwargs.get("close_fds") is False:
        raise InvalidValueError("close_fds=False does not work in a box: name them in pass_fds")
