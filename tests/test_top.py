"""cgroupkit top without a terminal: rows, their order, columns, the state and the keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit.cli.machine import Load, Machine, _seconds, cpus
from cgroupkit.cli.top import columns, view
from cgroupkit.cli.top.arranging import KEYS, ORDERS, Choice, Line, arrange
from cgroupkit.cli.top.keys import Keys
from cgroupkit.cli.top.rows import NOTHING, Row, row
from cgroupkit.cli.top.source import Reading
from cgroupkit.cli.top.state import INTERVALS, SORTS, State
from cgroupkit.controllers import CpuMax
from cgroupkit.sampling import Rates
from cgroupkit.stats import MemoryStats, PidsStats, Stats

ID = "0123456789abcdef" * 4

ROWS = [
    Row(name="/", cpu_cores=1.5, memory_current=None),
    Row(name="/system.slice", cpu_cores=0.2, memory_current=300, cpu_pressure=0.1),
    Row(name="/system.slice/a.service", cpu_cores=0.05, memory_current=100, written_bytes=5.0),
    Row(name="/system.slice/b.service", cpu_cores=0.15, memory_current=200, io_pressure=0.5),
    Row(name="/user.slice", cpu_cores=1.3, memory_current=50, pids_current=3),
    Row(name="/user.slice/Z", cpu_cores=None, memory_current=50, read_bytes=9.0),
]


def shown(rows: list[Row], **choice: Any) -> list[str]:
    """The lines as they are drawn."""
    return [line.lead + line.title for line in arrange(rows, Choice(**choice))]


def names(rows: list[Row], **choice: Any) -> list[str]:
    return [line.row.name for line in arrange(rows, Choice(**choice))]


# Rows


def test_a_row_has_what_is_known() -> None:
    stats = Stats(
        time_ns=0,
        cpu_max=CpuMax(quota=50_000, period=100_000),
        memory=MemoryStats(current=250, max=1000, swap_current=7),
        pids=PidsStats(current=3, max=20),
    )
    rates = Rates(seconds=1, cpu_cores=0.123456, throttled=0.5, read_bytes=1.26, cpu_pressure=0.25)
    found = row("/a", stats, rates, None, 10_000)
    assert (found.cpu_cores, found.cpu_limit, found.throttled) == (0.1235, 0.5, 0.5)
    assert (found.memory_current, found.memory_max, found.memory_percent) == (250, 1000, 25.0)
    assert (found.swap_current, found.pids_current, found.pids_max) == (7, 3, 20)
    assert (found.read_bytes, found.written_bytes, found.io) == (1.3, None, 1.3)
    assert (found.cpu_pressure, found.memory_pressure, found.pressure) == (0.25, None, 0.25)


def test_without_a_limit_the_share_is_of_the_machine() -> None:
    found = row("/a", Stats(time_ns=0, memory=MemoryStats(current=250)), NOTHING, None, 10_000)
    assert (found.memory_max, found.memory_percent) == (None, 2.5)


def test_what_is_not_known_is_none() -> None:
    found = row("/a", Stats(time_ns=0), NOTHING, None, None)
    assert found == Row(name="/a")
    assert (found.io, found.pressure) == (None, None)


# Order


def test_siblings_are_sorted_in_their_parent() -> None:
    assert shown(ROWS) == [
        "/",
        "├─ user.slice",
        "│  └─ Z",
        "└─ system.slice",
        "   ├─ b.service",
        "   └─ a.service",
    ]


def test_a_flat_list_is_sorted_as_a_whole() -> None:
    assert names(ROWS, flat=True, by="memory") == [
        "/system.slice",
        "/system.slice/b.service",
        "/system.slice/a.service",
        "/user.slice",
        "/user.slice/Z",
        "/",
    ]


@pytest.mark.parametrize(
    ("by", "first"),
    [
        ("cpu", "/"),
        ("memory", "/system.slice"),
        ("io", "/user.slice/Z"),
        ("pids", "/user.slice"),
        ("pressure", "/system.slice/b.service"),
        ("name", "/"),
    ],
)
def test_the_largest_comes_first(by: str, first: str) -> None:
    assert names(ROWS, flat=True, by=by)[0] == first


@pytest.mark.parametrize("by", [order for order in ORDERS if order != "name"])
def test_the_unknown_comes_last_either_way(by: str) -> None:
    rows = [Row(name="/unknown"), *ROWS[1:5]]
    for reverse in (False, True):
        found = arrange(rows, Choice(by=by, reverse=reverse, flat=True))
        values = [KEYS[by](line.row) for line in found]
        known = [value for value in values if value is not None]
        assert values[: len(known)] == known
        assert known == sorted(known, reverse=not reverse)


def test_names_are_sorted_without_regard_to_case() -> None:
    rows = [Row(name=f"/{name}") for name in ("b", "C", "a")]
    assert names(rows, by="name") == ["/a", "/b", "/C"]
    assert names(rows, by="name", reverse=True) == ["/C", "/b", "/a"]


def test_a_flat_list_by_name_is_in_the_order_of_the_paths() -> None:
    rows = [Row(name=name) for name in ("/a-b", "/b/a", "/a/z", "/a")]
    assert names(rows, by="name", flat=True) == ["/a", "/a/z", "/a-b", "/b/a"]


# Tree


def test_the_parent_is_the_nearest_one_that_is_shown() -> None:
    rows = [Row(name="/a"), Row(name="/a/b/c"), Row(name="/ab")]
    assert shown(rows, by="name") == ["/a", "└─ b/c", "/ab"]


def test_several_trees_stand_below_each_other() -> None:
    rows = [Row(name="/x/a"), Row(name="/x/a/1"), Row(name="/y"), Row(name="/y/2")]
    assert shown(rows, by="name") == ["/x/a", "└─ 1", "/y", "└─ 2"]


def test_what_is_folded_tells_how_many_it_hides() -> None:
    lines = arrange(ROWS, Choice(folded=frozenset(["/system.slice", "/user.slice/Z"])))
    assert [(line.title, line.hidden) for line in lines] == [
        ("/", 0), ("user.slice", 0), ("Z", 0), ("system.slice", 2),
    ]  # fmt: skip


@given(
    st.lists(
        st.lists(st.sampled_from("abc"), max_size=4).map(lambda p: "/" + "/".join(p)), unique=True
    ),
    st.sampled_from(ORDERS),
    st.booleans(),
)
def test_every_cgroup_is_shown_once_and_below_its_parent(
    paths: list[str], by: str, reverse: bool
) -> None:
    rows = [Row(name=path, cpu_cores=len(path) % 3) for path in paths]
    found = names(rows, by=by, reverse=reverse)
    assert sorted(found) == sorted(paths)
    for number, path in enumerate(found):
        above = [other for other in paths if path.startswith(other.rstrip("/") + "/") and path != other]
        assert all(found.index(other) < number for other in above)


# Filter


def test_matches_are_kept_with_their_ancestors() -> None:
    lines = arrange(ROWS, Choice(text="A.Serv"))
    assert [(line.row.name, line.found) for line in lines] == [
        ("/", False),
        ("/system.slice", False),
        ("/system.slice/a.service", True),
    ]
    assert lines[-1].lead == "   └─ "


def test_a_flat_list_keeps_matches_alone() -> None:
    assert names(ROWS, text="a.service", flat=True) == ["/system.slice/a.service"]


def test_with_a_slash_paths_are_searched() -> None:
    assert names(ROWS, text="user.slice") == ["/", "/user.slice"]
    assert names(ROWS, text="/user.slice") == ["/", "/user.slice", "/user.slice/Z"]


def test_what_matches_is_shown_in_spite_of_the_fold() -> None:
    folded = frozenset(["/system.slice"])
    assert "/system.slice/a.service" in names(ROWS, text="a.service", folded=folded)


def test_nothing_matches() -> None:
    assert names(ROWS, text="nowhere") == []


def test_containers_have_their_name_and_can_be_found_by_it() -> None:
    rows = [
        Row(name=f"/docker/{ID}", container=ID, label="web"),
        Row(name=f"/docker/{ID[::-1]}", container=ID[::-1], label=None),
        Row(name="/lxc.payload.db", container="db", label="db"),
    ]
    assert shown(rows, by="name") == [
        "/docker/fedcba987654",
        "/lxc.payload.db",
        "web (0123456789ab)",
    ]
    assert names(rows, text="WEB") == [rows[0].name]
    assert names(rows, text="0123456789ab") == [rows[0].name]


def test_names_cannot_command_the_terminal() -> None:
    assert shown([Row(name="/a\x1b[2J")]) == ["/a\\x1b[2J"]
    evil = Row(name="/x", container="1" * 64, label="a\x1b[2J\n")
    assert shown([evil]) == ["a\\x1b[2J\\n (111111111111)"]
    assert shown([Row(name="/\udcff")]) == ["/\\udcff"]


# Columns


def reading(rows: list[Row]) -> Reading:
    load = Load(cpu_cores=0.5, memory_used=1 << 30, memory_total=1 << 32, swap_used=0, swap_total=0)
    return Reading(rows=rows, settled=True, load=load, clock="12:34:56", took=0.01)


def test_narrow_windows_leave_out_what_matters_less() -> None:
    widths = range(10, 200)
    fits = {width: [c.title for c in columns.fitting(columns.COLUMNS, width)] for width in widths}
    for width, titles in fits.items():
        assert sum(c.width + 1 for c in columns.COLUMNS if c.title in titles) < width
    assert len(fits[199]) == len(columns.COLUMNS)
    assert {"CPU%", "MEMORY", "MEM%", "READ/s", "WRITE/s", "PIDS"} <= set(fits[80])
    assert fits[40][:2] == ["CPU%", "MEMORY"]
    assert fits[20] == ["CPU%"]
    for width in range(10, 199):
        assert set(fits[width]) <= set(fits[width + 1])


def test_columns_of_which_nothing_is_known_are_left_out() -> None:
    rows = [Row(name="/", cpu_cores=1.0, memory_current=5)]
    assert [c.title for c in columns.known(reading(rows))] == ["CPU%", "MEMORY", "LIMIT"]
    rows.append(Row(name="/a", cpu_limit=2.0, throttled=None))
    assert "THROT%" in [c.title for c in columns.known(reading(rows))]


def test_the_table_as_text() -> None:
    rows = [
        Row(
            name="/a", cpu_cores=0.959, cpu_limit=1.5, throttled=0.25, memory_current=8 << 20,
            memory_max=200 << 20, memory_percent=4.0, swap_current=0, read_bytes=0.0,
            written_bytes=2048.0, pids_current=3, cpu_pressure=0.123, memory_pressure=0.0,
            io_pressure=1.0,
        ),
        Row(name="/a/b", memory_current=1024),
    ]  # fmt: skip
    text = columns.table(arrange(rows, Choice()), reading(rows))
    head, first, second = text.splitlines()
    assert head.split() == [
        "CGROUP", "CPU%", "THROT%", "MEMORY", "LIMIT", "MEM%", "SWAP", "READ/s", "WRITE/s", "PIDS",
        "PSI-CPU", "PSI-MEM", "PSI-IO",
    ]  # fmt: skip
    assert first.split() == [
        "/a", "95.9", "25.0", "8MiB", "200MiB", "4.0", "0B", "0B", "2KiB", "3", "12.3", "0.0", "100.0",
    ]  # fmt: skip
    assert second.split() == ["└─", "b", "-", "-", "1KiB", "max", *["-"] * 8]
    narrow = columns.table(arrange(rows, Choice()), reading(rows), 40)
    assert max(map(len, narrow.splitlines())) <= 40
    assert narrow.split()[:3] == ["CGROUP", "CPU%", "MEMORY"]


# The screen


@pytest.mark.parametrize("size", [(150, 40), (80, 24), (40, 8), (20, 5), (10, 3), (1, 1)])
def test_a_screen_fits(size: tuple[int, int]) -> None:
    width, height = size
    wide = Row(name="/größe-日本語" * 20, cpu_cores=0.1)
    folded = Choice(folded=frozenset([ROWS[1].name]), by="name")
    for rows in ([*ROWS, wide], []):
        for state in (
            State(choice=Choice(), interval=1),
            State(choice=folded, interval=1, selected=ROWS[1].name),
            State(choice=Choice(text="x" * 300), interval=1, typing=True),
            State(choice=Choice(), interval=1, helping=True),
        ):
            texts = view.screen(state, reading(rows), arrange(rows, state.choice), width, height)
            assert len(texts) <= height
            assert all(text.cell_len <= width for text in texts)
            assert not any("\n" in text.plain for text in texts)


def screen(state: State, rows: list[Row], height: int = 12) -> list[str]:
    lines = arrange(rows, state.choice)
    return [text.plain.rstrip() for text in view.screen(state, reading(rows), lines, 100, height)]


def test_a_screen_says_how_it_is_sorted_and_what_is_left_out() -> None:
    state = State(choice=Choice(by="memory", text="slice", reverse=True), interval=2, paused=True)
    head, machine, titles, *rest = screen(state, ROWS)
    assert "every 2s" in head and "by memory, reversed" in head and "filter: slice" in head
    assert "PAUSED" in head
    assert "cpu 50% of" in machine and "memory 1GiB of 4GiB" in machine
    assert titles.startswith("CGROUP")
    assert rest[0].startswith("/ ")
    assert "h help" in rest[-1]


def test_a_screen_without_rows_says_why() -> None:
    state = State(choice=Choice(text="nowhere"), interval=1)
    assert "nothing matches 'nowhere'" in "\n".join(screen(state, ROWS))
    assert "no such cgroup any more" in "\n".join(screen(State(choice=Choice(), interval=1), []))


def test_the_selected_cgroup_is_told_in_full() -> None:
    chosen = Row(name="/a", cpu_limit=1.5, memory_max=1 << 20, pids_max=9)
    state = State(choice=Choice(), interval=1, selected="/a")
    assert screen(state, [chosen])[-1] == "/a  cpus 1.5  memory 1MiB  pids 9"


# State


def press(state: State, *keys: str, rows: list[Row] = ROWS, page: int = 3) -> list[Line]:
    for key in keys:
        state.press(key, arrange(rows, state.choice), page)
    return arrange(rows, state.choice)


@pytest.fixture
def state() -> State:
    return State(choice=Choice(), interval=1)


@pytest.mark.parametrize(("key", "by"), SORTS.items())
def test_keys_sort(state: State, key: str, by: str) -> None:
    press(state, "r", key)
    assert (state.choice.by, state.choice.reverse) == (by, False)
    press(state, "r")
    assert state.choice.reverse


def test_keys_of_the_view(state: State) -> None:
    press(state, "t", " ")
    assert state.choice.flat and state.paused
    press(state, "t", " ", "h")
    assert not state.choice.flat and not state.paused and state.helping
    press(state, "c")
    assert not state.helping and state.choice.by == "cpu"
    press(state, "?", "q")
    assert state.over


def test_the_filter_is_typed_live(state: State) -> None:
    press(state, "/", *"a.sq")
    assert state.choice.text == "a.sq" and state.typing and not state.over
    lines = press(state, "backspace")
    assert [line.title for line in lines] == ["/", "system.slice", "a.service"]
    press(state, "enter", "m")
    assert (state.choice.text, state.choice.by, state.typing) == ("a.s", "memory", False)
    press(state, "/", "é", "escape")
    assert (state.choice.text, state.typing) == ("", False)
    press(state, "/", "x", "enter", "escape")
    assert state.choice.text == ""
    press(state, "/", "x", "y", "\x15", "\x01")
    assert state.choice.text == ""


def test_the_interval_has_ends(state: State) -> None:
    press(state, *["+"] * 20)
    assert state.interval == INTERVALS[-1]
    press(state, *["-"] * 20)
    assert state.interval == INTERVALS[0]
    state.interval = 1.7
    press(state, "+")
    assert state.interval == 2


def test_the_cursor_stays_on_its_cgroup(state: State) -> None:
    press(state, "down")
    assert state.selected == "/"
    press(state, "down", "down", "down")
    assert state.selected == "/system.slice"
    lines = press(state, "n")
    assert lines[state.cursor(lines) or 0].row.name == "/system.slice"
    press(state, "end", "down")
    assert state.selected == "/user.slice/Z"
    press(state, "pageup", "up")
    assert state.selected == "/system.slice"
    press(state, "home")
    assert state.selected is None
    press(state, "up", "pageup")
    assert state.selected == "/"


def test_the_cursor_stays_where_it_was_when_its_cgroup_goes(state: State) -> None:
    press(state, "down", "down")
    assert state.selected == "/user.slice"
    lines = arrange([row for row in ROWS if not row.name.startswith("/user")], state.choice)
    assert state.cursor(lines) == 1
    assert state.cursor([]) is None


def test_the_window_follows_the_cursor(state: State) -> None:
    lines = arrange(ROWS, state.choice)
    assert state.window(lines, 3) == 0
    press(state, "end")
    assert state.window(lines, 3) == 3
    press(state, "up")
    assert state.window(lines, 3) == 3
    press(state, "up", "up")
    assert state.window(lines, 3) == 2
    assert state.window(lines, 10) == 0
    press(state, "home")
    assert state.window(lines, 3) == 0


def test_folding(state: State) -> None:
    lines = press(state, "down", "down", "left")
    assert [line.title for line in lines][:3] == ["/", "user.slice", "system.slice"]
    assert len(press(state, "right")) == len(ROWS)
    assert len(press(state, "enter")) == len(ROWS) - 1
    assert len(press(state, "t", "enter")) == len(ROWS)


@given(st.lists(st.sampled_from([*SORTS, *"rt/h? +-", "up", "end", "pagedown", "left", "escape", "x"])))
def test_no_keys_are_too_strange(keys: list[str]) -> None:
    state = State(choice=Choice(), interval=1)
    lines = press(state, *keys)
    at = state.cursor(lines)
    assert at is None or 0 <= at < len(lines)
    assert 0 <= state.window(lines, 3) <= max(0, len(lines) - 3)


# Keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"cm", ["c", "m"]),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", ["up", "down", "pageup", "pagedown"]),
        (b"\x1b[H\x1bOF\x1b[1~\x1b[8~", ["home", "end", "home", "end"]),
        (b"\x1b[C\x1b[D", ["right", "left"]),
        (b"\r\n\x7f\x08\x0c", ["enter", "enter", "backspace", "backspace", "redraw"]),
        ("größe日".encode(), [*"größe日"]),
        (b"\x1b[1;5A\x1b[15~\x1b[<0;1;1Mq", ["q"]),
        (b"\x1bq", ["escape", "q"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\xff", ["\ufffd"]),
    ],
)
def test_bytes_are_keys_however_they_are_cut(data: bytes, keys: list[str]) -> None:
    whole, parts = Keys(), Keys()
    assert whole.feed(data) == keys
    assert [key for byte in data for key in parts.feed(bytes([byte]))] == keys
    assert not whole.waiting and not parts.waiting


def test_escape_is_known_by_what_does_not_follow() -> None:
    keys = Keys()
    assert keys.feed(b"\x1b") == [] and keys.waiting
    assert keys.end() == ["escape"] and not keys.waiting
    assert keys.feed(b"\x1b[") == [] and keys.waiting
    assert keys.end() == [] and not keys.waiting


@given(st.binary())
def test_any_bytes_come_to_an_end(data: bytes) -> None:
    keys = Keys()
    assert all(keys.feed(data))
    keys.end()
    assert not keys.waiting


def test_the_machines_load_is_the_same_in_every_thread() -> None:
    machine = Machine()
    busy, _ = _seconds()
    while _seconds()[0] < busy + 0.05:
        pass
    with ThreadPoolExecutor(1) as other:
        load = other.submit(machine.load).result()
    assert 0 < load.cpu_cores <= cpus()
    assert 0 < load.memory_used < load.memory_total
