"""Resources: Docker's words, checked as a whole, written in a legal order or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import Cgroup, Resources
from cgroupkit.controllers import CpuMax
from cgroupkit.errors import (
    BusyError,
    CgroupKitError,
    FeatureError,
    InvalidValueError,
    NotFoundError,
    RejectedError,
    UnsupportedError,
)
from cgroupkit.resources import UNLIMITED, Options

MIB = 1 << 20
NOWHERE = "4095:77"
FIELDS = [field.name for field in attrs.fields(Resources)]
DOCKER_UPDATE = {
    "blkio_weight", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares",
    "cpus", "cpuset_cpus", "cpuset_mems", "kernel_memory", "memory", "memory_reservation",
    "memory_swap", "pids_limit",
}  # fmt: skip


# Asking


def test_all_of_docker_update_is_there() -> None:
    assert set(FIELDS) >= DOCKER_UPDATE


def test_the_typed_options_are_the_fields() -> None:
    assert list(Options.__annotations__) == FIELDS


@pytest.mark.parametrize(
    ("name", "given_as", "value"),
    [
        ("memory", "200M", 200 * MIB),
        ("memory", 200 * MIB, 200 * MIB),
        ("memory", -1, UNLIMITED),
        ("memory", "max", UNLIMITED),
        ("memory_swap", "-1", UNLIMITED),
        ("memory_reservation", "1.5g", 1536 * MIB),
        ("memory_swappiness", "60", 60),
        ("cpus", 1.5, Decimal("1.5")),
        ("cpus", "0.01", Decimal("0.01")),
        ("cpu_shares", "512", 512),
        ("cpu_quota", "50000", 50000),
        ("cpu_quota", -1, UNLIMITED),
        ("cpu_quota", "0", UNLIMITED),
        ("cpu_period", 1000, 1000),
        ("cpu_burst", "0", 0),
        ("cpu_idle", False, False),
        ("cpu_idle", "1", True),
        ("cpu_rt_runtime", -1, UNLIMITED),
        ("cpuset_cpus", "0-2", {0, 1, 2}),
        ("cpuset_mems", [0], {0}),
        ("pids_limit", "100", 100),
        ("pids_limit", 0, UNLIMITED),
        ("pids_limit", "0", UNLIMITED),
        ("pids_limit", "-1", UNLIMITED),
        ("blkio_weight", "1000", 1000),
        ("blkio_weight_device", {NOWHERE: "500"}, {NOWHERE: 500}),
        ("device_read_bps", {NOWHERE: "5M"}, {NOWHERE: 5 * MIB}),
        ("device_read_bps", f"{NOWHERE}:5m", {NOWHERE: 5 * MIB}),
        ("device_write_bps", [f"{NOWHERE}:5m", "4095:78:0"], {NOWHERE: 5 * MIB, "4095:78": UNLIMITED}),
        ("device_write_bps", {NOWHERE: None}, {NOWHERE: UNLIMITED}),
        ("device_read_iops", {NOWHERE: 100}, {NOWHERE: 100}),
        ("device_write_iops", {NOWHERE: "-1"}, {NOWHERE: UNLIMITED}),
        ("hugepage_limits", {"2M": "1G", 2**30: -1}, {"2MB": 1024 * MIB, "1GB": UNLIMITED}),
        ("hugepage_limits", "2MB:1G", {"2MB": 1024 * MIB}),
        ("network_class_id", "10:1", 0x100001),
        ("network_priorities", {"eth0": "5"}, {"eth0": 5}),
        ("network_priorities", "eth0:5", {"eth0": 5}),
        ("rdma", {"mlx5_0": {"hca_handle": 2, "hca_object": None}},
         {"mlx5_0": {"hca_handle": 2, "hca_object": UNLIMITED}}),
        ("devices", "all", UNLIMITED),
        ("devices", UNLIMITED, UNLIMITED),
        ("unified", {"memory.high": "max", "cpu.weight": 5}, {"memory.high": "max", "cpu.weight": "5"}),
        ("unified", "io.max=8:0 rbps=5", {"io.max": "8:0 rbps=5"}),
        ("oom_kill_disable", 1, True),
        ("kernel_memory_tcp", "16M", 16 * MIB),
    ],
)  # fmt: skip
def test_strings_and_numbers(name: str, given_as: Any, value: object) -> None:
    wanted = Resources.of({name: given_as})
    assert wanted.asked() == {name: value}


@pytest.mark.parametrize(
    "options",
    [
        {"memory": "200X"},
        {"memory": -5},
        {"memory": "1e3M"},
        {"memory": ""},
        {"memory": True},
        {"memory": 0},
        {"memory": 1.5},
        {"memory_swap": 0},
        {"memory_swappiness": 201},
        {"cpus": 0},
        {"cpus": "0.001"},
        {"cpus": -1},
        {"cpus": True},
        {"cpus": "many"},
        {"cpus": float("inf")},
        {"cpus": 1e300},
        {"cpus": Decimal("1e999999")},
        {"cpu_shares": 1},
        {"cpu_shares": 262145},
        {"cpu_shares": ""},
        {"cpu_quota": 999},
        {"cpu_quota": False},
        {"cpu_quota": 0.0},
        {"cpu_period": 999},
        {"cpu_period": 1_000_001},
        {"cpu_idle": "yes"},
        {"cpu_rt_runtime": -2},
        {"cpuset_cpus": ""},
        {"cpuset_cpus": "3-1"},
        {"cpuset_mems": [-1]},
        {"pids_limit": -5},
        {"pids_limit": False},
        {"pids_limit": 0.0},
        {"pids_limit": 4_194_305},
        {"blkio_weight": 9},
        {"blkio_weight": 1001},
    ],
    ids=repr,
)
def test_bad_values_name_the_option(options: Any) -> None:
    (name,) = options
    with pytest.raises(InvalidValueError, match=rf"^{name}=.* is not valid: ") as caught:
        Resources.of(options)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "options",
    [
        {"blkio_weight_device": {NOWHERE: 9}},
        {"device_read_bps": {NOWHERE: "5X"}},
        {"device_read_bps": {NOWHERE: -5}},
        {"device_read_bps": {NOWHERE: 1.5}},
        {"device_read_bps": {"/nowhere": 1}},
        {"device_read_bps": {8: 1}},
        {"device_read_bps": NOWHERE},
        {"device_read_bps": 5},
        {"device_read_bps": [5]},
        {"device_read_iops": {NOWHERE: 2**32}},
        {"device_write_iops": {NOWHERE: "5M"}},
        {"hugepage_limits": {"3MB": 1}},
        {"hugepage_limits": "2MB"},
        {"network_priorities": {"eth0": "max"}},
        {"network_priorities": {"eth 0": 1}},
        {"network_priorities": {"eth0": 2**32}},
        {"rdma": {"mlx5_0": {"hca": 1}}},
        {"devices": "c 1"},
        {"devices": 5},
        {"unified": {"a/b": "1"}},
        {"oom_kill_disable": "maybe"},
    ],
    ids=repr,
)
def test_bad_entries_name_the_option_and_the_entry(options: Any) -> None:
    (name,) = options
    with pytest.raises(InvalidValueError, match=rf"^{name}\b.* is not valid: "):
        Resources.of(options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cpus": 1, "cpu_quota": 5000}, "cpus=1 and cpu_quota=5000 exclude each other"),
        ({"cpus": 1, "cpu_period": 5000}, "exclude each other"),
        ({"memory": "2G", "memory_swap": "1G"}, "memory=2147483648 is above memory_swap"),
        ({"memory": "1G", "memory_reservation": "2G"}, "memory_reservation=.* is above memory"),
        ({"cpu_quota": 5000, "cpu_burst": 6000}, "cpu_burst=6000 is above cpu_quota=5000"),
        ({"cpu_rt_runtime": 2, "cpu_rt_period": 1}, "cpu_rt_runtime=2 is above"),
        ({"memroy": "1G"}, "no option 'memroy'; did you mean memory?"),
        ({"cpu_share": 1}, "did you mean cpu_shares?"),
        ({"restart": "no"}, "the options are memory, "),
    ],
)
def test_what_cannot_be_meant(options: Any, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        Resources.of(options)


def test_what_may_go_together() -> None:
    Resources(memory=-1, memory_swap="1G")
    Resources(memory="1G", memory_swap="1G", memory_reservation="1G")
    Resources(cpu_quota=-1, cpu_period=5000, cpu_burst=10_000)
    assert Resources().asked() == {}


simple = st.one_of(
    st.text(), st.integers(), st.booleans(), st.none(), st.floats(), st.lists(st.integers(), max_size=3)
)
values = (
    simple | st.dictionaries(st.text() | st.from_regex(r"\A\d{1,4}:\d\Z"), simple) | st.lists(st.text())
)


@given(st.dictionaries(st.sampled_from(FIELDS), values))
def test_nothing_else_is_raised(options: Any) -> None:
    try:
        wanted = Resources.of(options)
    except InvalidValueError:
        return
    assert wanted.asked().keys() <= options.keys()


# Doing

kernel = pytest.mark.kernel
LIMITS = {"memory": "64M", "pids_limit": 50, "cpus": "0.5"}


@pytest.fixture
def limited(cgroup: Cgroup, needs: Any) -> Cgroup:
    for controller in ("memory", "cpu"):
        needs(controller)
    cgroup.update(memory="64M", cpu_shares=2048, cpu_quota=20_000, cpu_period=50_000)
    return cgroup


def state(cgroup: Cgroup) -> tuple[Any, ...]:
    return cgroup.memory.max, cgroup.cpu.weight, cgroup.cpu.max, swap(cgroup)


def swap(cgroup: Cgroup) -> int | None:
    memory = cgroup.memory
    try:
        return memory.memsw_limit if memory.version == 1 else memory.swap_max
    except UnsupportedError:
        return None


@kernel
@pytest.mark.rootless
def test_limits_are_what_was_asked_for(cgroup: Cgroup, needs: Any) -> None:
    for controller in ("memory", "pids", "cpu"):
        needs(controller)
    cgroup.update(**LIMITS)  # type: ignore[typeddict-item]
    assert cgroup.memory.max == 64 * MIB
    assert cgroup.pids.max == 50
    assert cgroup.cpu.max == CpuMax(50_000, 100_000)
    cgroup.update(memory=-1, pids_limit=0, cpu_quota=-1)
    assert (cgroup.memory.max, cgroup.pids.max, cgroup.cpu.max.quota) == (None, None, None)


@kernel
def test_what_is_not_asked_for_is_left_alone(limited: Cgroup) -> None:
    before = state(limited)
    limited.update()
    limited.update(memory=None)
    limited.update(memory="64M")
    assert state(limited) == before
    limited.update(cpu_period=100_000)
    assert limited.cpu.max == CpuMax(20_000, 100_000)


@kernel
def test_shares_are_converted(cgroup: Cgroup, needs: Any) -> None:
    version = needs("cpu").version
    cgroup.update(cpu_shares=512)
    assert cgroup.cpu.weight == (50 if version == 1 else 59)
    if version == 1:
        assert cgroup.cpu.shares == 512


@kernel
def test_nothing_is_written_when_anything_is_invalid(limited: Cgroup) -> None:
    before = state(limited)
    for bad in ({"cpus": "abc"}, {"pids_limit": 1.5}, {"memroy": 1}, {"memory_swap": "1M"}):
        with pytest.raises(InvalidValueError):
            limited.update(**{"memory": "32M", **bad})  # type: ignore[arg-type]
        assert state(limited) == before


def burst_refused(cgroup: Cgroup) -> None:
    if not cgroup.cpu.has(cgroup.cpu.__class__.max_burst.source(cgroup.cpu).files[0]):
        pytest.skip("no burst: it came with Linux 5.14")


@kernel
def test_a_refused_write_undoes_the_ones_before(limited: Cgroup) -> None:
    """The kernel refuses a burst above the quota, after memory and weight have been written."""
    burst_refused(limited)
    before = state(limited)
    with pytest.raises(
        RejectedError, match=r"cannot write '90000' to .*: EINVAL .*; nothing was"
    ) as caught:
        limited.update(memory="32M", cpu_shares=1024, cpu_burst=90_000)
    error = caught.value
    assert (error.errno, error.value) == (errno.EINVAL, "90000")
    assert "burst" in str(error.filename)
    assert "quota" in str(error)
    assert isinstance(error, ValueError)
    assert state(limited) == before


@kernel
def test_a_failed_reading_undoes_too(limited: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    burst_refused(limited)
    before, read = state(limited), type(limited.cpu).read

    def failing(self: Any, file: str) -> str:
        if "burst" in file:
            raise RejectedError(errno.EIO, "no", file)
        return read(self, file)

    monkeypatch.setattr(type(limited.cpu), "read", failing)
    with pytest.raises(CgroupKitError):
        limited.update(memory="32M", cpu_burst=1000)
    monkeypatch.undo()
    assert state(limited) == before


@kernel
def test_idle_is_undone_with_its_weight(limited: Cgroup) -> None:
    """cpu.idle resets the weight, which no write of ours gave."""
    burst_refused(limited)
    before = state(limited)
    with pytest.raises(RejectedError):
        limited.update(cpu_idle=True, cpu_burst=90_000)
    assert state(limited) == before
    assert limited.cpu.idle is False


@kernel
def test_idle(limited: Cgroup) -> None:
    limited.update(cpu_idle=True)
    assert limited.cpu.idle is True
    with pytest.raises(RejectedError, match="idle"):
        limited.update(cpu_shares=512)
    limited.update(cpu_idle=False, cpu_shares=2048)
    assert (limited.cpu.idle, limited.cpu.weight >= 150) == (False, True)


@kernel
@pytest.mark.parametrize(
    "steps",
    [
        [{"cpu_quota": 50_000, "cpu_burst": 40_000}, {"cpu_quota": 10_000, "cpu_burst": 5_000},
         {"cpu_quota": 80_000, "cpu_burst": 80_000}, {"cpus": 0.1, "cpu_burst": 0}, {"cpu_quota": -1}],
        [{"cpu_quota": 100_000, "cpu_period": 50_000}, {"cpu_quota": 1000, "cpu_period": 1_000_000},
         {"cpu_quota": 900_000, "cpu_period": 300_000}],
    ],
)  # fmt: skip
def test_quota_period_and_burst_in_any_order(limited: Cgroup, steps: list[Any]) -> None:
    burst_refused(limited)
    for step in steps:
        limited.update(**step)
        if "cpu_quota" in step:
            assert limited.cpu.max.quota == (None if step["cpu_quota"] == -1 else step["cpu_quota"])
        if "cpu_period" in step:
            assert limited.cpu.max.period == step["cpu_period"]
        if "cpu_burst" in step:
            assert limited.cpu.max_burst == step["cpu_burst"]


@kernel
def test_a_quota_below_the_burst_asks_for_a_burst(limited: Cgroup) -> None:
    burst_refused(limited)
    limited.update(cpu_burst=15_000)
    with pytest.raises(InvalidValueError, match="give cpu_burst too"):
        limited.update(cpu_quota=10_000)
    assert limited.cpu.max == CpuMax(20_000, 50_000)


@kernel
def test_a_quota_above_the_parents_is_explained(limited: Cgroup, needs: Any) -> None:
    needs("cpu", version=1)
    inner = Cgroup.create(f"{limited.name}/inner")
    with pytest.raises(RejectedError, match="parent"):
        inner.update(cpus=1)
    assert inner.cpu.max.quota is None


@kernel
@pytest.mark.parametrize(
    "steps",
    [
        [("32M", "64M"), ("256M", "512M"), ("16M", "16M"), ("64M", None), (-1, -1), ("64M", "64M")],
        [("32M", "40M"), ("128M", None), ("8M", "300M"), ("200M", "210M")],
    ],
)
def test_memory_and_swap_grow_and_shrink(cgroup: Cgroup, needs: Any, steps: list[Any]) -> None:
    """v1 wants limit <= memsw after each single write."""
    version = needs("memory").version
    if not cgroup.memory.has("memory.memsw.limit_in_bytes" if version == 1 else "memory.swap.max"):
        pytest.skip("this kernel does not account for swap")
    for memory, memory_swap in steps:
        cgroup.update(memory=memory, memory_swap=memory_swap)
        wanted = Resources(memory=memory, memory_swap=memory_swap)
        limit = None if wanted.memory is UNLIMITED else wanted.memory
        assert cgroup.memory.max == limit
        if wanted.memory_swap is UNLIMITED:
            assert swap(cgroup) is None
        elif wanted.memory_swap is not None:
            assert isinstance(limit, int)
            both = swap(cgroup) if version == 1 else (swap(cgroup) or 0) + limit
            assert both == wanted.memory_swap


@kernel
def test_swap_alone_is_checked_against_the_limit_there_is(limited: Cgroup) -> None:
    before = state(limited)
    with pytest.raises(InvalidValueError, match="the memory limit is 67108864"):
        limited.update(memory_swap="32M")
    limited.update(memory=-1)
    with pytest.raises(InvalidValueError, match="the memory limit is none"):
        limited.update(memory_swap="32M")
    limited.update(memory="64M")
    assert state(limited)[:3] == before[:3]


@kernel
def test_v1_refuses_a_limit_below_what_is_in_use(cgroup: Cgroup, needs: Any, hog: Any) -> None:
    needs("memory", version=1)
    cgroup.update(memory="64M", memory_swappiness=0)
    hog(cgroup, 32 * MIB)
    with pytest.raises(
        BusyError, match=r"cannot be reclaimed.*\(in use: \d+.*MiB\); nothing was"
    ) as caught:
        cgroup.update(memory="4M")
    assert caught.value.errno == errno.EBUSY
    assert cgroup.memory.max == 64 * MIB


@kernel
def test_v2_would_kill_and_is_not_let(cgroup: Cgroup, needs: Any, hog: Any) -> None:
    needs("memory", version=2)
    cgroup.update(memory="64M", pids_limit=50)
    if cgroup.memory.has("memory.swap.max"):
        cgroup.memory.swap_max = 0
    hog(cgroup, 32 * MIB)
    with pytest.raises(BusyError, match=r"in use: 3\d.*check=False") as caught:
        cgroup.update(memory="4M", pids_limit=5)
    assert caught.value.errno == errno.EBUSY
    assert caught.value.value == str(4 * MIB)
    assert (cgroup.memory.max, cgroup.pids.max) == (64 * MIB, 50)
    assert cgroup.memory.events.oom_kill == 0
    cgroup.update(memory="48M")
    cgroup.update(memory="4M", check=False)
    assert cgroup.memory.max == 4 * MIB
    assert cgroup.memory.events.oom_kill == 1


@kernel
def test_page_cache_does_not_count_as_in_use(
    cgroup: Cgroup, needs: Any, in_child: Any, tmp_path: Any
) -> None:
    needs("memory")
    if subprocess.check_output(["stat", "-f", "-c", "%T", tmp_path]).strip() == b"tmpfs":
        pytest.skip("temporary files are in memory here")
    cgroup.update(memory="64M")

    def read_much() -> None:
        cgroup.attach(os.getpid())
        with open(tmp_path / "much", "wb") as file:
            file.write(b"x" * (24 * MIB))
            os.fsync(file.fileno())

    in_child(read_much)
    cgroup.update(memory="8M")
    assert cgroup.memory.max == 8 * MIB


@kernel
def test_what_this_version_lacks_is_said_and_undone(limited: Cgroup, needs: Any) -> None:
    before = state(limited)
    lacking = (
        [({"memory_high": "1G"}, "memory.soft_limit")]
        if needs("memory").version == 1
        else [
            ({"memory_swappiness": 5}, "vm.swappiness"),
            ({"kernel_memory": "1G"}, "memory.stat.kernel"),
        ]
    )
    if needs("cpu").version == 2:
        lacking += [({"cpu_rt_runtime": 5}, "real-time"), ({"cpu_rt_period": 5}, "real-time")]
    for options, words in lacking:
        with pytest.raises(UnsupportedError, match=words) as caught:
            limited.update(memory="32M", **options)  # type: ignore[misc]
        assert isinstance(caught.value, NotImplementedError)
        assert state(limited) == before


@kernel
def test_kernel_memory_on_v1(limited: Cgroup, needs: Any) -> None:
    """Refused from 5.16 on, taken without effect from 6.6 on; never half done."""
    needs("memory", version=1)
    before = state(limited)
    try:
        limited.update(memory="32M", kernel_memory="16M")
    except FeatureError as error:
        assert "kernel memory" in str(error)
        assert state(limited) == before


@kernel
def test_real_time_periods_in_any_order(cgroup: Cgroup, needs: Any) -> None:
    needs("cpu", version=1)
    if not cgroup.cpu.has("cpu.rt_runtime_us"):
        pytest.skip("this kernel has no real-time group scheduling")
    cgroup.update(cpu_rt_runtime=0, cpu_rt_period=500_000)
    assert (cgroup.cpu.rt_runtime_us, cgroup.cpu.rt_period_us) == (0, 500_000)
    with pytest.raises(RejectedError, match="parent"):
        cgroup.update(cpu_rt_period=2_000_000, cpu_rt_runtime=1_000_000)
    assert (cgroup.cpu.rt_runtime_us, cgroup.cpu.rt_period_us) == (0, 500_000)


@kernel
def test_cpus_and_nodes(cgroup: Cgroup, needs: Any) -> None:
    needs("cpuset")
    cgroup.update(cpuset_cpus="0", cpuset_mems=[0])
    assert (cgroup.cpuset.cpus, cgroup.cpuset.mems) == ({0}, {0})
    with pytest.raises(RejectedError, match=r"cpuset.cpus"):
        cgroup.update(cpuset_mems="0", cpuset_cpus="60000")
    assert cgroup.cpuset.cpus == {0}


@kernel
def test_io_weight(cgroup: Cgroup, needs: Any) -> None:
    version = needs("io").version
    try:
        cgroup.update(blkio_weight=500)
    except UnsupportedError as error:
        assert "does not exist" in str(error)
        return
    io = cgroup.io
    bfq = version == 1 or io.has("io.bfq.weight")
    assert (io.bfq_weight if bfq else io.weight) == (500 if bfq else 4950)


@kernel
def test_a_reservation(cgroup: Cgroup, needs: Any) -> None:
    version = needs("memory").version
    cgroup.update(memory="64M", memory_reservation="32M")
    if version == 2:
        assert cgroup.memory.low == 32 * MIB
        cgroup.update(memory_reservation=-1)
        assert cgroup.memory.low == 0
    else:
        assert cgroup.memory.soft_limit in (32 * MIB, None)  # inert since 6.12.110


@kernel
def test_a_cgroup_that_is_gone(limited: Cgroup) -> None:
    limited.remove()
    with pytest.raises(NotFoundError, match="removed"):
        limited.update(memory="1G")


@kernel
def test_a_controller_that_is_absent(cgroup: Cgroup) -> None:
    try:
        cgroup.branch("io")
    except UnsupportedError:
        with pytest.raises(UnsupportedError, match="io controller is not available"):
            cgroup.update(blkio_weight=500)
    else:
        pytest.skip("the io controller is there")
