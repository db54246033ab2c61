"""``linux.resources`` of an OCI configuration (runtime-spec, config-linux.md): from it and to it.

What both sides can say comes back as it was, in a normal form: what asks for nothing is left out (a 0
that runc reads as "leave it alone", null, empty objects and lists, ``useHierarchy: true``), lists of
CPUs are sorted, sizes of huge pages are spelled as the kernel does, and of a device rule only what
restricts it is said. What only one side can say is an :class:`InvalidValueError` that names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from cgroupkit import convert, options
from cgroupkit.controllers.cpu import QUOTA_MAX
from cgroupkit.controllers.net_prio import PRIORITY_MAX
from cgroupkit.controllers.pids import PID_MAX
from cgroupkit.errors import InvalidValueError
from cgroupkit.oci_values import (
    Codec,
    Devices,
    Files,
    Flag,
    Number,
    NumberFlag,
    PidsLimit,
    Rdma,
    Refused,
    Rows,
    Text,
    ids,
    members,
)
from cgroupkit.options import PAGE_SIZE, UNLIMITED
from cgroupkit.units import format_ids

if TYPE_CHECKING:
    from cgroupkit.resources import Resources


@attrs.frozen
class Field:
    """The option that a field of the document is about, and how its value is spelled."""

    option: str
    codec: Codec


Fields = Mapping[str, "Field | Mapping[str, Field]"]

_INT64 = 2**63 - 1
_SIZE = Number(PAGE_SIZE, _INT64, unlimited=-1, unset=0)
_IDS = Text(ids, format_ids)
_DISK = {"major": Number(0, 2**12 - 1), "minor": Number(0, 2**20 - 1)}
_BPS = Rows(_DISK, "rate", Number(1, _INT64, unlimited=0))
_IOPS = Rows(_DISK, "rate", Number(1, 2**32 - 1, unlimited=0))
_LEAF = Refused(0, "the scheduler that knew leaf weights, CFQ, left with Linux 5.0: leave it out")
_FLAT = Refused(True, "since Linux 5.11 a cgroup's limit always counts those below: leave it out")

FIELDS: Fields = {
    "memory": {
        "limit": Field("memory", _SIZE),
        "reservation": Field("memory_reservation", Number(1, _INT64, unlimited=-1, unset=0)),
        "swap": Field("memory_swap", _SIZE),
        "kernel": Field("kernel_memory", _SIZE),
        "kernelTCP": Field("kernel_memory_tcp", _SIZE),
        "swappiness": Field("memory_swappiness", Number(0, 200)),
        "disableOOMKiller": Field("oom_kill_disable", Flag()),
        "checkBeforeUpdate": Field("memory_check_before_update", Flag()),
        "useHierarchy": Field("", _FLAT),
    },
    "cpu": {
        "shares": Field("cpu_shares", Number(2, 262144, unset=0)),
        "quota": Field("cpu_quota", Number(1000, QUOTA_MAX, unlimited=-1, unset=0)),
        "burst": Field("cpu_burst", Number(0, QUOTA_MAX)),
        "period": Field("cpu_period", Number(1000, 1_000_000, unset=0)),
        "realtimeRuntime": Field("cpu_rt_runtime", Number(1, _INT64, unlimited=-1, unset=0)),
        "realtimePeriod": Field("cpu_rt_period", Number(1, _INT64, unset=0)),
        "cpus": Field("cpuset_cpus", _IDS),
        "mems": Field("cpuset_mems", _IDS),
        "idle": Field("cpu_idle", NumberFlag(0, 1)),
    },
    "blockIO": {
        "weight": Field("blkio_weight", Number(10, 1000, unset=0)),
        "leafWeight": Field("", _LEAF),
        "weightDevice": Field(
            "blkio_weight_device", Rows(_DISK, "weight", Number(10, 1000), {"leafWeight": _LEAF})
        ),
        "throttleReadBpsDevice": Field("device_read_bps", _BPS),
        "throttleWriteBpsDevice": Field("device_write_bps", _BPS),
        "throttleReadIOPSDevice": Field("device_read_iops", _IOPS),
        "throttleWriteIOPSDevice": Field("device_write_iops", _IOPS),
    },
    "pids": {"limit": Field("pids_limit", PidsLimit(1, PID_MAX, unlimited=-1))},
    "hugepageLimits": Field(
        "hugepage_limits",
        Rows({"pageSize": Text(options.page)}, "limit", Number(0, _INT64, unlimited=2**64 - 1)),
    ),
    "network": {
        "classID": Field("network_class_id", Number(1, 2**32 - 1, unset=0)),
        "priorities": Field(
            "network_priorities",
            Rows({"name": Text(options.name)}, "priority", Number(0, PRIORITY_MAX)),
        ),
    },
    "rdma": Field("rdma", Rdma()),
    "devices": Field("devices", Devices()),
    "unified": Field("unified", Files()),
}


def resources_from_oci(data: Mapping[str, Any]) -> dict[str, Any]:
    """Options for :class:`Resources` from ``config["linux"]["resources"]``, which is not changed.

    Raises :class:`InvalidValueError`, with the path of the field below resources, for what has
    another type, is out of range, cannot be expressed, or is not known.
    """
    for key, way in {
        "linux": 'config["linux"]["resources"]',
        "resources": 'linux["resources"]',
    }.items():
        if isinstance(data, Mapping) and key in data:
            raise InvalidValueError(f"this has {key!r} in it and is not linux.resources: pass {way}")
    return _read(data, "", FIELDS)


def resources_to_oci(resources: Resources) -> dict[str, Any]:
    """``linux.resources`` that asks for the same; no limit is -1, or what stands for it there.

    ``cpus`` becomes a quota over 100 ms, ``memory_high`` a file in ``unified``. Raises
    :class:`InvalidValueError` for a 0 that would be read as "leave it alone".
    """
    given = resources.asked()
    if "cpus" in given:
        given["cpu_quota"] = convert.quota_from_cpus(given.pop("cpus"))
        given["cpu_period"] = convert.DEFAULT_CPU_PERIOD
    if "memory_high" in given:
        limit, files = given.pop("memory_high"), given.get("unified", {})
        text = "max" if limit is UNLIMITED else str(limit)
        if files.get("memory.high", text) != text:
            raise InvalidValueError(
                f"memory_high={text} and unified['memory.high']={files['memory.high']!r} exclude each "
                "other: give one of them"
            )
        given["unified"] = {**files, "memory.high": text}
    return _write(given, FIELDS)


def _read(data: Any, path: str, fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, here, value in members(data, path, fields):
        field = fields[name]
        if isinstance(field, Field):
            parsed = field.codec.parse(value, here)
            if parsed is not None:
                found[field.option] = parsed
        else:
            found |= _read(value, here, field)
    return found


def _write(given: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    document = {}
    for name, field in fields.items():
        if not isinstance(field, Field):
            value = _write(given, field)
        elif field.option in given:
            value = field.codec.print(given[field.option], field.option)
        else:
            continue
        if value not in ({}, []):
            document[name] = value
    return document
