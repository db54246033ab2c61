"""Resources: what is asked for, in Docker's words, checked as a whole."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Self, TypedDict, Unpack

import attrs

from cgroupkit import convert, units
from cgroupkit.controllers.cpu import QUOTA_MAX
from cgroupkit.controllers.pids import PID_MAX
from cgroupkit.errors import InvalidValueError
from cgroupkit.units import IdList, Size, invalid

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
