"""What can happen to a cgroup."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from time import monotonic_ns
from typing import TYPE_CHECKING

import attrs

from cgroupkit.units import invalid

if TYPE_CHECKING:
    from cgroupkit.cgroup import Cgroup


class EventKind(enum.StrEnum):
    """The kind of an :class:`Event`; equal to its text, so ``event.kind == "oom_kill"`` works."""

    OOM_KILL = "oom_kill"
    """The OOM killer ended a process of this cgroup, whichever limit was the reason."""
    OOM = "oom"
    """This cgroup was at its limit and reclaim failed; a kill is to follow, or (v1) tasks wait."""
    MEMORY_HIGH = "memory_high"
    """Memory was above memory.high, and processes were throttled (v2)."""
    MEMORY_MAX = "memory_max"
    """Memory was about to go above memory.max (v1: memory.failcnt)."""
    PIDS_MAX = "pids_max"
    """A fork was refused because of pids.max."""
    POPULATED = "populated"
    """The first process came into the empty subtree."""
    EMPTY = "empty"
    """The last process of the subtree left."""
    FROZEN = "frozen"
    """Every process of the cgroup is frozen."""
    THAWED = "thawed"
    """The processes run again."""
    REMOVED = "removed"
    """The cgroup is gone, and nothing more will come from it."""
    PRESSURE = "pressure"
    """Tasks were stalled for longer than a PSI trigger allows."""
    MEMORY_USAGE = "memory_usage"
    """Memory in use crossed a threshold, up or down (v1)."""
    MEMORY_LEVEL = "memory_level"
    """Reclaim has become as hard as low, medium or critical (v1)."""


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened, once or several times since the last event of its kind."""

    kind: EventKind
    cgroup: Cgroup | None
    """Where: the cgroup that is watched, or one below it; None is the whole machine."""
    count: int = 1
    """How many times since the last event of this kind and cgroup."""
    time: int = attrs.field(factory=monotonic_ns)
    """time.monotonic_ns() when it was noticed."""
    detail: str = ""
    """Of which trigger, as it was asked for: ``memory some 150ms/1s``, the bytes, or the level."""


WATCHABLE = frozenset(EventKind) - {
    EventKind.PRESSURE,
    EventKind.MEMORY_USAGE,
    EventKind.MEMORY_LEVEL,
}
"""What watch() takes; the others need a threshold and have functions of their own."""

_OWN = {
    EventKind.PRESSURE: "use on_pressure(), Watch.add_pressure() or the command's --pressure",
    EventKind.MEMORY_USAGE: "use Watch.add_memory_usage()",
    EventKind.MEMORY_LEVEL: "use Watch.add_memory_level()",
}


def parse_kinds(kinds: Iterable[EventKind | str], option: str = "kind") -> frozenset[EventKind]:
    found = set()
    for kind in kinds:
        try:
            known = EventKind(kind)
        except ValueError:
            import difflib  # noqa: PLC0415

            near = difflib.get_close_matches(str(kind), WATCHABLE, 1)
            hint = f"did you mean {near[0]}? give" if near else "give"
            raise invalid(option, kind, f"{hint} one of {', '.join(sorted(WATCHABLE))}") from None
        if known in _OWN:
            raise invalid(option, str(known), f"it needs a threshold: {_OWN[known]}")
        found.add(known)
    return frozenset(found)
