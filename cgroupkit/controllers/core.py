"""The cgroup.* files that every cgroup has, whatever controllers it has."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from cgroupkit.controllers.base import Controller, Reading, Setting
from cgroupkit.controllers.flat import record
from cgroupkit.controllers.kinds import FLAG, PIDS, TEXT, WORDS, Kind, limit
from cgroupkit.controllers.pressure import PRESSURE
from cgroupkit.units import invalid


@attrs.frozen(kw_only=True)
class CoreEvents:
    """cgroup.events, each 0 or 1: processes in the subtree; every one of them frozen."""

    populated: int | None = None
    frozen: int | None = None
    extra: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class CoreStat:
    """cgroup.stat; the figures by controller (6.12) are in *extra*."""

    nr_descendants: int | None = None
    nr_dying_descendants: int | None = None
    frozen_usec: int | None = None
    extra: Mapping[str, int] = attrs.field(factory=dict)


def _print_type(value: str, option: str) -> str:
    if value != "threaded":
        raise invalid(option, value, 'only "threaded" can be set; remove the cgroup to undo it')
    return value


_INT_MAX = 2**31 - 1


class Core(Controller, name="core"):
    """cgroup-v2.rst, "Core Interface Files"; cgroup-v1/cgroups.rst."""

    __slots__ = ()

    type = Setting(
        Kind("type", str.strip, _print_type),
        v2="cgroup.type",
        doc="domain, domain threaded, domain invalid or threaded.",
    )
    procs = Reading(PIDS, v2="cgroup.procs", v1="cgroup.procs", doc="Processes, unordered.")
    threads = Reading(PIDS, v2="cgroup.threads", v1="tasks", doc="Threads.")
    controllers = Reading(WORDS, v2="cgroup.controllers", doc="Controllers available here.")
    subtree_control = Reading(
        WORDS, v2="cgroup.subtree_control", doc="Controllers enabled for the children."
    )
    events = Reading(record(CoreEvents), v2="cgroup.events", doc="Populated and frozen.")
    max_descendants = Setting(
        limit("cgroups", 0, _INT_MAX), v2="cgroup.max.descendants", doc="Most cgroups below."
    )
    max_depth = Setting(limit("levels", 0, _INT_MAX), v2="cgroup.max.depth", doc="Deepest level below.")
    stat = Reading(record(CoreStat), v2="cgroup.stat", doc="Cgroups below, living and dying.")
    stat_local = Reading(
        record(CoreStat), v2="cgroup.stat.local", since="6.18", doc="Time spent frozen."
    )
    freeze = Setting(
        FLAG,
        v2="cgroup.freeze",
        since="5.2",
        instead="use Cgroup.freeze(), which works on both",
        doc="This cgroup's own freeze request; Cgroup.frozen tells the effect.",
    )
    pressure = Setting(
        FLAG, v2="cgroup.pressure", since="6.1", doc="Whether pressure is accounted for here."
    )
    irq_pressure = Reading(
        PRESSURE,
        v2="irq.pressure",
        since="6.1 (CONFIG_IRQ_TIME_ACCOUNTING)",
        doc="PSI for interrupts.",
    )
    clone_children = Setting(
        FLAG, v1="cgroup.clone_children", doc="New children copy cpuset.cpus and cpuset.mems."
    )
    sane_behavior = Reading(FLAG, v1="cgroup.sane_behavior", doc="Always 0; root only.")
    notify_on_release = Setting(
        FLAG, v1="notify_on_release", doc="Run release_agent when the last task leaves."
    )
    release_agent = Setting(
        Kind("path", TEXT.parse, lambda value, option: value or "\n"),
        v1="release_agent",
        doc="Root only: program run for notify_on_release.",
    )
