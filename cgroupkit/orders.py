"""In which order the files of each controller take what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cgroupkit import convert, disks
from cgroupkit.controllers import (
    CONTROLLERS,
    Controller,
    Cpu,
    Cpuset,
    Devices,
    Hugetlb,
    Io,
    Memory,
    NetCls,
    NetPrio,
    Pids,
    Rdma,
    Reading,
    Setting,
    Step,
    described,
    peek,
)
from cgroupkit.controllers.cpu import CpuMax
from cgroupkit.controllers.memory import LIMIT_V1
from cgroupkit.controllers.tables import Table
from cgroupkit.errors import InvalidValueError, UnsupportedError
from cgroupkit.options import Limit, Unlimited
from cgroupkit.units import invalid

if TYPE_CHECKING:
    from cgroupkit.cgroup import Cgroup
    from cgroupkit.resources import Resources


def writes(cgroup: Cgroup, wanted: Resources) -> Iterator[Step]:
    """What brings *wanted* about, in an order that the kernel accepts at every moment."""
    yield from _memory(cgroup, wanted)
    yield from _cpu(cgroup, wanted)
    if wanted.cpuset_cpus is not None:
        yield from Cpuset.cpus.steps(cgroup.cpuset, wanted.cpuset_cpus, "cpuset_cpus")
    if wanted.cpuset_mems is not None:
        yield from Cpuset.mems.steps(cgroup.cpuset, wanted.cpuset_mems, "cpuset_mems")
    if wanted.pids_limit is not None:
        yield from Pids.max.steps(cgroup.pids, _none(wanted.pids_limit), "pids_limit")
    yield from _io(cgroup, wanted)
    yield from _others(cgroup, wanted)
    if wanted.unified is not None:
        for file, text in wanted.unified.items():
            yield from _unified(cgroup, file, text)


def _none(limit: Limit) -> int | None:
    return None if isinstance(limit, Unlimited) else limit


def _memory(cgroup: Cgroup, wanted: Resources) -> Iterator[Step]:
    given = wanted.asked()
    if not any(name.startswith(("memory", "kernel_memory", "oom_kill")) for name in given):
        return
    memory = cgroup.memory
    yield from (_limits_v1 if memory.version == 1 else _limits_v2)(memory, wanted)
    if wanted.memory_high is not None:
        yield from Memory.high.steps(memory, _none(wanted.memory_high), "memory_high")
    if wanted.memory_swappiness is not None:
        yield from Memory.swappiness.steps(memory, wanted.memory_swappiness, "memory_swappiness")
    if wanted.kernel_memory is not None:
        yield from Memory.kmem_limit.steps(memory, _none(wanted.kernel_memory), "kernel_memory")
    if wanted.kernel_memory_tcp is not None:
        tcp = _none(wanted.kernel_memory_tcp)
        yield from Memory.kmem_tcp_limit.steps(memory, tcp, "kernel_memory_tcp")
    if wanted.oom_kill_disable is not None and (wanted.oom_kill_disable or memory.version == 1):
        disable = wanted.oom_kill_disable
        yield from Memory.oom_kill_disable.steps(memory, disable, "oom_kill_disable")


def _limits_v2(memory: Memory, wanted: Resources) -> Iterator[Step]:
    if wanted.memory is not None:
        yield from Memory.max.steps(memory, _none(wanted.memory), "memory")
    if wanted.memory_swap is not None:
        limit = memory.max if wanted.memory is None else _none(wanted.memory)
        total = _none(wanted.memory_swap)
        _refuse_swap_below(limit, total)
        swap = convert.swap_max(limit, total)
        # A kernel that does not account for swap has no file and no limit.
        if swap is not None or memory.has("memory.swap.max"):
            yield from Memory.swap_max.steps(memory, swap, "memory_swap")
    if wanted.memory_reservation is not None:
        yield from Memory.low.steps(memory, _none(wanted.memory_reservation) or 0, "memory_reservation")


def _limits_v1(memory: Memory, wanted: Resources) -> Iterator[Step]:
    """memory.limit_in_bytes <= memory.memsw.limit_in_bytes has to hold after each single write."""
    if wanted.memory_swap is None:
        if wanted.memory is not None:
            yield from Memory.max.steps(memory, _none(wanted.memory), "memory")
    else:
        limit = memory.max if wanted.memory is None else _none(wanted.memory)
        total = _none(wanted.memory_swap)
        _refuse_swap_below(limit, total)
        before = memory.memsw_limit
        both = Memory.memsw_limit.steps(memory, total, "memory_swap")
        alone = LIMIT_V1.steps(memory, limit, "memory") if wanted.memory is not None else []
        growing = before is not None and (total is None or total >= before)
        yield from (*both, *alone) if growing else (*alone, *both)
    if wanted.memory_reservation is not None:
        yield from Memory.soft_limit.steps(
            memory, _none(wanted.memory_reservation), "memory_reservation"
        )


def _refuse_swap_below(limit: int | None, total: int | None) -> None:
    if total is not None and (limit is None or total < limit):
        raise InvalidValueError(
            f"memory_swap={total} counts memory and swap together, and the memory limit is "
            f"{'none' if limit is None else limit}: give memory too, not above memory_swap"
        )


def _cpu(cgroup: Cgroup, wanted: Resources) -> Iterator[Step]:
    if not any(name.startswith("cpu") and "cpuset" not in name for name in wanted.asked()):
        return
    cpu = cgroup.cpu
    if wanted.cpu_idle is False:
        yield from Cpu.idle.steps(cpu, False, "cpu_idle")
    if wanted.cpu_shares is not None:
        if cpu.version == 1:
            yield from Cpu.shares.steps(cpu, wanted.cpu_shares, "cpu_shares")
        else:
            weight = convert.cpu_weight_from_shares(wanted.cpu_shares)
            yield from Cpu.weight.steps(cpu, weight, "cpu_shares")
    if wanted.cpu_idle:
        yield from Cpu.idle.steps(cpu, True, "cpu_idle")
    yield from _bandwidth(cpu, wanted)
    yield from _real_time(cpu, wanted)


def _bandwidth(cpu: Cpu, wanted: Resources) -> Iterator[Step]:
    """A burst above the quota blocks the quota, so a burst that shrinks goes to 0 first."""
    quota = None
    if wanted.cpus is not None:
        quota = convert.quota_from_cpus(wanted.cpus)
        yield from _room_for(quota, cpu, wanted)
        yield from Cpu.max.steps(cpu, CpuMax(quota), "cpus")
    elif wanted.cpu_quota is not None or wanted.cpu_period is not None:
        now = cpu.max
        quota = now.quota if wanted.cpu_quota is None else _none(wanted.cpu_quota)
        period = now.period if wanted.cpu_period is None else wanted.cpu_period
        if quota is not None:
            yield from _room_for(quota, cpu, wanted)
        yield from Cpu.max.steps(cpu, CpuMax(quota, period), "cpu_quota")
    if wanted.cpu_burst is not None:
        yield from Cpu.max_burst.steps(cpu, wanted.cpu_burst, "cpu_burst")


def _room_for(quota: int, cpu: Cpu, wanted: Resources) -> Iterator[Step]:
    burst = peek(cpu, Cpu.max_burst) or 0
    if burst <= quota:
        return
    if wanted.cpu_burst is None:
        raise InvalidValueError(
            f"a quota of {quota} us is below the burst of {burst} us that {cpu.directory} has; give "
            "cpu_burst too (0 for none)"
        )
    yield from Cpu.max_burst.steps(cpu, 0, "cpu_burst")


def _real_time(cpu: Cpu, wanted: Resources) -> Iterator[Step]:
    """The runtime may not be above the period at any moment."""
    runtime, period = wanted.cpu_rt_runtime, wanted.cpu_rt_period
    steps: list[Step] = []
    if runtime is not None:
        steps += Cpu.rt_runtime_us.steps(cpu, _none(runtime), "cpu_rt_runtime")
    if period is not None:
        first = period >= cpu.rt_period_us
        longer = Cpu.rt_period_us.steps(cpu, period, "cpu_rt_period")
        steps = longer + steps if first else steps + longer
    yield from steps


_RATES = {
    "device_read_bps": "rbps",
    "device_write_bps": "wbps",
    "device_read_iops": "riops",
    "device_write_iops": "wiops",
}


def _io(cgroup: Cgroup, wanted: Resources) -> Iterator[Step]:
    if wanted.blkio_weight is not None:
        yield from _io_weight(cgroup.io, wanted.blkio_weight)
    for disk, weight in (wanted.blkio_weight_device or {}).items():
        yield from _io_weight_of(cgroup.io, disk, weight)
    given = wanted.asked()
    for option in _RATES.keys() & given.keys():
        limits = {disk: {_RATES[option]: _none(n)} for disk, n in given[option].items()}
        yield from Io.max.changes(cgroup.io, limits, option)


def _io_weight(io: Io, weight: int) -> Iterator[Step]:
    if io.version == 1 or io.has("io.bfq.weight"):
        yield from Io.bfq_weight.steps(io, weight, "blkio_weight")
    else:
        yield from Io.weight.steps(io, convert.io_weight_from_blkio(weight), "blkio_weight")


def _io_weight_of(io: Io, disk: str, weight: int) -> Iterator[Step]:
    """On v2 to iocost, unless the disk uses BFQ."""
    option = "blkio_weight_device"
    if io.version == 1 or disks.scheduler(disk) == "bfq":
        yield from Io.bfq_weight_device.changes(io, {disk: weight}, option)
    else:
        weights = {disk: convert.io_weight_from_blkio(weight)}
        yield from Io.weight_device.changes(io, weights, option)


def _others(cgroup: Cgroup, wanted: Resources) -> Iterator[Step]:
    for size, limit in (wanted.hugepage_limits or {}).items():
        pages, option = cgroup.hugetlb.of(size, "hugepage_limits"), f"hugepage_limits[{size!r}]"
        yield from Hugetlb.max.steps(pages, _none(limit), option)
        if pages.has("hugetlb.<size>.rsvd.max") or pages.has("hugetlb.<size>.rsvd.limit_in_bytes"):
            yield from Hugetlb.rsvd_max.steps(pages, _none(limit), option)
    if wanted.network_class_id is not None:
        number = wanted.network_class_id
        yield from NetCls.classid.steps(cgroup.net_cls, number, "network_class_id")
    if wanted.network_priorities is not None:
        table = wanted.network_priorities
        yield from NetPrio.ifpriomap.changes(cgroup.net_prio, table, "network_priorities")
    for device, uses in (wanted.rdma or {}).items():
        limits = {key: _none(limit) for key, limit in uses.items()}
        yield from Rdma.max.changes(cgroup.rdma, {device: limits}, "rdma")
    if wanted.devices is not None:
        rules = None if isinstance(wanted.devices, Unlimited) else wanted.devices
        yield from Devices.rules.steps(cgroup.devices, rules, "devices")


_NOT_LIMITS = {"cgroup.kill", "memory.reclaim"}


def _unified(cgroup: Cgroup, file: str, text: str) -> Iterator[Step]:
    """*text* into the v2 file *file*, a step a line."""
    option, prefix = "unified", file.partition(".")[0]
    name = "core" if prefix in ("cgroup", "irq") else prefix
    if name not in CONTROLLERS or "." not in file:
        raise invalid(option, file, 'name an interface file of v2, such as "memory.high"')
    controller = cgroup.controller(name)
    if controller.version == 1:
        raise UnsupportedError(
            f"unified[{file!r}] names a file of v2, and {name} is v1 here ({controller.directory}); "
            "give the option that has the same meaning on both"
        )
    line = _description(controller, file)
    if file in _NOT_LIMITS or (line and not isinstance(line, Setting)):
        raise invalid(option, file, "it is not a setting, which could be put back")
    source: Any = line.sources[2] if line else None
    for row in text.splitlines() or ["\n"]:
        unset = f"{row.split()[0]} {source.row.unset}" if isinstance(source, Table) else ""
        yield Step(controller, file, row, unset=unset)


def _description(controller: Controller, file: str) -> Reading[Any] | None:
    parts: Mapping[str, Reading[Any]] = {
        part.path(name): line
        for part in controller.parts()
        for line in described(type(controller))
        for name in (line.sources[2].files if line.sources[2] else ())
    }
    return parts.get(controller.path(file))
