"""rdma: how many resources of each InfiniBand or RoCE device may be used."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from cgroupkit.controllers.base import Controller, Reading
from cgroupkit.controllers.kinds import limit
from cgroupkit.controllers.tables import Table, TableSetting, record_row

COUNT_MAX = 2**31 - 1
RDMA_KEYS = ("hca_handle", "hca_object")


@attrs.frozen(kw_only=True)
class RdmaUse:
    """Handles and objects of one device; as a limit None is none."""

    hca_handle: int | None = None
    hca_object: int | None = None
    extra: Mapping[str, str] = attrs.field(factory=dict, eq=False)


_ROW = record_row(
    RdmaUse,
    dict.fromkeys(RDMA_KEYS, limit("count", 0, COUNT_MAX)),
    "hca_handle=max hca_object=max",
)


class Rdma(Controller, name="rdma"):
    """cgroup-v2.rst, "RDMA"; cgroup-v1/rdma.rst."""

    __slots__ = ()

    max = TableSetting(
        _ROW.kind,
        v2=Table("rdma.max", _ROW),
        v1=Table("rdma.max", _ROW),
        since="4.11",
        doc="Hard limits by device; all devices are listed.",
    )
    current = Reading(
        _ROW.kind, v2="rdma.current", v1="rdma.current", since="4.11", doc="In use by device."
    )
