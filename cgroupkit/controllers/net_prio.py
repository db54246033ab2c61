"""net_prio: v1's priority of a cgroup's packets by interface."""

from __future__ import annotations

from cgroupkit.controllers.base import Controller, Reading
from cgroupkit.controllers.kinds import COUNTER, whole
from cgroupkit.controllers.tables import Table, TableSetting, single

PRIORITY_MAX = 2**32 - 1
_INSTEAD = "set the priority by BPF (cgroup/sock_create) or nftables' `meta priority set` there"
_PRIORITY = single(whole("priority", 0, PRIORITY_MAX), "0")


class NetPrio(Controller, name="net_prio"):
    """cgroup-v1/net_prio.rst. Interfaces of the first network namespace only."""

    __slots__ = ()

    ifpriomap = TableSetting(
        _PRIORITY.kind,
        v1=Table("net_prio.ifpriomap", _PRIORITY),
        instead=_INSTEAD,
        doc="Priority of packets by interface; an interface left out has 0.",
    )
    prioidx = Reading(
        COUNTER, v1="net_prio.prioidx", instead=_INSTEAD, doc="The kernel's number of this cgroup."
    )
