"""What ``docker update`` refuses, besides what cannot be meant at all (moby, daemon/daemon_unix.go)."""

from __future__ import annotations

import os

from cgroupkit.cgroup import Cgroup
from cgroupkit.controllers import Cpuset, peek
from cgroupkit.errors import InvalidValueError, UnsupportedError
from cgroupkit.resources import Resources
from cgroupkit.units import format_bytes, format_ids

MEMORY_MIN = 6 << 20
"""Bytes that an engine needs inside to start a container."""


def check(wanted: Resources, cgroup: Cgroup) -> None:
    """Raise :class:`InvalidValueError` for what Docker would not do to a container."""
    for option in ("memory", "memory_reservation", "kernel_memory"):
        size = getattr(wanted, option)
        if isinstance(size, int) and 0 < size < MEMORY_MIN:
            raise InvalidValueError(
                f"{option}={size} is not valid: a container has at least {format_bytes(MEMORY_MIN)}"
            )
    cpus = os.cpu_count() or 1
    if wanted.cpus is not None and wanted.cpus > cpus:
        raise InvalidValueError(
            f"cpus={wanted.cpus} is not valid: this machine has {cpus}; give 0.01 to {cpus}"
        )
    if wanted.memory_swappiness is not None and wanted.memory_swappiness > 100:
        raise InvalidValueError(
            f"memory_swappiness={wanted.memory_swappiness} is not valid: give 0 to 100"
        )
    for option, line in {
        "cpuset_cpus": Cpuset.cpus_effective,
        "cpuset_mems": Cpuset.mems_effective,
    }.items():
        ids = getattr(wanted, option)
        if ids is None:
            continue
        there = peek(_cpuset_of_all(cgroup), line)
        if there and not ids <= there:
            raise InvalidValueError(
                f"{option}={format_ids(ids)!r} is not valid: there are {format_ids(there)}"
            )


def _cpuset_of_all(cgroup: Cgroup) -> Cpuset | None:
    try:
        branch = cgroup.branch("cpuset")
    except UnsupportedError:
        return None
    return Cpuset(branch.version, branch.hierarchy.mount, cgroup.controller)
