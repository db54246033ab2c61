"""The descriptions: complete, true to recorded texts, and obeyed by this kernel."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgroupkit import Cgroup
from cgroupkit.controllers import (
    CONTROLLERS,
    Controller,
    Cpu,
    CpuMax,
    Cpuset,
    IoLatency,
    IoMax,
    Memory,
    Partition,
    Pids,
    Reading,
    Setting,
    described,
    peek,
)
from cgroupkit.controllers.base import File
from cgroupkit.controllers.elsewhere import NO_ATTRIBUTE, SET_ELSEWHERE
from cgroupkit.controllers.tables import Table
from cgroupkit.devices.rules import DeviceRule
from cgroupkit.errors import (
    AccessError,
    CgroupKitError,
    FeatureError,
    FormatError,
    InvalidValueError,
    NotFoundError,
    RejectedError,
    UnsupportedError,
)

V1_UNLIMITED = 0x7FFFFFFF00000000
INTERFACE = Path(__file__).parent / "recorded" / "interface.tsv"
MIB = 1 << 20

LINES = {line.option: line for cls in CONTROLLERS.values() for line in described(cls)}
SETTINGS = {option: line for option, line in LINES.items() if isinstance(line, Setting)}
each_line = pytest.mark.parametrize("line", LINES.values(), ids=LINES)
each_setting = pytest.mark.parametrize("line", SETTINGS.values(), ids=SETTINGS)


def files_of(line: Reading[Any], version: int) -> tuple[str, ...]:
    source = line.sources[version]
    return source.files if source else ()


# The descriptions by themselves


with INTERFACE.open() as table:
    ROWS = list(csv.DictReader(table, delimiter="\t"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['version']}-{row['file']}")
def test_every_interface_file_is_described(row: dict[str, str]) -> None:
    version, file = int(row["version"][1]), row["file"]
    lines = [line for line in LINES.values() if file in files_of(line, version)]
    assert bool(lines) != (file in NO_ATTRIBUTE)
    if lines:
        settable = any(isinstance(line, Setting) for line in lines)
        writable = "w" in row["access"] or file == "devices.list"  # through devices.allow and deny
        assert settable == (writable and file not in SET_ELSEWHERE)


def test_there_is_no_excuse_without_a_file() -> None:
    assert {*NO_ATTRIBUTE, *SET_ELSEWHERE} <= {row["file"] for row in ROWS}


def test_no_file_is_described_that_does_not_exist() -> None:
    known = {(int(row["version"][1]), row["file"]) for row in ROWS}
    told = {(v, f) for line in LINES.values() for v in (1, 2) for f in files_of(line, v)}
    assert told <= known


@each_line
def test_every_description_says_what_it_is(line: Reading[Any]) -> None:
    assert line.__doc__
    assert line.kind.unit
    assert any(line.sources)
    assert line.option == f"{line.owner.name}.{line.name}"


# Recorded texts


Kept = Callable[[type[Controller], int], list[Controller]]


@pytest.fixture(scope="session")
def kept(recorded: Any, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """The controllers of recorded cgroups: the root, an inner one and a leaf."""
    top = tmp_path_factory.mktemp("recorded")
    found: dict[tuple[int, str, str], Path] = {}
    for version, record in recorded.items():
        for tree in record["trees"].values():
            for place in ("root", "inner", "leaf"):
                for name, file in tree[place].items():
                    group = name.partition(".")[0]
                    directory = found.setdefault((version, place, group), top / f"{len(found)}")
                    directory.mkdir(exist_ok=True)
                    if "text" in file:
                        (directory / name).write_text(file["text"])

    def controllers(cls: type[Controller], version: int) -> list[Controller]:
        def at(place: str, name: str) -> Controller:
            kind = CONTROLLERS[name]
            group = {"core": "cgroup", "io": "blkio" if version == 1 else "io"}.get(name, name)
            return kind(version, str(found.get((version, place, group), top)), lambda n: at(place, n))

        places = ("root", "inner", "leaf")
        return [part for place in places for part in at(place, cls.name).parts()]

    return controllers


def recorded_lines() -> list[Any]:
    return [
        pytest.param(line, version, id=f"v{version}-{option}")
        for option, line in LINES.items()
        for version in (1, 2)
        if files_of(line, version)
    ]


def read_kept(line: Reading[Any], controller: Controller) -> tuple[str, Any]:
    """The text and what is made of it; skips where no such cgroup had the file."""
    source = line.source(controller)
    texts = []
    for name in source.files:
        home = Path(controller.path(name))
        texts.append(home.read_text() if home.exists() else "")
    return "\n".join(texts), source.read(controller)


@pytest.mark.parametrize(("line", "version"), recorded_lines())
def test_recorded_texts_are_read_without_loss(kept: Kept, line: Reading[Any], version: int) -> None:
    seen = 0
    for controller in kept(line.owner, version):
        if not Path(controller.path(line.source(controller).files[0])).exists():
            continue
        seen += 1
        text, value = read_kept(line, controller)
        if attrs.has(type(value)) and hasattr(value, "extra"):
            told = attrs.asdict(value)
            numbers = [v for k, v in told.items() if k != "extra" and v is not None]
            wanted = len([row for row in text.splitlines() if re.fullmatch(r"\S+ \d+", row)])
            if not (line.owner in (Cpu, Memory) and version == 1 and line.name in ("stat", "events")):
                assert len(numbers) + len(value.extra) == wanted
        source: Any = line.sources[version]
        if isinstance(source, Table):
            assert len(value) == len(
                [row for row in text.splitlines() if not row.startswith("default")]
            )
            printed = {key: source.row.print(inner, "x") for key, inner in value.items()}
            assert source.kind.parse("".join(f"{key} {row}\n" for key, row in printed.items())) == value
        elif isinstance(line, Setting) and isinstance(source, File):
            if line.option in ("core.type", "memory.oom_kill_disable"):
                return  # what is written is not what is read
            printed = source._print(value, "x")
            assert source.kind.parse(printed) == value
            if text.strip() and not (text.strip().isdigit() and int(text) >= V1_UNLIMITED):
                assert printed == text.strip().removeprefix("default ")
    if not seen:
        pytest.skip("none of the recorded kernels had it")


def test_recorded_values(kept: Kept) -> None:
    leaf = kept(Memory, 2)[2]
    assert isinstance(leaf, Memory)
    assert (leaf.max, leaf.low, leaf.oom_group) == (None, 0, False)
    assert leaf.events.oom_kill == 0
    assert isinstance(leaf.stat.anon, int)
    assert leaf.stat.extra.keys() >= {"thp_fault_alloc"}
    assert isinstance(leaf.stat.inactive_file, int)
    some = leaf.pressure.some
    assert some is not None
    assert some.total >= 0
    old = kept(Memory, 1)[2]
    assert isinstance(old, Memory)
    assert (old.max, old.soft_limit, old.memsw_limit) == (None, None, None)
    assert old.stat.extra["hierarchical_memory_limit"] > 1 << 60
    assert isinstance(old.stat.anon, int)
    assert old.swap_current == 0
    assert old.oom_control.under_oom == 0
    cpu = kept(Cpu, 1)[2]
    assert isinstance(cpu, Cpu)
    assert (cpu.weight, cpu.shares, cpu.max) == (100, 1024, CpuMax(None, 100_000))
    assert isinstance(cpu.stat.usage_usec, int)
    cpuset = kept(Cpuset, 2)[2]
    assert isinstance(cpuset, Cpuset)
    assert cpuset.cpus_partition == Partition("member")


def test_v1_user_and_system_add_up_to_usage(kept: Kept) -> None:
    cpu: Any = kept(Cpu, 1)[0]
    for name, text in {"usage": "3000000", "usage_user": "1", "usage_sys": "2"}.items():
        Path(cpu.path(f"cpuacct.{name}")).write_text(text)
    assert cpu.stat.usage_usec == 3000
    assert (cpu.stat.user_usec, cpu.stat.system_usec) == (1000, 2000)


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        ("member\n", Partition("member")),
        ("root\n", Partition("root")),
        ("isolated invalid (No cpu available due to hotplug)\n",
         Partition("isolated", False, "No cpu available due to hotplug")),
        ("root invalid\n", Partition("root", False)),
    ],
)  # fmt: skip
def test_partitions(text: str, partition: Partition) -> None:
    assert Cpuset.cpus_partition.kind.parse(text) == partition


# Any text

ANY_BYTES = st.binary(max_size=60).map(lambda data: data.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(("line", "version"), recorded_lines())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(text=st.one_of(ANY_BYTES, st.text(max_size=40), st.from_regex(r"\A([a-z0-9:.]+[ =\n]){0,6}\Z")))
def test_any_text_gives_a_value_or_our_error(
    tmp_path: Path, line: Reading[Any], version: int, text: str
) -> None:
    here = str(tmp_path)
    controller = line.owner(version, here, lambda name: CONTROLLERS[name](version, here, None))
    controller = next(controller.parts())
    for file in files_of(line, version):
        Path(controller.path(file)).write_bytes(text.encode("utf-8", "surrogateescape"))
    try:
        getattr(controller, line.name)
    except FormatError as error:
        assert isinstance(error, ValueError)
        assert str(tmp_path) in str(error)


# This kernel

ONE_CPU = frozenset({0})
DISK = next(
    Path(f"{disk}/dev").read_text().strip()
    for disk in sorted(Path("/sys/block").iterdir())
    if not disk.name.startswith(("loop", "ram", "zram"))
)
ROOT_ONLY = {
    "cpuset.memory_pressure_enabled",
    "core.release_agent",
    "io.cost_qos",
    "io.cost_model",
}
VALUES: dict[str, list[Any]] = {
    "cpu.weight": [250, "1", 10000],
    "cpu.weight_nice": [5, -20],
    "cpu.shares": [2048, "2", 262144],
    "cpu.max": [CpuMax(20000, 50000), CpuMax(None, 20000), CpuMax(1000, 1_000_000)],
    "cpu.max_burst": [5000, "0"],
    "cpu.idle": [True, False],
    "cpu.rt_runtime_us": [0],
    "cpu.rt_period_us": [500_000],
    "cpu.uclamp_min": [10.5, 0.0],
    "cpu.uclamp_max": [50.0, None],
    "cpuset.cpus": [ONE_CPU],
    "cpuset.mems": [ONE_CPU],
    "cpuset.cpus_exclusive": [ONE_CPU],
    "cpuset.cpus_partition": ["member"],
    "cpuset.cpu_exclusive": [False],
    "cpuset.mem_exclusive": [False],
    "cpuset.mem_hardwall": [True, False],
    "cpuset.sched_load_balance": [True],
    "cpuset.sched_relax_domain_level": [-1],
    "cpuset.memory_migrate": [True, False],
    "cpuset.memory_spread_page": [True, False],
    "cpuset.memory_spread_slab": [True, False],
    "memory.max": [64 * MIB, None],
    "memory.high": [64 * MIB, None],
    "memory.low": [MIB, 0, None],
    "memory.min": [MIB, 0],
    "memory.soft_limit": [64 * MIB, None],
    "memory.swap_max": [MIB, 0, None],
    "memory.swap_high": [MIB, None],
    "memory.zswap_max": [MIB, 0, None],
    "memory.zswap_writeback": [False, True],
    "memory.oom_group": [True, False],
    "memory.memsw_limit": [128 * MIB],
    "memory.swappiness": [10, "0"],
    "memory.oom_kill_disable": [True, False],
    "memory.use_hierarchy": [True],
    "memory.move_charge_at_immigrate": [0],
    "memory.kmem_limit": [None],
    "memory.kmem_tcp_limit": [16 * MIB, None],
    "io.max": [{DISK: IoMax(rbps=5 * MIB, wiops=100)}, {DISK: IoMax(wbps=2)}, {}],
    "io.low": [{}],
    "io.latency": [{DISK: IoLatency(target=75000)}, {}],
    "io.weight": [50],
    "io.weight_device": [{}],
    "io.bfq_weight": [50],
    "io.bfq_weight_device": [{}],
    "io.prio_class": ["idle", "no-change"],
    "devices.rules": [(DeviceRule("c", 1, 3, "r"),), None],
    "hugetlb.max": [4 * MIB, 0, None],
    "hugetlb.rsvd_max": [2 * MIB, None],
    "net_cls.classid": [0x100001, "0"],
    "net_prio.ifpriomap": [{"lo": 5}],
    "rdma.max": [{}],
    "misc.max": [{}],
    "dmem.max": [{}],
    "dmem.low": [{}],
    "dmem.min": [{}],
    "pids.max": [33, "0", 4_194_304, None],
    "freezer.state": ["FROZEN", "THAWED"],
    "core.type": ["threaded"],
    "core.max_descendants": [3, 0, None],
    "core.max_depth": ["3", None],
    "core.freeze": [True, False],
    "core.pressure": [False, True],
    "core.clone_children": [True, False],
    "core.notify_on_release": [True, False],
}


def test_every_setting_is_tried() -> None:
    assert {*VALUES, *ROOT_ONLY} == set(SETTINGS)


def attached(cgroup: Cgroup, line: Reading[Any]) -> Controller:
    """The controller, where this kernel has the attribute; else skip with the reason."""
    try:
        controller = next(cgroup.controller(line.owner.name).parts())
        line.__get__(controller, type(controller))
    except UnsupportedError as error:
        pytest.skip(str(error))
    except AccessError as error:
        if line.option != "devices.rules":  # by a system call that takes CAP_SYS_ADMIN
            raise
        pytest.skip(str(error))
    return controller


@pytest.mark.kernel
@pytest.mark.parametrize("option", VALUES)
def test_what_is_set_is_read_back(everywhere: Cgroup, option: str) -> None:
    line = SETTINGS[option]
    controller = attached(everywhere, line)
    if option == "memory.memsw_limit":
        everywhere.memory.max = 64 * MIB
    for value in VALUES[option]:
        try:
            setattr(controller, line.name, value)
        except FeatureError as error:
            pytest.skip(str(error))  # kmem_limit from 5.16 on, type below domain controllers
        made: Any = getattr(controller, line.name)
        if option == "cpuset.cpus_partition":
            made = made.kind
        if option == "memory.soft_limit" and made is None:
            pytest.skip("the soft limit is inert here, as in all stable kernels of 2026")
        wanted = int(value) if isinstance(value, str) and value.isdigit() else value
        assert made == wanted
        assert type(made) is type(wanted)


@pytest.mark.kernel
@pytest.mark.parametrize("option", [option for option in SETTINGS if option not in ROOT_ONLY])
def test_out_of_the_domain_nothing_is_written(everywhere: Cgroup, option: str) -> None:
    line = SETTINGS[option]
    controller = attached(everywhere, line)
    before = getattr(controller, line.name)
    for value in ("nonsense", "-77", 10**30, object(), b"1", 3.7j):
        with pytest.raises(InvalidValueError, match=re.escape(option)) as caught:
            setattr(controller, line.name, value)
        assert isinstance(caught.value, ValueError)
    assert getattr(controller, line.name) == before


@pytest.mark.kernel
@pytest.mark.rootless
@each_line
def test_everything_can_be_read(everywhere: Cgroup, line: Reading[Any]) -> None:
    controller = attached(everywhere, line)
    assert peek(controller, line) is not None or line.name.startswith(
        ("max", "high", "low", "min", "soft", "swap", "zswap", "mem", "kmem", "uclamp", "rsvd", "rules")
    )


@pytest.mark.kernel
@each_line
def test_what_this_kernel_does_not_have_says_why(cgroup: Cgroup, line: Reading[Any]) -> None:
    try:
        controller = next(cgroup.controller(line.owner.name).parts())
    except UnsupportedError as error:
        assert re.search("because|not available|no files on v2", str(error))
        return
    try:
        line.__get__(controller, type(controller))
    except UnsupportedError as error:
        assert re.search(r"has no|does not exist|not enabled", str(error))
        assert peek(controller, line) is None


@pytest.mark.kernel
def test_the_root_lacks_files(cgroup: Cgroup, needs: Any) -> None:
    needs("pids")
    with pytest.raises(UnsupportedError, match=r"root cgroup has no|does not exist"):
        _ = Cgroup("/").pids.max


@pytest.mark.kernel
def test_a_controller_that_is_not_enabled(cgroup: Cgroup, needs: Any) -> None:
    """A cgroup made by somebody else, on v2: the parent does not enable it."""
    needs("pids", version=2)
    inner = Cgroup.create(f"{cgroup.name}/a")
    Path(f"{inner.path()}/b").mkdir()
    made = Cgroup(f"{inner.name}/b")
    with pytest.raises(UnsupportedError, match=r"not enabled .*: write \+pids to .*/a/cgroup.subtr"):
        _ = made.pids.max
    Path(f"{made.path()}/c").mkdir()
    with pytest.raises(UnsupportedError, match=r"not enabled .*/b has not been given it either"):
        _ = Cgroup(f"{made.name}/c").pids.max


@pytest.mark.kernel
def test_a_cgroup_that_is_gone_is_no_missing_feature(cgroup: Cgroup, needs: Any) -> None:
    needs("pids")
    pids = cgroup.pids
    cgroup.remove()
    with pytest.raises(NotFoundError, match="removed"):
        _ = pids.max
    with pytest.raises(FileNotFoundError, match="removed"):
        pids.max = 5


@pytest.mark.kernel
def test_what_only_the_other_version_has_names_the_way(cgroup: Cgroup, needs: Any) -> None:
    if needs("memory").version == 1:
        with pytest.raises(UnsupportedError, match=r"v1 has no memory.high, v2 does; .*soft_limit"):
            cgroup.memory.high = "1G"
        with pytest.raises(UnsupportedError, match="force_empty"):
            cgroup.memory.reclaim("1M")
        cgroup.memory.force_empty()
    else:
        with pytest.raises(
            UnsupportedError, match=r"v2 has no memory.soft_limit, v1 does; .*memory.low"
        ):
            cgroup.memory.soft_limit = "1G"
        with pytest.raises(UnsupportedError, match="reclaim"):
            cgroup.memory.force_empty()


@pytest.mark.kernel
def test_reclaim(cgroup: Cgroup, needs: Any) -> None:
    needs("memory", version=2)
    if not cgroup.memory.has("memory.reclaim"):
        pytest.skip("memory.reclaim came with Linux 5.19")
    assert cgroup.memory.reclaim(0)
    assert not cgroup.memory.reclaim("1G")  # there is nothing
    for size in (None, "1X", -5):
        with pytest.raises(InvalidValueError, match="size"):
            cgroup.memory.reclaim(size)


@pytest.mark.kernel
def test_a_peak_is_counted_anew(cgroup: Cgroup, needs: Any, hog: Any) -> None:
    needs("memory")
    hog(cgroup, 16 * MIB).end()
    try:
        meter = cgroup.memory.peak_meter()
    except UnsupportedError as error:
        pytest.skip(str(error))
    with meter:
        assert meter.read() < 16 * MIB
        hog(cgroup, 24 * MIB)
        assert meter.read() > 24 * MIB


@pytest.mark.kernel
def test_a_peak_meter_of_a_cgroup_that_is_gone(cgroup: Cgroup, needs: Any) -> None:
    needs("memory")
    try:
        meter = cgroup.memory.peak_meter()
    except UnsupportedError as error:
        pytest.skip(str(error))
    cgroup.remove()
    with meter, pytest.raises(NotFoundError):
        meter.read()
    meter.close()
    with pytest.raises(NotFoundError):
        cgroup.memory.peak_meter()


@pytest.mark.kernel
def test_cpu_time_is_reset(cgroup: Cgroup, needs: Any, sleeper: Any) -> None:
    needs("cpuacct", version=1)
    sleeper(cgroup, "sh", "-c", "while :; do :; done")
    while cgroup.cpuacct.usage < 1_000_000:
        pass
    cgroup.kill()
    used = cgroup.cpuacct.usage
    cgroup.cpuacct.reset()
    assert cgroup.cpuacct.usage < used


@pytest.mark.kernel
def test_a_partition_that_does_not_hold_is_an_error(cgroup: Cgroup, needs: Any) -> None:
    """The parent is no partition root, so this one cannot be either (but a remote one may)."""
    needs("cpuset", version=2)
    inner = Cgroup.create(f"{cgroup.name}/inner")
    with pytest.raises((RejectedError, CgroupKitError), match="partition"):
        inner.cpuset.cpus_partition = "root"
    inner.cpuset.cpus_partition = "member"
    assert inner.cpuset.cpus_partition == Partition("member")
    with pytest.raises(InvalidValueError, match="isolated"):
        inner.cpuset.cpus_partition = "roots"


@pytest.mark.kernel
def test_v1_bandwidth_passes_no_higher_share_on_the_way(cgroup: Cgroup, needs: Any) -> None:
    """The parent allows just as much as the child has before and after: nothing between may be more."""
    needs("cpu")
    inner = Cgroup.create(f"{cgroup.name}/inner")
    cgroup.cpu.max = (50_000, 100_000)
    for value in [
        (5_000, 10_000),
        (500_000, 1_000_000),
        (1_000, 2_000),
        (25_000, 100_000),
        (50_000, 100_000),
    ]:
        inner.cpu.max = value
        assert inner.cpu.max == CpuMax(*value)


# Types


def test_mypy_sees_the_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed here")
    source = tmp_path / "typed.py"
    source.write_text(
        textwrap.dedent(
            """
            from collections.abc import Mapping
            from typing import assert_type
            from cgroupkit import Cgroup
            from cgroupkit.controllers import (
                CpuMax, CpuStat, MemoryEvents, MemoryStat, Partition, Pressure, Setting,
            )
            from cgroupkit.controllers.memory import Memory
            from cgroupkit.stats import Stats

            def right(cg: Cgroup) -> None:
                assert_type(cg.memory.max, int | None)
                assert_type(cg.memory.current, int)
                assert_type(cg.memory.stat, MemoryStat)
                assert_type(cg.memory.events.oom_kill, int | None)
                assert_type(cg.memory.oom_group, bool)
                assert_type(cg.cpu.max, CpuMax)
                assert_type(cg.cpu.stat, CpuStat)
                assert_type(cg.cpu.pressure, Pressure)
                assert_type(cg.cpuset.cpus, frozenset[int])
                assert_type(cg.cpuset.cpus_partition, Partition)
                assert_type(cg.pids.max, int | None)
                assert_type(cg.freezer.state, str)
                assert_type(cg.core.procs, tuple[int, ...])
                assert_type(cg.stats(), Stats)
                assert_type(Memory.max, Setting[int | None, int | str | None])
                cg.memory.max = "200M"
                cg.memory.max = None
                cg.cpu.max = (50000, 100000)
                cg.cpuset.cpus = "0-3"
                cg.cpuset.cpus = range(3)
                cg.cpuset.cpus_partition = cg.cpuset.cpus_partition
                cg.pids.max = 5
                cg.update(memory="1G", cpus=1.5, cpuset_cpus=[0])
                Cgroup.create("x", memory=5, pids_limit="max")

            def wrong(cg: Cgroup) -> None:
                cg.memory.max = 1.5  # type: ignore[assignment]
                cg.memory.current = 5  # type: ignore[assignment]
                cg.cpu.max = b"5"  # type: ignore[assignment]
                cg.memory.oom_group = "yes"  # type: ignore[assignment]
                cg.memory.maximum  # type: ignore[attr-defined]
                cg.update(memroy="1G")  # type: ignore[call-arg]
                cg.update(cpu_shares=[])  # type: ignore[arg-type]
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores",
         f"--cache-dir={tmp_path}/cache", str(source)],
        capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_set_by_mistake() -> None:
    pids: Any = Pids(2, "/nowhere", lambda _: pids)
    with pytest.raises(AttributeError, match=r"pids.current can only be read"):
        pids.current = 5
    with pytest.raises(AttributeError, match="maximum"):
        pids.maximum = 5
