"""Stats: what is known of one cgroup at one moment, under v2's names on both versions."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import attrs

from cgroupkit.controllers import (
    Controller,
    Core,
    Cpu,
    CpuMax,
    CpuStat,
    Io,
    IoDevice,
    Memory,
    MemoryEvents,
    MemoryStat,
    Pids,
    Pressure,
)
from cgroupkit.controllers.base import peek
from cgroupkit.controllers.pids import PidsEvents
from cgroupkit.errors import UnsupportedError

if TYPE_CHECKING:
    from cgroupkit.cgroup import Cgroup

T = TypeVar("T")
USER_HZ = os.sysconf("SC_CLK_TCK")


@attrs.frozen(kw_only=True)
class MemoryStats:
    """Bytes; None where unknown or, for limits, not set."""

    current: int | None = None
    peak: int | None = None
    max: int | None = None
    swap_current: int | None = None
    swap_max: int | None = None
    events: MemoryEvents = MemoryEvents()
    stat: MemoryStat = MemoryStat()


@attrs.frozen(kw_only=True)
class PidsStats:
    """Tasks; None where unknown or, for max, not set."""

    current: int | None = None
    peak: int | None = None
    max: int | None = None
    events: PidsEvents = PidsEvents()


@attrs.frozen(kw_only=True)
class PressureStats:
    """PSI by resource; None where the kernel does not account for it here (on v1 alone, always)."""

    cpu: Pressure | None = None
    memory: Pressure | None = None
    io: Pressure | None = None
    irq: Pressure | None = None


@attrs.frozen(kw_only=True)
class HostCpu:
    """The machine's CPU time, the yardstick of ``docker stats``."""

    usage_usec: int
    """All of user, nice, system, idle, iowait, irq and softirq in /proc/stat."""
    online: int


@attrs.frozen(kw_only=True)
class Stats:
    """One cgroup, descendants included, at the moment *time_ns*. None is not known on this kernel."""

    time_ns: int
    """time.monotonic_ns() at the reading."""
    cpu: CpuStat = CpuStat()
    cpu_max: CpuMax | None = None
    memory: MemoryStats = MemoryStats()
    pids: PidsStats = PidsStats()
    io: Mapping[str, IoDevice] | None = None
    pressure: PressureStats = PressureStats()
    host_cpu: HostCpu | None = None
    inodes: tuple[int, ...] = ()
    """Of its directories: a cgroup made anew under the same name has others. Known to Samplers only."""

    def cpu_percent(self, before: Stats) -> float | None:
        """CPU use since *before* as ``docker stats`` has it: 100 is one CPU.

        (CPU time used / the machine's CPU time) x online CPUs x 100.
        """
        if self.cpu.usage_usec is None or before.cpu.usage_usec is None:
            return None
        if self.host_cpu is None or before.host_cpu is None:
            return None
        used = self.cpu.usage_usec - before.cpu.usage_usec
        whole = self.host_cpu.usage_usec - before.host_cpu.usage_usec
        if used <= 0 or whole <= 0:
            return 0.0
        return used / whole * self.host_cpu.online * 100

    @property
    def working_set(self) -> int | None:
        """Memory in use less inactive page cache, as ``docker stats`` and the kubelet count it."""
        current, inactive = self.memory.current, self.memory.stat.inactive_file or 0
        if current is None:
            return None
        return current - inactive if inactive < current else current

    def memory_percent(self, limit: int) -> float | None:
        """Working set as a percentage of *limit* bytes."""
        used = self.working_set
        return None if used is None or not limit else used / limit * 100


def snapshot(cgroup: Cgroup) -> Stats:
    """Read all that is known of *cgroup* now."""
    memory = controller_of(cgroup, Memory)
    pids = controller_of(cgroup, Pids)
    return Stats(
        time_ns=time.monotonic_ns(),
        cpu=cpu_stat(cgroup),
        cpu_max=peek(controller_of(cgroup, Cpu), Cpu.max),
        memory=MemoryStats(
            current=peek(memory, Memory.current),
            peak=peek(memory, Memory.peak),
            max=peek(memory, Memory.max),
            swap_current=peek(memory, Memory.swap_current),
            swap_max=peek(memory, Memory.swap_max),
            events=peek(memory, Memory.events) or MemoryEvents(),
            stat=peek(memory, Memory.stat) or MemoryStat(),
        ),
        pids=PidsStats(
            current=peek(pids, Pids.current),
            peak=peek(pids, Pids.peak),
            max=peek(pids, Pids.max),
            events=peek(pids, Pids.events) or PidsEvents(),
        ),
        io=peek(controller_of(cgroup, Io), Io.stat),
        pressure=_pressure(cgroup),
        host_cpu=host_cpu(),
    )


C = TypeVar("C", bound=Controller)


def controller_of(cgroup: Cgroup, controller: type[C]) -> C | None:
    """The controller, or None where this machine does not have it."""
    try:
        found = cgroup.controller(controller.name)
    except UnsupportedError:
        return None
    return found if isinstance(found, controller) else None


def cpu_stat(cgroup: Cgroup) -> CpuStat:
    """CPU time; known even where only v1's cpuacct, or v2 without the cpu controller, is there."""
    cpu = controller_of(cgroup, Cpu) or _on_v2(cgroup, Cpu)
    return peek(cpu, Cpu.stat) or CpuStat()


def _pressure(cgroup: Cgroup) -> PressureStats:
    """v2 accounts for pressure in every cgroup, on a hybrid machine too."""
    return PressureStats(
        cpu=peek(_on_v2(cgroup, Cpu), Cpu.pressure),
        memory=peek(_on_v2(cgroup, Memory), Memory.pressure),
        io=peek(_on_v2(cgroup, Io), Io.pressure),
        irq=peek(_on_v2(cgroup, Core), Core.irq_pressure),
    )


def _on_v2(cgroup: Cgroup, controller: type[C]) -> C | None:
    """The files of *controller* that v2 has in every cgroup, wherever the controller itself is."""
    first = cgroup.branches[0]
    if first.version == 1 or (first.is_root and not all(b.is_root for b in cgroup.branches)):
        return None
    return controller(2, first.directory, cgroup.controller)


def host_cpu() -> HostCpu | None:
    """The first line of /proc/stat."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:8]]
    except (OSError, ValueError):
        return None
    return HostCpu(usage_usec=sum(ticks) * 1_000_000 // USER_HZ, online=os.cpu_count() or 1)
