"""Where cgroups may be created: as told, delegated, or root's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup, delegation, tree
from cgroupkit.delegation import place
from cgroupkit.errors import DelegationError, InvalidValueError, TopologyError, UnsupportedError
from cgroupkit.hierarchy import Hierarchy, Host, host
from cgroupkit.members import everyone

NOBODY = 65534
SYSTEMD = Path("/run/systemd/system")

V1 = Hierarchy(1, "/c/memory", "/", ("memory",))
NAMED = Hierarchy(1, "/c/systemd", "/", (), "systemd")


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CGROUPKIT_PARENT", raising=False)


@pytest.fixture
def v1_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegation, "host", lambda: Host((V1, NAMED), {}))


# Told


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_as_told(monkeypatch: pytest.MonkeyPatch, v1_machine: None, by: str) -> None:
    if by == "environment":
        monkeypatch.setenv("CGROUPKIT_PARENT", "/my//app/")
    it = place("/my/app" if by == "argument" else None)
    assert it.paths == {V1: "/my/app"}  # not in the named hierarchy, which controls nothing
    assert "as told" in it.why


def test_the_argument_counts_more(monkeypatch: pytest.MonkeyPatch, v1_machine: None) -> None:
    monkeypatch.setenv("CGROUPKIT_PARENT", "/other")
    assert place("/mine").paths == {V1: "/mine"}


@pytest.mark.parametrize("parent", ["app", "./app", "/a/../..", "/a\n"])
def test_told_badly(monkeypatch: pytest.MonkeyPatch, v1_machine: None, parent: str) -> None:
    monkeypatch.setenv("CGROUPKIT_PARENT", parent)
    with pytest.raises(InvalidValueError, match="is not valid"):
        place()


@pytest.mark.kernel
@pytest.mark.rootless
def test_created_below_what_was_told(cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Cgroup.create("a", parent=cgroup.name).name == f"{cgroup.name}/a"
    monkeypatch.setenv("CGROUPKIT_PARENT", cgroup.name)
    assert Cgroup.create("b").name == f"{cgroup.name}/b"
    assert [child.name for child in cgroup.children()] == [f"{cgroup.name}/a", f"{cgroup.name}/b"]


# Root's own


def test_nothing_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegation, "host", lambda: Host((), {}))
    with pytest.raises(DelegationError, match=r"mount -t cgroup2|Run as root"):
        place()


@pytest.mark.kernel
def test_roots_own(needs_root: None) -> None:
    if host().mode == "v2" and (SYSTEMD.exists() or place().why.startswith("a subtree")):
        pytest.skip("there is a better place")
    it = place()
    assert "/cgroupkit" in it.why
    assert set(it.paths) == {h for h in host().hierarchies if h.version == 2 or h.controllers}
    assert {path.rpartition("/")[2] for path in it.paths.values()} == {"cgroupkit"}
    assert place().paths == it.paths


def test_an_empty_place_is_removed_at_the_end(tmp_path: Path) -> None:
    for name in ("empty", "full/inner"):
        (tmp_path / name).mkdir(parents=True)
    delegation._prune((f"{tmp_path}/empty", f"{tmp_path}/full", f"{tmp_path}/none"))
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.kernel
def test_it_is_registered_once(needs_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(delegation.atexit, "register", lambda *call: registered.append(call))
    delegation._prune_at_exit.cache_clear()
    for _ in range(3):
        delegation._root(host())
    delegation._prune_at_exit.cache_clear()
    assert len(registered) == 1


# Nobody's


@pytest.mark.kernel
def test_an_unprivileged_user_is_told_what_to_do(as_nobody: Any) -> None:
    for act in (place, lambda: Cgroup.create("x"), lambda: Cgroup("x")):
        with pytest.raises(DelegationError, match=r"(?i)run as root") as caught:
            as_nobody(act)
        assert isinstance(caught.value, PermissionError)


# A delegated subtree


@pytest.fixture(params=["owner", "mark"])
def delegated(
    request: pytest.FixtureRequest, cgroup: Cgroup, needs_v2: None, needs_root: None
) -> Cgroup:
    """A v2 cgroup that an administrator has given to nobody (the user)."""
    directory = cgroup.branches[0].directory
    for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
        os.chown(f"{directory}/{name}", NOBODY, NOBODY)
    if request.param == "mark":
        try:
            os.setxattr(directory, "user.delegate", b"1")
        except OSError as error:
            pytest.skip(f"no extended attributes on cgroups here: {error}")
    elif SYSTEMD.exists():
        pytest.skip("on systemd's machines the mark counts, not the owner")
    return cgroup


@pytest.mark.kernel
def test_a_delegated_subtree(delegated: Cgroup, in_child: Any) -> None:
    v2 = Cgroup.at(delegated.branches[:1])
    limits: Any = {
        name: value
        for name, value, controller in [("memory", "32M", "memory"), ("pids_limit", 5, "pids")]
        if controller in v2.core.controllers
    }

    def work() -> dict[str, Any]:
        v2.attach(os.getpid())
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        found: dict[str, Any] = {"place": dict(place().paths), "why": place().why}
        try:
            Cgroup.create("inner")
        except TopologyError as error:
            found["refused"] = str(error)
        v2.vacate()
        found["moved"] = Cgroup.of().branches[0].path
        found["after"] = list(place().paths.values())
        inner = Cgroup.create("a/inner", **limits)
        found["inner"] = inner.name
        found["owner"] = os.stat(inner.path()).st_uid
        process = subprocess.Popen(["sleep", "1000"])
        inner.attach(process.pid)
        found["inside"] = inner.procs == [process.pid]
        Cgroup.at(inner.branches).kill(120)
        process.wait()
        Cgroup("a").remove(recursive=True)
        return found

    found = in_child(work)
    name = v2.branches[0].path
    assert [h.version for h in found["place"]] == [2]
    assert list(found["place"].values()) == [name]
    assert "delegated to us" in found["why"]
    assert "vacate()" in found["refused"]
    assert found["moved"] == f"{name}/leaf"
    assert found["after"] == [name]  # the top of what is ours, not the leaf
    assert (found["inner"], found["owner"], found["inside"]) == (f"{name}/a/inner", NOBODY, True)
    assert everyone(delegated.branches) == set()


@pytest.mark.kernel
def test_a_delegate_does_not_reach_above(delegated: Cgroup, in_child: Any) -> None:
    above = Path(os.path.dirname(delegated.branches[0].directory))
    other = f"{os.path.basename(delegated.name)}-other"
    before = (above / "cgroup.subtree_control").read_text()

    def work() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        Cgroup.create(f"{os.path.dirname(delegated.branches[0].path)}/{other}")

    with pytest.raises(PermissionError):
        in_child(work)
    assert (above / "cgroup.subtree_control").read_text() == before
    assert not (above / other).exists()


@pytest.mark.kernel
def test_a_manager_of_its_own_is_not_interfered_with(
    cgroup: Cgroup, needs_v2: None, needs_root: None
) -> None:
    """systemd's user manager sits in init.scope below its delegated unit, which is all its own."""
    branch = cgroup.branches[0]
    try:
        os.setxattr(branch.directory, "trusted.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no extended attributes on cgroups here: {error}")
    assert tree.is_delegated(branch.directory)
    assert delegation._is_delegated(branch.hierarchy, branch.directory)
    Path(f"{branch.directory}/init.scope").mkdir()
    assert not delegation._is_delegated(branch.hierarchy, branch.directory)


@pytest.mark.kernel
def test_in_a_container_its_root_is_delegated(
    cgroup: Cgroup, unshare: Any, in_child: Any, tmp_path: Path
) -> None:
    if host().mode != "v2" or SYSTEMD.exists():
        pytest.skip("this is for v2 without systemd")

    def work() -> tuple[list[str], str, list[str]]:
        cgroup.attach(os.getpid())
        unshare(0x2020000)
        subprocess.run(["mount", "-t", "cgroup2", "none", str(tmp_path)], check=True)
        host(refresh=True)
        first = list(place().paths.values())
        Cgroup.of().vacate()
        try:
            Cgroup.of().vacate("deeper")
        except UnsupportedError as error:
            return first, str(error), []
        return first, Cgroup.create("x").name, list(place().paths.values())

    first, name, after = in_child(work)
    assert first == ["/"]
    assert name == "/x"
    assert after == ["/"]


@pytest.mark.parametrize(
    ("path", "top", "ways"),
    [
        ("/a/b", "/", ["/a/b", "/a", "/"]),
        ("/", "/", ["/"]),
        ("/d/x/y", "/d/x", ["/d/x/y", "/d/x"]),
    ],
)
def test_the_way_up(path: str, top: str, ways: list[str]) -> None:
    assert delegation._upwards(path, top) == ways
