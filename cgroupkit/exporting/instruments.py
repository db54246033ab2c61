"""OpenTelemetry's metrics of containers (its semantic conventions), and cgroup.* besides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import attrs

from cgroupkit.exporting.rows import Row
from cgroupkit.exporting.sweeper import Sweep
from cgroupkit.stats import Stats

FIELDS = (
    "cpu", "cpu_max", "memory.current", "memory.max", "memory.swap_current", "memory.events",
    "memory.stat", "pids.current", "pids.max", "pids.events", "io",
    "pressure.cpu", "pressure.memory", "pressure.io",
)  # fmt: skip
"""The parts of Stats that are told about."""

Attributes = Mapping[str, str]
Point = tuple[Attributes, float | None]


@attrs.frozen
class Instrument:
    """One instrument, and its points out of a sweep."""

    name: str
    kind: Literal["counter", "updowncounter", "gauge"]
    unit: str
    description: str
    values: Callable[[Row], Iterable[Point]]
    whole: Callable[[Sweep], float] | None = None
    """In place of *values*: of the sweep itself."""

    def points(self, sweep: Sweep) -> Iterator[tuple[Attributes, float]]:
        """What is known; attributes and value."""
        if self.whole is not None:
            yield {}, self.whole(sweep)
            return
        for row in sweep.rows:
            whose = attributes(row)
            for more, value in self.values(row):
                if value is not None:
                    yield {**whose, **more}, value


def attributes(row: Row) -> dict[str, str]:
    """Whose figures they are."""
    found = {"cgroup.path": row.path}
    if row.container is not None:
        found["container.id"] = row.container.id
        if row.name is not None:
            found["container.name"] = row.name
    return found


def _of(get: Callable[[Stats], float | None]) -> Callable[[Row], Iterable[Point]]:
    return lambda row: [({}, get(row.stats))]


def _row(get: Callable[[Row], float | None]) -> Callable[[Row], Iterable[Point]]:
    return lambda row: [({}, get(row))]


def _usec(number: int | None) -> float | None:
    return None if number is None else number / 1e6


def _cpu_time(row: Row) -> Iterator[Point]:
    """By mode where that is known, and else the whole: never both."""
    cpu = row.stats.cpu
    if cpu.user_usec is None or cpu.system_usec is None:
        yield {}, _usec(cpu.usage_usec)
        return
    yield {"cpu.mode": "user"}, _usec(cpu.user_usec)
    yield {"cpu.mode": "system"}, _usec(cpu.system_usec)


def _cpu_usage(row: Row) -> Iterator[Point]:
    for mode, cores in row.cores.items():
        yield {"cpu.mode": mode}, cores


def _available(stats: Stats) -> float | None:
    """Without a limit there is no such number."""
    if stats.memory.max is None or stats.working_set is None:
        return None
    return max(stats.memory.max - stats.working_set, 0)


def _disks(row: Row) -> Iterator[Point]:
    for disk, device in row.disks.items():
        for direction, number in (("read", device.rbytes), ("write", device.wbytes)):
            yield {"system.device": disk, "disk.io.direction": direction}, number


def _network(row: Row) -> Iterator[Point]:
    for name, found in row.network.items():
        for direction, number in (("receive", found.rx_bytes), ("transmit", found.tx_bytes)):
            yield {"network.interface.name": name, "network.io.direction": direction}, number


def _faults(row: Row) -> Iterator[Point]:
    yield {"system.paging.fault.type": "major"}, row.stats.memory.stat.pgmajfault
    yield {"system.paging.fault.type": "minor"}, row.minor_faults


def _limits(row: Row) -> Iterator[Point]:
    for limit in ("high", "max"):
        yield {"cgroup.memory.limit.kind": limit}, getattr(row.stats.memory.events, limit)


def _pressure(resource: str) -> Callable[[Row], Iterable[Point]]:
    def get(row: Row) -> Iterator[Point]:
        pressure = getattr(row.stats.pressure, resource)
        for kind in ("some", "full"):
            stall = getattr(pressure, kind, None)
            yield {"cgroup.pressure.kind": kind}, _usec(stall.total) if stall else None

    return get


def _nothing(row: Row) -> Iterable[Point]:
    return ()


_C: Literal["counter"] = "counter"
_U: Literal["updowncounter"] = "updowncounter"
_G: Literal["gauge"] = "gauge"
INSTRUMENTS = (
    Instrument("container.cpu.time", _C, "s", "CPU time used.", _cpu_time),
    Instrument("container.cpu.usage", _G, "{cpu}", "CPUs in use since the last time.", _cpu_usage),
    Instrument("container.memory.usage", _U, "By", "Memory in use, page cache included.",
               _of(lambda s: s.memory.current)),
    Instrument("container.memory.available", _U, "By", "Memory limit less the working set.",
               _of(_available)),
    Instrument("container.memory.rss", _U, "By", "Anonymous memory.",
               _of(lambda s: s.memory.stat.anon)),
    Instrument("container.memory.working_set", _U, "By", "Memory in use less inactive page cache.",
               _of(lambda s: s.working_set)),
    Instrument("container.paging.faults", _C, "{fault}", "Page faults.", _faults),
    Instrument("container.disk.io", _C, "By", "Bytes read from and written to disks.", _disks),
    Instrument("container.network.io", _C, "By", "Bytes of the container's own network.", _network),
    Instrument("container.uptime", _G, "s", "For how long the container has been running.",
               _row(lambda row: row.uptime)),
    Instrument("cgroup.cpu.limit", _U, "{cpu}", "CPUs that it may use.",
               _of(lambda s: s.cpu_max.cpus if s.cpu_max else None)),
    Instrument("cgroup.cpu.periods", _C, "{period}", "Periods of the CPU limit that went by.",
               _of(lambda s: s.cpu.nr_periods)),
    Instrument("cgroup.cpu.throttled.periods", _C, "{period}", "Periods in which it was throttled.",
               _of(lambda s: s.cpu.nr_throttled)),
    Instrument("cgroup.cpu.throttled.time", _C, "s", "Time that it was throttled.",
               _of(lambda s: _usec(s.cpu.throttled_usec))),
    Instrument("cgroup.memory.limit", _U, "By", "Memory that it may use.", _of(lambda s: s.memory.max)),
    Instrument("cgroup.memory.limit_hits", _C, "{hit}", "How often a memory limit was hit.", _limits),
    Instrument("cgroup.memory.oom_kills", _C, "{kill}", "Processes killed for want of memory.",
               _of(lambda s: s.memory.events.oom_kill)),
    Instrument("cgroup.memory.swap.usage", _U, "By", "Swap in use.",
               _of(lambda s: s.memory.swap_current)),
    Instrument("cgroup.pids.count", _U, "{task}", "Tasks.", _of(lambda s: s.pids.current)),
    Instrument("cgroup.pids.limit", _U, "{task}", "Most tasks there may be.",
               _of(lambda s: s.pids.max)),
    Instrument("cgroup.pids.limit_hits", _C, "{hit}", "Forks refused.",
               _of(lambda s: s.pids.events.max)),
    *(
        Instrument(f"cgroup.{resource}.pressure", _C, "s", f"Time of waiting for {resource}.",
                   _pressure(resource))
        for resource in ("cpu", "memory", "io")
    ),
    Instrument("cgroupkit.sweep.duration", _G, "s", "How long the cgroups were read.", _nothing,
               lambda sweep: sweep.seconds),
    Instrument("cgroupkit.sweep.cgroups", _G, "{cgroup}", "Cgroups that were read.", _nothing,
               lambda sweep: len(sweep.rows)),
    Instrument("cgroupkit.sweep.left_out", _G, "{cgroup}", "Cgroups that ended, or with no time left.",
               _nothing, lambda sweep: sweep.left_out),
    Instrument("cgroupkit.sweep.failed", _G, "1", "1 if time ran out or something could not be read.",
               _nothing, lambda sweep: int(sweep.failed)),
    Instrument("cgroupkit.descriptors", _G, "{file}", "Files that are kept open.", _nothing,
               lambda sweep: sweep.descriptors),
)  # fmt: skip
"""All that is exported; what this kernel does not know has no point, rather than 0."""
