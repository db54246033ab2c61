"""cpu and, on v1, cpuacct: shares of CPU time, hard limits on it, and what was used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from cgroupkit import convert, files, units
from cgroupkit.controllers.base import (
    Controller,
    File,
    Joined,
    Reading,
    Setting,
    Source,
    Step,
    parsed,
)
from cgroupkit.controllers.flat import Flat, flat, record
from cgroupkit.controllers.kinds import (
    COUNTER,
    FLAG,
    NANOSECONDS,
    Kind,
    limit,
    reading,
    whole,
)
from cgroupkit.controllers.pressure import PRESSURE
from cgroupkit.units import invalid

QUOTA_MAX = 2**44 - 1
"""Microseconds: the kernel's cap since 5.7 (kernel/sched/core.c, max_cfs_runtime)."""


@attrs.frozen
class CpuMax:
    """A hard limit: *quota* microseconds of CPU time in each *period* microseconds."""

    quota: int | None
    """None is no limit."""
    period: int = convert.DEFAULT_CPU_PERIOD

    @property
    def cpus(self) -> float | None:
        """How many CPUs' worth of time that is."""
        return None if self.quota is None else self.quota / self.period

    @property
    def share(self) -> float:
        return float("inf") if self.quota is None else self.quota / self.period


CpuMaxLike = CpuMax | tuple[int | None, int] | int | str | None


@attrs.frozen(kw_only=True)
class CpuStat:
    """CPU time of a cgroup and its descendants, and how its own limit throttled it."""

    usage_usec: int | None = None
    user_usec: int | None = None
    system_usec: int | None = None
    nice_usec: int | None = None
    core_sched_force_idle_usec: int | None = None
    nr_periods: int | None = None
    nr_throttled: int | None = None
    throttled_usec: int | None = None
    nr_bursts: int | None = None
    burst_usec: int | None = None
    extra: Mapping[str, int] = attrs.field(factory=dict)
    """Keys of a newer kernel, under the kernel's names."""


def _parse_cpu_max(text: str) -> CpuMax:
    quota, period = text.split()[:2]
    return CpuMax(None if quota == "max" else int(quota), int(period))


def cpu_max(value: CpuMaxLike, option: str) -> CpuMax:
    """Any of the accepted forms as a checked :class:`CpuMax`."""
    parts: tuple[Any, ...]
    if isinstance(value, CpuMax):
        parts = (value.quota, value.period)
    elif isinstance(value, str):
        parts = tuple(value.split())
    else:
        parts = value if isinstance(value, tuple) else (value,)
    if not 1 <= len(parts) <= 2:
        raise invalid(option, value, 'give (quota, period) in us, "QUOTA PERIOD", or None')
    quota, period = (*parts, convert.DEFAULT_CPU_PERIOD)[:2]
    return CpuMax(
        units.parse_limit(quota, f"{option} quota", 1000, QUOTA_MAX),
        units.parse_int(period, f"{option} period", 1000, 1_000_000),
    )


def _print_cpu_max(value: CpuMaxLike, option: str) -> str:
    bandwidth = cpu_max(value, option)
    return f"{'max' if bandwidth.quota is None else bandwidth.quota} {bandwidth.period}"


CPU_MAX: Kind[CpuMax, CpuMaxLike] = Kind("us us", _parse_cpu_max, _print_cpu_max)


class CfsBandwidth(Source[CpuMax, CpuMaxLike]):
    """v1 keeps quota and period in two files, and checks their ratio at every write."""

    files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")

    def read(self, controller: Controller) -> CpuMax:
        quota, period = (parsed(int, controller.read(name), controller, name) for name in self.files)
        return CpuMax(None if quota < 0 else quota, period)

    def steps(self, controller: Controller, value: CpuMaxLike, option: str) -> list[Step]:
        new, old = cpu_max(value, option), self.read(controller)
        texts = ("-1" if new.quota is None else str(new.quota), str(new.period))
        both = [Step(controller, file, text) for file, text in zip(self.files, texts, strict=True)]
        # Between the two writes the ratio must not be above both the old and the new one:
        # the parent may not allow that much.
        between = CpuMax(new.quota, old.period).share
        return both if between <= max(old.share, new.share) else both[::-1]


class Idle(File[bool, bool]):
    """Going idle overwrites the weight, and going back does not restore it."""

    def __init__(self, weight: str) -> None:
        super().__init__("cpu.idle", FLAG)
        self._weight = weight

    def steps(self, controller: Controller, value: bool, option: str) -> list[Step]:
        steps = super().steps(controller, value, option)
        disturbs = (self._weight,) if steps[0].text == "1" else ()
        return [attrs.evolve(step, disturbs=disturbs) for step in steps]


_THROTTLED_V1 = {"throttled_time": "throttled_usec", "burst_time": "burst_usec"}
_STAT_V1 = Flat(
    cls=CpuStat,
    field=lambda key: _THROTTLED_V1.get(key, key),
    divide={"throttled_usec": 1000, "burst_usec": 1000, "usage_usec": 1000},
    also=("usage_usec", "user_usec", "system_usec"),
    # usage is exact, user and system are sampled at ticks: scaled, as v2's kernel side does.
    shares=("usage_usec", "user_usec", "system_usec"),
)


def _percent(text: str) -> float | None:
    return None if text.strip() == "max" else float(text)


def _print_percent(value: float | str | None, option: str) -> str:
    if value is None or value == "max":
        return "max"
    number = units.parse_decimal(value, option)
    if number > 100:
        raise invalid(option, value, 'give a percentage from 0 to 100, or "max"')
    return f"{number:.2f}"


PERCENT: Kind[float | None, float | str | None] = Kind("percent", _percent, _print_percent)
_WEIGHT_AS_SHARES: Kind[int, int | str] = Kind(
    "weight",
    lambda text: convert.kernel_weight_from_shares(int(text)),
    lambda value, option: str(
        convert.shares_from_kernel_weight(units.parse_int(value, option, 1, 10000))
    ),
)
_CPUACCT = ("cpuacct.usage", "cpuacct.usage_user", "cpuacct.usage_sys")


class Cpu(Controller, name="cpu"):
    """Documentation/admin-guide/cgroup-v2.rst, "CPU"; sched-bwc.rst and sched-rt-group.rst on v1."""

    __slots__ = ()

    weight = Setting(
        whole("weight", 1, 10000),
        v2="cpu.weight",
        v1=File("cpu.shares", _WEIGHT_AS_SHARES),
        doc="Proportional share of CPU time among siblings; 100 is the default (v1: 1024 shares).",
    )
    weight_nice = Setting(
        whole("nice", -20, 19),
        v2="cpu.weight.nice",
        instead="set cpu.weight or cpu.shares there",
        doc="cpu.weight as a nice value.",
    )
    shares = Setting(
        whole("shares", 2, 262144),
        v1="cpu.shares",
        instead="set cpu.weight there, or update(cpu_shares=...), which converts",
        doc="Proportional share of CPU time; 1024 is the default.",
    )
    max = Setting(
        CPU_MAX,
        v2="cpu.max",
        v1=CfsBandwidth(),
        doc="Hard limit: quota and period in microseconds.",
    )
    max_burst = Setting(
        whole("us", 0, QUOTA_MAX),
        v2="cpu.max.burst",
        v1="cpu.cfs_burst_us",
        since="5.14",
        doc="Unused quota that may be saved up and used later.",
    )
    idle = Setting(
        FLAG,
        v2=Idle("cpu.weight"),
        v1=Idle("cpu.shares"),
        since="5.15",
        doc="Run only when nothing else wants the CPU (SCHED_IDLE).",
    )
    rt_runtime_us = Setting(
        limit("us", 0, 2**63 - 1, word="-1"),
        v1="cpu.rt_runtime_us",
        instead="v2 has no real-time group scheduling; use SCHED_DEADLINE or RLIMIT_RTTIME",
        doc="Real-time (SCHED_FIFO, SCHED_RR) CPU time in each rt_period_us.",
    )
    rt_period_us = Setting(
        whole("us", 1, 2**63 - 1),
        v1="cpu.rt_period_us",
        instead="v2 has no real-time group scheduling; use SCHED_DEADLINE or RLIMIT_RTTIME",
        doc="Period of rt_runtime_us.",
    )
    uclamp_min = Setting(
        PERCENT,
        v2="cpu.uclamp.min",
        v1="cpu.uclamp.min",
        since="5.4 (CONFIG_UCLAMP_TASK_GROUP)",
        doc="Requested minimum utilisation, percent; None is max.",
    )
    uclamp_max = Setting(
        PERCENT,
        v2="cpu.uclamp.max",
        v1="cpu.uclamp.max",
        since="5.4 (CONFIG_UCLAMP_TASK_GROUP)",
        doc="Requested maximum utilisation, percent; None is max.",
    )
    stat = Reading(
        record(CpuStat),
        v2="cpu.stat",
        v1=Joined("cpu.stat", *_CPUACCT, make=_STAT_V1),
        doc="CPU time used and throttling.",
    )
    stat_local = Reading(
        record(CpuStat),
        v2="cpu.stat.local",
        v1=File(
            "cpu.stat.local",
            flat(attrs.evolve(_STAT_V1, also=(), shares=None)),
        ),
        since="6.6",
        doc="Time that this cgroup's own run queues were throttled, by any ancestor's limit.",
    )
    pressure = Reading(
        PRESSURE, v2="cpu.pressure", instead="see /proc/pressure/cpu", doc="PSI for CPU."
    )


def _per_cpu(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _usage_all(text: str) -> dict[int, dict[str, int]]:
    header, *rows = (line.split() for line in text.splitlines())
    return {
        int(row[0]): {name: int(cell) for name, cell in zip(header[1:], row[1:], strict=True)}
        for row in rows
    }


def _ticks(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in files.flat_keyed(text)}


class CpuAcct(Controller, name="cpuacct"):
    """v1's CPU accounting (cpuacct.rst); on v2 it is part of cpu.stat in every cgroup."""

    __slots__ = ()

    usage = Reading(NANOSECONDS, v1="cpuacct.usage", doc="CPU time, hierarchical.")
    usage_user = Reading(COUNTER, v1="cpuacct.usage_user", doc="User time, ns, sampled at ticks.")
    usage_sys = Reading(COUNTER, v1="cpuacct.usage_sys", doc="System time, ns, sampled at ticks.")
    usage_percpu = Reading(
        reading("ns each CPU", _per_cpu), v1="cpuacct.usage_percpu", doc="CPU time by CPU."
    )
    usage_percpu_user = Reading(
        reading("ns each CPU", _per_cpu), v1="cpuacct.usage_percpu_user", doc="User time by CPU."
    )
    usage_percpu_sys = Reading(
        reading("ns each CPU", _per_cpu), v1="cpuacct.usage_percpu_sys", doc="System time by CPU."
    )
    usage_all = Reading(
        reading("ns table", _usage_all),
        v1="cpuacct.usage_all",
        doc="User and system time by CPU.",
    )
    stat = Reading(
        reading("1/100 s", _ticks), v1="cpuacct.stat", doc="User and system time in USER_HZ ticks."
    )

    def reset(self) -> None:
        """Set this group's (not its parents') cpuacct.usage back to 0."""
        type(self).usage.source(self)
        self.write("cpuacct.usage", "0")
