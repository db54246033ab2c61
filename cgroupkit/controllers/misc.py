"""misc: scalar resources of the machine, such as address-space ids for encrypted VMs."""

from __future__ import annotations

from cgroupkit.controllers.base import Controller, Reading
from cgroupkit.controllers.kinds import COUNTER, limit
from cgroupkit.controllers.tables import Table, TableSetting, single

_LIMIT = single(limit("count", 0, 2**63 - 1), "max")
_COUNT = single(COUNTER, "0").kind


class Misc(Controller, name="misc"):
    """cgroup-v2.rst, "Misc"; cgroup-v1/misc.rst. By resource: sev, sev_es, tdx."""

    __slots__ = ()

    capacity = Reading(
        _COUNT,
        v2="misc.capacity",
        v1="misc.capacity",
        since="5.13",
        doc="Root only: what there is of each resource.",
    )
    max = TableSetting(
        _LIMIT.kind,
        v2=Table("misc.max", _LIMIT),
        v1=Table("misc.max", _LIMIT),
        since="5.13",
        doc="Hard limits by resource.",
    )
    current = Reading(
        _COUNT, v2="misc.current", v1="misc.current", since="5.13", doc="In use by resource."
    )
    peak = Reading(
        _COUNT, v2="misc.peak", v1="misc.peak", since="6.11", doc="The most in use by resource."
    )
    events = Reading(
        _COUNT,
        v2="misc.events",
        v1="misc.events",
        since="5.16",
        doc="Limits hit, as RESOURCE.max, descendants included.",
    )
    events_local = Reading(
        _COUNT,
        v2="misc.events.local",
        v1="misc.events.local",
        since="6.11",
        doc="The same, of this cgroup's own limits.",
    )
