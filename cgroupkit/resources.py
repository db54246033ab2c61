"""Resources: what is asked for in Docker's words, checked as a whole, written in a legal order."""

from __future__ import annotations

import enum
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

import attrs

from cgroupkit import convert, files, units
from cgroupkit.controllers import Cpu, Cpuset, Io, Memory, Pids, Step, peek
from cgroupkit.controllers.cpu import QUOTA_MAX, CpuMax
from cgroupkit.controllers.memory import LIMIT_V1
from cgroupkit.controllers.pids import PID_MAX
from cgroupkit.errors import (
    BusyError,
    CgroupKitError,
    FileError,
    InvalidValueError,
    file_error,
)
from cgroupkit.units import IdList, Size, format_bytes, invalid

if TYPE_CHECKING:
    from cgroupkit.cgroup import Cgroup

_RT_MAX = 2**63 - 1
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class Unlimited(enum.Enum):
    """The parsed form of -1 and "max", to be told from None, which leaves a setting alone."""

    UNLIMITED = "max"

    def __repr__(self) -> str:
        return "'max'"


UNLIMITED = Unlimited.UNLIMITED
Limit = int | Unlimited | None


class Options(TypedDict, total=False):
    """The keyword arguments of :class:`Resources`, for the functions that take them too."""

    memory: Size
    memory_swap: Size
    memory_reservation: Size
    memory_high: Size
    memory_swappiness: int | str | None
    kernel_memory: Size
    cpus: float | str | Decimal | None
    cpu_shares: int | str | None
    cpu_quota: int | str | None
    cpu_period: int | str | None
    cpu_burst: int | str | None
    cpu_idle: bool | None
    cpu_rt_period: int | str | None
    cpu_rt_runtime: int | str | None
    cpuset_cpus: IdList | None
    cpuset_mems: IdList | None
    pids_limit: int | str | None
    blkio_weight: int | str | None


def _field(parse: Any) -> Any:
    def convert_value(value: Any, self: Any, field: attrs.Attribute[Any]) -> Any:
        if value is None:
            return None
        parsed = parse("max" if value is UNLIMITED else value, field.name)
        return UNLIMITED if parsed is None else parsed

    return attrs.field(
        default=None, converter=attrs.Converter(convert_value, takes_self=True, takes_field=True)
    )


def _whole(low: int, high: int) -> Any:
    return _field(lambda value, option: units.parse_int(value, option, low, high))


def _cpus(value: Any, option: str) -> Decimal:
    number = units.parse_decimal(value, option)
    if not Decimal("0.01") <= number <= QUOTA_MAX // convert.DEFAULT_CPU_PERIOD:
        raise invalid(option, value, "give at least 0.01 CPUs (1000 us of each 100 ms)")
    return number


def _pids_limit(value: Any, option: str) -> int | None:
    return units.parse_limit(value, option, 0, PID_MAX) or None


def _quota(value: Any, option: str) -> int | None:
    quota = units.parse_limit(value, option, 0, QUOTA_MAX) or None
    return quota and units.parse_int(quota, option, 1000, QUOTA_MAX)


def _size(value: Any, option: str) -> int | None:
    size = units.parse_bytes(value, option)
    if size is not None and size < PAGE_SIZE:
        raise invalid(
            option, value, f"the kernel rounds down to pages, so give at least {PAGE_SIZE} bytes"
        )
    return size


def _rt_runtime(value: Any, option: str) -> int | None:
    return units.parse_limit(value, option, 0, _RT_MAX)


def _ids(value: Any, option: str) -> frozenset[int]:
    ids = units.parse_ids(value, option)
    if not ids:
        raise invalid(option, value, "name at least one")
    return ids


@attrs.frozen(kw_only=True, init=False)
class Resources:
    """What a cgroup is to be given; a field left out (None) is left as it is.

    Names and meanings are those of ``docker update``: sizes in bytes or as "200M"; -1 or "max" for
    no limit. Raises :class:`InvalidValueError` for values and combinations that cannot be meant.
    """

    memory: Limit = _field(_size)
    """Hard limit on memory: memory.max."""
    memory_swap: Limit = _field(_size)
    """Limit on memory plus swap, as on v1; -1 for any amount of swap."""
    memory_reservation: Limit = _field(units.parse_bytes)
    """Soft limit: memory.low on v2, memory.soft_limit_in_bytes on v1."""
    memory_high: Limit = _field(_size)
    """Throttling limit, v2 only: memory.high."""
    memory_swappiness: int | None = _whole(0, 200)
    """v1 only: memory.swappiness."""
    kernel_memory: Limit = _field(_size)
    """v1 only, and refused by the kernel since 5.16."""
    cpus: Decimal | None = _field(_cpus)
    """How many CPUs' worth of time: a quota over 100 ms. Excludes cpu_quota and cpu_period."""
    cpu_shares: int | None = _whole(2, 262144)
    """Proportional weight, 1024 by default; converted to cpu.weight on v2 as runc does."""
    cpu_quota: Limit = _field(_quota)
    """Microseconds of CPU time in each period; -1 for no limit."""
    cpu_period: int | None = _whole(1000, 1_000_000)
    """Microseconds; 100000 by default."""
    cpu_burst: int | None = _whole(0, QUOTA_MAX)
    """Microseconds of unused quota that may be saved up."""
    cpu_idle: bool | None = _field(units.parse_bool)
    """Run only when nothing else wants the CPU."""
    cpu_rt_period: int | None = _whole(1, _RT_MAX)
    """v1 only: microseconds, cpu.rt_period_us."""
    cpu_rt_runtime: Limit = _field(_rt_runtime)
    """v1 only: microseconds of cpu_rt_period, cpu.rt_runtime_us."""
    cpuset_cpus: frozenset[int] | None = _field(_ids)
    """CPUs to run on: "0-3,8" or numbers."""
    cpuset_mems: frozenset[int] | None = _field(_ids)
    """Memory nodes to allocate from."""
    pids_limit: Limit = _field(_pids_limit)
    """Most tasks; 0 and -1 are no limit."""
    blkio_weight: int | None = _whole(10, 1000)
    """Proportional I/O weight; converted to io.weight on v2 as runc does."""

    def __init__(self, **options: Unpack[Options]) -> None:
        # What is given has other types than what is kept: the fields' converters lie between.
        init: Callable[..., None] = self.__attrs_init__
        init(**options)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """From options of a caller's caller: an unknown one is an :class:`InvalidValueError`."""
        known = [field.name for field in attrs.fields(cls)]
        for name in options:
            if name not in known:
                raise unknown_option(name, known)
        return cls(**options)

    def __attrs_post_init__(self) -> None:
        if self.cpus is not None and (self.cpu_quota is not None or self.cpu_period is not None):
            other = "cpu_quota" if self.cpu_quota is not None else "cpu_period"
            raise InvalidValueError(
                f"cpus={self.cpus} and {other}={getattr(self, other)!r} exclude each other: cpus is "
                "a quota over 100 ms; give cpus alone, or cpu_quota with cpu_period"
            )
        self._ordered("memory", "memory_swap", "memory_swap counts memory and swap together")
        self._ordered("memory_reservation", "memory", "a soft limit above the hard one does nothing")
        self._ordered("cpu_burst", "cpu_quota", "the burst must not be above the quota")
        self._ordered("cpu_rt_runtime", "cpu_rt_period", "the runtime is a part of the period")

    def _ordered(self, low: str, high: str, why: str) -> None:
        one, other = getattr(self, low), getattr(self, high)
        if one is None or one is UNLIMITED or other is None or other is UNLIMITED:
            return
        if one > other:
            raise InvalidValueError(f"{low}={one} is above {high}={other}: {why}")

    def asked(self) -> dict[str, Any]:
        """The fields that were given."""
        values = ((f.name, getattr(self, f.name)) for f in attrs.fields(type(self)))
        return {name: value for name, value in values if value is not None}


def unknown_option(name: str, known: Iterable[str], prefix: str = "") -> InvalidValueError:
    """The error for *name*, with the nearest of *known* names; *prefix* stands before each."""
    import difflib  # noqa: PLC0415

    near = difflib.get_close_matches(str(name), list(known), 1, 0.75)
    options = ", ".join(prefix + option for option in known)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"the options are {options}"
    return InvalidValueError(f"there is no option '{prefix}{name}'; {hint}")


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
        raise _after_undoing(error, done) from None


def _before(step: Step) -> list[Step]:
    """What *step* overwrites, to be written back last first. cpu.idle overwrites the weight too."""
    also: tuple[str, ...] = ()
    if step.file == "cpu.idle" and step.text == "1":
        also = ("cpu.shares" if step.controller.version == 1 else "cpu.weight",)
    texts = {file: step.controller.read(file).rstrip("\n") for file in (*also, step.file)}
    return [attrs.evolve(step, file=file, text=text or "\n") for file, text in texts.items()]


def _after_undoing(error: CgroupKitError, done: list[Step]) -> CgroupKitError:
    """Put back what was there, last first, and say in the error what became of it."""
    undone = "; nothing was changed"
    for step in reversed(done):
        try:
            step.controller.write(step.file, step.text)
        except CgroupKitError as second:
            undone = f"; and an earlier change could not be undone: {second}"
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
