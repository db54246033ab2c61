"""Tell systemd of limits that were changed in a unit of its own, so that it does not put them back.

systemd writes what it has on record to a unit's cgroup again at each daemon-reload. SetUnitProperties
(org.freedesktop.systemd1(5)) with runtime=true changes the record until the next boot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cgroupkit import names
from cgroupkit.controllers import Io
from cgroupkit.errors import CgroupKitError, DelegationError, UnsupportedError

if TYPE_CHECKING:
    from cgroupkit.cgroup import Cgroup
    from cgroupkit.resources import Resources

Property = tuple[str, tuple[str, Any]]
_INFINITY = 2**64 - 1
_SECOND = 1_000_000
_SUFFIXES = (".scope", ".service", ".slice")
_RUNNING = "/run/systemd/system"


def unit_of(cgroup: Cgroup) -> str | None:
    """The systemd unit whose own cgroup this is; None where it is none, or systemd does not run."""
    name = names.components(cgroup.name)[-1:]
    if not name or not name[0].endswith(_SUFFIXES) or not os.path.isdir(_RUNNING):
        return None
    return name[0]


def persist(cgroup: Cgroup, changed: Resources) -> None:
    """Have systemd record what *changed*, which the cgroup has already.

    Raises :class:`DelegationError` where systemd does not take it: the limits hold nevertheless.
    """
    unit = unit_of(cgroup)
    if unit is None:
        return
    properties = list(properties_of(cgroup, changed.asked()))
    if not properties:
        return
    from cgroupkit import systemd  # noqa: PLC0415

    try:
        systemd.set_unit_properties(unit, properties)
    except CgroupKitError as error:
        raise DelegationError(
            f"the limits of {cgroup.name} are changed, but systemd, whose unit it is, has the old ones "
            f"on record and will bring them back at its next daemon-reload: {error}"
        ) from None


def properties_of(cgroup: Cgroup, asked: Iterable[str]) -> Iterable[Property]:
    """systemd's properties for the options *asked*, with the values that the cgroup has now."""
    wanted = set(asked)
    for options, make in _PROPERTIES.items():
        if wanted & set(options):
            try:
                yield from make(cgroup)
            except UnsupportedError:
                continue


def _number(value: int | None) -> tuple[str, int]:
    return "t", _INFINITY if value is None else value


def _memory(cgroup: Cgroup) -> Iterable[Property]:
    name = "MemoryMax" if cgroup.memory.version == 2 else "MemoryLimit"
    yield name, _number(cgroup.memory.max)


def _memory_swap(cgroup: Cgroup) -> Iterable[Property]:
    yield "MemorySwapMax", _number(cgroup.memory.swap_max)


def _memory_low(cgroup: Cgroup) -> Iterable[Property]:
    yield "MemoryLow", _number(cgroup.memory.low)


def _memory_high(cgroup: Cgroup) -> Iterable[Property]:
    yield "MemoryHigh", _number(cgroup.memory.high)


def _pids(cgroup: Cgroup) -> Iterable[Property]:
    yield "TasksMax", _number(cgroup.pids.max)


def _cpu_max(cgroup: Cgroup) -> Iterable[Property]:
    limit = cgroup.cpu.max
    a_second = None if limit.quota is None else limit.quota * _SECOND // limit.period
    yield "CPUQuotaPerSecUSec", _number(a_second)
    yield "CPUQuotaPeriodUSec", ("t", limit.period)


def _cpu_weight(cgroup: Cgroup) -> Iterable[Property]:
    if cgroup.cpu.version == 2:
        yield "CPUWeight", ("t", cgroup.cpu.weight)
    else:
        yield "CPUShares", ("t", cgroup.cpu.shares)


def _cpuset(cgroup: Cgroup) -> Iterable[Property]:
    if cgroup.cpuset.version == 2:  # systemd leaves v1's cpuset alone
        yield "AllowedCPUs", ("ay", _bits(cgroup.cpuset.cpus))
        yield "AllowedMemoryNodes", ("ay", _bits(cgroup.cpuset.mems))


def _bits(ids: Iterable[int]) -> bytes:
    number = sum(1 << one for one in ids)
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def _io_weight(cgroup: Cgroup) -> Iterable[Property]:
    if cgroup.io.version == 2 and cgroup.io.has("io.weight"):
        yield "IOWeight", ("t", cgroup.io.weight)


def _io_max(cgroup: Cgroup) -> Iterable[Property]:
    if cgroup.io.version == 1:
        return
    limits = Io.max.source(cgroup.io).read(cgroup.io)
    for name, field in {
        "IOReadBandwidthMax": "rbps",
        "IOWriteBandwidthMax": "wbps",
        "IOReadIOPSMax": "riops",
        "IOWriteIOPSMax": "wiops",
    }.items():
        rows = [
            (f"/dev/block/{disk}", _number(getattr(limit, field))[1]) for disk, limit in limits.items()
        ]
        if rows:
            yield name, ("a(st)", rows)


_PROPERTIES: Mapping[tuple[str, ...], Callable[[Cgroup], Iterable[Property]]] = {
    ("memory",): _memory,
    ("memory_swap",): _memory_swap,
    ("memory_reservation",): _memory_low,
    ("memory_high",): _memory_high,
    ("cpus", "cpu_quota", "cpu_period"): _cpu_max,
    ("cpu_shares",): _cpu_weight,
    ("cpuset_cpus", "cpuset_mems"): _cpuset,
    ("pids_limit",): _pids,
    ("blkio_weight",): _io_weight,
    ("device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops"): _io_max,
}
