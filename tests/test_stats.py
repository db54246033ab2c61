"""Stats: one moment of a cgroup, under v2's names, None for what is not known."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgroupkit import Cgroup, Sampler, Stats, cli
from cgroupkit.controllers import CpuStat, MemoryStat
from cgroupkit.errors import NotFoundError, UnsupportedError
from cgroupkit.exporting.rows import processes
from cgroupkit.hierarchy import host
from cgroupkit.stats import HostCpu, MemoryStats, host_cpu

MIB = 1 << 20


def moment(used: int | None, whole: int, online: int = 4) -> Stats:
    return Stats(
        time_ns=0, cpu=CpuStat(usage_usec=used), host_cpu=HostCpu(usage_usec=whole, online=online)
    )


def test_cpu_percent_is_dockers() -> None:
    assert moment(1500, 8000).cpu_percent(moment(500, 4000)) == 100.0
    assert moment(500, 8000).cpu_percent(moment(500, 4000)) == 0.0
    assert moment(400, 8000).cpu_percent(moment(500, 4000)) == 0.0
    assert moment(600, 4000).cpu_percent(moment(500, 4000)) == 0.0


def test_cpu_percent_of_the_unknown() -> None:
    known = moment(500, 4000)
    for other in (moment(None, 4000), Stats(time_ns=0), attrs.evolve(known, host_cpu=None)):
        assert known.cpu_percent(other) is None
        assert other.cpu_percent(known) is None


@pytest.mark.parametrize(
    ("current", "inactive", "working"), [(100, 30, 70), (100, 0, 100), (20, 30, 20), (100, None, 100)]
)
def test_working_set(current: int, inactive: int | None, working: int) -> None:
    stats = Stats(
        time_ns=0, memory=MemoryStats(current=current, stat=MemoryStat(inactive_file=inactive))
    )
    assert stats.working_set == working
    assert stats.memory_percent(200) == working / 2
    assert stats.memory_percent(0) is None


def test_working_set_of_the_unknown() -> None:
    assert Stats(time_ns=0).working_set is None
    assert Stats(time_ns=0, memory=MemoryStats()).working_set is None
    assert Stats(time_ns=0, memory=MemoryStats(current=5)).working_set == 5
    assert Stats(time_ns=0).memory_percent(5) is None


def test_a_moment_does_not_change() -> None:
    stats = Stats(time_ns=0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        stats.time_ns = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(stats)) == stats


def test_the_machines_cpu_time_grows(eventually: Any) -> None:
    one = host_cpu()
    assert one is not None
    assert one.online == os.cpu_count()
    eventually(lambda: (two := host_cpu()) and two.usage_usec > one.usage_usec)


@pytest.mark.kernel
@pytest.mark.rootless
def test_a_cgroup_with_a_process(cgroup: Cgroup, sleeper: Any, hog: Any, eventually: Any) -> None:
    sleeper(cgroup)
    hog(cgroup, 16 * MIB)
    stats = cgroup.stats()
    available = {name for name, info in host().controllers.items() if info.available}
    if "pids" in available:
        assert stats.pids is not None
        assert stats.pids.current == 2
        assert stats.pids.max is None
        cgroup.pids.max = 7
        assert cgroup.stats().pids.max == 7  # type: ignore[union-attr]
    if "memory" in available:
        memory = stats.memory
        assert memory is not None
        assert memory.current is not None
        assert memory.stat is not None
        assert memory.stat.anon is not None
        assert memory.current >= 16 * MIB
        # Linux 6.1 skips the flush of its counters while somebody else is at it.
        eventually(lambda: cgroup.stats().memory.stat.anon > 8 * MIB)
        assert stats.working_set is not None
        assert stats.working_set <= memory.current
    if host().controllers["cpuacct"].available:
        assert stats.cpu is not None
        assert stats.cpu.usage_usec is not None
    assert stats.time_ns <= cgroup.stats().time_ns


@pytest.mark.kernel
def test_what_is_protected_and_weighed(cgroup: Cgroup) -> None:
    available = {name: info.version for name, info in host().controllers.items() if info.available}
    if "cpu" in available:
        cgroup.update(cpu_shares=2048)
        stats = cgroup.stats()
        assert stats.cpu_weight == cgroup.cpu.weight
        assert stats.cpu_shares == (2048 if available["cpu"] == 1 else None)
    if "memory" in available:
        cgroup.update(memory="64M", memory_reservation="32M")
        memory = cgroup.stats().memory
        soft = available["memory"] == 1
        assert (memory.soft_limit, memory.low) == ((32 * MIB, None) if soft else (None, 32 * MIB))
        assert memory.min == (None if soft else 0)
        assert (memory.kmem_usage is None) == (not soft)


@pytest.mark.kernel
def test_cpu_time_is_counted(cgroup: Cgroup, sleeper: Any, eventually: Any) -> None:
    before = cgroup.stats()
    if before.cpu is None or before.cpu.usage_usec is None:
        pytest.skip("nothing accounts for CPU time")
    sleeper(cgroup, "sh", "-c", "while :; do :; done")
    eventually(lambda: (cgroup.stats().cpu_percent(before) or 0) > 0)
    now = cgroup.stats().cpu
    assert now is not None
    assert now.user_usec is not None
    assert now.system_usec is not None
    assert now.usage_usec is not None
    assert abs(now.user_usec + now.system_usec - now.usage_usec) <= 2


@pytest.mark.kernel
def test_what_is_not_known_is_none(cgroup: Cgroup) -> None:
    stats = cgroup.stats()
    known = {name for branch in cgroup.branches for name in branch.hierarchy.controllers}
    for name in ("memory", "pids", "io"):
        if name not in known:
            assert getattr(stats, name) is None
    if host().mode == "v1":
        assert stats.pressure.memory is stats.pressure.cpu is stats.pressure.irq is None


@pytest.mark.kernel
def test_a_cgroup_that_is_gone(cgroup: Cgroup) -> None:
    cgroup.remove()
    with pytest.raises(NotFoundError, match="removed"):
        cgroup.stats()


@pytest.mark.kernel
def test_a_root_is_not_counted_for_a_process_that_is_elsewhere_too(
    cgroup: Cgroup, sleeper: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """On v1 it may be in a cgroup of one hierarchy and in the root of the others."""
    if len(host().hierarchies) < 2:
        pytest.skip("there is one hierarchy only")
    process = sleeper()
    if any(not branch.is_root for branch in Cgroup.of(process.pid).branches):
        for branch in Cgroup("/").branches:
            Path(branch.directory, "cgroup.procs").write_text(str(process.pid))
    home = cgroup.branch("pids")
    Path(home.directory, "cgroup.procs").write_text(str(process.pid))
    of = Cgroup.of(process.pid)
    assert of.name == cgroup.name
    assert of.path("memory") == Cgroup("/").path("memory")
    stats = of.stats()
    assert stats.pids.current == 1
    assert (stats.cpu.usage_usec, stats.memory.current, stats.io) == (None, None, None)
    assert processes(of) == 1
    assert cli.main(["ls", str(process.pid)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [of.name, "1", "-"]
    with Sampler([of, Cgroup("/")]) as sampler:
        sampled = sampler.sample()
    assert sampled[of].pids.current == 1
    assert (sampled[of].cpu.usage_usec, sampled[of].memory.current) == (None, None)
    assert sampled[Cgroup("/")].cpu.usage_usec is not None
    with pytest.raises(UnsupportedError, match=r"in the memory hierarchy .* is the root"):
        of.events("oom_kill")
    with of.events() as watched:
        assert watched.wait(0) == []


@pytest.mark.kernel
def test_the_root_has_stats(cgroup: Cgroup) -> None:
    stats = Cgroup("/").stats()
    assert stats.host_cpu is not None
    if stats.memory is not None:
        assert stats.memory.max is None
