"""Stats: what is known of one cgroup at one moment, under v2's names on both versions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from cgroupkit import members
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
    high: int | None = None
    """v2 alone."""
    low: int | None = None
    min: int | None = None
    soft_limit: int | None = None
    """v1 only."""
    swap_current: int | None = None
    swap_max: int | None = None
    memsw_limit: int | None = None
    """v1 only: on memory and swap together."""
    kmem_usage: int | None = None
    """v1 only: memory of the kernel (v2: stat.kernel)."""
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
    cpu_weight: int | None = None
    cpu_shares: int | None = None
    """v1 only: what *cpu_weight* is computed from there."""
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
    now = time.monotonic_ns()
    inside = without_roots(cgroup)
    found = ((leaf.name, peek(leaf.find(inside), leaf.line)) for leaf in LEAVES.values())
    return assemble(found, time_ns=now, host_cpu=host_cpu())


def assemble(found: Iterable[tuple[str, Any]], **more: Any) -> Stats:
    """The Stats of leaves by name; None leaves a leaf as it is by default."""
    values: dict[str, dict[str, Any]] = {"": more, **{group: {} for group in GROUPS}}
    for name, value in found:
        if value is not None:
            group, _, field = name.rpartition(".")
            values[group][field] = value
    whole = values.pop("")
    whole |= {name: GROUPS[name](**inside) for name, inside in values.items()}
    return Stats(**whole)


def without_roots(cgroup: Cgroup) -> Cgroup:
    """*cgroup* as far as the numbers are its own.

    The cgroup of a process may be the root in some of v1's hierarchies: what a root counts is the
    whole machine's.
    """
    inside = members.effective(cgroup.branches)
    return cgroup if len(inside) == len(cgroup.branches) else cgroup.at(inside)


C = TypeVar("C", bound=Controller)


def controller_of(cgroup: Cgroup, controller: type[C]) -> C | None:
    """The controller, or None where this machine does not have it."""
    try:
        found = cgroup.controller(controller.name)
    except UnsupportedError:
        return None
    return found if isinstance(found, controller) else None


def cpu_stat(cgroup: Cgroup) -> CpuStat:
    """CPU time and throttling."""
    return peek(_cpu(cgroup), Cpu.stat) or CpuStat()


def on_v2(cgroup: Cgroup, controller: type[C]) -> C | None:
    """The files of *controller* that v2 has in every cgroup, wherever the controller itself is."""
    first = cgroup.branches[0]
    if first.version == 1:
        return None
    return controller(2, first.directory, cgroup.controller)


Finder = Callable[["Cgroup"], Controller | None]


@attrs.frozen
class Leaf:
    """One value of :class:`Stats`, such as ``memory.current``."""

    name: str
    line: Any  # a Reading, which as an attribute of a class would be a descriptor
    find: Finder
    """The controller to read it from; None where this machine does not have it."""


def _usual(controller: type[Controller]) -> Finder:
    return lambda cgroup: controller_of(cgroup, controller)


def _implicit(controller: type[Controller]) -> Finder:
    return lambda cgroup: on_v2(cgroup, controller)


def _cpu(cgroup: Cgroup) -> Controller | None:
    """CPU time is known even where only v1's cpuacct, or v2 without the cpu controller, is there."""
    return controller_of(cgroup, Cpu) or on_v2(cgroup, Cpu)


def _group(name: str, record: type[attrs.AttrsInstance], controller: type[Controller]) -> list[Leaf]:
    """A group whose leaves are called as the controller's attributes are."""
    return [
        Leaf(f"{name}.{field.name}", getattr(controller, field.name), _usual(controller))
        for field in attrs.fields(record)
    ]


_ALL = (
    Leaf("cpu", Cpu.stat, _cpu),
    Leaf("cpu_max", Cpu.max, _usual(Cpu)),
    Leaf("cpu_weight", Cpu.weight, _usual(Cpu)),
    Leaf("cpu_shares", Cpu.shares, _usual(Cpu)),
    *_group("memory", MemoryStats, Memory),
    *_group("pids", PidsStats, Pids),
    Leaf("io", Io.stat, _usual(Io)),
    Leaf("pressure.cpu", Cpu.pressure, _implicit(Cpu)),
    Leaf("pressure.memory", Memory.pressure, _implicit(Memory)),
    Leaf("pressure.io", Io.pressure, _implicit(Io)),
    Leaf("pressure.irq", Core.irq_pressure, _implicit(Core)),
)
LEAVES: Mapping[str, Leaf] = {leaf.name: leaf for leaf in _ALL}
GROUPS: Mapping[str, type[attrs.AttrsInstance]] = {
    "memory": MemoryStats,
    "pids": PidsStats,
    "pressure": PressureStats,
}


def host_cpu() -> HostCpu | None:
    """The first line of /proc/stat."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:8]]
    except (OSError, ValueError):
        return None
    return HostCpu(usage_usec=sum(ticks) * 1_000_000 // USER_HZ, online=os.cpu_count() or 1)
