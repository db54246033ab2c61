"""One cgroup as the exporters tell about it, and what is remembered of it for the next time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs
import psutil

from cgroupkit.cgroup import Cgroup
from cgroupkit.containers import Container
from cgroupkit.controllers import Core, Cpu, IoDevice
from cgroupkit.errors import CgroupKitError
from cgroupkit.network import Interface
from cgroupkit.stats import Stats, controller_of, without_roots

_TRIES = 3


@attrs.frozen(kw_only=True)
class Row:
    """What one sweep found out about one cgroup."""

    cgroup: Cgroup
    path: str
    """As in /proc/PID/cgroup, in text that every protocol takes."""
    stats: Stats
    """Counters that do not go backwards."""
    minor_faults: int | None = None
    cores: Mapping[str, float] = attrs.field(factory=dict)
    """CPUs in use since the sweep before, by mode: ``user`` and ``system``."""
    processes: int | None = None
    """In this very cgroup, not in those below; of Sweepers that count them."""
    container: Container | None = None
    name: str | None = None
    image: str | None = None
    started: float | None = None
    """When the container's first process was started, in seconds since 1970."""
    disks: Mapping[str, IoDevice] = attrs.field(factory=dict)
    """By the disk's name, ``sda``, or by its number where it has none."""
    network: Mapping[str, Interface] = attrs.field(factory=dict)
    """By interface: of the container that was first in a network namespace of its own."""

    @property
    def uptime(self) -> float | None:
        """Seconds since it was started."""
        return None if self.started is None else max(time.time() - self.started, 0)


@attrs.define
class Known:
    """What is kept of a cgroup between two sweeps."""

    inodes: tuple[int, ...]
    """Which cgroup of that name it is."""
    container: Container | None = None
    name: str | None = None
    image: str | None = None
    started: float | None = None
    tries: int = 0
    cpu: tuple[int, int] = (0, 0)
    minor: int = 0
    before: tuple[int, int, int] | None = None
    """Nanoseconds, and user and system time then: what *cores* are counted from."""

    @property
    def wants(self) -> bool:
        """Whether there may be more to be found out: the first process comes after the cgroup, and
        an engine may write its state a moment later."""
        return self.tries < _TRIES and None in (self.container, self.name, self.started)

    def learn(self, container: Container | None) -> None:
        """What the engine's state and the kernel tell."""
        self.tries += 1
        self.container = container
        if container is None:
            return
        self.name = printable(container.name)
        self.image = printable(container.image)
        self.started = started(container)

    def row(self, cgroup: Cgroup, stats: Stats, **more: Any) -> Row:
        """*more*: what is read besides."""
        steady = self._steady(stats)
        return Row(
            cgroup=cgroup,
            path=printable(cgroup.name) or "",
            stats=steady,
            minor_faults=self._minor(stats),
            cores=self._cores(steady),
            container=self.container,
            name=self.name,
            image=self.image,
            started=self.started,
            **more,
        )

    def _steady(self, stats: Stats) -> Stats:
        """v1's user and system time are shares of the usage, one of which may shrink.

        A counter that goes back is a restart to those who read it. So neither does, and the sum
        stays the usage, as the kernel has it on v2 (kernel/sched/cputime.c, cputime_adjust).
        """
        usage, user, system = stats.cpu.usage_usec, stats.cpu.user_usec, stats.cpu.system_usec
        if usage is None or user is None or system is None:
            return stats
        before_user, before_system = self.cpu
        if usage < before_user + before_system:  # it was set back
            before_user = before_system = 0
        if user < before_user:
            user, system = before_user, usage - before_user
        elif system < before_system:
            user, system = usage - before_system, before_system
        self.cpu = user, system
        if user == stats.cpu.user_usec:
            return stats
        return attrs.evolve(stats, cpu=attrs.evolve(stats.cpu, user_usec=user, system_usec=system))

    def _cores(self, stats: Stats) -> dict[str, float]:
        """Over a second at least, if there are two who ask in turn."""
        user, system, before = stats.cpu.user_usec, stats.cpu.system_usec, self.before
        if user is None or system is None:
            return {}
        now = (stats.time_ns, user, system)
        if before is None or user < before[1] or system < before[2]:
            self.before = now
            return {}
        passed = (now[0] - before[0]) / 1e3
        if passed >= 1e6:
            self.before = now
        if passed <= 0:
            return {}
        return {"user": (user - before[1]) / passed, "system": (system - before[2]) / passed}

    def _minor(self, stats: Stats) -> int | None:
        """All page faults but the major ones, of which the kernel counts one a moment earlier."""
        every, major = stats.memory.stat.pgfault, stats.memory.stat.pgmajfault
        if every is None or major is None:
            return None
        self.minor = max(self.minor, every - major)
        return self.minor


def printable(text: str | None) -> str | None:
    """Names in cgroupfs may be any bytes."""
    return None if text is None else os.fsencode(text).decode("utf-8", "backslashreplace")


def processes(cgroup: Cgroup) -> int | None:
    """How many processes are in this very cgroup; None where that is not told.

    Not part of Stats: the kernel gives a long list in pieces, which no single read(2) takes.
    """
    inside = without_roots(cgroup)
    home: Any = controller_of(inside, Cpu) or inside.core
    try:
        return len(Core(home.version, home.directory, cgroup.controller).procs)
    except CgroupKitError:
        return None


def started(container: Container) -> float | None:
    """The oldest process is the container's first: when that ends, so does the container."""
    times: list[float] = []
    with suppress(CgroupKitError, OSError):
        for pid in container.pids:
            with suppress(psutil.Error):
                times.append(psutil.Process(pid).create_time())
    return min(times, default=None)
