"""What stands in an interface file: parsed, and printed as the kernel wants it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from cgroupkit.controllers import kinds
from cgroupkit.controllers.cpu import CPU_MAX, PERCENT, CpuMax
from cgroupkit.controllers.flat import Flat, flat
from cgroupkit.controllers.kinds import Kind
from cgroupkit.errors import InvalidValueError

PAGES = 9223372036854771712
"""What v1 prints for no limit with pages of 4 KiB."""


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (kinds.BYTES, "209715200\n", 209715200),
        (kinds.BYTES, "max\n", None),
        (kinds.BYTES, f"{PAGES}\n", None),
        (kinds.BYTES, "9223372036854710272\n", None),  # pages of 64 KiB
        (kinds.BYTES, "9223372036850581504\n", None),  # rounded to huge pages
        (kinds.FLAG, "0\n", False),
        (kinds.FLAG, "1\n", True),
        (kinds.IDS, "0-3,8\n", frozenset({0, 1, 2, 3, 8})),
        (kinds.IDS, "\n", frozenset()),
        (kinds.WORDS, "cpu io\n", ("cpu", "io")),
        (kinds.WORDS, "", ()),
        (kinds.PIDS, "12\n7\n", (12, 7)),
        (kinds.TEXT, " /bin/x \n", " /bin/x "),
        (kinds.limit("tasks", 0, 9), "max\n", None),
        (kinds.limit("us", 0, 9, word="-1"), "-1\n", None),
        (CPU_MAX, "max 100000\n", CpuMax(None, 100000)),
        (CPU_MAX, "50000 20000\n", CpuMax(50000, 20000)),
        (PERCENT, "12.34\n", 12.34),
        (PERCENT, "max\n", None),
    ],
)
def test_parsed(kind: Kind[Any, Any], text: str, value: object) -> None:
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "value", "v2", "v1"),
    [
        (kinds.BYTES, "200M", "209715200", "209715200"),
        (kinds.BYTES, None, "max", "-1"),
        (kinds.FLAG, True, "1", "1"),
        (kinds.IDS, {0, 1, 2}, "0-2", "0-2"),
        (kinds.IDS, "", "\n", "\n"),  # writing nothing at all changes nothing
        (kinds.limit("tasks", 0, 9), "max", "max", "max"),
        (kinds.limit("us", 0, 9, word="-1"), None, "-1", "-1"),
        (CPU_MAX, (None, 20000), "max 20000", "max 20000"),
        (CPU_MAX, "max 20000", "max 20000", "max 20000"),
        (CPU_MAX, 50000, "50000 100000", "50000 100000"),
        (CPU_MAX, CpuMax(None), "max 100000", "max 100000"),
        (PERCENT, 12.345, "12.34", "12.34"),
        (PERCENT, None, "max", "max"),
    ],
)
def test_printed(kind: Kind[Any, Any], value: object, v2: str, v1: str) -> None:
    assert kind.print(value, "x") == v2
    assert (kind.print_v1 or kind.print)(value, "x") == v1


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (kinds.BYTES, "200X"),
        (kinds.BYTES, True),
        (kinds.FLAG, "yes"),
        (kinds.IDS, "3-1"),
        (kinds.whole("n", 1, 9), 10),
        (kinds.limit("n", 1, 9), 0),
        (CPU_MAX, ""),
        (CPU_MAX, "1 2 3"),
        (CPU_MAX, (999, 100000)),
        (CPU_MAX, (None, 999)),
        (CPU_MAX, (None, 1_000_001)),
        (CPU_MAX, True),
        (CPU_MAX, [1000, 100000]),
        (PERCENT, 100.5),
        (PERCENT, -1),
    ],
)
def test_out_of_the_domain(kind: Kind[Any, Any], value: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^x"):
        kind.print(value, "x")


def test_what_can_only_be_read_is_not_printed() -> None:
    with pytest.raises(TypeError, match="only be read"):
        kinds.COUNTER.print(5, "x")


@attrs.frozen
class Sample:
    good: int | None = None
    in_us: int | None = None
    extra: object = None


def test_a_record_keeps_what_it_does_not_know() -> None:
    names = {"v1_time": "in_us"}
    kind = flat(Flat(cls=Sample, field=lambda key: names.get(key, key), divide={"in_us": 1000}))
    assert kind.parse("good 1\nv1_time 5999\nnew 7\nword x\n") == Sample(1, 5, {"new": 7})


def test_a_table_by_node() -> None:
    assert kinds.node_table("anon N0=1 N1=2\ntotal=5 N0=5\n") == {
        "anon": {0: 1, 1: 2},
        "total": {0: 5},
    }
