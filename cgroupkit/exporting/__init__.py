"""What the exporters of metrics share: cgroups, read together and in bounded time."""

from __future__ import annotations

from cgroupkit.exporting.rows import Row
from cgroupkit.exporting.sweeper import Sweep, Sweeper

__all__ = ["Row", "Sweep", "Sweeper"]
