"""Arithmetic between the v1 and v2 forms of the same request; integers in, integers out.

The formulas are those of runc (opencontainers/cgroups, utils.go) and crun (cgroup-internal.h). A value
that they read as "not given" (0), or that they turn into a number of another meaning, is an
:class:`InvalidValueError` here; what is only too large or too small they clamp, and so do we.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from decimal import Decimal
from functools import lru_cache

from cgroupkit.errors import InvalidValueError
from cgroupkit.units import invalid

DEFAULT_CPU_PERIOD = 100_000
"""Microseconds: the kernel's and Docker's default CFS period."""


def cpu_weight_from_shares(shares: int) -> int:
    """cpu.weight (1..10000) that runc and crun give for cpu.shares (2..262144).

    A quadratic in log2(shares) through 2 -> 1, 1024 -> 100 and 262144 -> 10000
    (kubernetes/enhancements KEP-2254, adopted by runc 1.3.2 and crun 1.23). Shares outside of the range
    are clamped, as v1's kernel does; :class:`InvalidValueError` below 1.
    """
    if shares < 1:
        raise invalid("shares", shares, "give 2 to 262144 (1024 is the default)")
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    # But for 1024, where it is exact, no value of the domain comes within 1e-6 of a whole number:
    # the last digits of a C library's log2 and pow do not matter.
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


@lru_cache
def cpu_shares_from_weight(weight: int) -> int:
    """The most shares that :func:`cpu_weight_from_shares` makes *weight* of: 100 -> 1024.

    :class:`InvalidValueError` outside of 1..10000.
    """
    if not 1 <= weight <= 10000:
        raise invalid("weight", weight, "give 1 to 10000 (100 is the default)")
    return bisect_right(range(2, 262145), weight, key=cpu_weight_from_shares) + 1


def kernel_weight_from_shares(shares: int) -> int:
    """cpu.weight with the same scheduler weight as *shares*: the kernel's own ratio 1024:100.

    As sched_weight_to_cgroup in kernel/sched/sched.h: rounded to the nearest, within 1..10000.
    """
    return min(max((shares * 100 + 512) // 1024, 1), 10000)


def shares_from_kernel_weight(weight: int) -> int:
    """Inverse of :func:`kernel_weight_from_shares` (kernel/sched/sched.h, sched_weight_from_cgroup).

    :class:`InvalidValueError` outside of 1..10000.
    """
    if not 1 <= weight <= 10000:
        raise invalid("weight", weight, "give 1 to 10000 (100 is the default)")
    return (weight * 1024 + 50) // 100


def io_weight_from_blkio(weight: int) -> int:
    """io.weight (1..10000) for Docker's blkio weight (10..1000): linear, and rounded down.

    BFQ's io.bfq.weight takes the blkio weight itself. :class:`InvalidValueError` outside of the range:
    runc and crun compute 1 + (5 - 10) * 9999 / 990 in unsigned numbers.
    """
    if not 10 <= weight <= 1000:
        raise invalid("blkio weight", weight, "give 10 to 1000")
    return 1 + (weight - 10) * 9999 // 990


def quota_from_cpus(cpus: Decimal, period: int = DEFAULT_CPU_PERIOD) -> int:
    """Microseconds of CPU time a period, rounded down as by Docker (moby, daemon_unix.go).

    :class:`InvalidValueError` below 1000, the least that the kernel takes.
    """
    quota = int(cpus * period) if cpus.is_finite() else 0
    if quota < 1000:
        raise invalid(
            "cpus", str(cpus), f"the kernel takes no quota below 1000 us, of a period of {period}"
        )
    return quota


def swap_max(memory: int | None, memory_swap: int | None) -> int | None:
    """v2's memory.swap.max from Docker's memory + swap total; for all three None is no limit.

    Without a limit on *memory* the total is the limit on swap, as runc has it. Raises
    :class:`InvalidValueError` for a total below *memory*, and for 0 and negative numbers, which are
    OCI's "not given" and "no limit" and no sizes.
    """
    if memory_swap is None:
        return None
    if memory_swap <= 0:
        raise invalid("memory_swap", memory_swap, "give bytes above 0, or None for no limit")
    if memory is None:
        return memory_swap
    if memory < 0:
        raise invalid("memory", memory, "give bytes, or None for no limit")
    if memory_swap < memory:
        raise InvalidValueError(
            f"memory_swap={memory_swap} is below memory={memory}: memory_swap counts memory and swap "
            "together"
        )
    return memory_swap - memory
