"""The arithmetic between v1 and v2."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import convert
from cgroupkit.errors import InvalidValueError

SHARES = range(2, 262145)
BLKIO = range(10, 1001)


# CPU


def exact(shares: int) -> Decimal:
    """What runc rounds up, to 40 digits."""
    with localcontext() as context:
        context.prec = 40
        log = Decimal(shares).ln() / Decimal(2).ln()
        exponent = (log * log + 125 * log) / 612 - Decimal(7) / 34
        return (exponent * Decimal(10).ln()).exp()


@pytest.mark.parametrize(
    ("given_shares", "weight"),
    [
        (1, 1), (2, 1), (3, 2), (102, 17), (512, 59), (1000, 99), (1024, 100), (2048, 174),
        (20000, 1112), (116225, 4938), (230091, 8925), (262143, 10000), (262144, 10000), (2**40, 10000),
    ],
)  # fmt: skip
def test_shares_become_runcs_weight(given_shares: int, weight: int) -> None:
    assert convert.cpu_weight_from_shares(given_shares) == weight


def test_all_shares_are_in_order_and_in_range() -> None:
    weights = [convert.cpu_weight_from_shares(shares) for shares in SHARES]
    assert weights == sorted(weights)
    assert (weights[0], weights[-1]) == (1, 10000)
    assert {type(weight) for weight in weights} == {int}


def test_no_mathematical_library_can_round_otherwise() -> None:
    """Where the formula is not exact, its value is far from a whole number, as floating point goes."""
    near = []
    for shares in SHARES:
        log = math.log2(shares)
        value = 10 ** ((log * log + 125 * log) / 612 - 7 / 34)
        if abs(value - round(value)) < 1e-6:
            near.append(shares)
    assert near == [2, 1024, 262144]


@given(st.sampled_from(SHARES).filter(lambda shares: shares not in (2, 1024, 262144)))
def test_the_weight_is_exact(shares: int) -> None:
    assert convert.cpu_weight_from_shares(shares) == exact(shares).to_integral_value(ROUND_CEILING)


def test_a_weight_is_that_of_its_shares() -> None:
    """The most that give it: 1024 comes back, and so does every weight that shares can give."""
    given_by: dict[int, int] = {convert.cpu_weight_from_shares(shares): shares for shares in SHARES}
    assert convert.cpu_shares_from_weight(100) == 1024
    for weight in range(1, 10001):
        shares = convert.cpu_shares_from_weight(weight)
        assert shares == given_by.get(weight, shares)
        assert convert.cpu_weight_from_shares(shares) <= weight


def test_the_kernels_own_weights() -> None:
    weights = [convert.kernel_weight_from_shares(shares) for shares in SHARES]
    assert weights == sorted(weights)
    assert (weights[0], weights[1024 - 2], weights[-1]) == (1, 100, 10000)


def test_a_weight_comes_back_from_v1() -> None:
    for weight in range(1, 10001):
        shares = convert.shares_from_kernel_weight(weight)
        assert shares in SHARES
        assert convert.kernel_weight_from_shares(shares) == weight


# I/O


@pytest.mark.parametrize(
    ("blkio", "weight"), [(10, 1), (11, 11), (100, 910), (500, 4950), (1000, 10000)]
)
def test_blkio_weights(blkio: int, weight: int) -> None:
    assert convert.io_weight_from_blkio(blkio) == weight


def test_all_blkio_weights_are_in_order_and_in_range() -> None:
    weights = [convert.io_weight_from_blkio(weight) for weight in BLKIO]
    assert weights == sorted(set(weights))
    assert (weights[0], weights[-1]) == (1, 10000)


# Quota and swap


@pytest.mark.parametrize(
    ("cpus", "period", "quota"),
    [
        ("1.5", 100_000, 150_000),
        ("0.01", 100_000, 1000),
        ("0.333333", 100_000, 33333),
        ("0.666669", 100_000, 66666),
        ("2", 50_000, 100_000),
    ],
)
def test_cpus_become_a_quota(cpus: str, period: int, quota: int) -> None:
    assert convert.quota_from_cpus(Decimal(cpus), period) == quota


@pytest.mark.parametrize(
    ("memory", "both", "swap"),
    [(100, 300, 200), (100, 100, 0), (100, None, None), (None, 5, 5), (None, None, None), (0, 5, 5)],
)
def test_swap_is_what_is_above_memory(memory: int | None, both: int | None, swap: int | None) -> None:
    assert convert.swap_max(memory, both) == swap


@pytest.mark.parametrize(
    ("call", "arguments", "words"),
    [
        ("cpu_weight_from_shares", (0,), "shares=0 is not valid: give 2 to 262144"),
        ("cpu_weight_from_shares", (-1,), "shares=-1"),
        ("cpu_shares_from_weight", (0,), "weight=0 is not valid: give 1 to 10000"),
        ("cpu_shares_from_weight", (10001,), "weight=10001"),
        ("shares_from_kernel_weight", (0,), "weight=0 is not valid: give 1 to 10000"),
        ("shares_from_kernel_weight", (10001,), "weight=10001"),
        ("io_weight_from_blkio", (0,), "blkio weight=0 is not valid: give 10 to 1000"),
        ("io_weight_from_blkio", (9,), "blkio weight=9"),
        ("io_weight_from_blkio", (1001,), "blkio weight=1001"),
        ("quota_from_cpus", (Decimal("0.009"),), "cpus='0.009' .* below 1000 us"),
        ("quota_from_cpus", (Decimal("nan"),), "cpus='NaN'"),
        ("quota_from_cpus", (Decimal("inf"),), "cpus='Infinity'"),
        ("swap_max", (100, 99), "memory_swap=99 is below memory=100: .* together"),
        ("swap_max", (None, 0), "memory_swap=0 is not valid: .*None for no limit"),
        ("swap_max", (100, -1), "memory_swap=-1"),
        ("swap_max", (-1, 100), "memory=-1"),
    ],
)
def test_what_has_no_counterpart(call: str, arguments: Any, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        getattr(convert, call)(*arguments)
