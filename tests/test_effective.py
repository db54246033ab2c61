"""What a process may really use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup
from cgroupkit.effective import effective_cpu_count, effective_cpus, effective_memory_limit
from cgroupkit.errors import InvalidValueError, ProcessGoneError
from cgroupkit.hierarchy import cgroup_mounts, host

MIB = 1 << 20
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_of_this_process() -> None:
    assert 0 < effective_memory_limit().value <= MEMORY
    assert effective_cpus().value == os.sched_getaffinity(0)
    assert 0 < effective_cpu_count().value <= len(os.sched_getaffinity(0))


def test_a_process_that_is_gone() -> None:
    for function in (effective_memory_limit, effective_cpus, effective_cpu_count):
        for pid in (2**22 + 1, 10**12):
            with pytest.raises(ProcessGoneError):
                function(pid)


@pytest.mark.parametrize("pid", [0, -1, True, "x", 1.5])
def test_what_is_no_process(pid: Any) -> None:
    for function in (effective_memory_limit, effective_cpus, effective_cpu_count):
        with pytest.raises(InvalidValueError, match=r"pid=.*above 0"):
            function(pid)


@pytest.mark.kernel
def test_where_no_cgroup_can_be_seen(in_child: Any, unshare: Any) -> None:
    def work() -> list[Any]:
        unshare()
        for mount in reversed(cgroup_mounts()):
            subprocess.run(["umount", "--lazy", mount], check=True)
        host(refresh=True)
        found = (effective_memory_limit(), effective_cpus(), effective_cpu_count())
        return [(one.value, one.cgroup, one.visible) for one in found]

    cpus = os.sched_getaffinity(0)
    assert in_child(work) == [(MEMORY, None, False), (cpus, None, True), (len(cpus), None, False)]


@pytest.mark.kernel
def test_the_cgroup_above_decides(cgroup: Cgroup, needs: Any, sleeper: Any) -> None:
    needs("memory")
    cgroup.update(memory="100M")
    inner = Cgroup.create(f"{cgroup.name}/inner", memory="200M")
    process = sleeper(inner)
    found = effective_memory_limit(process.pid)
    assert found.value == 100 * MIB
    assert found.cgroup is not None
    assert found.cgroup.name == cgroup.name
    assert os.path.dirname(found.by) == cgroup.path("memory")
    inner.update(memory="50M")
    found = effective_memory_limit(process.pid)
    assert found.value == 50 * MIB
    assert found.cgroup is not None
    assert found.cgroup.name == inner.name
    assert found.by.startswith(inner.path("memory"))


@pytest.mark.kernel
def test_the_least_of_quota_and_cpus(cgroup: Cgroup, needs: Any, sleeper: Any) -> None:
    needs("cpu")
    inner = Cgroup.create(f"{cgroup.name}/inner")
    process = sleeper(inner)
    assert effective_cpu_count(process.pid).value == len(os.sched_getaffinity(0))
    cgroup.update(cpus=0.5)
    found = effective_cpu_count(process.pid)
    assert (found.value, found.cgroup and found.cgroup.name) == (0.5, cgroup.name)


@pytest.mark.kernel
def test_the_cpus_of_a_cpuset_and_of_affinity(cgroup: Cgroup, needs: Any, sleeper: Any) -> None:
    needs("cpuset")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one CPU only")
    process = sleeper(cgroup)
    os.sched_setaffinity(process.pid, {1})
    assert (effective_cpus(process.pid).value, effective_cpus(process.pid).by) == ({1}, "affinity")
    cgroup.update(cpuset_cpus="0")
    found = effective_cpus(process.pid)
    assert found.value == {0}
    assert found.cgroup is not None
    assert os.path.dirname(found.by) == cgroup.path("cpuset")
    assert effective_cpu_count(process.pid).value == 1.0


@pytest.mark.kernel
def test_who_inherits_its_cpus_does_not_decide(cgroup: Cgroup, needs: Any, sleeper: Any) -> None:
    needs("cpuset")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one CPU only")
    cgroup.update(cpuset_cpus="0")
    process = sleeper(Cgroup.create(f"{cgroup.name}/inner/leaf"))
    for found in (effective_cpus(process.pid), effective_cpu_count(process.pid)):
        assert found.cgroup is not None
        assert found.cgroup.name == cgroup.name


@pytest.mark.kernel
def test_limits_above_what_can_be_seen(
    cgroup: Cgroup, needs: Any, sleeper: Any, in_child: Any, unshare: Any, tmp_path: Path
) -> None:
    """v1 counts them in memory.stat."""
    needs("memory", version=1)
    cgroup.update(memory="100M")
    inner = Cgroup.create(f"{cgroup.name}/inner", memory="200M")
    process = sleeper(inner)

    def work() -> tuple[int, str]:
        unshare()
        mounts = reversed(cgroup_mounts())
        subprocess.run(["mount", "--bind", inner.path("memory"), tmp_path], check=True)
        for mount in mounts:
            subprocess.run(["umount", "--lazy", mount], check=True)
        host(refresh=True)
        found = effective_memory_limit(process.pid)
        return found.value, found.by

    assert in_child(work) == (100 * MIB, f"{tmp_path}/memory.stat")
