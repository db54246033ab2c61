"""What of a cgroup's stats is recorded, as numbers by name, and how often."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from operator import attrgetter

import attrs

from cgroupkit.stats import Stats

RESOURCES = ("cpu", "memory", "io")
DISK = ("rbytes", "wbytes", "rios", "wios")

Values = dict[str, int | None]
"""Each called by its path in :class:`Stats`; disks as io.8:0.rbytes."""


@attrs.frozen
class Pace:
    """What is read at most *hz* times a second: it changes rarely, or is dear to read."""

    hz: int
    fields: tuple[str, ...]
    values: Callable[[Stats], Values]


def _plain(*names: str) -> Callable[[Stats], Values]:
    get = attrgetter(*names)
    return lambda stats: dict(zip(names, get(stats), strict=True))


_what_for = _plain(
    "memory.swap_current", "memory.stat.anon", "memory.stat.file", "memory.stat.shmem",
    "memory.stat.kernel", "memory.stat.file_dirty", "memory.stat.file_writeback",
    "memory.stat.pgfault", "memory.stat.pgmajfault",
)  # fmt: skip
_limits = _plain(
    "memory.peak", "memory.max", "memory.high", "memory.swap_max", "pids.max", "pids.events.max"
)
_pressures = attrgetter(*RESOURCES)
_STALLS = tuple((f"pressure.{r}.some.total", f"pressure.{r}.full.total") for r in RESOURCES)


def _detail(stats: Stats) -> Values:
    found = _what_for(stats)
    for names, pressure in zip(_STALLS, _pressures(stats.pressure), strict=True):
        if pressure is not None:
            for name, stall in zip(names, (pressure.some, pressure.full), strict=True):
                found[name] = None if stall is None else stall.total
    if stats.io is not None:
        found["io.disks"] = len(stats.io)
        for disk, row in stats.io.items():
            for kind in DISK:
                found[f"io.{disk}.{kind}"] = getattr(row, kind)
    return found


def _set(stats: Stats) -> Values:
    found = _limits(stats)
    if stats.cpu_max is not None:
        found["cpu_max.quota"] = stats.cpu_max.quota
        found["cpu_max.period"] = stats.cpu_max.period
    return found


PACES = (
    Pace(
        1000,
        ("cpu", "memory.current", "memory.events", "pids.current"),
        _plain(
            "cpu.usage_usec", "cpu.user_usec", "cpu.system_usec",
            "cpu.nr_periods", "cpu.nr_throttled", "cpu.throttled_usec", "memory.current",
            "memory.events.high", "memory.events.max", "memory.events.oom_kill", "pids.current",
        ),
    ),
    Pace(
        100,
        ("memory.stat", "memory.swap_current", "io", *(f"pressure.{name}" for name in RESOURCES)),
        _detail,
    ),
    Pace(
        10,
        ("cpu_max", "memory.peak", "memory.max", "memory.high", "memory.swap_max", "pids.max",
         "pids.events"),
        _set,
    ),
)  # fmt: skip

_NAMES = {
    "cpu_max.quota", "cpu_max.period", "io.disks",
    *(name for pace in PACES for name in pace.values(Stats(time_ns=0))),
    *(name for pair in _STALLS for name in pair),
}  # fmt: skip
_OF_DISK = re.compile(rf"io\..+\.({'|'.join(DISK)})")


def check(name: str) -> None:
    """Raise KeyError if no recording has such a value, with the nearest right name."""
    if name not in _NAMES and not _OF_DISK.fullmatch(name):
        near = get_close_matches(name, _NAMES, 1)
        hint = f"; did you mean {near[0]!r}" if near else ""
        raise KeyError(f"{name!r} is not recorded{hint}; recording.names has all that is known here")
