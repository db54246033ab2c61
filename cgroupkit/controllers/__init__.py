"""One file a controller: all that can be set and read, on v1 and on v2, side by side."""

from __future__ import annotations

from cgroupkit.controllers.base import Controller, Reading, Setting, Step, described, peek
from cgroupkit.controllers.core import Core
from cgroupkit.controllers.cpu import Cpu, CpuAcct, CpuMax, CpuStat
from cgroupkit.controllers.cpuset import Cpuset, Partition
from cgroupkit.controllers.devices import Devices
from cgroupkit.controllers.dmem import Dmem
from cgroupkit.controllers.freezer import Freezer
from cgroupkit.controllers.hugetlb import Hugetlb, HugetlbEvents
from cgroupkit.controllers.io import Io, IoCostModel, IoCostQos, IoLatency, IoLow, IoMax
from cgroupkit.controllers.io_stat import IoDevice
from cgroupkit.controllers.memory import Memory, MemoryEvents, PeakMeter
from cgroupkit.controllers.memory_stat import MemoryStat
from cgroupkit.controllers.misc import Misc
from cgroupkit.controllers.net_cls import NetCls
from cgroupkit.controllers.net_prio import NetPrio
from cgroupkit.controllers.perf_event import PerfEvent
from cgroupkit.controllers.pids import Pids
from cgroupkit.controllers.pressure import Pressure, Stall
from cgroupkit.controllers.rdma import Rdma, RdmaUse

CONTROLLERS: dict[str, type[Controller]] = {
    cls.name: cls
    for cls in (
        Core,
        Cpu,
        CpuAcct,
        Cpuset,
        Memory,
        Io,
        Pids,
        Freezer,
        Devices,
        Hugetlb,
        NetCls,
        NetPrio,
        PerfEvent,
        Rdma,
        Misc,
        Dmem,
    )
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
    "Devices",
    "Dmem",
    "Freezer",
    "Hugetlb",
    "HugetlbEvents",
    "Io",
    "IoCostModel",
    "IoCostQos",
    "IoDevice",
    "IoLatency",
    "IoLow",
    "IoMax",
    "Memory",
    "MemoryEvents",
    "MemoryStat",
    "Misc",
    "NetCls",
    "NetPrio",
    "Partition",
    "PeakMeter",
    "PerfEvent",
    "Pids",
    "Pressure",
    "Rdma",
    "RdmaUse",
    "Reading",
    "Setting",
    "Stall",
    "Step",
    "described",
    "peek",
]
