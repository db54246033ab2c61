"""The writes of all controllers together: applied as one, or taken back as one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup, Resources
from cgroupkit.errors import CgroupKitError, InvalidValueError, UnsupportedError
from cgroupkit.hierarchy import host
from cgroupkit.orders import writes

MIB = 1 << 20


def texts(cgroup: Cgroup) -> dict[str, str]:
    """All settings of a cgroup in every hierarchy, as text."""
    found = {}
    for branch in cgroup.branches:
        for file in Path(branch.directory).iterdir():
            settable = file.is_file() and file.stat().st_mode & 0o200 and file.stat().st_mode & 0o400
            counts = (
                "usage",
                "failcnt",
                "procs",
                "tasks",
                "threads",
                "pressure",
                "peak",
                "oom_control",
            )
            if settable and not file.name.endswith(counts):
                # Fresh hugetlb files of some kernels say "no limit" by a number.
                found[str(file)] = re.sub(r"\b92233720368547\d{5}\b", "max", file.read_text())
    return found


def everything(cgroup: Cgroup) -> dict[str, Any]:
    """A limit for each controller that this machine has."""
    wishes: dict[str, dict[str, Any]] = {
        "memory": {"memory": "64M", "memory_reservation": "32M"},
        "cpu": {"cpus": 0.5, "cpu_shares": 512},
        "cpuset": {"cpuset_cpus": "0", "cpuset_mems": "0"},
        "pids": {"pids_limit": 50},
        "hugetlb": {"hugepage_limits": {"2MB": "8M"}},
        "net_cls": {"network_class_id": "10:1"},
        "net_prio": {"network_priorities": {"lo": 5}},
    }
    given: dict[str, Any] = {}
    for controller, options in wishes.items():
        try:
            cgroup.controller(controller)
        except UnsupportedError:
            continue
        given |= options
    return given


@pytest.mark.kernel
def test_all_controllers_in_one_call(everywhere: Cgroup) -> None:
    given = everything(everywhere)
    everywhere.update(**given)
    if "memory" in given:
        assert everywhere.memory.max == 64 * MIB
    if "hugepage_limits" in given:
        assert everywhere.hugetlb["2MB"].max == 8 * MIB
    if "network_class_id" in given:
        assert everywhere.net_cls.classid == 0x100001
    if "pids_limit" in given:
        assert everywhere.pids.max == 50


@pytest.mark.kernel
def test_what_one_hierarchy_refuses_is_taken_back_in_all(
    everywhere: Cgroup, refused_at_last: Any
) -> None:
    """On a hybrid machine too, where the first writes go to v1 and the last one to v2."""
    before = texts(everywhere)
    wanted = Resources.of(everything(everywhere) | refused_at_last(everywhere))
    steps = list(writes(everywhere, wanted))
    if host().mode == "hybrid":
        assert {step.controller.version for step in steps} == {1, 2}
        assert steps[-1].controller.version == 2
    with pytest.raises(CgroupKitError, match="nothing was changed"):
        everywhere.update(**wanted.asked())
    assert texts(everywhere) == before


@pytest.mark.kernel
def test_a_create_that_is_refused_leaves_no_cgroup(cgroup_name: str, refused_at_last: Any) -> None:
    probe = Cgroup.create(f"{cgroup_name}-probe")
    try:
        options = everything(probe) | refused_at_last(probe)
    finally:
        probe.remove()
    with pytest.raises(CgroupKitError):
        Cgroup.create(cgroup_name, **options)
    assert not any(Path(h.mount, "cgroupkit", cgroup_name).exists() for h in host().hierarchies)


# Texts for v2's files


@pytest.mark.kernel
def test_unified_writes_v2_files(everywhere: Cgroup) -> None:
    here = host()
    if here.unified is None:
        pytest.skip("no v2 hierarchy is mounted")
    everywhere.update(unified={"cgroup.max.depth": "3"})
    assert everywhere.core.max_depth == 3
    if here.controllers["hugetlb"].version == 2:
        everywhere.update(unified={"hugetlb.2MB.max": str(4 * MIB)})
        assert everywhere.hugetlb["2MB"].max == 4 * MIB
    if here.controllers["memory"].version == 2:
        everywhere.update(unified={"memory.high": "64M", "memory.low": 0})
        assert everywhere.memory.high == 64 * MIB


@pytest.mark.kernel
def test_unified_is_for_v2(cgroup: Cgroup, needs: Any) -> None:
    needs("memory", version=1)
    with pytest.raises(UnsupportedError, match=r"memory.high.*memory is v1 here"):
        cgroup.update(unified={"memory.high": "64M"})


@pytest.mark.parametrize(
    "value", [{"../x": "1"}, {"a b": "1"}, {"": "1"}, {"memory.max": None}, {"memory.max": 1.5}, 5, "x"]
)
def test_what_is_no_file_name_or_text(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="unified"):
        Resources(unified=value)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "file",
    ["cgroup.procs", "cgroup.kill", "cgroup.subtree_control", "cgroup.events", "nonsense", "x.y"],
)
def test_unified_sets_limits_and_does_nothing_else(cgroup: Cgroup, file: str) -> None:
    if host().unified is None:
        pytest.skip("no v2 hierarchy is mounted")
    with pytest.raises(InvalidValueError, match="unified"):
        cgroup.update(unified={file: "1"})


@pytest.mark.kernel
def test_oom_kill_disable(cgroup: Cgroup, needs: Any) -> None:
    if needs("memory").version == 2:
        cgroup.update(oom_kill_disable=False)
        with pytest.raises(UnsupportedError, match="OOM killer cannot be turned off"):
            cgroup.update(oom_kill_disable=True)
        return
    cgroup.update(oom_kill_disable=True, memory="64M")
    assert cgroup.memory.oom_control.oom_kill_disable == 1
    with pytest.raises(CgroupKitError):
        cgroup.update(oom_kill_disable=False, cpuset_cpus="4095")
    assert cgroup.memory.oom_kill_disable


@pytest.mark.kernel
def test_who_decides_about_the_check(cgroup: Cgroup, needs: Any, hog: Any) -> None:
    needs("memory", version=2)
    hog(cgroup, 16 * MIB)
    cgroup.update(memory_swap="64M", memory="64M")
    for options in ({}, {"memory_check_before_update": True}, {"check": True}):
        with pytest.raises(CgroupKitError, match="in use"):
            cgroup.update(memory="4M", memory_swap="4M", **options)
    with pytest.raises(CgroupKitError, match="in use"):
        cgroup.update(memory="4M", memory_swap="4M", memory_check_before_update=False, check=True)
    cgroup.update(memory="4M", memory_swap="4M", memory_check_before_update=False)
    assert cgroup.memory.max == 4 * MIB
