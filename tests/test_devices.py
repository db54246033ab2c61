"""Device nodes in the kernel: v1's list, and BPF programs on v2 and on a hybrid machine's v2."""

from __future__ import annotations

import errno
import gc
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgroupkit import Cgroup
from cgroupkit.controllers import Devices
from cgroupkit.devices import bpf
from cgroupkit.devices.program import assemble, disassemble
from cgroupkit.devices.rules import DOCKER, DeviceRule, Rules, allowed, parse_rules, visible
from cgroupkit.errors import (
    AccessError,
    CgroupKitError,
    FileError,
    FormatError,
    InvalidValueError,
    NotFoundError,
    UnsupportedError,
)
from cgroupkit.hierarchy import host

FLAGS = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}
NODES = {"null": ("c", 1, 3), "zero": ("c", 1, 5), "full": ("c", 1, 7), "random": ("c", 1, 8)}


@pytest.fixture
def nodes(tmp_path: Path, needs_root: None) -> Path:
    """A directory with device nodes of our own."""
    for name, (_, major, minor) in NODES.items():
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    try:
        os.close(os.open(tmp_path / "null", os.O_RDONLY))
    except PermissionError:
        pytest.skip("temporary files are on a file system without device nodes (nodev)")
    return tmp_path


@pytest.fixture(params=[1, 2])
def devices(request: pytest.FixtureRequest, cgroup: Cgroup, needs_root: None) -> Devices:
    """The controller by v1's files, and by a program wherever there is a v2 hierarchy."""
    if request.param == 1:
        if host().controllers["devices"].version != 1:
            pytest.skip("devices is not mounted as v1 here")
        return cgroup.devices
    branch = cgroup.branches[0]
    if branch.version == 1:
        pytest.skip("no v2 hierarchy is mounted")
    return Devices(2, branch.directory, cgroup.controller)


@pytest.fixture
def program(cgroup: Cgroup, needs_root: None) -> Devices:
    branch = cgroup.branches[0]
    if branch.version == 1:
        pytest.skip("no v2 hierarchy is mounted")
    return Devices(2, branch.directory, cgroup.controller)


def enter(devices: Devices) -> None:
    Path(devices.directory, "cgroup.procs").write_text("0")


def may(path: Path, access: str) -> bool:
    try:
        os.close(os.open(path, FLAGS[access] | os.O_NONBLOCK))
    except OSError as error:
        assert error.errno == errno.EPERM
        return False
    return True


def may_make(directory: Path, kind: str, major: int, minor: int) -> bool:
    path = directory / "made"
    try:
        os.mknod(path, stat.S_IFCHR if kind == "c" else stat.S_IFBLK, os.makedev(major, minor))
    except OSError as error:
        assert error.errno == errno.EPERM
        return False
    path.unlink()
    return True


def decided(directory: Path) -> dict[Any, bool]:
    """What the kernel allows this process, by node and access."""
    found: dict[Any, bool] = {
        (*node, access): may(directory / name, access)
        for name, node in NODES.items()
        for access in FLAGS
    }
    for node in (*NODES.values(), ("b", 7, 0)):
        found[*node, "m"] = may_make(directory, *node)
    return found


@pytest.mark.kernel
@pytest.mark.parametrize(
    "texts",
    [
        "docker",
        ["c 1:3 r"],
        ["c 1:3 rw", "c 1:5 w"],
        ["c 1:* r", "c 1:3 w"],
        ["a", "deny c 1:3 w"],
        ["a", "deny c 1:* rw"],
        ["a", "deny b *:* m", "deny c 1:5 rwm"],
        ["a *:* r"],
        ["b *:* rwm"],
        ["c 1:3 rwm", "deny a", "c 1:5 r"],
        [],
    ],
)
def test_the_kernel_decides_as_the_rules_do(
    devices: Devices, nodes: Path, in_child: Any, texts: Any
) -> None:
    rules = parse_rules(texts)
    devices.rules = texts

    def inside() -> dict[Any, bool]:
        enter(devices)
        return decided(nodes)

    found: dict[Any, bool] = in_child(inside)
    assert found == {request: allowed(rules, *request) for request in found}


numbers = st.none() | st.sampled_from([1, 3, 5, 7])
random_lists = st.lists(
    st.builds(
        DeviceRule,
        st.sampled_from("abc"),
        numbers,
        numbers,
        st.sampled_from(["r", "w", "m", "rw", "rm", "rwm"]),
        st.booleans(),
    ),
    max_size=6,
).map(tuple)


@pytest.mark.kernel
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(rules=random_lists)
def test_any_rules_in_the_kernel(devices: Devices, nodes: Path, in_child: Any, rules: Rules) -> None:
    try:
        devices.rules = rules
    except UnsupportedError:
        assert devices.version == 1
        return

    def inside() -> dict[Any, bool]:
        enter(devices)
        return decided(nodes)

    found: dict[Any, bool] = in_child(inside)
    assert found == {request: allowed(rules, *request) for request in found}
    if devices.version == 2:
        assert devices.rules == visible(rules)
    elif devices.rules is not None:
        for request, yes in found.items():
            assert allowed(devices.rules, *request) == yes


# Reading back, changing


@pytest.mark.kernel
def test_no_restriction_is_none(devices: Devices) -> None:
    assert devices.rules is None
    devices.rules = "docker"
    assert devices.rules is not None
    assert set(devices.rules) == set(DOCKER)
    devices.rules = None
    assert devices.rules is None


@pytest.mark.kernel
@pytest.mark.parametrize("value", ["c 1:3 x", 5, ["c"], b"a", object()])
def test_what_is_no_rule_changes_nothing(devices: Devices, value: Any) -> None:
    devices.rules = "c 1:3 r"
    with pytest.raises(InvalidValueError, match=r"devices\.rules"):
        devices.rules = value
    assert devices.rules == (DeviceRule("c", 1, 3, "r"),)


@pytest.mark.kernel
def test_an_update_that_fails_brings_the_rules_back(
    cgroup: Cgroup, needs_root: None, refused_at_last: Any
) -> None:
    if not host().controllers["devices"].available:
        pytest.skip("no devices controller")
    cgroup.update(devices=["c 1:3 r", "c 1:5 rw"])
    before = cgroup.devices.rules
    assert before is not None
    with pytest.raises(CgroupKitError, match="nothing was changed"):
        cgroup.update(devices="docker", **refused_at_last(cgroup))
    assert cgroup.devices.rules == before
    cgroup.update(devices="all")
    assert cgroup.devices.rules is None


@pytest.mark.kernel
def test_a_change_is_never_open(devices: Devices, nodes: Path, forked: Any, eventually: Any) -> None:
    """While two lists take turns, what neither of them allows is never had."""
    answer, begun, enough, over = (nodes / name for name in ("answer", "begun", "enough", "over"))
    lists = [parse_rules(["c 1:3 rw"]), parse_rules(["c 1:5 rw", "c 1:3 r"])]
    devices.rules = lists[0]

    def work() -> None:
        enter(devices)
        begun.touch()
        got = tries = 0
        while not over.exists():
            got += may(nodes / "random", "r") + may(nodes / "full", "w")
            tries += 1
            if tries == 1000:
                enough.touch()
        answer.write_text(str(got))

    child = forked(work)
    tester = threading.Thread(target=child.go)
    tester.start()
    changes = 0
    try:
        eventually(begun.exists)
        while changes < 20 or (tester.is_alive() and not enough.exists()):
            changes += 1
            devices.rules = lists[changes % 2]
    finally:
        over.touch()
        tester.join()
    assert enough.exists()
    assert answer.read_text() == "0"


@pytest.mark.kernel
def test_children_are_bound_too(cgroup: Cgroup, devices: Devices, nodes: Path, in_child: Any) -> None:
    devices.rules = ["c 1:3 rwm", "c 1:5 rwm"]
    below = Path(devices.directory, "below")
    below.mkdir()
    inner = Devices(devices.version, str(below), cgroup.controller)
    inner.rules = ["c 1:3 rwm"] if devices.version == 1 else ["c 1:3 rwm", "c 1:8 rwm"]

    def inside() -> dict[Any, bool]:
        enter(inner)
        return decided(nodes)

    found: dict[Any, bool] = in_child(inside)
    assert {request for request, yes in found.items() if yes} == {
        ("c", 1, 3, access) for access in (*FLAGS, "m")
    }
    below.rmdir()


@pytest.mark.kernel
def test_v1_says_that_the_parent_does_not_allow_it(
    cgroup: Cgroup, needs_root: None, needs: Any
) -> None:
    needs("devices", version=1)
    cgroup.devices.rules = ["c 1:3 r"]
    inner = Cgroup.create(f"{cgroup.name}/inner")
    with pytest.raises(PermissionError, match="parent cgroup does not allow"):
        inner.devices.rules = ["c 1:5 r"]
    assert inner.devices.rules == cgroup.devices.rules
    with pytest.raises(UnsupportedError, match="programs"):
        inner.devices.programs()


@pytest.fixture
def v1(cgroup: Cgroup, needs_root: None, needs: Any) -> Devices:
    needs("devices", version=1)
    return cgroup.devices


@pytest.mark.kernel
def test_v1_undoes_a_list_of_others_as_it_was(
    v1: Devices, refused_at_last: Any, cgroup: Cgroup
) -> None:
    """Two lines never add up: to read and write c 1:3 at once stays refused."""
    v1.write("devices.deny", "a")
    v1.write("devices.allow", "c 1:* r")
    v1.write("devices.allow", "c 1:3 w")
    before = sorted(v1.read("devices.list").splitlines())
    with pytest.raises(CgroupKitError, match="nothing was changed"):
        cgroup.update(devices="docker", **refused_at_last(cgroup))
    assert sorted(v1.read("devices.list").splitlines()) == before


@pytest.mark.kernel
def test_v1_puts_back_what_it_had_written(v1: Devices, cgroup: Cgroup) -> None:
    v1.rules = ["c 1:3 rw", "c 1:5 r"]
    inner = Cgroup.create(f"{cgroup.name}/inner").devices
    inner.rules = ["c 1:3 r"]
    with pytest.raises(PermissionError, match="again what it showed before"):
        inner.rules = ["c 1:5 r", "c 1:8 r"]
    assert inner.rules == parse_rules("c 1:3 r")


@pytest.mark.kernel
def test_v1_says_when_it_could_not_be_put_back(v1: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    v1.rules = ["c 1:3 rw"]
    write = Devices.write

    def denied(self: Devices, file: str, text: str) -> None:
        if file == "devices.allow":
            raise AccessError(errno.EPERM, "no", self.path(file))
        write(self, file, text)

    monkeypatch.setattr(Devices, "write", denied)
    with pytest.raises(AccessError, match="could not be put back: no"):
        v1.rules = ["c 1:5 r"]


@pytest.mark.kernel
def test_v1_waits_for_removed_children_to_be_gone(v1: Devices, cgroup: Cgroup) -> None:
    for rules in ("docker", None, "docker"):
        Cgroup.create(f"{cgroup.name}/inner").remove()
        v1.rules = rules
        assert (v1.rules is None) == (rules is None)
    Cgroup.create(f"{cgroup.name}/inner")
    with pytest.raises(CgroupKitError, match="child cgroups"):
        v1.rules = None


# Programs


def attach_beside(program: Devices, rules: str) -> None:
    """One more program, which leaves those that are there as they are."""
    fd = bpf._load(assemble(parse_rules(rules)), program.directory)
    try:
        with bpf._opened(program.directory) as directory:
            assert bpf._attach(directory, fd, None, program.directory)
    finally:
        os.close(fd)


@pytest.fixture
def theirs(program: Devices) -> Callable[[str], None]:
    """theirs(rules): a program of somebody else, which has another name."""

    def attach(rules: str) -> None:
        name = bpf.NAME
        try:
            bpf.NAME = "somebody"  # type: ignore[misc]
            attach_beside(program, rules)
        finally:
            bpf.NAME = name  # type: ignore[misc]

    return attach


@pytest.mark.kernel
def test_programs_of_others_stay_and_count(
    program: Devices, nodes: Path, in_child: Any, theirs: Callable[[str], None]
) -> None:
    theirs("c 1:* r")
    program.rules = ["c 1:3 rw", "c 1:5 r"]
    program.rules = ["c 1:3 rw", "c 1:8 w"]

    def inside() -> list[bool]:
        enter(program)
        return [may(nodes / "null", "r"), may(nodes / "null", "w"), may(nodes / "random", "w")]

    assert in_child(inside) == [True, False, False]
    assert sorted((p.name, p.ours) for p in program.programs()) == [
        (bpf.NAME, True),
        ("somebody", False),
    ]
    program.rules = None
    [left] = program.programs()
    assert left.name == "somebody"
    assert disassemble(left.code) == parse_rules("c 1:* r")
    assert program.rules is None


@pytest.mark.kernel
def test_a_kernel_without_replacement_attaches_first(
    program: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 5.6 the flag is EINVAL."""
    program.rules = ["c 1:3 r"]
    monkeypatch.setattr(bpf, "_REPLACE", 1 << 20)
    program.rules = ["c 1:5 r"]
    assert program.rules == (DeviceRule("c", 1, 5, "r"),)
    assert len(program.programs()) == 1


@pytest.mark.kernel
def test_two_of_ours_are_told_and_mended(program: Devices) -> None:
    program.rules = ["c 1:3 r"]
    attach_beside(program, "c 1:5 r")
    with pytest.raises(FormatError, match="not the only one; set the rules anew"):
        _ = program.rules
    program.rules = ["c 1:8 r"]
    assert program.rules == (DeviceRule("c", 1, 8, "r"),)


@pytest.mark.kernel
def test_one_is_attached_while_another_is_replaced(
    program: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.rules = "c 1:3 r"
    attach = bpf._attach

    def slow(*arguments: Any) -> bool:
        monkeypatch.undo()
        attach_beside(program, "c 1:5 r")
        return attach(*arguments)

    monkeypatch.setattr(bpf, "_attach", slow)
    program.rules = "c 1:8 r"
    assert program.rules == parse_rules("c 1:5 r")


@pytest.mark.kernel
def test_of_those_who_set_rules_at_once_one_wins(program: Devices, forked: Any) -> None:
    choices = ["c 1:3 r", "c 1:5 r", "c 1:8 r"]

    def setter(rules: str) -> Callable[[], None]:
        def work() -> None:
            program.rules = rules

        return work

    for _ in range(20):
        program.rules = None
        children = [forked(setter(rules)) for rules in choices]
        threads = [threading.Thread(target=child.go) for child in children]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert program.rules in [parse_rules(rules) for rules in choices]


@pytest.mark.kernel
def test_a_program_that_lets_none_beside_it(
    program: Devices, theirs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(bpf, "_ALLOW_MULTI", 0)
        theirs("a")
    with pytest.raises(AccessError, match=r"BPF_PROG_ATTACH.*EPERM.*none beside it"):
        program.rules = "docker"
    assert [p.name for p in program.programs()] == ["somebody"]


@pytest.mark.kernel
def test_a_list_that_the_verifier_finds_too_long(program: Devices) -> None:
    program.rules = "c 1:3 r"
    with pytest.raises(FileError, match=r"BPF_PROG_LOAD.*too long for the kernel's verifier"):
        program.rules = [f"c {n % 4000}:{n} r" for n in range(3000)]
    assert program.rules == parse_rules("c 1:3 r")


@pytest.mark.kernel
def test_a_process_without_standard_input(program: Devices, in_child: Any) -> None:
    """bpf(2) takes descriptor 0 for none at all."""

    def inside() -> bool:
        os.close(0)
        program.rules = "docker"
        program.rules = "c 1:3 r"
        assert program.rules == parse_rules("c 1:3 r")
        return os.path.exists("/proc/self/fd/0")

    assert in_child(inside) is False


@pytest.mark.kernel
def test_sixty_four_programs_are_the_most(program: Devices, theirs: Callable[[str], None]) -> None:
    for _ in range(bpf.LIMIT):
        theirs("a")
    with pytest.raises(FileError, match=r"BPF_PROG_ATTACH.*E2BIG.*64 programs at most"):
        program.rules = "docker"
    assert len(program.programs()) == bpf.LIMIT


@pytest.mark.kernel
def test_a_long_list(program: Devices, nodes: Path, in_child: Any) -> None:
    rules = [f"c {n % 200 + 10}:{n} r" for n in range(1000)] + ["c 1:3 r"]
    program.rules = rules
    assert program.rules == parse_rules(rules)

    def inside() -> list[bool]:
        enter(program)
        return [may(nodes / "null", "r"), may(nodes / "zero", "r")]

    assert in_child(inside) == [True, False]


@pytest.mark.kernel
def test_no_descriptor_is_left(program: Devices, theirs: Callable[[str], None]) -> None:
    theirs("a")
    gc.collect()
    before = os.listdir("/proc/self/fd")
    for rules in ("docker", ["c 1:3 r"], None, "docker"):
        program.rules = rules
        _ = program.rules
        program.programs()
    with pytest.raises(InvalidValueError):
        program.rules = "x"
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.kernel
def test_a_cgroup_that_is_gone(cgroup: Cgroup, program: Devices) -> None:
    program.rules = "docker"
    cgroup.remove()
    for work in (lambda: program.rules, program.programs, lambda: bpf.put(program.directory, None)):
        with pytest.raises(NotFoundError, match="removed"):
            work()


@pytest.mark.kernel
def test_without_the_right_to(cgroup: Cgroup, program: Devices, as_nobody: Any) -> None:
    def work() -> None:
        program.rules = "docker"

    with pytest.raises(PermissionError, match=r"BPF_PROG_LOAD.*EPERM.*CAP_BPF"):
        as_nobody(work)


@pytest.mark.kernel
def test_what_the_verifier_says_is_told(program: Devices) -> None:
    with pytest.raises(CgroupKitError, match=r"BPF_PROG_LOAD.*EACCES.*R0"):
        bpf.put(program.directory, bytes([0x95, 0, 0, 0, 0, 0, 0, 0]))
    assert program.programs() == []


def test_a_machine_whose_system_call_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(UnsupportedError, match="pdp11"):
        bpf.put("/", assemble(()))


def test_a_kernel_without_device_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(bpf, "_call", refuse)
    for work in (lambda: bpf.attached("/"), lambda: bpf.put("/", assemble(()))):
        with pytest.raises(UnsupportedError, match="CONFIG_CGROUP_BPF"):
            work()


def test_room_for_more_programs_than_today(monkeypatch: pytest.MonkeyPatch) -> None:
    def crowded(command: int, attr: Any) -> int:
        room = int.from_bytes(attr.raw[24:28], sys.byteorder)
        asked.append(room)
        if room < 200:
            raise OSError(errno.ENOSPC, "No space left on device")
        attr[24:28] = (0).to_bytes(4, sys.byteorder)
        return 0

    asked: list[int] = []
    monkeypatch.setattr(bpf, "_call", crowded)
    assert bpf.attached("/") == []
    assert asked == [64, 128, 256]
