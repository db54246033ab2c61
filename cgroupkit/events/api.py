"""A watch in one line."""

from __future__ import annotations

from collections.abc import Iterable

from cgroupkit.cgroup import Cgroup
from cgroupkit.events.kinds import EventKind
from cgroupkit.events.psi import Resource
from cgroupkit.events.watching import Watch
from cgroupkit.units import Size


def watch(
    cgroups: Cgroup | Iterable[Cgroup],
    *kinds: EventKind | str,
    recursive: bool = True,
    interval: float = 0.5,
) -> Watch:
    """Watch one cgroup or several for *kinds*; without any, for all that each can tell.

    ``for event in watch(cgroup, "oom_kill"): ...`` See :meth:`Watch.add` and :class:`Watch`.
    """
    made = Watch(interval=interval)
    try:
        for cgroup in (cgroups,) if isinstance(cgroups, Cgroup) else cgroups:
            made.add(cgroup, *kinds, recursive=recursive)
    except BaseException:
        made.close()
        raise
    return made


def pressure(
    cgroup: Cgroup | None, resource: Resource, *, some: str | None = None, full: str | None = None
) -> Watch:
    """Watch the pressure on one cgroup, or with None on the machine: :meth:`Watch.add_pressure`."""
    made = Watch()
    try:
        made.add_pressure(cgroup, resource, some=some, full=full)
    except BaseException:
        made.close()
        raise
    return made


def memory_usage(cgroup: Cgroup, threshold: Size) -> Watch:
    """v1: watch memory in use cross *threshold*: :meth:`Watch.add_memory_usage`."""
    made = Watch()
    try:
        made.add_memory_usage(cgroup, threshold)
    except BaseException:
        made.close()
        raise
    return made


def memory_level(cgroup: Cgroup, level: str, *, scope: str = "") -> Watch:
    """v1: watch how hard reclaim has become: :meth:`Watch.add_memory_level`."""
    made = Watch()
    try:
        made.add_memory_level(cgroup, level, scope=scope)
    except BaseException:
        made.close()
        raise
    return made
