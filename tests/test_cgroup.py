"""Cgroup: found, created, opened, looked into, with errors that say what to do."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cgroupkit import Cgroup
from cgroupkit.cgroup import Cgroup as SameCgroup
from cgroupkit.errors import (
    AccessError,
    BusyError,
    CgroupKitError,
    ExistsError,
    InvalidValueError,
    NotFoundError,
    ProcessGoneError,
    ReadOnlyError,
    UnsupportedError,
)
from cgroupkit.hierarchy import V1_NAMES, host, paths_of

pytestmark = pytest.mark.kernel

MIB = 1 << 20


def snapshot(cgroup: Cgroup) -> dict[str, bytes]:
    """Every setting of the cgroup, to see that nothing has changed."""
    found = {}
    for branch in cgroup.branches:
        for file in Path(branch.directory).iterdir():
            if file.is_file() and file.stat().st_mode & 0o200 and file.stat().st_mode & 0o400:
                if any(word in file.name for word in ("stat", "usage", "pressure", "peak", "procs")):
                    continue
                try:
                    found[str(file)] = file.read_bytes()
                except OSError:
                    continue
    return found


# Creating and opening


@pytest.mark.rootless
def test_created_opened_removed(cgroup_name: str) -> None:
    made = Cgroup.create(cgroup_name)
    assert made.exists()
    assert made.name.endswith(f"/{cgroup_name}")
    assert repr(made) == f"<Cgroup {made.name}>"
    assert all(os.path.isdir(branch.directory) for branch in made.branches)
    for opened in (Cgroup(cgroup_name), Cgroup(made.name), Cgroup(Path(made.name))):
        assert opened == made
        assert hash(opened) == hash(made)
    assert made != Cgroup("/")
    assert made != made.name
    made.remove()
    assert not made.exists()


@pytest.mark.rootless
def test_parents_are_made_and_limits_set(cgroup_name: str, needs: Any) -> None:
    for controller in ("memory", "pids"):
        needs(controller)
    leaf = Cgroup.create(f"{cgroup_name}/a/b", memory="64M", pids_limit=20)
    assert (leaf.memory.max, leaf.pids.max) == (64 * MIB, 20)
    assert Cgroup(f"{cgroup_name}/a").memory.max is None
    for controller in ("memory", "pids"):
        assert leaf.path(controller).endswith(f"{cgroup_name}/a/b")


def test_it_is_in_every_hierarchy_with_controllers(cgroup: Cgroup) -> None:
    tops = {h for h in host().hierarchies if h.controllers}
    if host().mode != "v2":
        assert {branch.hierarchy for branch in cgroup.branches} >= tops
    for name in ("cpu", "memory", "pids", "io"):
        if not host().controllers[name].available:
            continue
        info = host().controllers[name]
        assert cgroup.path(name).startswith(str(info.mount))
        assert cgroup.controller(name) is getattr(cgroup, name)
        assert (cgroup.controller(name).version, cgroup.controller(name).name) == (info.version, name)
    if host().controllers["io"].available:
        assert cgroup.path("blkio") == cgroup.path("io")


def test_an_existing_one(cgroup: Cgroup, needs: Any) -> None:
    needs("pids")
    cgroup.pids.max = 9
    with pytest.raises(ExistsError, match="open it with Cgroup") as caught:
        Cgroup.create(cgroup.name, pids_limit=5)
    assert isinstance(caught.value, FileExistsError)
    assert cgroup.pids.max == 9
    assert Cgroup.create(cgroup.name, exist_ok=True, pids_limit=7) == cgroup
    assert cgroup.pids.max == 7


def test_one_that_exists_in_some_hierarchies_only(cgroup: Cgroup, needs: Any) -> None:
    needs("memory")
    others = [b for b in cgroup.branches if "memory" not in b.hierarchy.controllers]
    if not others:
        pytest.skip("there is one hierarchy alone")
    cgroup.update(memory="32M")
    os.rmdir(others[0].directory)
    part = Cgroup(cgroup.name)
    assert len(part.branches) == len(cgroup.branches) - 1
    with pytest.raises(CgroupKitError):
        Cgroup.create(cgroup.name, exist_ok=True, memory="64M", cpu_rt_runtime=999, cpu_rt_period=9999)
    assert cgroup.memory.max == 32 * MIB
    assert Cgroup.create(cgroup.name, exist_ok=True) == cgroup


@pytest.mark.parametrize(
    "bad", [{"memory": "200X"}, {"memroy": 5}, {"cpus": 1, "cpu_quota": 5000}, {"pids_limit": True}]
)
def test_after_a_bad_option_nothing_is_there(cgroup_name: str, bad: Any) -> None:
    with pytest.raises(InvalidValueError):
        Cgroup.create(f"{cgroup_name}/x", **bad)
    with pytest.raises(NotFoundError):
        Cgroup(cgroup_name)


def test_after_a_refusal_what_was_made_is_removed(cgroup_name: str, needs: Any) -> None:
    needs("cpuset")
    with pytest.raises(CgroupKitError):
        Cgroup.create(f"{cgroup_name}/x/y", cpuset_cpus="60000")
    with pytest.raises(NotFoundError):
        Cgroup(cgroup_name)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a\0b", "a\nb", "x" * 256, "a/.."])
def test_a_name_that_leaves_the_tree(cgroup: Cgroup, path: str) -> None:
    for refused in (
        lambda: Cgroup.create(f"{cgroup.name}/{path}"),
        lambda: Cgroup(path),
        lambda: Cgroup("x", parent=f"/{path}"),
    ):
        with pytest.raises(InvalidValueError, match="is not valid"):
            refused()
    assert cgroup.children() == []


def test_a_file_is_no_cgroup(cgroup: Cgroup) -> None:
    for exist_ok in (False, True):
        with pytest.raises(CgroupKitError):
            Cgroup.create(f"{cgroup.name}/cgroup.procs", exist_ok=exist_ok)
    with pytest.raises(CgroupKitError):
        Cgroup.create(f"{cgroup.name}/cgroup.procs/x")
    with pytest.raises(NotFoundError):
        Cgroup(f"{cgroup.name}/cgroup.procs")


def test_the_root(cgroup: Cgroup) -> None:
    root = Cgroup("/")
    assert root.name == "/"
    with pytest.raises(InvalidValueError, match="root"):
        Cgroup.create("/")
    with pytest.raises(InvalidValueError, match="root"):
        root.kill()
    with pytest.raises(InvalidValueError, match="root"):
        root.remove()
    with pytest.raises(UnsupportedError, match="root"):
        root.freeze()
    assert os.getpid() in root.procs or len(root.procs) > 0


def test_one_that_does_not_exist(cgroup_name: str) -> None:
    with pytest.raises(NotFoundError, match=f"no cgroup '{cgroup_name}'; `cgroupkit ls`") as caught:
        Cgroup(cgroup_name)
    assert isinstance(caught.value, FileNotFoundError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.filename, str(copy)) == (cgroup_name, str(caught.value))


# Where a process is


@pytest.mark.rootless
def test_our_own() -> None:
    own = Cgroup.of()
    assert own == Cgroup.of(os.getpid())
    for branch in own.branches:
        assert os.getpid() in [
            int(p) for p in Path(f"{branch.directory}/cgroup.procs").read_text().split()
        ]


@pytest.mark.rootless
def test_of_a_process_inside(cgroup: Cgroup, sleeper: Any) -> None:
    process = sleeper(cgroup)
    found = Cgroup.of(process.pid)
    assert set(found.branches) >= set(cgroup.branches)
    assert found.name == cgroup.name
    assert process.pid in found.procs


def test_a_process_whose_paths_differ(cgroup: Cgroup, sleeper: Any) -> None:
    """On v1 somebody moved it in one hierarchy alone."""
    if len(cgroup.branches) < 2:
        pytest.skip("there is one hierarchy alone")
    one, deeper = (Cgroup.create(f"{cgroup.name}/{name}") for name in ("one", "a/deeper"))
    process, other = sleeper(one), sleeper(one)
    moved = deeper.branches[-1]
    Path(f"{moved.directory}/cgroup.procs").write_text(str(process.pid))
    found = Cgroup.of(process.pid)
    paths = {branch.hierarchy: branch.path for branch in found.branches}
    assert paths[moved.hierarchy] == found.name == deeper.name
    assert paths[one.branches[0].hierarchy] == one.name
    assert found.path() == one.path()
    assert found.procs == [process.pid]
    assert Cgroup.of(other.pid).procs == sorted([process.pid, other.pid])
    assert one.procs == sorted([process.pid, other.pid])
    assert deeper.procs == [process.pid]


def test_of_a_process_that_is_gone() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(ProcessGoneError, match="may have ended") as caught:
        Cgroup.of(process.pid)
    assert isinstance(caught.value, ProcessLookupError)


def test_of_a_process_whose_cgroup_was_removed(cgroup: Cgroup, sleeper: Any, eventually: Any) -> None:
    """A zombie keeps its v2 path, with " (deleted)" after the rmdir."""
    process = sleeper(cgroup)
    process.kill()
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    cgroup.remove()
    if not any(path.endswith(" (deleted)") for path in paths_of(process.pid).values()):
        pytest.skip("only v2 says (deleted)")
    try:
        found = Cgroup.of(process.pid)
    except NotFoundError as error:
        assert "removed" in str(error)
    else:  # v1 has moved it to its roots
        assert all(branch.version == 1 for branch in found.branches)


# What is below


@pytest.mark.rootless
def test_children_and_walk(cgroup: Cgroup) -> None:
    for name in ("b", "a/x", "a/y"):
        Cgroup.create(f"{cgroup.name}/{name}")
    assert [child.name for child in cgroup.children()] == [f"{cgroup.name}/a", f"{cgroup.name}/b"]
    assert [found.name.removeprefix(cgroup.name) for found in cgroup.walk()] == [
        "", "/a", "/a/x", "/a/y", "/b",
    ]  # fmt: skip
    assert cgroup.children()[0].children()[0] == Cgroup(f"{cgroup.name}/a/x")


def test_a_child_in_one_hierarchy_alone_is_listed(cgroup: Cgroup) -> None:
    os.mkdir(f"{cgroup.branches[-1].directory}/lonely")
    (child,) = cgroup.children()
    assert [branch.hierarchy for branch in child.branches] == [cgroup.branches[-1].hierarchy]
    for branch in cgroup.branches[:-1]:
        for controller in branch.hierarchy.controllers:
            with pytest.raises(UnsupportedError, match=r"does not exist in .*exist_ok=True"):
                child.path(controller)


# When it goes wrong: a typed error, and nothing has changed


Act = Callable[[Cgroup], object]
ACTS: dict[str, Act] = {
    "procs": lambda cgroup: cgroup.procs,
    "threads": lambda cgroup: cgroup.threads,
    "attach": lambda cgroup: cgroup.attach(os.getpid()),
    "freeze": lambda cgroup: cgroup.freeze(),
    "thaw": lambda cgroup: cgroup.thaw(),
    "frozen": lambda cgroup: cgroup.frozen,
    "remove": lambda cgroup: cgroup.remove(),
    "remove recursive": lambda cgroup: cgroup.remove(recursive=True),
    "set": lambda cgroup: setattr(cgroup.pids, "max", 5),
    "get": lambda cgroup: cgroup.pids.max,
    "update": lambda cgroup: cgroup.update(pids_limit=5),
    "stats": lambda cgroup: cgroup.stats(),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_removed_under_our_hands(cgroup: Cgroup, needs: Any, act: Act) -> None:
    needs("pids")
    assert cgroup.pids.max is None
    before = paths_of()
    for branch in cgroup.branches:
        os.rmdir(branch.directory)
    with pytest.raises(NotFoundError, match="removed") as caught:
        act(cgroup)
    assert isinstance(caught.value, FileNotFoundError)
    assert paths_of() == before


def test_nothing_to_kill_in_a_removed_one(cgroup: Cgroup) -> None:
    cgroup.remove()
    cgroup.kill()
    assert cgroup.children() == []
    assert not cgroup.exists()


WRITES = ("freeze", "remove", "set", "update", "attach")


@pytest.mark.parametrize("name", [*WRITES, "create"])
def test_without_permission(cgroup: Cgroup, needs: Any, as_nobody: Any, name: str) -> None:
    needs("pids")
    before = snapshot(cgroup)
    act = ACTS.get(name, lambda cgroup: Cgroup.create(f"{cgroup.name}/x"))
    with pytest.raises(AccessError, match=r"run as root, or work in a cgroup delegated") as caught:
        as_nobody(lambda: act(cgroup))
    assert isinstance(caught.value, PermissionError)
    assert caught.value.filename
    assert snapshot(cgroup) == before


def test_another_users_process_is_not_killed(cgroup: Cgroup, as_nobody: Any, sleeper: Any) -> None:
    process = sleeper(cgroup)
    with pytest.raises(AccessError) as caught:
        as_nobody(lambda: cgroup.kill(1))
    assert isinstance(caught.value, PermissionError)
    assert process.poll() is None


def test_reading_takes_no_permission(cgroup: Cgroup, needs: Any, as_nobody: Any) -> None:
    needs("pids")
    assert as_nobody(lambda: (cgroup.procs, cgroup.pids.max, cgroup.children())) == ([], None, [])


@pytest.mark.parametrize("name", [*WRITES, "create"])
def test_on_a_read_only_mount(
    cgroup: Cgroup, needs: Any, in_child: Any, unshare: Any, name: str
) -> None:
    needs("pids")
    before = snapshot(cgroup)
    act = ACTS.get(name, lambda cgroup: Cgroup.create(f"{cgroup.name}/x"))

    def work() -> None:
        unshare()
        for found in host().hierarchies:
            subprocess.run(["mount", "-o", "remount,bind,ro", found.mount], check=True)
        assert all(found.read_only for found in host(refresh=True).hierarchies)
        act(Cgroup(cgroup.name))

    with pytest.raises(ReadOnlyError, match=r"EROFS.*mounted read-only.*remount") as caught:
        in_child(work)
    assert isinstance(caught.value, OSError)
    assert snapshot(cgroup) == before
    assert cgroup.children() == []


def test_mounted_elsewhere(cgroup: Cgroup, in_child: Any, unshare: Any, tmp_path: Path) -> None:
    """All hierarchies are found wherever they are, with blanks in the path as well."""
    top = tmp_path / "my cgroups"
    top.mkdir()

    def work() -> tuple[list[str], list[str]]:
        unshare()
        for number, found in enumerate(host().hierarchies):
            where = top / f"h {number}"
            where.mkdir()
            options = ",".join(V1_NAMES.get(name, name) for name in found.controllers)
            options = options or f"none,name={found.name}"
            kind = ["cgroup2"] if found.version == 2 else ["cgroup", "-o", options]
            subprocess.run(["mount", "-t", *kind, "none", str(where)], check=True)
            subprocess.run(["umount", "-l", found.mount], check=True)
        host(refresh=True)
        moved = Cgroup(cgroup.name)
        inner = Cgroup.create(f"{cgroup.name}/inner", pids_limit=5)
        assert inner.pids.max == 5
        return [b.directory for b in moved.branches], [b.path for b in moved.branches]

    if not host().controllers["pids"].available:
        pytest.skip("no pids controller")
    directories, paths = in_child(work)
    assert all(directory.startswith(f"{top}/h ") for directory in directories)
    assert set(paths) == {cgroup.name}
    assert len(paths) == len(cgroup.branches)


def test_busy(cgroup: Cgroup, sleeper: Any) -> None:
    Cgroup.create(f"{cgroup.name}/inner")
    with pytest.raises(BusyError, match="recursive=True"):
        cgroup.remove()
    sleeper(Cgroup(f"{cgroup.name}/inner"))
    with pytest.raises(BusyError, match=r"kill\(\)"):
        cgroup.remove(recursive=True)
    cgroup.kill()
    cgroup.remove(recursive=True)
    assert not cgroup.exists()


def test_the_public_name_is_the_same() -> None:
    assert Cgroup is SameCgroup


@pytest.mark.kernel
def test_the_roots_children_are_not_those_of_a_process_that_is_in_the_root_somewhere(
    cgroup: Cgroup, sleeper: Any
) -> None:
    """A process may be in a cgroup of one v1 hierarchy and in the root of another, which has others."""
    hierarchies = host().hierarchies
    if len(hierarchies) < 2:
        pytest.skip("there is one hierarchy only")
    process = sleeper()
    last = cgroup.branches[-1]
    Path(last.directory, "cgroup.procs").write_text(str(process.pid))
    of = Cgroup.of(process.pid)
    assert of.path(last.hierarchy.controllers[0]) == last.directory
    assert cgroup.name not in [child.name for child in of.walk()][1:]
