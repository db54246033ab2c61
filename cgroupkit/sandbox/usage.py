"""What one run used: the kernel's counters, less what earlier runs in the same box had used."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.controllers import IoDevice, Memory, MemoryEvents, PeakMeter, Pids, peek
from cgroupkit.controllers.io import Io
from cgroupkit.controllers.pids import PidsEvents
from cgroupkit.errors import UnsupportedError
from cgroupkit.stats import MemoryStats, PidsStats, Stats, controller_of, cpu_stat

T = TypeVar("T")


class Meter(Closing):
    """Counts from its making on.

    Counters start at zero in a *fresh* cgroup; else they are subtracted, and a peak is known if it
    can be reset (not while others run in the box: on v1 that would reset theirs) or if it rose.
    """

    def __init__(self, cgroup: Cgroup, *, fresh: bool) -> None:
        self._cgroup = cgroup
        self._peak: PeakMeter | None = None
        self._before = None if fresh else _read(cgroup)
        memory = controller_of(cgroup, Memory)
        if not fresh and memory is not None and not (memory.version == 1 and cgroup.procs):
            try:
                self._peak = memory.peak_meter()
            except UnsupportedError:
                self._peak = None

    def read(self) -> Stats:
        now = _read(self._cgroup)
        if self._before is None:
            return now
        return _difference(now, self._before, self._peak.read() if self._peak else None)

    def close(self) -> None:
        if self._peak:
            self._peak.close()


def _read(cgroup: Cgroup) -> Stats:
    """The counters and peaks; what describes the moment (current, stat) means nothing afterwards."""
    memory = controller_of(cgroup, Memory)
    pids = controller_of(cgroup, Pids)
    return Stats(
        time_ns=time.monotonic_ns(),
        cpu=cpu_stat(cgroup),
        memory=MemoryStats(
            peak=peek(memory, Memory.peak),
            max=peek(memory, Memory.max),
            events=peek(memory, Memory.events) or MemoryEvents(),
        ),
        pids=PidsStats(
            peak=peek(pids, Pids.peak),
            max=peek(pids, Pids.max),
            events=peek(pids, Pids.events) or PidsEvents(),
        ),
        io=peek(controller_of(cgroup, Io), Io.stat),
    )


def _difference(now: Stats, before: Stats, peak: int | None) -> Stats:
    memory, pids = now.memory, now.pids
    if peak is None and memory.peak != before.memory.peak:
        peak = memory.peak
    return attrs.evolve(
        now,
        cpu=_minus(now.cpu, before.cpu),
        memory=attrs.evolve(memory, peak=peak, events=_minus(memory.events, before.memory.events)),
        pids=attrs.evolve(
            pids,
            peak=pids.peak if pids.peak != before.pids.peak else None,
            events=_minus(pids.events, before.pids.events),
        ),
        io=_io(now.io, before.io),
    )


def _io(
    now: Mapping[str, IoDevice] | None, before: Mapping[str, IoDevice] | None
) -> Mapping[str, IoDevice] | None:
    if now is None or before is None:
        return now
    return {device: _minus(used, before.get(device)) for device, used in now.items()}


def _minus(now: T, before: T | None) -> T:
    """A record of counters less an earlier one."""
    if now is None or before is None:
        return now
    record: Any = now
    changes: dict[str, Any] = {}
    for field in attrs.fields(type(record)):
        new, old = getattr(now, field.name), getattr(before, field.name)
        if isinstance(new, int) and isinstance(old, int):
            changes[field.name] = new - old
    changed: T = attrs.evolve(record, **changes)
    return changed
