"""The arithmetic between v1 and v2."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import convert

shares = st.integers(2, 262144)
weights = st.integers(1, 10000)


@pytest.mark.parametrize(
    ("given_shares", "weight"), [(2, 1), (512, 59), (1024, 100), (2048, 174), (262144, 10000)]
)
def test_shares_become_runcs_weight(given_shares: int, weight: int) -> None:
    assert convert.cpu_weight_from_shares(given_shares) == weight


@given(shares, shares)
def test_more_shares_never_weigh_less(one: int, other: int) -> None:
    low, high = sorted((one, other))
    for weight in (convert.cpu_weight_from_shares, convert.kernel_weight_from_shares):
        assert 1 <= weight(low) <= weight(high) <= 10000


@given(weights)
def test_a_weight_comes_back_from_v1(weight: int) -> None:
    in_shares = convert.shares_from_kernel_weight(weight)
    assert convert.kernel_weight_from_shares(in_shares) == weight


@pytest.mark.parametrize(("blkio", "weight"), [(10, 1), (100, 910), (500, 4950), (1000, 10000)])
def test_blkio_weights(blkio: int, weight: int) -> None:
    assert convert.io_weight_from_blkio(blkio) == weight


@pytest.mark.parametrize(("cpus", "quota"), [("1.5", 150_000), ("0.01", 1000), ("0.333333", 33333)])
def test_cpus_become_a_quota(cpus: str, quota: int) -> None:
    assert convert.quota_from_cpus(Decimal(cpus)) == quota


@pytest.mark.parametrize(
    ("memory", "both", "swap"), [(100, 300, 200), (100, 100, 0), (100, None, None), (None, 5, 5)]
)
def test_swap_is_what_is_above_memory(memory: int | None, both: int | None, swap: int | None) -> None:
    assert convert.swap_max(memory, both) == swap
