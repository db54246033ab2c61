"""The directories: made in every hierarchy, ready for processes, or not made at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from cgroupkit import Cgroup, tree
from cgroupkit.errors import BusyError, FileError, NotFoundError
from cgroupkit.hierarchy import Hierarchy, host
from cgroupkit.tree import Branch


def test_a_branch_is_where_the_mount_shows_it() -> None:
    whole = Hierarchy(2, "/c", "/", ())
    part = Hierarchy(1, "/p", "/docker/x", ("cpu",))
    assert Branch.find(whole, "/a") == Branch(whole, "/a", "/c/a")
    assert Branch.find(part, "/a") is None
    top = Branch.find(part, "/docker/x")
    assert top is not None
    assert (top.is_root, top.version, top.directory) == (True, 1, "/p")


@pytest.mark.kernel
def test_v1_cpusets_start_with_their_parents_cpus_and_nodes(cgroup: Cgroup, needs: Any) -> None:
    needs("cpuset", version=1)
    cgroup.cpuset.cpus = [0]
    inner = Cgroup.create(f"{cgroup.name}/a/b")
    assert inner.cpuset.cpus == {0}
    assert inner.cpuset.mems == cgroup.cpuset.mems != frozenset()


@pytest.mark.kernel
def test_v1_cpusets_that_have_something_keep_it(cgroup: Cgroup, needs: Any) -> None:
    needs("cpuset", version=1)
    cgroup.cpuset.cpus = [0]
    Cgroup.create(cgroup.name, exist_ok=True)
    assert cgroup.cpuset.cpus == {0}


@pytest.mark.kernel
@pytest.mark.rootless
def test_v2_controllers_are_enabled_down_the_path(cgroup: Cgroup, needs_v2: None) -> None:
    unified = cgroup.branches[0]
    available = set(Path(f"{unified.directory}/cgroup.controllers").read_text().split())
    assert available
    leaf = Cgroup.create(f"{cgroup.name}/a/b")
    assert set(leaf.core.controllers) == available
    assert set(Cgroup(f"{cgroup.name}/a").core.subtree_control) == available
    assert leaf.core.subtree_control == ()


@pytest.mark.kernel
def test_one_controller_that_is_refused_costs_only_itself(
    cgroup: Cgroup, needs_v2: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cpu cannot be enabled while real-time tasks run; one write is all or nothing."""
    directory = cgroup.branches[0].directory
    have = Path(f"{directory}/cgroup.controllers").read_text().split()
    monkeypatch.setattr(
        tree, "_words", lambda path: [*have, "unknown"] if "controllers" in path else []
    )
    tree.enable(directory)
    monkeypatch.undo()
    assert set(cgroup.core.subtree_control) == set(have)


@pytest.mark.kernel
def test_too_many_below(cgroup: Cgroup, needs_v2: None) -> None:
    cgroup.core.max_descendants = 1
    Cgroup.create(f"{cgroup.name}/a")
    with pytest.raises(
        FileError, match=r"EAGAIN.*cgroup.max.descendants is reached; raise it"
    ) as caught:
        Cgroup.create(f"{cgroup.name}/b")
    assert caught.value.errno == errno.EAGAIN
    assert [child.name for child in cgroup.children()] == [f"{cgroup.name}/a"]
    with pytest.raises(FileError, match=r"cgroup.max"):
        Cgroup.create(f"{cgroup.name}/c/d")
    assert len(cgroup.children()) == 1


@pytest.mark.kernel
def test_if_one_hierarchy_refuses_none_has_it(cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir, last = os.mkdir, cgroup.branches[-1].directory

    def failing(path: str, *args: Any) -> None:
        if path == f"{last}/a/b":
            raise OSError(errno.EIO, "no")
        mkdir(path, *args)

    monkeypatch.setattr(tree.os, "mkdir", failing)
    with pytest.raises(FileError, match=r"cannot create .*/a/b: EIO"):
        Cgroup.create(f"{cgroup.name}/a/b")
    assert cgroup.children() == []


@pytest.mark.kernel
@pytest.mark.rootless
def test_remove_below(cgroup: Cgroup) -> None:
    for name in ("a/b/c", "a/d", "e"):
        Cgroup.create(f"{cgroup.name}/{name}")
    with pytest.raises(BusyError):
        cgroup.remove()
    assert len(list(cgroup.walk())) == 6
    cgroup.remove(recursive=True)
    assert not cgroup.exists()
    with pytest.raises(NotFoundError):
        cgroup.remove()


@pytest.mark.kernel
def test_remove_where_it_is_in_some_hierarchies_only(cgroup: Cgroup) -> None:
    for branch in cgroup.branches[:-1]:
        os.rmdir(branch.directory)
    cgroup.remove()
    assert not cgroup.exists()


@pytest.mark.kernel
def test_a_dying_process_does_not_block(cgroup: Cgroup, sleeper: Any, eventually: Any) -> None:
    process = sleeper(cgroup)
    process.kill()
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    cgroup.remove()
    assert not cgroup.exists()


@pytest.mark.kernel
def test_a_living_process_does_at_once(
    cgroup: Cgroup, sleeper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree.time, "sleep", lambda _: pytest.fail("it waits for the living"))
    sleeper(cgroup)
    with pytest.raises(
        BusyError, match=r"something is still inside: kill\(\) ends processes"
    ) as caught:
        cgroup.remove()
    assert caught.value.errno == errno.EBUSY
    assert all(os.path.isdir(branch.directory) for branch in cgroup.branches)


@pytest.mark.kernel
def test_the_mark_of_systemd(cgroup: Cgroup, needs_root: None) -> None:
    directory = cgroup.branches[0].directory
    assert not tree.is_delegated(directory)
    try:
        os.setxattr(directory, "trusted.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no extended attributes on cgroups here: {error}")
    assert tree.is_delegated(directory)


@pytest.mark.kernel
def test_above_a_delegated_unit_nothing_is_enabled(
    cgroup: Cgroup, needs_v2: None, needs_root: None
) -> None:
    """What is above is systemd's; the unit's own controllers are all there is to give."""
    unified = host().unified
    assert unified is not None
    above = f"{cgroup.branches[0].directory}/slice"
    unit = f"{above}/x.scope"
    Path(unit).mkdir(parents=True)
    try:
        os.setxattr(unit, "trusted.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no extended attributes on cgroups here: {error}")
    inner = Branch.find(unified, f"{cgroup.branches[0].path}/slice/x.scope/inner")
    assert inner is not None
    tree.make([inner])
    assert Path(f"{above}/cgroup.subtree_control").read_text().split() == []
