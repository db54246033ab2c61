"""One file a controller: all that can be set and read, on v1 and on v2, side by side."""

from __future__ import annotations

from cgroupkit.controllers.base import Controller, Reading, Setting, Step, described, peek
from cgroupkit.controllers.core import Core
from cgroupkit.controllers.cpu import Cpu, CpuAcct, CpuMax, CpuStat
from cgroupkit.controllers.cpuset import Cpuset, Partition
from cgroupkit.controllers.freezer import Freezer
from cgroupkit.controllers.io import Io, IoDevice
from cgroupkit.controllers.memory import Memory, MemoryEvents, PeakMeter
from cgroupkit.controllers.memory_stat import MemoryStat
from cgroupkit.controllers.pids import Pids
from cgroupkit.controllers.pressure import Pressure, Stall

CONTROLLERS: dict[str, type[Controller]] = {
    cls.name: cls for cls in (Core, Cpu, CpuAcct, Cpuset, Memory, Io, Pids, Freezer)
}

__all__ = [
    "CONTROLLERS",
    "Controller",
    "Core",
    "Cpu",
    "CpuAcct",
    "CpuMax",
    "CpuStat",
    "Cpuset",
    "Freezer",
    "Io",
    "IoDevice",
    "Memory",
    "MemoryEvents",
    "MemoryStat",
    "Partition",
    "PeakMeter",
    "Pids",
    "Pressure",
    "Reading",
    "Setting",
    "Stall",
    "Step",
    "described",
    "peek",
]
