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
    events: MemoryEvents | None = None
    stat: MemoryStat | None = None


@attrs.frozen(kw_only=True)
class PidsStats:
    """Tasks; None where unknown or, for max, not set."""

    current: int | None = None
    peak: int | None = None
    max: int | None = None
    events: PidsEvents | None = None


@attrs.frozen(kw_only=True)
class PressureStats:
    """PSI by resource; None where the kernel does not account for it here (always on v1)."""

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
    cpu: CpuStat | None = None
    cpu_max: CpuMax | None = None
    memory: MemoryStats | None = None
    pids: PidsStats | None = None
    io: Mapping[str, IoDevice] | None = None
    pressure: PressureStats = PressureStats()
    host_cpu: HostCpu | None = None

    def cpu_percent(self, before: Stats) -> float | None:
        """CPU use since *before* as ``docker stats`` has it: 100 is one CPU.

        (CPU time used / the machine's CPU time) x online CPUs x 100.
        """
        if not (self.cpu and before.cpu and self.host_cpu and before.host_cpu):
            return None
        if self.cpu.usage_usec is None or before.cpu.usage_usec is None:
            return None
        used = self.cpu.usage_usec - before.cpu.usage_usec
        whole = self.host_cpu.usage_usec - before.host_cpu.usage_usec
        if used <= 0 or whole <= 0:
            return 0.0
        return used / whole * self.host_cpu.online * 100

    @property
    def working_set(self) -> int | None:
        """Memory in use less inactive page cache, as ``docker stats`` and the kubelet count it."""
        memory = self.memory
        if memory is None or memory.current is None:
            return None
        inactive = (memory.stat.inactive_file or 0) if memory.stat else 0
        return memory.current - inactive if inactive < memory.current else memory.current

    def memory_percent(self, limit: int) -> float | None:
        """Working set as a percentage of *limit* bytes."""
        used = self.working_set
        return None if used is None or not limit else used / limit * 100


def snapshot(cgroup: Cgroup) -> Stats:
    """Read all that is known of *cgroup* now."""
    cpu = controller_of(cgroup, Cpu)
    memory = controller_of(cgroup, Memory)
    pids = controller_of(cgroup, Pids)
    io = controller_of(cgroup, Io)
    core = controller_of(cgroup, Core)
    return Stats(
        time_ns=time.monotonic_ns(),
        cpu=cpu_stat(cgroup),
        cpu_max=peek(cpu, Cpu.max),
        memory=_memory(memory) if memory else None,
        pids=_pids(pids) if pids else None,
        io=peek(io, Io.stat),
        pressure=PressureStats(
            cpu=peek(cpu, Cpu.pressure),
            memory=peek(memory, Memory.pressure),
            io=peek(io, Io.pressure),
            irq=peek(core, Core.irq_pressure),
        ),
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


def cpu_stat(cgroup: Cgroup) -> CpuStat | None:
    """CPU time; known even where only v1's cpuacct, or v2 without the cpu controller, is there."""
    cpu = controller_of(cgroup, Cpu)
    if cpu is not None:
        return peek(cpu, Cpu.stat)
    unified = cgroup.branches[0]
    if unified.version == 2:
        return peek(Cpu(2, unified.directory, cgroup.controller), Cpu.stat)
    return None


def _memory(memory: Memory) -> MemoryStats:
    return MemoryStats(
        current=peek(memory, Memory.current),
        peak=peek(memory, Memory.peak),
        max=peek(memory, Memory.max),
        swap_current=peek(memory, Memory.swap_current),
        swap_max=peek(memory, Memory.swap_max),
        events=peek(memory, Memory.events),
        stat=peek(memory, Memory.stat),
    )


def _pids(pids: Pids) -> PidsStats:
    return PidsStats(
        current=peek(pids, Pids.current),
        peak=peek(pids, Pids.peak),
        max=peek(pids, Pids.max),
        events=peek(pids, Pids.events),
    )


def host_cpu() -> HostCpu | None:
    """The first line of /proc/stat."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:8]]
    except (OSError, ValueError):
        return None
    return HostCpu(usage_usec=sum(ticks) * 1_000_000 // USER_HZ, online=os.cpu_count() or 1)
