"""io (v1: blkio): limits on, shares of and accounting for block I/O, by disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from cgroupkit import disks, units
from cgroupkit.controllers.base import Controller, File, Joined, Reading, Setting, Source, Step, parsed
from cgroupkit.controllers.blkio import Blkio
from cgroupkit.controllers.io_stat import IO_STAT, io_stat_v1
from cgroupkit.controllers.kinds import FLAG, Kind, limit, rate, whole
from cgroupkit.controllers.pressure import PRESSURE
from cgroupkit.controllers.tables import (
    Row,
    Table,
    TableSetting,
    pairs,
    record_row,
    single,
    split,
)
from cgroupkit.units import invalid

Extra = Mapping[str, str]


@attrs.frozen(kw_only=True)
class IoMax:
    """Limits on one disk: bytes and operations a second; None is no limit."""

    rbps: int | None = None
    wbps: int | None = None
    riops: int | None = None
    wiops: int | None = None
    extra: Extra = attrs.field(factory=dict, eq=False)


@attrs.frozen(kw_only=True)
class IoLow:
    """io.low, gone since 6.10: protected rates, and the *idle* and *latency* in microseconds."""

    rbps: int | None = None
    wbps: int | None = None
    riops: int | None = None
    wiops: int | None = None
    idle: int | None = None
    latency: int | None = None
    extra: Extra = attrs.field(factory=dict, eq=False)


@attrs.frozen(kw_only=True)
class IoLatency:
    """The latency in microseconds that the cgroup's I/O on one disk is to have."""

    target: int | None = None
    extra: Extra = attrs.field(factory=dict, eq=False)


@attrs.frozen(kw_only=True)
class IoCostQos:
    """iocost on one disk: whether it is on, and the latencies that it aims at.

    *rpct* percent of reads are to take at most *rlat* microseconds (writes: *wpct*, *wlat*); *min* and
    *max* bound how far the device's rate may be scaled, in percent.
    """

    enable: bool | None = None
    ctrl: str | None = None
    rpct: float | None = None
    rlat: int | None = None
    wpct: float | None = None
    wlat: int | None = None
    min: float | None = None
    max: float | None = None
    extra: Extra = attrs.field(factory=dict, eq=False)


@attrs.frozen(kw_only=True)
class IoCostModel:
    """What iocost believes that one disk can do: bytes and operations a second."""

    ctrl: str | None = None
    model: str | None = None
    rbps: int | None = None
    rseqiops: int | None = None
    rrandiops: int | None = None
    wbps: int | None = None
    wseqiops: int | None = None
    wrandiops: int | None = None
    extra: Extra = attrs.field(factory=dict, eq=False)


_U32, _U64 = 2**32 - 1, 2**64 - 1
_BPS, _IOPS = rate("bytes/s", _U64), rate("IO/s", _U32)
_LIMITS = {"rbps": _BPS, "wbps": _BPS, "riops": _IOPS, "wiops": _IOPS}
_USEC = limit("us", 0, _U64)


def _disk(value: object, option: str) -> str:
    return disks.disk_of(disks.parse_number(value, option), option).number


def _one_of(unit: str, *words: str) -> Kind[str, str]:
    def show(value: str, option: str) -> str:
        if value not in words:
            raise invalid(option, value, f"give one of {', '.join(words)}")
        return value

    return Kind(unit, str.strip, show)


def _percent(high: int) -> Kind[float, float | str]:
    def show(value: float | str, option: str) -> str:
        number = units.parse_decimal(value, option)
        if number > high:
            raise invalid(option, value, f"give a percentage from 0 to {high}")
        return f"{number:.2f}"

    return Kind("percent", float, show)


IO_MAX = record_row(IoMax, _LIMITS, "rbps=max wbps=max riops=max wiops=max", _disk)
_IO_LOW = record_row(
    IoLow, {**_LIMITS, "idle": _USEC, "latency": _USEC}, "rbps=0 wbps=0 riops=0 wiops=0", _disk
)
_IO_LATENCY = record_row(IoLatency, {"target": limit("us", 1, _U64)}, "target=max", _disk)
_CTRL = _one_of("word", "auto", "user")
_COUNT = whole("1/s", 1, _U64)
_COST_QOS = record_row(
    IoCostQos,
    {
        "enable": FLAG,
        "ctrl": _CTRL,
        "rpct": _percent(100),
        "rlat": whole("us", 0, _U64),
        "wpct": _percent(100),
        "wlat": whole("us", 0, _U64),
        "min": _percent(10000),
        "max": _percent(10000),
    },
    "enable=0",
    _disk,
    sparse=True,
)
_COST_MODEL = record_row(
    IoCostModel,
    {
        "ctrl": _CTRL,
        "model": _one_of("word", "linear"),
        **dict.fromkeys(("rbps", "rseqiops", "rrandiops", "wbps", "wseqiops", "wrandiops"), _COUNT),
    },
    "ctrl=auto",
    _disk,
    sparse=True,
)


class ThrottleV1(Source[Mapping[str, IoMax], Mapping[Any, Any]]):
    """v1 keeps the limits in a file each; 0 takes one away."""

    fields: Mapping[str, str] = {
        "rbps": "blkio.throttle.read_bps_device",
        "wbps": "blkio.throttle.write_bps_device",
        "riops": "blkio.throttle.read_iops_device",
        "wiops": "blkio.throttle.write_iops_device",
    }
    files = tuple(fields.values())

    def read(self, controller: Controller) -> Mapping[str, IoMax]:
        found: dict[str, dict[str, Any]] = {}
        for field, file in self.fields.items():
            table = parsed(_whole_numbers, controller.read(file), controller, file)
            for disk, number in table.items():
                found.setdefault(disk, {})[field] = number or None
        return {disk: IoMax(**limits) for disk, limits in found.items()}

    def steps(self, controller: Controller, value: Any, option: str) -> list[Step]:
        all_four = {
            IO_MAX.key(key, option): IO_MAX.whole(inner, f"{option}[{key!r}]")
            for key, inner in pairs(value, option)
        }
        gone = {key: IoMax() for key in self.read(controller) if key not in all_four}
        return self.changes(controller, {**gone, **all_four}, option)

    def changes(self, controller: Controller, value: Any, option: str) -> list[Step]:
        steps = []
        for key, inner in pairs(value, option):
            disk = IO_MAX.key(key, option)
            for word in IO_MAX.print(inner, f"{option}[{key!r}]").split():
                field, _, number = word.partition("=")
                text = f"{disk} {'0' if number == 'max' else number}"
                steps.append(Step(controller, self.fields[field], text, unset=f"{disk} 0"))
        return steps


def _whole_numbers(text: str) -> dict[str, int]:
    return {key: int(rest) for key, rest in split(text)}


def _default_weight(text: str) -> int:
    return int(text.splitlines()[0].split()[-1])


class DefaultWeight(File[int, int | str]):
    """The weight on all disks without one of their own, in the same file or, on v1, another one.

    BFQ forgets the weights by disk when it is written (block/bfq-cgroup.c).
    """

    def __init__(self, name: str, high: int, *, version: int = 2, by_disk: str = "") -> None:
        super().__init__(name, _weight(high))
        self._prefix = "" if version == 1 else "default "
        self._disturbs = (by_disk,) if by_disk else ()

    def steps(self, controller: Controller, value: int | str, option: str) -> list[Step]:
        text = self._prefix + self.kind.print(value, option)
        unset = self._prefix and f"{self._prefix}100"
        disturbs = tuple(file for file in self._disturbs if controller.has(file))
        return [Step(controller, self.files[0], text, unset=unset, disturbs=disturbs)]


def _weight(high: int) -> Kind[int, int | str]:
    return Kind(
        "weight",
        _default_weight,
        lambda value, option: str(units.parse_int(value, option, 1, high)),
    )


def _weight_row(high: int) -> Row[int]:
    return single(whole("weight", 1, high), "default", _disk)


_SERVICE = (
    "blkio.throttle.io_service_bytes_recursive",
    "blkio.throttle.io_serviced_recursive",
)
_NO_COST = "iocost is a part of v2"


class Io(Blkio, name="io"):
    """cgroup-v2.rst, "IO"; cgroup-v1/blkio-controller.rst.

    Disks are named by "MAJOR:MINOR", by a path such as "/dev/sda" or by a mount point; a partition
    stands for its disk, and what is read back has "MAJOR:MINOR". Setting a mapping replaces the whole:
    disks left out have no limit or weight of their own any more.
    """

    __slots__ = ()

    stat = Reading(
        IO_STAT,
        v2="io.stat",
        v1=Joined(*_SERVICE, make=io_stat_v1, optional=2),
        doc="Bytes and operations by disk (v1 since 6.10: only disks that were throttled once).",
    )
    max = TableSetting(
        IO_MAX.kind,
        v2=Table("io.max", IO_MAX),
        v1=ThrottleV1(),
        doc="Hard limits by disk; v1 does not count buffered writes, nor descendants together.",
    )
    low = TableSetting(
        _IO_LOW.kind,
        v2=Table("io.low", _IO_LOW),
        since="4.12 until 6.9 (CONFIG_BLK_DEV_THROTTLING_LOW)",
        instead="there was no such thing",
        doc="Protected rates by disk; gone since 6.10.",
    )
    latency = TableSetting(
        _IO_LATENCY.kind,
        v2=Table("io.latency", _IO_LATENCY),
        since="4.19 (CONFIG_BLK_CGROUP_IOLATENCY)",
        instead="there is no protection by latency",
        doc="Latency to be had by disk, at the cost of siblings with a higher one.",
    )
    weight = Setting(
        _weight(10000),
        v2=DefaultWeight("io.weight", 10000),
        instead="v1 has io.bfq_weight",
        doc="Default proportional weight; acts on disks where io.cost.qos is enabled.",
    )
    weight_device = TableSetting(
        _weight_row(10000).kind,
        v2=Table("io.weight", _weight_row(10000)),
        instead="v1 has io.bfq_weight_device",
        doc="Proportional weight by disk; takes an io.cost.qos there.",
    )
    bfq_weight = Setting(
        _weight(1000),
        v2=DefaultWeight("io.bfq.weight", 1000, by_disk="io.bfq.weight"),
        v1=DefaultWeight("blkio.bfq.weight", 1000, version=1, by_disk="blkio.bfq.weight_device"),
        since="4.12 (CONFIG_BFQ_GROUP_IOSCHED)",
        doc="Default proportional weight; acts on disks that use the BFQ scheduler.",
    )
    bfq_weight_device = TableSetting(
        _weight_row(1000).kind,
        v2=Table("io.bfq.weight", _weight_row(1000)),
        v1=Table("blkio.bfq.weight_device", _weight_row(1000)),
        since="5.4 (CONFIG_BFQ_GROUP_IOSCHED)",
        doc="Proportional weight by disk that uses the BFQ scheduler.",
    )
    cost_qos = TableSetting(
        _COST_QOS.kind,
        v2=Table("io.cost.qos", _COST_QOS),
        since="5.4 (CONFIG_BLK_CGROUP_IOCOST)",
        instead=_NO_COST,
        doc="Root only: iocost by disk, which io.weight needs.",
    )
    cost_model = TableSetting(
        _COST_MODEL.kind,
        v2=Table("io.cost.model", _COST_MODEL),
        since="5.4 (CONFIG_BLK_CGROUP_IOCOST)",
        instead=_NO_COST,
        doc="Root only: what iocost believes that a disk can do.",
    )
    prio_class = Setting(
        _one_of("word", "no-change", "promote-to-rt", "restrict-to-be", "idle", "none-to-rt"),
        v2="io.prio.class",
        v1="blkio.prio.class",
        since="5.14 (CONFIG_BLK_CGROUP_IOPRIO)",
        doc="What becomes of the I/O priority class of requests.",
    )
    pressure = Reading(PRESSURE, v2="io.pressure", doc="PSI for I/O.")
