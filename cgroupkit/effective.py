"""What a process may really use: the tightest of the limits that it and all above it have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Generic, TypeVar

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.controllers import Controller, Cpu, Cpuset, Memory, peek
from cgroupkit.errors import NotFoundError, ProcessGoneError, UnsupportedError
from cgroupkit.members import checked
from cgroupkit.tree import Branch

T = TypeVar("T")
C = TypeVar("C", bound=Controller)


@attrs.frozen
class Effective(Generic[T]):
    """A limit in force, and what sets it."""

    value: T
    by: str
    """The interface file, or ``machine`` or ``affinity``."""
    cgroup: Cgroup | None = None
    """The cgroup that decides; None where it is not a cgroup."""
    visible: bool = True
    """Whether the process's own cgroup could be looked at; if not, there may be a tighter limit."""


def effective_memory_limit(pid: int | None = None) -> Effective[int]:
    """Bytes: the least of memory.max of the process's cgroup and of those above, or what there is.

    *pid* is this process by default. Only what is mounted here can be seen: of cgroups above the
    mount, or above the top of a cgroup namespace, v1 still counts the limit (memory.stat,
    hierarchical_memory_limit), and v2 says nothing. Where the process's own cgroup cannot be seen
    (no cgroup file system in a chroot or box; the host's mounts in a cgroup namespace of its own),
    it is the machine, and ``visible`` is False.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cgroups = list(_upwards(pid, Memory))
    best = Effective(machine, "machine", visible=bool(cgroups))
    least: Effective[int] | None = None
    for cgroup, memory in cgroups:
        limit = peek(memory, Memory.max)
        if limit is not None and limit < best.value:
            best = Effective(limit, memory.path(Memory.max.source(memory).files[0]), cgroup)
        stat = peek(memory, Memory.stat) if memory.version == 1 and least is None else None
        limit = stat.extra.get("hierarchical_memory_limit") if stat else None
        if limit is not None:
            least = Effective(limit, memory.path("memory.stat"), cgroup)
    return least if least and least.value < best.value else best


def effective_cpus(pid: int | None = None) -> Effective[frozenset[int]]:
    """The CPUs that the process may run on: its affinity, which the kernel keeps within its cpuset.

    The cgroup named is the highest one that can be seen and has no more; those below inherit it.
    """
    affinity = _affinity(pid)
    machine = os.cpu_count() or 1
    best = Effective(affinity, "affinity" if len(affinity) < machine else "machine")
    for cgroup, cpuset in _upwards(pid, Cpuset) if len(affinity) < machine else ():
        if peek(cpuset, Cpuset.cpus_effective) == affinity:
            file = Cpuset.cpus_effective.source(cpuset).files[0]
            best = Effective(affinity, cpuset.path(file), cgroup)
    return best


def effective_cpu_count(pid: int | None = None) -> Effective[float]:
    """How many CPUs' worth of time the process may use: the least of its CPUs and of all quotas.

    A number of workers from it is ``max(1, math.ceil(value))``. Quotas of cgroups that cannot be seen
    from here are not known: see :func:`effective_memory_limit`.
    """
    cpus, cgroups = effective_cpus(pid), list(_upwards(pid, Cpu))
    best: Effective[float] = Effective(float(len(cpus.value)), cpus.by, cpus.cgroup, bool(cgroups))
    for cgroup, cpu in cgroups:
        limit = peek(cpu, Cpu.max)
        if limit is not None and limit.cpus is not None and limit.cpus < best.value:
            best = Effective(limit.cpus, cpu.path(Cpu.max.source(cpu).files[0]), cgroup)
    return best


def _affinity(pid: int | None) -> frozenset[int]:
    try:
        return frozenset(os.sched_getaffinity(0 if pid is None else checked(pid)))
    except (ProcessLookupError, OverflowError):
        words = f"there is no process {pid}; it may have ended"
        raise ProcessGoneError(3, words, f"/proc/{pid}") from None


def _upwards(pid: int | None, kind: type[C]) -> Iterator[tuple[Cgroup, C]]:
    """The process's cgroup and all above it that can be seen, with their controller."""
    try:
        own = Cgroup.of(pid)
        branch: Branch | None = own.branch(kind.name)
    except (UnsupportedError, NotFoundError):  # not there, or not to be seen from here
        return
    while branch is not None:
        cgroup = Cgroup.at((branch,))
        yield cgroup, kind(branch.version, branch.directory, own.controller)
        branch = _parent(branch)


def _parent(branch: Branch) -> Branch | None:
    if branch.is_root:
        return None
    up = os.path.dirname
    return Branch(branch.hierarchy, up(branch.path) or "/", up(branch.directory))
