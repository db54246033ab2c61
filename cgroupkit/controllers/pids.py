"""pids: how many tasks may exist."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from cgroupkit.controllers.base import Controller, Reading, Setting
from cgroupkit.controllers.flat import record
from cgroupkit.controllers.kinds import COUNTER, limit

PID_MAX = 4_194_304


@attrs.frozen(kw_only=True)
class PidsEvents:
    """*max*: forks refused. Since 6.11 v2 counts at the cgroup whose limit it was."""

    max: int | None = None
    extra: Mapping[str, int] = attrs.field(factory=dict)


class Pids(Controller, name="pids"):
    """cgroup-v2.rst, "PID"; cgroup-v1/pids.rst. Threads count as tasks."""

    __slots__ = ()

    max = Setting(
        limit("tasks", 0, PID_MAX),
        v2="pids.max",
        v1="pids.max",
        doc="Most tasks; fork and clone fail with EAGAIN above it.",
    )
    current = Reading(
        COUNTER, v2="pids.current", v1="pids.current", doc="Tasks, unreaped zombies included."
    )
    peak = Reading(COUNTER, v2="pids.peak", v1="pids.peak", since="6.1", doc="Most tasks there were.")
    events = Reading(record(PidsEvents), v2="pids.events", v1="pids.events", doc="Forks refused.")
    events_local = Reading(
        record(PidsEvents),
        v2="pids.events.local",
        since="6.11",
        doc="Forks refused by this cgroup's own limit.",
    )
