"""What went on between two samples of a cgroup, each second."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from cgroupkit.controllers import CpuStat, IoDevice, Pressure
from cgroupkit.stats import Stats


@attrs.frozen(kw_only=True)
class Rates:
    """Figures a second; None where unknown, not chosen, or where a counter was set back meanwhile."""

    seconds: float
    """The time between the two samples, on the monotonic clock."""
    cpu_cores: float | None = None
    """CPU time used a second: 1.5 is one and a half CPUs."""
    throttled: float | None = None
    """Share of the periods of cpu.max, 0 to 1, in which it was throttled; None if there were none."""
    faults: float | None = None
    """Page faults."""
    major_faults: float | None = None
    """Page faults that waited for a disk."""
    read_bytes: float | None = None
    written_bytes: float | None = None
    reads: float | None = None
    writes: float | None = None
    cpu_pressure: float | None = None
    """Share of the time, 0 to 1, in which a task waited for a CPU (PSI, some)."""
    memory_pressure: float | None = None
    """Share of the time in which a task waited for memory."""
    io_pressure: float | None = None
    """Share of the time in which a task waited for I/O."""


@attrs.frozen(kw_only=True)
class Counters:
    """What of a sample is needed to compute the rates of the next one."""

    time_ns: int
    inodes: tuple[int, ...]
    """Which cgroup of that name it was; empty where unknown."""
    usage_usec: int | None
    nr_periods: int | None
    nr_throttled: int | None
    pgfault: int | None
    pgmajfault: int | None
    io: Mapping[str, tuple[int, int, int, int]] | None
    """By disk: bytes read and written, reads and writes."""
    stalled: tuple[int | None, ...] = (None, None, None)
    """Microseconds in which a task waited for CPU, memory and I/O."""


def counters(stats: Stats) -> Counters:
    cpu: CpuStat = stats.cpu
    memory = stats.memory.stat
    return Counters(
        time_ns=stats.time_ns,
        inodes=stats.inodes,
        usage_usec=cpu.usage_usec,
        nr_periods=cpu.nr_periods,
        nr_throttled=cpu.nr_throttled,
        pgfault=memory.pgfault,
        pgmajfault=memory.pgmajfault,
        io=None if stats.io is None else {disk: _of_disk(row) for disk, row in stats.io.items()},
        stalled=tuple([_stalled(getattr(stats.pressure, resource)) for resource in RESOURCES]),
    )


RESOURCES = ("cpu", "memory", "io")


def _stalled(pressure: Pressure | None) -> int | None:
    return None if pressure is None or pressure.some is None else pressure.some.total


def _of_disk(row: IoDevice) -> tuple[int, int, int, int]:
    return row.rbytes, row.wbytes, row.rios, row.wios


def rates(before: Stats, after: Stats) -> Rates | None:
    """What went on from *before* to *after*, two samples of one cgroup.

    None where they are not comparable: no time went by, or the cgroup was removed and made anew in
    between (known for the stats of a :class:`Sampler`). A single counter that went backwards, since
    somebody reset it, gives None for its rate.
    """
    return between(counters(before), counters(after))


def between(before: Counters, after: Counters) -> Rates | None:
    seconds = (after.time_ns - before.time_ns) / 1e9
    if seconds <= 0 or (before.inodes and after.inodes and before.inodes != after.inodes):
        return None
    cpu = _grown(before.usage_usec, after.usage_usec)
    periods = _grown(before.nr_periods, after.nr_periods)
    throttled = _grown(before.nr_throttled, after.nr_throttled)
    stalls = [_share(*both, seconds) for both in zip(before.stalled, after.stalled, strict=True)]
    disks = [_each_second(_disks_grown(before.io, after.io, column), seconds) for column in range(4)]
    return Rates(
        seconds=seconds,
        cpu_cores=None if cpu is None else cpu / 1e6 / seconds,
        throttled=min(throttled / periods, 1.0) if periods and throttled is not None else None,
        faults=_each_second(_grown(before.pgfault, after.pgfault), seconds),
        major_faults=_each_second(_grown(before.pgmajfault, after.pgmajfault), seconds),
        read_bytes=disks[0],
        written_bytes=disks[1],
        reads=disks[2],
        writes=disks[3],
        cpu_pressure=stalls[0],
        memory_pressure=stalls[1],
        io_pressure=stalls[2],
    )


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None or after < before else after - before


def _each_second(number: int | None, seconds: float) -> float | None:
    return None if number is None else number / seconds


def _share(before: int | None, after: int | None, seconds: float) -> float | None:
    """The kernel's clock and ours are read at different moments, so the share may be a bit above 1."""
    stalled = _grown(before, after)
    return None if stalled is None else min(stalled / 1e6 / seconds, 1.0)


_NOTHING = (0, 0, 0, 0)


def _disks_grown(
    before: Mapping[str, tuple[int, int, int, int]] | None,
    after: Mapping[str, tuple[int, int, int, int]] | None,
    column: int,
) -> int | None:
    """A disk is listed from its first use on, so one that is new began at 0."""
    if before is None or after is None:
        return None
    whole = 0
    for disk, row in after.items():
        grown = _grown(before.get(disk, _NOTHING)[column], row[column])
        if grown is None:
            return None
        whole += grown
    return whole
