"""freezer: v1's controller for stopping every task of a cgroup; v2 has cgroup.freeze in core."""

from __future__ import annotations

from cgroupkit.controllers.base import Controller, Reading, Setting
from cgroupkit.controllers.kinds import FLAG, Kind
from cgroupkit.units import invalid

_INSTEAD = "use Cgroup.freeze(), thaw() and frozen, which work on both"


def _print_state(value: str, option: str) -> str:
    if value not in ("FROZEN", "THAWED"):
        raise invalid(option, value, 'give "FROZEN" or "THAWED"')
    return value


class Freezer(Controller, name="freezer"):
    """cgroup-v1/freezer-subsystem.rst."""

    __slots__ = ()

    state = Setting(
        Kind("state", str.strip, _print_state),
        v1="freezer.state",
        instead=_INSTEAD,
        doc="THAWED, FREEZING or FROZEN; set THAWED or FROZEN.",
    )
    self_freezing = Reading(
        FLAG, v1="freezer.self_freezing", instead=_INSTEAD, doc="FROZEN was set here."
    )
    parent_freezing = Reading(
        FLAG, v1="freezer.parent_freezing", instead=_INSTEAD, doc="An ancestor is frozen."
    )
