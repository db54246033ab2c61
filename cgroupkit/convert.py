"""Arithmetic between the v1 and v2 forms of the same request; integers in, integers out."""

from __future__ import annotations

import math
from decimal import Decimal

DEFAULT_CPU_PERIOD = 100_000
"""Microseconds: the kernel's and Docker's default CFS period."""


def cpu_weight_from_shares(shares: int) -> int:
    """cpu.weight (1..10000) that runc and crun give for cpu.shares (2..262144).

    A quadratic in log2(shares) through 2 -> 1, 1024 -> 100 and 262144 -> 10000
    (kubernetes/enhancements KEP-2254, adopted by runc 1.3 and crun 1.23).
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def kernel_weight_from_shares(shares: int) -> int:
    """cpu.weight with the same scheduler weight as *shares*: the kernel's own ratio 1024:100."""
    return min(max((shares * 100 + 512) // 1024, 1), 10000)


def shares_from_kernel_weight(weight: int) -> int:
    """Inverse of :func:`kernel_weight_from_shares` (kernel/sched/core.c, sched_weight_from_cgroup)."""
    return (weight * 1024 + 50) // 100


def io_weight_from_blkio(weight: int) -> int:
    """io.weight (1..10000) for Docker's blkio weight (10..1000), as runc computes it."""
    return 1 + (weight - 10) * 9999 // 990


def quota_from_cpus(cpus: Decimal, period: int = DEFAULT_CPU_PERIOD) -> int:
    """Microseconds of CPU time a period, rounded to the nearest."""
    return int((cpus * period).to_integral_value())


def swap_max(memory: int | None, memory_swap: int | None) -> int | None:
    """v2's memory.swap.max from Docker's memory + swap total; None is no limit."""
    if memory_swap is None:
        return None
    return memory_swap - (memory or 0)
