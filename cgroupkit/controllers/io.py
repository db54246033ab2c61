"""io (v1: blkio): block I/O done, and its proportional weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from cgroupkit import files
from cgroupkit.controllers.base import Controller, Joined, Reading, Setting
from cgroupkit.controllers.kinds import Kind, reading
from cgroupkit.controllers.pressure import PRESSURE
from cgroupkit.units import parse_int


@attrs.frozen(kw_only=True)
class IoDevice:
    """Bytes and operations on one device."""

    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0
    dbytes: int = 0
    dios: int = 0
    extra: Mapping[str, str] = attrs.field(factory=dict)
    """Keys of iocost, io.latency or a newer kernel, as text."""


IoStat = Mapping[str, IoDevice]
"""By device number, "8:0"."""

_FIELDS = ("rbytes", "wbytes", "rios", "wios", "dbytes", "dios")


def parse_io_stat(text: str) -> dict[str, IoDevice]:
    """io.stat; a device without figures is listed with zeros."""
    table = {}
    for device, pairs in files.nested_keyed(text):
        numbers: dict[str, Any] = {key: int(pairs.pop(key)) for key in _FIELDS if key in pairs}
        table[device] = IoDevice(**numbers, extra=pairs)
    return table


def _io_stat_v1(bytes_text: str, ios_text: str) -> dict[str, IoDevice]:
    table: dict[str, dict[str, Any]] = {}
    for text, suffix in ((bytes_text, "bytes"), (ios_text, "ios")):
        for line in text.splitlines():
            device, *rest = line.split()
            if len(rest) == 2 and rest[0] in ("Read", "Write", "Discard"):
                row = table.setdefault(device, {})
                row[rest[0][0].lower() + suffix] = int(rest[1])
    return {device: IoDevice(**row) for device, row in table.items()}


def _default_weight(text: str) -> int:
    return int(text.splitlines()[0].split()[-1])


def _weight(high: int) -> Kind[int, int | str]:
    return Kind("weight", _default_weight, lambda value, option: str(parse_int(value, option, 1, high)))


_BLKIO = ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive")


class Io(Controller, name="io"):
    """cgroup-v2.rst, "IO"; cgroup-v1/blkio-controller.rst."""

    __slots__ = ()

    stat = Reading(
        reading("bytes, count", parse_io_stat),
        v2="io.stat",
        v1=Joined(*_BLKIO, make=_io_stat_v1, optional=2),
        doc="Bytes and operations by device (v1 since 6.10: only disks that were throttled once).",
    )
    weight = Setting(
        _weight(10000),
        v2="io.weight",
        instead="v1 has io.bfq_weight",
        doc="Default proportional weight; acts where io.cost.qos is enabled.",
    )
    bfq_weight = Setting(
        _weight(1000),
        v2="io.bfq.weight",
        v1="blkio.bfq.weight",
        doc="Default proportional weight; acts on disks that use the BFQ scheduler.",
    )
    pressure = Reading(PRESSURE, v2="io.pressure", doc="PSI for I/O.")
