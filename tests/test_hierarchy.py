"""host(): which hierarchies are mounted, which controller lives where, and why one does not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import Cgroup, hierarchy
from cgroupkit.errors import InvalidValueError, NotFoundError, ProcessGoneError, UnsupportedError
from cgroupkit.hierarchy import KNOWN, Hierarchy, Host, host, parse_mountinfo, paths_of, read_host

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 master:1 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
"""
CGROUPS = """\
#subsys_name\thierarchy\tnum_cgroups\tenabled
cpuset\t0\t1\t1
cpu\t2\t1\t1
cpuacct\t2\t1\t1
blkio\t7\t1\t1
memory\t0\t1\t0
freezer\t0\t1\t1
net_cls\t0\t1\t1
"""


def mount(
    root: str, at: str, options: str = "rw", kind: str = "cgroup2", super_options: str = "rw"
) -> str:
    return f"30 20 0:26 {root} {at} {options} - {kind} none {super_options}\n"


Make = Callable[..., Host]


@pytest.fixture
def machine(tmp_path: Path) -> Make:
    """machine(mountinfo, cgroups, v2="cpu io"): a Host read from such texts; @ is v2's mount."""

    def make(mountinfo: str, cgroups: str = CGROUPS, v2: str = "", *, inner: bool = False) -> Host:
        (tmp_path / "self").mkdir()
        (tmp_path / "self/mountinfo").write_text(mountinfo.replace("@", str(tmp_path)))
        (tmp_path / "cgroups").write_text(cgroups)
        (tmp_path / "cgroup.controllers").write_text(v2 + "\n")
        if inner:
            (tmp_path / "cgroup.type").touch()
        return read_host(str(tmp_path))

    return make


def test_a_hybrid_machine(machine: Make) -> None:
    it = machine(HYBRID.replace("/sys/fs/cgroup/unified", "@"), v2="hugetlb")
    assert it.mode == "hybrid"
    assert it.unified is it.hierarchies[0]
    assert it.unified.controllers == ("hugetlb",)
    both = it.hierarchy_of("cpuacct")
    assert it.hierarchy_of("cpu") is both
    assert (both.version, both.mount, both.controllers) == (
        1, "/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct"),
    )  # fmt: skip
    assert it.hierarchy_of("io").mount == "/sys/fs/cgroup/blkio"
    named = next(h for h in it.hierarchies if h.name)
    assert (named.name, named.controllers) == ("systemd", ())
    assert str(named) == "v1 (name=systemd) at /sys/fs/cgroup/systemd"
    assert it.controllers["hugetlb"].version == 2
    assert it.controllers["freezer"].version == 2  # part of every v2 cgroup
    assert set(it.controllers) == set(KNOWN)


@pytest.mark.parametrize(("version", "mode"), [(1, "v1"), (2, "v2")])
def test_recorded_machines(recorded: Any, machine: Make, version: int, mode: str) -> None:
    record = recorded[version]
    mountinfo = "\n".join(record["mountinfo"]) + "\n"
    v2 = (
        record["trees"].get("unified", {}).get("root", {}).get("cgroup.controllers", {}).get("text", "")
    )
    if version == 2:
        mountinfo = mountinfo.replace("/sys/fs/cgroup", "@")
    it = machine(mountinfo, record["proc_cgroups"], v2.strip())
    assert it.mode == mode
    for name in ("cpu", "cpuset", "memory", "io", "pids", "freezer", "hugetlb", "rdma", "misc"):
        assert (name, it.controllers[name].version) == (name, version)
    assert it.controllers["dmem"].reason == "this kernel was built without it"


@pytest.mark.parametrize(
    ("name", "reason", "remedy"),
    [
        ("memory", "disabled at boot", "cgroup_disable=memory"),
        ("rdma", "built without it", "kernel"),
        ("cpuset", "hierarchy is not mounted", "mount -t cgroup -o cpuset"),
        ("net_cls", "v1 only", "cgroupv2"),
    ],
)
def test_why_a_controller_is_absent(machine: Make, name: str, reason: str, remedy: str) -> None:
    it = machine(mount("/", "@"), v2="cpu io")
    info = it.controllers[name]
    assert not info.available
    assert (info.version, info.mount) == (None, None)
    assert reason in info.reason
    assert remedy in info.remedy
    with pytest.raises(UnsupportedError, match=reason) as caught:
        it.hierarchy_of(name)
    assert isinstance(caught.value, NotImplementedError)


def test_blkio_is_named_as_the_kernel_names_it(machine: Make) -> None:
    it = machine(
        HYBRID.replace("blkio\n", "memory\n"), CGROUPS.replace("blkio\t7\t1\t1", "blkio\t0\t1\t0")
    )
    assert "cgroup_disable=blkio" in it.controllers["io"].remedy


def test_in_a_container_the_parent_may_not_enable_it(machine: Make) -> None:
    it = machine(mount("/", "@"), v2="cpu", inner=True)
    assert "parent" in it.controllers["cpuset"].reason
    assert "Delegate=yes" in it.controllers["cpuset"].remedy


def test_nothing_is_mounted(machine: Make) -> None:
    it = machine("")
    assert it.mode == "none"
    assert it.unified is None
    assert it.controllers["cpu"].reason == "no cgroup file system is mounted"
    assert "mount -t cgroup2" in str(it.absent("cpu"))


def test_without_proc(tmp_path: Path) -> None:
    assert read_host(str(tmp_path)).mode == "none"


def test_a_controller_that_does_not_exist(machine: Make) -> None:
    with pytest.raises(UnsupportedError, match="'cpus'; the kernel has cpu, "):
        machine(HYBRID).hierarchy_of("cpus")


def test_on_v2_cpuacct_has_no_files(machine: Make) -> None:
    with pytest.raises(UnsupportedError, match="part of every cgroup"):
        machine(mount("/", "@"), v2="cpu").hierarchy_of("cpuacct")


@pytest.mark.parametrize(
    ("options", "super_options", "read_only"),
    [("rw", "rw", False), ("ro,nosuid", "rw", True), ("rw", "ro", True)],
)
def test_read_only(options: str, super_options: str, read_only: bool) -> None:
    (found,) = parse_mountinfo(mount("/", "/c", options, super_options=super_options))
    assert found.read_only is read_only


def test_elsewhere_with_a_blank_in_its_name() -> None:
    (found,) = parse_mountinfo(mount("/", r"/mnt/my\040groups\134x"))
    assert found.mount == "/mnt/my groups\\x"
    assert found.directory("/a") == "/mnt/my groups\\x/a"


def test_an_odd_character_in_a_mount_ends_no_line() -> None:
    text = mount("/", "/a\u2028b\x0c\r") + mount("/", "/v1", kind="cgroup", super_options="rw,cpu")
    assert [h.mount for h in parse_mountinfo(text)] == ["/a\u2028b\x0c\r", "/v1"]


def test_of_several_mounts_the_best_is_taken() -> None:
    part, read_only, good, later = (
        mount("/docker/x", "/part"), mount("/", "/ro", "ro"), mount("/", "/good"), mount("/", "/later"),
    )  # fmt: skip
    for text in (part + read_only + good + later, good + later + part + read_only):
        assert [h.mount for h in parse_mountinfo(text)] == ["/good"]
    assert [h.mount for h in parse_mountinfo(part + read_only)] == ["/ro"]


@pytest.mark.parametrize(
    "line", ["", "cgroup", "1 2 3 4 5 6", "1 2 0:1 / /x rw - cgroup2", "- cgroup2 x rw"]
)
def test_broken_lines_are_passed_over(line: str) -> None:
    assert parse_mountinfo(line) == ()


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    parse_mountinfo(text)
    parse_mountinfo(f"30 20 0:26 {text} {text} {text} - cgroup {text} {text}\n")
    hierarchy.parse_proc_cgroups(text)


@pytest.mark.parametrize(
    ("root", "path", "directory"),
    [
        ("/", "/", "/c"),
        ("/", "/a/b", "/c/a/b"),
        ("/", "/../x", None),
        ("/", "/..", None),
        ("/", "/..x", "/c/..x"),
        ("/docker/x", "/docker/x", "/c"),
        ("/docker/x", "/docker/x/a", "/c/a"),
        ("/docker/x", "/docker/xy", None),
        ("/docker/x", "/", None),
        ("/..", "/../x", "/c/x"),
        ("/..", "/", None),
    ],
)
def test_the_directory_of_a_path(root: str, path: str, directory: str | None) -> None:
    assert Hierarchy(2, "/c", root, ()).directory(path) == directory


def test_paths_below_what_is_mounted() -> None:
    assert Hierarchy(2, "/c", "/", ()).path() == "/"
    assert Hierarchy(2, "/c", "/", ()).path("a", "b") == "/a/b"
    assert Hierarchy(2, "/c", "/d", ()).path("a") == "/d/a"


@pytest.mark.kernel
@pytest.mark.rootless
def test_this_machine() -> None:
    it = host()
    assert it.mode in ("v1", "v2", "hybrid")
    assert host() is it
    assert host(refresh=True) is not it
    own = paths_of()
    for found in it.hierarchies:
        assert os.path.isdir(found.mount)
        assert hierarchy.key_of(found) in own
    for info in it.controllers.values():
        assert info.available == (not info.reason)
        if info.available:
            assert os.path.isdir(info.mount or "")


@pytest.mark.kernel
@pytest.mark.rootless
def test_every_absent_controller_is_explained_on_its_cgroup() -> None:
    own = Cgroup.of()
    absent = [info for info in host().controllers.values() if not info.available]
    for info in absent:
        with pytest.raises(UnsupportedError) as caught:
            own.path(info.name)
        assert info.reason in str(caught.value)
        assert info.remedy in str(caught.value)


@pytest.mark.kernel
def test_a_process_that_is_gone() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(ProcessGoneError, match=f"no process {process.pid}"):
        paths_of(process.pid)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "odd", ["a b", "a:b", "a\rb", "a\x0cb", "a\u2028b", "a\udcffb", "x (deleted)", "a\\b"]
)
def test_odd_names_are_found_again(cgroup: Cgroup, sleeper: Any, odd: str) -> None:
    inner = Cgroup.create(f"{cgroup.name}/{odd}")
    process = sleeper(inner)
    assert Cgroup.of(process.pid).name == inner.name
    assert odd in [os.path.basename(child.name) for child in cgroup.children()]
    assert process.pid in inner.procs


@pytest.mark.kernel
def test_inside_a_cgroup_namespace(cgroup: Cgroup, unshare: Any, in_child: Any, tmp_path: Path) -> None:
    """As in a container with a writable cgroup mount: our cgroup is ``/``, and has us inside."""
    for branch in cgroup.branches:
        (tmp_path / str(branch.version) / "-".join(branch.hierarchy.controllers)).mkdir(parents=True)

    def seen() -> list[str]:
        host(refresh=True)
        try:
            return [branch.directory for branch in Cgroup.of().branches]
        except NotFoundError:
            return []

    def work() -> tuple[list[str], list[str], list[str], list[str]]:
        cgroup.attach(os.getpid())
        unshare(0x2020000)
        before, mounts = seen(), []
        for branch in cgroup.branches:
            where = tmp_path / str(branch.version) / "-".join(branch.hierarchy.controllers)
            names = [hierarchy.V1_NAMES.get(name, name) for name in branch.hierarchy.controllers]
            kind = ["cgroup2"] if branch.version == 2 else ["cgroup", "-o", ",".join(names)]
            subprocess.run(["mount", "-t", *kind, "none", str(where)], check=True)
            mounts.append(str(where))
        after, own = seen(), Cgroup.of()
        if any(branch.version == 2 and branch.hierarchy.controllers for branch in own.branches):
            own.vacate()
        inner = Cgroup.create("/inner")
        return before, mounts, after, [branch.directory for branch in inner.branches]

    before, mounts, after, inner = in_child(work)
    assert not set(before) & {branch.hierarchy.mount for branch in cgroup.branches}
    assert set(after) >= set(mounts)
    assert set(inner) == {f"{where}/inner" for where in mounts}
    assert next(child.name for child in cgroup.children()) == f"{cgroup.name}/inner"


def test_a_bad_pid() -> None:
    for pid in (0, -1, True, "1", 1.0):
        with pytest.raises(InvalidValueError, match="process number"):
            Cgroup.of(pid)  # type: ignore[arg-type]
