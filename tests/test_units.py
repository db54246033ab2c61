"""Units: what people write, what is refused, and that nothing else is ever raised."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import units
from cgroupkit.errors import InvalidValueError

MIB = 1 << 20
HUGE = pytest.param(10**5000, id="huge")
anything = st.one_of(
    st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.binary(), st.decimals(),
    st.lists(st.integers(-5, 70000), max_size=5), st.from_regex(r"\A\s*-?\d*\.?\d*\s*[kKmMgG]?i?b?\Z"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("200M", 200 * MIB),
        ("200m", 200 * MIB),
        ("200MB", 200 * MIB),
        ("200MiB", 200 * MIB),
        (" 200 M ", 200 * MIB),
        ("1.5G", 1536 * MIB),
        ("0.5k", 512),
        ("7b", 7),
        ("2T", 2 << 40),
        ("1P", 1 << 50),
        ("7E", 7 << 60),
        (2**63 - 1, 2**63 - 1),
        (None, None),
        (-1, None),
        ("-1", None),
        ("max", None),
        ("MAX", None),
        ("unlimited", None),
    ],
)
def test_sizes(value: Any, size: int | None) -> None:
    assert units.parse_bytes(value) == size


@pytest.mark.parametrize(
    "value",
    [
        "200X", "1e3M", "", " ", "M", "-5", -5, "+5", "1,5G", "0x10", "1.", ".5k", "1_000", "nan",
        "0.3k", "1.0000000001k", "0.9999999999999999999999999999999999", True, False, 1.5, -1.0,
        Decimal(5), b"5", [], {}, 2**63, "8E", "9" * 30, HUGE, "٣", "2 0M", "1M\0",
    ],
)  # fmt: skip
def test_bad_sizes(value: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"^memory=.* is not valid: .") as caught:
        units.parse_bytes(value, "memory")
    assert isinstance(caught.value, ValueError)


@given(anything)
def test_sizes_are_never_negative_and_nothing_else_is_raised(value: Any) -> None:
    try:
        size = units.parse_bytes(value)
    except InvalidValueError:
        return
    assert size is None or 0 <= size <= units.MAX_BYTES


@given(st.integers(0, units.MAX_BYTES))
def test_a_size_is_exact_in_every_form(size: int) -> None:
    assert units.parse_bytes(size) == units.parse_bytes(str(size)) == size
    if size % MIB == 0:
        assert units.parse_bytes(f"{size // MIB}M") == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "max"), (0, "0B"), (1023, "1023B"), (200 * MIB, "200MiB"), (3 * 512 * MIB, "1.5GiB"),
     (2**63, "8EiB")],
)  # fmt: skip
def test_sizes_for_people(size: int | None, text: str) -> None:
    assert units.format_bytes(size) == text


@pytest.mark.parametrize("value", [1, 5, "5", " 10 "])
def test_whole_numbers(value: Any) -> None:
    assert units.parse_int(value, "x", 1, 10) == int(value)


@pytest.mark.parametrize("value", [0, 11, "11", "-1", "", "5.0", 5.0, True, None, HUGE, "1e1", "²"])
def test_bad_whole_numbers(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="from 1 to 10"):
        units.parse_int(value, "x", 1, 10)


@pytest.mark.parametrize("value", [None, -1, "-1", "max", " Unlimited "])
def test_no_limit(value: Any) -> None:
    assert units.parse_limit(value, "x", 1, 10) is None


@pytest.mark.parametrize("value", [-2, 0, 11, "none", True, -1.0, Decimal(-1)])
def test_bad_limits(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="max"):
        units.parse_limit(value, "x", 1, 10)


@pytest.mark.parametrize(
    ("value", "truth"), [(True, True), (False, False), (1, True), ("0", False), ("1", True)]
)
def test_truths(value: Any, truth: bool) -> None:
    assert units.parse_bool(value, "x") is truth


@pytest.mark.parametrize("value", [2, 1.0, "yes", "", None, [], Decimal(1)])
def test_bad_truths(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="True or False"):
        units.parse_bool(value, "x")


@pytest.mark.parametrize("value", [2, 0.5, "1.5", ".5", Decimal("1.25"), 0])
def test_decimals_are_exact(value: Any) -> None:
    assert units.parse_decimal(value, "x") == Decimal(str(value))


@pytest.mark.parametrize(
    "value", [-1, "-1", float("nan"), float("inf"), "nan", "1e3", "", True, None, Decimal("sNaN")]
)
def test_bad_decimals(value: Any) -> None:
    with pytest.raises(InvalidValueError):
        units.parse_decimal(value, "x")


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("0-3,8", {0, 1, 2, 3, 8}),
        ("8,0-1", {0, 1, 8}),
        (" 0 - 1 , 2 ", {0, 1, 2}),
        ("", set()),
        ("\n", set()),
        ([3, 1], {1, 3}),
        (range(2), {0, 1}),
        (set(), set()),
    ],
)
def test_id_lists(value: Any, ids: set[int]) -> None:
    assert units.parse_ids(value) == ids


@pytest.mark.parametrize(
    "value",
    ["3-1", "a", "0-", "-1", "0,,1", "65536", [70000], [-1], [True], ["0"], 3, b"0", None, "0x1"],
)
def test_bad_id_lists(value: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"0-3,8"):
        units.parse_ids(value)


@given(st.frozensets(st.integers(0, units.MAX_ID), max_size=50))
def test_id_lists_come_back(ids: frozenset[int]) -> None:
    assert units.parse_ids(units.format_ids(ids)) == ids


@given(anything)
def test_nothing_else_is_raised(value: Any) -> None:
    for parse in (
        units.parse_ids,
        lambda v: units.parse_int(v, "x", 0, 9),
        lambda v: units.parse_limit(v, "x", 0, 9),
        lambda v: units.parse_bool(v, "x"),
        lambda v: units.parse_decimal(v, "x"),
    ):
        try:
            parse(value)
        except InvalidValueError as error:
            assert str(error)


def test_names_are_joined() -> None:
    assert units.format_names(["a"]) == "a"
    assert units.format_names("abc") == "a, b and c"
