"""The flags for limits: one for each field of Resources, in Docker's spelling."""

from __future__ import annotations

import argparse
from typing import Any

import attrs

from cgroupkit.resources import Resources

_SHORT = {"memory": "-m", "cpu_shares": "-c"}
_HELP = {
    "memory": ("SIZE", "hard limit on memory: 200M, 1.5G, or max for none"),
    "memory_swap": ("SIZE", "limit on memory plus swap; -1 for any amount of swap"),
    "memory_reservation": ("SIZE", "soft limit: memory.low on v2"),
    "memory_high": ("SIZE", "throttle above it (v2)"),
    "memory_swappiness": ("0-200", "how eagerly to swap (v1)"),
    "kernel_memory": ("SIZE", "limit on kernel memory (v1 before Linux 5.16)"),
    "cpus": ("NUMBER", "how many CPUs' worth of time: 1.5"),
    "cpu_shares": ("2-262144", "proportional weight; 1024 is the default"),
    "cpu_quota": ("USEC", "CPU time in each period; -1 for no limit"),
    "cpu_period": ("USEC", "the period of the quota; 100000 is the default"),
    "cpu_burst": ("USEC", "unused quota that may be saved up"),
    "cpu_idle": ("0|1", "run only when nothing else wants the CPU"),
    "cpu_rt_period": ("USEC", "the period of real-time CPU time (v1)"),
    "cpu_rt_runtime": ("USEC", "real-time CPU time in each period (v1)"),
    "cpuset_cpus": ("LIST", "CPUs to run on: 0-3,8"),
    "cpuset_mems": ("LIST", "memory nodes to allocate from: 0"),
    "pids_limit": ("NUMBER", "most processes and threads; -1 for no limit"),
    "blkio_weight": ("10-1000", "proportional weight for disks"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of :class:`Resources`."""
    group = parser.add_argument_group("limits")
    for field in attrs.fields(Resources):
        metavar, text = _HELP.get(field.name, ("VALUE", f"Resources.{field.name}"))
        flags = [*filter(None, [_SHORT.get(field.name)]), f"--{field.name.replace('_', '-')}"]
        group.add_argument(*flags, dest=field.name, metavar=metavar, help=text)


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The limits of the command line as keyword arguments; what they cannot be is refused here."""
    fields = (field.name for field in attrs.fields(Resources))
    found = {name: getattr(args, name) for name in fields if getattr(args, name) is not None}
    Resources.of(found)
    return found
