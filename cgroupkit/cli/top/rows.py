"""Rows: what each cgroup does, out of a sample and its rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.containers import Container
from cgroupkit.sampling import Rates
from cgroupkit.stats import Stats

FIELDS = (
    "cpu", "cpu_max", "memory.current", "memory.max", "memory.swap_current", "io", "pids.current",
    "pids.max", "pressure.cpu", "pressure.memory", "pressure.io",
)  # fmt: skip
"""Of Stats, what the rows are made of."""


@attrs.frozen(kw_only=True)
class Row:
    """One cgroup, descendants included, over one interval; None is not known, or no limit."""

    name: str
    container: str | None = None
    """The container's id, if it is one; *label* is what its engine calls it."""
    label: str | None = None
    cpu_cores: float | None = None
    """CPU time used a second: 1.5 is one and a half CPUs."""
    cpu_limit: float | None = None
    """How many CPUs it may use."""
    throttled: float | None = None
    """Share of the periods, 0 to 1, in which the limit stopped it."""
    memory_current: int | None = None
    memory_max: int | None = None
    memory_percent: float | None = None
    """Of its own limit or, without one, of the machine's memory."""
    swap_current: int | None = None
    read_bytes: float | None = None
    """A second, as *written_bytes*."""
    written_bytes: float | None = None
    pids_current: int | None = None
    pids_max: int | None = None
    cpu_pressure: float | None = None
    """Share of the time, 0 to 1, in which a task waited for a CPU."""
    memory_pressure: float | None = None
    io_pressure: float | None = None

    @property
    def io(self) -> float | None:
        """Bytes read and written, a second."""
        return _sum((self.read_bytes, self.written_bytes))

    @property
    def pressure(self) -> float | None:
        """The worst of the three."""
        known = [
            p for p in (self.cpu_pressure, self.memory_pressure, self.io_pressure) if p is not None
        ]
        return max(known, default=None)


def _sum(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


NOTHING = Rates(seconds=0)


def rows(
    sample: Mapping[Cgroup, Stats],
    rates: Mapping[Cgroup, Rates],
    containers: Mapping[Cgroup, Container],
    memory: int | None,
) -> list[Row]:
    """A row for each cgroup of *sample*; *memory* is what the machine has."""
    return [
        row(cgroup.name, stats, rates.get(cgroup, NOTHING), containers.get(cgroup), memory)
        for cgroup, stats in sample.items()
    ]


def row(name: str, stats: Stats, rates: Rates, container: Container | None, memory: int | None) -> Row:
    bandwidth = stats.cpu_max.cpus if stats.cpu_max else None
    used, limit = stats.memory.current, stats.memory.max or memory
    return Row(
        name=name,
        container=container.id if container else None,
        label=container.name if container else None,
        cpu_cores=_round(rates.cpu_cores),
        cpu_limit=float(bandwidth) if bandwidth is not None else None,
        throttled=_round(rates.throttled),
        memory_current=used,
        memory_max=stats.memory.max,
        memory_percent=None if used is None or not limit else round(used / limit * 100, 2),
        swap_current=stats.memory.swap_current,
        read_bytes=_round(rates.read_bytes, 1),
        written_bytes=_round(rates.written_bytes, 1),
        pids_current=stats.pids.current,
        pids_max=stats.pids.max,
        cpu_pressure=_round(rates.cpu_pressure),
        memory_pressure=_round(rates.memory_pressure),
        io_pressure=_round(rates.io_pressure),
    )


def _round(number: float | None, digits: int = 4) -> float | None:
    return None if number is None else round(number, digits)
