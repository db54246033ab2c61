"""The flags for limits: one for each field of Resources, in Docker's spelling."""

from __future__ import annotations

import argparse
from typing import Any

import attrs

from cgroupkit.resources import Resources

_REPEATED = {
    "blkio_weight_device", "device_read_bps", "device_write_bps", "device_read_iops",
    "device_write_iops", "hugepage_limits", "network_priorities", "rdma", "devices", "unified",
}  # fmt: skip
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
    "kernel_memory_tcp": ("SIZE", "limit on TCP buffers (v1)"),
    "oom_kill_disable": ("0|1", "tasks wait at the limit, instead of one being killed (v1)"),
    "memory_check_before_update": ("0|1", "refuse a memory limit below what is in use"),
    "blkio_weight_device": ("DISK:WEIGHT", "weight on one disk: /dev/sda:500"),
    "device_read_bps": ("DISK:RATE", "bytes read a second: /dev/sda:5m, /:5m; 0 for no limit"),
    "device_write_bps": ("DISK:RATE", "bytes written a second"),
    "device_read_iops": ("DISK:COUNT", "reads a second"),
    "device_write_iops": ("DISK:COUNT", "writes a second"),
    "hugepage_limits": ("SIZE:LIMIT", "huge pages of one size: 2MB:1G"),
    "network_class_id": ("CLASS", "class of packets for tc: 10:1 (v1)"),
    "network_priorities": ("NAME:PRIORITY", "priority of packets by interface: eth0:5 (v1)"),
    "rdma": ("DEVICE:KEY=COUNT", "mlx5_0:hca_handle=2,hca_object=2000"),
    "devices": ("RULE", "device nodes allowed: docker, all, 'c 1:3 rw', 'deny b 8:* w'; last wins"),
    "unified": ("FILE=TEXT", "text for a file of v2: memory.high=100M"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of :class:`Resources`; those that are by disk or name can be repeated."""
    group = parser.add_argument_group("limits")
    for field in attrs.fields(Resources):
        metavar, text = _HELP.get(field.name, ("VALUE", f"Resources.{field.name}"))
        flags = [*filter(None, [_SHORT.get(field.name)]), f"--{field.name.replace('_', '-')}"]
        action = "append" if field.name in _REPEATED else "store"
        group.add_argument(*flags, dest=field.name, metavar=metavar, help=text, action=action)


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The limits of the command line as keyword arguments; what they cannot be is refused here."""
    found = unchecked(args)
    Resources.of(found)
    return found


def unchecked(args: argparse.Namespace) -> dict[str, Any]:
    """The limits of the command line as they are written there."""
    fields = (field.name for field in attrs.fields(Resources))
    return {name: getattr(args, name) for name in fields if getattr(args, name) is not None}
