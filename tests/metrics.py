"""A row in which everything is known, for the tests of the exporters."""

from __future__ import annotations

import time

import attrs

from cgroupkit import Cgroup, Stats
from cgroupkit.containers import Container
from cgroupkit.controllers import CpuMax, CpuStat, IoDevice, MemoryEvents, MemoryStat, Pressure
from cgroupkit.controllers.pids import PidsEvents
from cgroupkit.controllers.pressure import Stall
from cgroupkit.exporting import Row
from cgroupkit.hierarchy import Hierarchy
from cgroupkit.network import Interface
from cgroupkit.stats import MemoryStats, PidsStats, PressureStats
from cgroupkit.tree import Branch

ID = "0123456789abcdef" * 4
NOWHERE = Cgroup.at((Branch(Hierarchy(2, "/nowhere", "/", ()), "/docker/web", "/nowhere/docker/web"),))


def pressure(some: int, full: int) -> Pressure:
    def stall(total: int) -> Stall:
        return Stall(avg10=0.0, avg60=0.0, avg300=0.0, total=total)

    return Pressure(some=stall(some), full=stall(full))


V2 = Stats(
    time_ns=0,
    cpu=CpuStat(
        usage_usec=3_500_000, user_usec=2_500_000, system_usec=1_000_000, nr_periods=40,
        nr_throttled=4, throttled_usec=250_000, nr_bursts=2, burst_usec=125_000,
    ),
    cpu_max=CpuMax(150_000, 100_000),
    cpu_weight=59,
    memory=MemoryStats(
        current=1000, peak=2000, max=4000, low=300, min=200, swap_current=50, swap_max=600,
        events=MemoryEvents(low=0, high=7, max=8, oom=2, oom_kill=1),
        stat=MemoryStat(
            anon=400, file=500, kernel=60, file_mapped=70, file_dirty=11, file_writeback=12,
            active_file=13, inactive_file=100, pgfault=90, pgmajfault=9, pgscan=14, pgsteal=15,
            workingset_refault_file=16, workingset_refault_anon=17,
        ),
    ),
    pids=PidsStats(current=5, peak=6, max=64, events=PidsEvents(max=3)),
    pressure=PressureStats(
        cpu=pressure(1_000_000, 500_000), memory=pressure(2_000_000, 250_000),
        io=pressure(3_000_000, 125_000),
    ),
)  # fmt: skip
"""As on v2."""

V1 = attrs.evolve(
    V2,
    cpu_weight=50,
    cpu_shares=512,
    memory=attrs.evolve(
        V2.memory, low=None, min=None, soft_limit=3000, swap_max=None, memsw_limit=5000, kmem_usage=61,
        events=MemoryEvents(max=8, oom_kill=1),
        stat=attrs.evolve(V2.memory.stat, kernel=None, swap=50, extra={"pgfault": 80, "pgmajfault": 8}),
    ),
    pressure=PressureStats(),
)  # fmt: skip
"""As on v1."""

NOTHING = Stats(time_ns=0)
"""Of a kernel that tells nothing."""

FREE = attrs.evolve(
    V2,
    cpu_max=CpuMax(None),
    memory=attrs.evolve(V2.memory, max=None, low=0, min=0, swap_max=None),
    pids=attrs.evolve(V2.pids, max=None),
)
"""As on v2, without limits."""


def row(stats: Stats = V2) -> Row:
    return Row(
        cgroup=NOWHERE,
        path="/docker/web",
        stats=stats,
        minor_faults=81,
        cores={"user": 0.5, "system": 0.25},
        processes=3,
        container=Container(engine="docker", id=ID, cgroup=NOWHERE),
        name="web",
        image="nginx:1",
        started=time.time() - 100,
        disks={"sda": IoDevice(rbytes=10, wbytes=20, rios=1, wios=2), "8:16": IoDevice(rbytes=30)},
        network={
            "eth0": Interface(
                rx_bytes=1, rx_packets=2, rx_errors=3, rx_dropped=4,
                tx_bytes=5, tx_packets=6, tx_errors=7, tx_dropped=8,
            )
        },
    )  # fmt: skip
