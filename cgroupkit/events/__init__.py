"""Wait for OOM kills, limits that were hit, emptiness, freezing, removal and pressure."""

from cgroupkit.events.api import memory_level, memory_usage, pressure, watch
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.watching import Watch

__all__ = ["Event", "EventKind", "Watch", "memory_level", "memory_usage", "pressure", "watch"]
