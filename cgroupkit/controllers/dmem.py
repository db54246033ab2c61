"""dmem: memory on devices, such as that of graphics cards."""

from __future__ import annotations

from cgroupkit.controllers.base import Controller, Reading
from cgroupkit.controllers.kinds import BYTES, SIZE
from cgroupkit.controllers.tables import Table, TableSetting, single

_SINCE = "6.14 (CONFIG_CGROUP_DMEM)"
_SIZE = single(SIZE, "0").kind
_MAX = single(BYTES, "max")
_PROTECTED = single(BYTES, "0")


class Dmem(Controller, name="dmem"):
    """cgroup-v2.rst, "DMEM". By region, such as "drm/0000:03:00.0/vram0"."""

    __slots__ = ()

    capacity = Reading(
        _SIZE,
        v2="dmem.capacity",
        v1="dmem.capacity",
        since=_SINCE,
        doc="Root only: the size of each region.",
    )
    max = TableSetting(
        _MAX.kind,
        v2=Table("dmem.max", _MAX),
        v1=Table("dmem.max", _MAX),
        since=_SINCE,
        doc="Hard limit by region.",
    )
    low = TableSetting(
        _PROTECTED.kind,
        v2=Table("dmem.low", _PROTECTED),
        v1=Table("dmem.low", _PROTECTED),
        since=_SINCE,
        doc="Best-effort protection by region.",
    )
    min = TableSetting(
        _PROTECTED.kind,
        v2=Table("dmem.min", _PROTECTED),
        v1=Table("dmem.min", _PROTECTED),
        since=_SINCE,
        doc="Hard protection by region.",
    )
    current = Reading(
        _SIZE, v2="dmem.current", v1="dmem.current", since=_SINCE, doc="In use by region."
    )
