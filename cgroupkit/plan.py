"""How Resources come about: the writes, in an order that is legal, all of them or none."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import attrs

from cgroupkit import convert, files
from cgroupkit.controllers import Cpu, Cpuset, Io, Memory, Pids, Step, peek
from cgroupkit.controllers.cpu import CpuMax
from cgroupkit.controllers.memory import LIMIT_V1
from cgroupkit.errors import (
    BusyError,
    CgroupKitError,
    FileError,
    InvalidValueError,
    file_error,
)
from cgroupkit.resources import Limit, Resources, Unlimited
from cgroupkit.units import format_bytes

if TYPE_CHECKING:
    from cgroupkit.cgroup import Cgroup


def apply(cgroup: Cgroup, wanted: Resources, *, check: bool = True, fresh: bool = False) -> None:
    """Write *wanted*, all of it or nothing. A *fresh* cgroup is not undone: it will be removed."""
    with nullcontext() if fresh else _one_at_a_time:
        _apply(cgroup, wanted, check=check, fresh=fresh)


_one_at_a_time = threading.Lock()
"""What is planned depends on what is there, so updates of this process do not overlap."""


def _apply(cgroup: Cgroup, wanted: Resources, *, check: bool, fresh: bool) -> None:
    steps = list(plan(cgroup, wanted))
    if check and not fresh:
        _check_in_use(cgroup, wanted)
    done: list[Step] = []
    try:
        for step in steps:
            before = [] if fresh else _before(step)
            if before and before[-1].text == step.text:
                continue
            step.controller.write(step.file, step.text)
            done += before
    except CgroupKitError as error:
        raise _told(error, _undo(done)) from None
    except BaseException:  # KeyboardInterrupt
        _undo(done)
        raise


def _before(step: Step) -> list[Step]:
    """What *step* overwrites, to be written back last first. cpu.idle overwrites the weight too."""
    also: tuple[str, ...] = ()
    if step.file == "cpu.idle" and step.text == "1":
        also = ("cpu.shares" if step.controller.version == 1 else "cpu.weight",)
    texts = {file: step.controller.read(file).rstrip("\n") for file in (*also, step.file)}
    return [attrs.evolve(step, file=file, text=text or "\n") for file, text in texts.items()]


def _undo(done: list[Step]) -> str:
    """Put back what was there, last first; what became of it, for the message."""
    undone = "; nothing was changed"
    for step in reversed(done):
        try:
            step.controller.write(step.file, step.text)
        except CgroupKitError as error:
            undone = f"; and an earlier change could not be undone: {error}"
    return undone


def _told(error: CgroupKitError, undone: str) -> CgroupKitError:
    """The same error, saying what became of the other changes and, if it matters, what is in use."""
    if not isinstance(error, FileError):
        return error
    usage = ""
    if error.errno == errno.EBUSY and (error.filename or "").endswith(".limit_in_bytes"):
        file = str(error.filename).replace("limit_in_bytes", "usage_in_bytes")
        usage = f" (in use: {format_bytes(int(files.read(file)))})"
    return file_error(error.errno or 0, f"{error}{usage}{undone}", error.filename, error.value)


def _check_in_use(cgroup: Cgroup, wanted: Resources) -> None:
    """v2 takes any limit at once and kills until it holds; v1 refuses by itself (EBUSY)."""
    limit = wanted.memory
    if not isinstance(limit, int) or cgroup.memory.version == 1:
        return
    memory = cgroup.memory
    in_use = memory.current
    if in_use <= limit:
        return
    stat = memory.stat
    cache = (stat.active_file or 0) + (stat.inactive_file or 0)
    swap = _room_in_swap(memory, wanted)
    if in_use - cache - swap > limit:
        raise BusyError(
            errno.EBUSY,
            f"memory={limit} is below what {memory.directory} has in use: {format_bytes(in_use)}, of "
            f"which {format_bytes(cache)} is page cache that could be dropped, with room for "
            f"{format_bytes(swap)} in swap. The kernel would kill processes at once. Nothing was "
            "changed; pass check=False to do it all the same",
            memory.path("memory.max"),
            str(limit),
        )


def _room_in_swap(memory: Memory, wanted: Resources) -> int:
    """What could still be swapped out: as far as the cgroup may, and the machine can."""
    free = host_swap_free()
    allowed = peek(memory, Memory.swap_max)
    if isinstance(wanted.memory_swap, int) and isinstance(wanted.memory, int):
        allowed = wanted.memory_swap - wanted.memory
    if allowed is None:
        return free
    return min(free, max(allowed - (peek(memory, Memory.swap_current) or 0), 0))


def host_swap_free() -> int:
    """Bytes of unused swap, from /proc/meminfo."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("SwapFree"))
    except (OSError, StopIteration):
        return 0


def plan(cgroup: Cgroup, wanted: Resources) -> Iterator[Step]:
    """The writes that bring *wanted* about, in an order that the kernel accepts at every moment."""
    yield from _memory(cgroup, wanted)
    yield from _cpu(cgroup, wanted)
    if wanted.cpuset_cpus is not None:
        yield from Cpuset.cpus.steps(cgroup.cpuset, wanted.cpuset_cpus, "cpuset_cpus")
    if wanted.cpuset_mems is not None:
        yield from Cpuset.mems.steps(cgroup.cpuset, wanted.cpuset_mems, "cpuset_mems")
    if wanted.pids_limit is not None:
        yield from Pids.max.steps(cgroup.pids, _none(wanted.pids_limit), "pids_limit")
    if wanted.blkio_weight is not None:
        yield from _io_weight(cgroup.io, wanted.blkio_weight)


def _none(limit: Limit) -> int | None:
    return None if isinstance(limit, Unlimited) else limit


def _memory(cgroup: Cgroup, wanted: Resources) -> Iterator[Step]:
    given = wanted.asked()
    if not any(name.startswith(("memory", "kernel_memory")) for name in given):
        return
    memory = cgroup.memory
    yield from (_limits_v1 if memory.version == 1 else _limits_v2)(memory, wanted)
    if wanted.memory_high is not None:
        yield from Memory.high.steps(memory, _none(wanted.memory_high), "memory_high")
    if wanted.memory_swappiness is not None:
        yield from Memory.swappiness.steps(memory, wanted.memory_swappiness, "memory_swappiness")
    if wanted.kernel_memory is not None:
        yield from Memory.kmem_limit.steps(memory, _none(wanted.kernel_memory), "kernel_memory")


def _limits_v2(memory: Memory, wanted: Resources) -> Iterator[Step]:
    if wanted.memory is not None:
        yield from Memory.max.steps(memory, _none(wanted.memory), "memory")
    if wanted.memory_swap is not None:
        limit = memory.max if wanted.memory is None else _none(wanted.memory)
        total = _none(wanted.memory_swap)
        _refuse_swap_below(limit, total)
        yield from Memory.swap_max.steps(memory, convert.swap_max(limit, total), "memory_swap")
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


def _io_weight(io: Io, weight: int) -> Iterator[Step]:
    if io.version == 1 or io.has("io.bfq.weight"):
        yield from Io.bfq_weight.steps(io, weight, "blkio_weight")
    else:
        yield from Io.weight.steps(io, convert.io_weight_from_blkio(weight), "blkio_weight")
