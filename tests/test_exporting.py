"""What the exporters share: rows that do not go backwards, of cgroups read in bounded time."""

from __future__ import annotations

import gc
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup, Sampler, Stats, members
from cgroupkit.containers import Container, containers, naming
from cgroupkit.controllers import CpuStat, MemoryStat
from cgroupkit.errors import FileError, InvalidValueError, NotFoundError
from cgroupkit.exporting import Row, Sweep, Sweeper
from cgroupkit.exporting.rows import Known, printable, processes
from cgroupkit.network import namespace
from cgroupkit.stats import MemoryStats
from tests.engines import Podman, parent, podman
from tests.metrics import NOWHERE

# Fixtures, which pytest finds by their names here.
__all__ = ["parent", "podman"]

PATIENCE = 120
FIELDS = ("cpu", "memory", "io", "pids.current")
kernel = pytest.mark.kernel


def sweeper(
    cgroups: Any = None, *, tree: Any = None, timeout: float = PATIENCE, count: bool = False
) -> Sweeper:
    return Sweeper(cgroups, tree=tree, fields=FIELDS, timeout=timeout, count=count)


def paths(sweep: Sweep) -> set[str]:
    return {row.path for row in sweep.rows}


@pytest.fixture(autouse=True)
def no_descriptor_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = _descriptors()
    yield
    if not {"forked", "sleeper", "podman"} & set(request.fixturenames):
        assert _descriptors() == before


def _descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


# Counters


def told(known: Known, stats: Stats) -> Row:
    return known.row(NOWHERE, stats)


def cpu(milliseconds: float, user: int, system: int) -> Stats:
    found = CpuStat(usage_usec=user + system, user_usec=user, system_usec=system)
    return Stats(time_ns=int(milliseconds * 1e6), cpu=found)


def test_shares_of_the_cpu_time_do_not_shrink() -> None:
    known = Known(())
    times = [(750, 250), (606, 404), (900, 300), (700, 600), (0, 2000), (1999, 3)]
    seen = [told(known, cpu(number, *both)).stats.cpu for number, both in enumerate(times)]
    for number, (user, system) in enumerate(times):
        assert seen[number].usage_usec == user + system
        assert seen[number].user_usec + seen[number].system_usec == user + system  # type: ignore[operator]
    for before, after in pairwise(seen):
        assert before.user_usec <= after.user_usec  # type: ignore[operator]
        assert before.system_usec <= after.system_usec  # type: ignore[operator]


def test_a_counter_that_was_set_back_starts_again() -> None:
    known = Known(())
    told(known, cpu(0, 750, 250))
    assert told(known, cpu(1, 5, 6)).stats.cpu == cpu(1, 5, 6).cpu
    assert told(known, cpu(2, 9, 6)).stats.cpu == cpu(2, 9, 6).cpu


def test_cores_are_counted_over_a_second_at_least() -> None:
    known = Known(())
    assert told(known, cpu(0, 0, 0)).cores == {}
    assert told(known, cpu(500, 250_000, 0)).cores == {"user": 0.5, "system": 0}
    assert told(known, cpu(2000, 1_000_000, 500_000)).cores == {"user": 0.5, "system": 0.25}
    assert told(known, cpu(2001, 1_000_000, 500_000)).cores == {"user": 0, "system": 0}
    assert told(known, cpu(3000, 1_500_000, 500_000)).cores == {"user": 0.5, "system": 0}
    assert told(known, cpu(3000, 1_500_000, 500_000)).cores == {}  # no time went by
    assert told(known, cpu(4000, 0, 0)).cores == {}  # it was set back
    assert told(known, Stats(time_ns=9)).cores == {}


def test_minor_faults_do_not_go_back() -> None:
    def faults(every: int, major: int) -> Stats:
        stat = MemoryStat(pgfault=every, pgmajfault=major)
        return Stats(time_ns=0, memory=MemoryStats(stat=stat))

    known = Known(())
    assert told(known, faults(10, 1)).minor_faults == 9
    assert told(known, faults(10, 2)).minor_faults == 9
    assert told(known, faults(12, 2)).minor_faults == 10
    assert told(known, Stats(time_ns=0)).minor_faults is None


def test_names_of_any_bytes() -> None:
    assert printable(os.fsdecode(b"/a\xffb")) == "/a\\xffb"
    assert printable("/grün") == "/grün"
    assert printable(None) is None


# Which cgroups


@kernel
def test_a_tree_is_followed(cgroup: Cgroup) -> None:
    with sweeper(tree=cgroup.name) as found:
        assert found.sweep().rows == ()
        inner = Cgroup.create(f"{cgroup.name}/inner")
        found.sweep()  # which looks twice at what was just made
        sweep = found.sweep()
        assert paths(sweep) == {inner.name}
        assert sweep.descriptors > 0
        inner.remove()
        assert found.sweep().rows == ()
    assert found.sweep() == Sweep()


@kernel
def test_a_cgroup_that_ends_is_left_out(cgroup: Cgroup) -> None:
    one, other = (Cgroup.create(f"{cgroup.name}/{name}") for name in ("one", "other"))
    with sweeper([one, other]) as found:
        assert paths(found.sweep()) == {one.name, other.name}
        other.remove()
        sweep = found.sweep()
        assert paths(sweep) == {one.name}
        assert (sweep.left_out, sweep.failed) == (1, False)


@kernel
def test_a_cgroup_that_ends_in_the_middle(cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it was sampled, and before what is read besides."""
    inner = Cgroup.create(f"{cgroup.name}/docker/{'ab' * 32}")
    sample = Sampler.sample

    def and_then_it_ends(sampler: Sampler, **options: Any) -> Any:
        found = sample(sampler, **options)
        inner.remove()
        return found

    with sweeper(tree=cgroup.name, count=True) as found:
        for _ in range(2):
            (*_, row) = sorted(found.sweep().rows, key=lambda row: row.path)
        assert row.processes == 0
        monkeypatch.setattr(Sampler, "sample", and_then_it_ends)
        (*_, row) = sorted(found.sweep().rows, key=lambda row: row.path)
        assert (row.path, row.processes, row.started) == (inner.name, None, None)


@kernel
def test_one_path_is_told_about_once(cgroup: Cgroup) -> None:
    """On v1 a cgroup may be asked for as a whole, and in one of the hierarchies."""
    part = Cgroup.at(cgroup.branches[:1])
    with sweeper([cgroup, part]) as found:
        assert [row.path for row in found.sweep().rows] == [cgroup.name]


@kernel
def test_what_cannot_be_meant(cgroup: Cgroup) -> None:
    with pytest.raises(InvalidValueError, match="not both"):
        sweeper([cgroup], tree=cgroup)
    for timeout in (-1, True, "5", float("nan")):
        with pytest.raises(InvalidValueError, match="timeout="):
            sweeper([cgroup], timeout=timeout)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        sweeper(tree="/no/such/cgroup")
    with pytest.raises(InvalidValueError, match="cgroups="):
        sweeper(["/docker"])


@kernel
def test_what_cannot_be_read_fails_the_sweep(cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(sampler: Sampler, **options: Any) -> Any:
        raise FileError(5, "cannot read it: EIO")

    with sweeper([cgroup]) as found:
        monkeypatch.setattr(Sampler, "sample", refused)
        with pytest.warns(RuntimeWarning, match="cannot read it: EIO"):
            sweep = found.sweep()
        assert (sweep.rows, sweep.left_out, sweep.failed) == ((), 1, True)


@kernel
@pytest.mark.parametrize("number", [3, 900])
def test_processes_are_counted(
    cgroup: Cgroup, sleeper: Any, tmp_path: Path, eventually: Any, number: int
) -> None:
    """More than fit into one page of text, too."""
    os.mkfifo(tmp_path / "go")
    os.mkfifo(tmp_path / "never")
    wait, hang = f"read _ <{tmp_path}/go", f": <{tmp_path}/never"  # no program is started
    count = f"i=1; while test $i -lt {number}; do {hang} & i=$((i + 1)); done; wait"
    sleeper(cgroup, "sh", "-c", f"{wait}; {count}")
    (tmp_path / "go").write_text("go\n")
    eventually(lambda: len(cgroup.procs) == number)
    assert processes(cgroup) == number
    with sweeper([cgroup], count=True) as found:
        (row,) = found.sweep().rows
        assert row.processes == number
    cgroup.kill(PATIENCE)
    assert processes(cgroup) == 0


@kernel
def test_a_tree_that_is_deeper_than_pythons_stack(
    cgroup: Cgroup, forked: Any, needs: Any, too_deep: int
) -> None:
    """Whoever may make cgroups may make such a one: it must not spoil the sweep of all."""
    needs("pids")
    directory = cgroup.path("pids")
    child = forked(lambda: None)
    assert child.go()
    made: list[str] = []
    try:
        for _ in range(too_deep):
            directory += "/d"
            os.mkdir(directory)
            made.append(directory)
        with open(f"{directory}/cgroup.procs", "w") as file:
            file.write(str(child.pid))
        assert not sweeper_of_all().failed
        with sweeper(tree=cgroup) as found:
            found.sweep()
            assert len(found.sweep().rows) == len(made)
        assert members.everyone(cgroup.branches) == {child.pid}
    finally:
        child.end()
        for each in reversed(made):
            os.rmdir(each)


@kernel
def test_a_fork_in_the_middle_of_a_sweep(cgroup: Cgroup, in_child: Any) -> None:
    found = sweeper([cgroup])
    with found._lock:  # as a thread would that is not in the child

        def work() -> int:
            rows = len(found.sweep().rows)
            found.close()
            return rows

        assert in_child(work) == 1
    found.close()


def sweeper_of_all() -> Sweep:
    with sweeper() as found:
        return found.sweep()


# Time


@kernel
def test_no_time_at_all(cgroup: Cgroup) -> None:
    for number in range(3):
        Cgroup.create(f"{cgroup.name}/{number}")
    with sweeper([cgroup], timeout=0) as found:
        sweep = found.sweep()
        assert (sweep.rows, sweep.left_out, sweep.failed) == ((), 1, True)
    with sweeper(tree=cgroup.name, timeout=0) as found:
        assert found.sweep().rows == ()
    with sweeper(timeout=0) as found:
        sweep = found.sweep()
        assert (sweep.rows, sweep.failed) == ((), True)
    with sweeper([cgroup]) as found:
        assert found.sweep(0).failed
        assert not found.sweep().failed


@kernel
def test_a_first_look_that_is_cut_short_is_gone_on_with(cgroup: Cgroup) -> None:
    """What there was no time to look through comes with the next sweeps."""
    names = {Cgroup.create(f"{cgroup.name}/{number}").name for number in range(50)}
    with Sampler.tree(cgroup.name, fields=("cpu",)) as sampler:
        assert sampler.sample(timeout=0) == {}
        sampler.sample()
        assert {each.name for each in sampler.sample()} == names


@kernel
def test_many_who_ask_do_not_queue_up(cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, go_on = threading.Event(), threading.Event()
    sample = Sampler.sample

    def slow(sampler: Sampler, **options: Any) -> Any:
        busy.set()
        go_on.wait(PATIENCE)
        return sample(sampler, timeout=PATIENCE)

    monkeypatch.setattr(Sampler, "sample", slow)
    found = sweeper([cgroup])
    sweeps: list[Sweep] = []
    first = threading.Thread(target=lambda: sweeps.append(found.sweep()))
    first.start()
    assert busy.wait(PATIENCE)
    others = [threading.Thread(target=lambda: sweeps.append(found.sweep(0.05))) for _ in range(20)]
    for each in others:
        each.start()
    for each in others:
        each.join(PATIENCE)
    assert len(sweeps) == 20
    assert all(sweep.failed and sweep.rows == () and sweep.seconds >= 0.05 for sweep in sweeps)
    go_on.set()
    first.join(PATIENCE)
    assert paths(sweeps[-1]) == {cgroup.name}
    found.close()


@kernel
def test_containers_that_take_too_long_to_find(cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are known are told about all the same."""
    made = Cgroup.create(f"{cgroup.name}/docker/{secrets.token_hex(32)}")
    with sweeper() as found:
        assert made.name in paths(found.sweep())
        monkeypatch.setattr("cgroupkit.exporting.subjects.walk", _in_vain)
        sweep = found.sweep()
        assert made.name in paths(sweep)
        assert sweep.failed


def _in_vain(*_: object, **__: object) -> Any:
    raise TimeoutError


# Containers


def _of(sweep: Sweep, cgroup: Cgroup) -> Row | None:
    return next((row for row in sweep.rows if row.path == cgroup.name), None)


@kernel
def test_containers_come_and_go(podman: Podman, parent: Cgroup) -> None:
    name = f"export-{os.getpid()}"
    with sweeper(count=True) as found, sweeper(tree=parent) as tree:
        found.sweep()
        status, id = podman.run(name, f"--cgroup-parent={parent.name}")
        assert status == 0, id
        try:
            (container,) = containers(parent)
            row = _of(found.sweep(), container.cgroup)
            assert row is not None
            assert (row.name, row.image) == (name, "localhost/busybox:latest")
            assert row.container is not None
            assert row.container.id == id
            assert row.processes is not None
            (pid,) = container.pids
            assert row.started is not None
            assert row.uptime is not None
            assert 0 <= row.uptime <= time.time() - os.stat(f"/proc/{pid}").st_ctime + PATIENCE
            again = _of(found.sweep(), container.cgroup)
            assert again is not None
            assert again.started == row.started
            tree.sweep()
            same = _of(tree.sweep(), container.cgroup)
            assert same is not None
            assert (same.name, same.image, same.started) == (name, row.image, row.started)
            with sweeper([container.cgroup]) as given:
                (only,) = given.sweep().rows
                assert only.name == name
        finally:
            podman("rm", "--force", "--time=0", id)
        assert container.cgroup.name not in paths(found.sweep())


@kernel
def test_a_name_is_asked_for_once(
    cgroup: Cgroup, sleeper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def name_of(container: Container) -> str | None:
        asked.append(container.id)
        return "web" if asked.count(id) > 1 else None  # its state is written a moment later

    monkeypatch.setattr(naming, "name_of", name_of)
    id = secrets.token_hex(32)
    made = Cgroup.create(f"{cgroup.name}/docker/{id}")
    sleeper(made)
    with sweeper() as found:
        names = [row.name for _ in range(4) if (row := _of(found.sweep(), made))]
        assert names == [None, "web", "web", "web"]
        assert asked.count(id) == 2


@kernel
def test_a_network_of_several_is_told_about_once(
    cgroup: Cgroup, needs_root: None, eventually: Any
) -> None:
    """As in a pod, where it is the first container's."""
    first, second = (Cgroup.create(f"{cgroup.name}/docker/{secrets.token_hex(32)}") for _ in range(2))
    started: list[subprocess.Popen[bytes]] = []

    def start(cgroup: Cgroup, *words: str) -> int:
        started.append(subprocess.Popen([*words, "sleep", "1000"]))
        cgroup.attach(started[-1].pid)
        return started[-1].pid

    try:
        pid = start(first, "unshare", "--net")
        eventually(lambda: namespace(str(pid)) not in (None, namespace("self")))
        net = f"--net=/proc/{pid}/ns/net"
        add = ["ip", "link", "add", "eth0", "type", "bridge"]
        if subprocess.run(["nsenter", net, *add], check=False, capture_output=True).returncode:
            pytest.skip("no network interface can be made here")
        time.sleep(0.05)  # a start is known to a hundredth of a second
        other = start(second, "nsenter", net)
        eventually(lambda: namespace(str(other)) == namespace(str(pid)))
        with sweeper() as found:
            sweep = found.sweep()
            (one, two) = (_of(sweep, each) for each in (first, second))
            assert one is not None
            assert two is not None
            assert list(one.network) == ["eth0"]
            assert two.network == {}
    finally:
        for process in started:
            process.kill()
            process.wait(PATIENCE)


@kernel
def test_a_disk_has_its_name(cgroup: Cgroup, tmp_path: Path, needs: Any, sleeper: Any) -> None:
    needs("io")
    write = f"dd if=/dev/zero of={tmp_path}/x bs=64k count=16 oflag=direct; exec sleep 1000"
    sleeper(cgroup, "sh", "-c", f"until test -e {tmp_path}/go; do sleep 0.01; done; {write}")
    (tmp_path / "go").touch()
    end = time.monotonic() + 2
    with sweeper([cgroup]) as found:
        while not (row := found.sweep().rows[0]).disks and time.monotonic() < end:
            time.sleep(0.05)
    if not row.disks:
        pytest.skip("nothing here is written to a disk that is accounted for")
    assert row.stats.io is not None
    assert len(row.disks) == len(row.stats.io)
    assert all(os.path.exists(f"/dev/{name}") or ":" in name for name in row.disks)
