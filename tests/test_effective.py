"""What a process may really use."""

from __future__ import annotations

import os
from typing import Any

import pytest

from cgroupkit import Cgroup
from cgroupkit.effective import effective_cpu_count, effective_cpus, effective_memory_limit
from cgroupkit.errors import ProcessGoneError

MIB = 1 << 20
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_of_this_process() -> None:
    assert 0 < effective_memory_limit().value <= MEMORY
    assert effective_cpus().value == os.sched_getaffinity(0)
    assert 0 < effective_cpu_count().value <= len(os.sched_getaffinity(0))


def test_a_process_that_is_gone() -> None:
    for function in (effective_memory_limit, effective_cpus, effective_cpu_count):
        with pytest.raises(ProcessGoneError):
            function(2**22 + 1)


@pytest.mark.kernel
def test_the_cgroup_above_decides(cgroup: Cgroup, needs: Any, sleeper: Any) -> None:
    needs("memory")
    cgroup.update(memory="100M")
    inner = Cgroup.create(f"{cgroup.name}/inner", memory="200M")
    process = sleeper(inner)
    found = effective_memory_limit(process.pid)
    assert found.value == 100 * MIB
    assert found.cgroup is not None
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
    assert found.by.startswith(cgroup.path("cpuset"))
    assert effective_cpu_count(process.pid).value == 1.0
