"""net_cls, net_prio, perf_event and named hierarchies: v1, mounted privately where they are not."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup, Resources
from cgroupkit.controllers import NetCls
from cgroupkit.controllers.net_cls import parse_classid
from cgroupkit.errors import InvalidValueError, NotFoundError, UnsupportedError
from cgroupkit.hierarchy import host

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
PERF_FLAG_PID_CGROUP = 1 << 2
NAME = "name=cgroupkit-test"


@pytest.fixture
def on_v1(
    tmp_path: Path, unshare: Any, in_child: Callable[..., Any], request: pytest.FixtureRequest
) -> Callable[[str, Callable[[Cgroup], Any]], Any]:
    """on_v1("net_cls", work): work(cgroup) in a child that has the hierarchy mounted."""

    def run(options: str, work: Callable[[Cgroup], Any]) -> Any:
        controller = options.removeprefix("none,")
        if (
            controller in host().controllers
            and "built without" in host().controllers[controller].reason
        ):
            pytest.skip(host().controllers[controller].reason)

        def mount() -> None:
            subprocess.run(["mount", "-t", "cgroup", "-o", options, "none", tmp_path], check=True)

        def unmount() -> None:
            """Its end takes a moment; with a removed cgroup not quite gone it takes another mount."""
            subprocess.run(["umount", tmp_path], check=True)
            for turn in count(1):
                if f":{controller}:" not in Path("/proc/self/cgroup").read_text():
                    return
                time.sleep(0.02)
                if turn % 50 == 0:
                    mount()
                    subprocess.run(["umount", tmp_path], check=True)

        def on_mounted() -> Any:
            home = Path(host().hierarchy_of(controller).mount, f"test-{os.getpid()}")
            home.mkdir()
            try:
                return work(Cgroup(f"/{home.name}"))
            finally:
                for below in sorted(home.glob("**/"), reverse=True):
                    below.rmdir()

        def inside() -> Any:
            if any(h.version == 1 and h.has(controller) for h in host().hierarchies):
                return on_mounted()
            unshare()
            mount()
            try:
                host(refresh=True)
                return on_mounted()
            finally:
                unmount()

        return in_child(inside)

    return run


# net_cls


@pytest.mark.parametrize(
    ("value", "number"),
    [("10:1", 0x100001), ("1:0", 0x10000), ("FFFF:ffff", 2**32 - 1), (0, 0), ("0x100001", 0x100001),
     ("1048577", 0x100001), (2**32 - 1, 2**32 - 1), (" 10:1 ", 0x100001)],
)  # fmt: skip
def test_classids(value: int | str, number: int) -> None:
    assert parse_classid(value, "x") == number
    assert Resources(network_class_id=value).network_class_id == number


@pytest.mark.parametrize(
    "value", [2**32, -1, "10:", ":1", "10:10000", "g:1", "1:2:3", "", "0x100000000", 1.0, True, b"1"]
)
def test_a_classid_out_of_range(value: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"network_class_id=.*10:1"):
        Resources(network_class_id=value)


@pytest.mark.kernel
def test_a_class_is_set_and_inherited(on_v1: Any) -> None:
    def work(cgroup: Cgroup) -> None:
        assert cgroup.net_cls.classid == 0
        cgroup.net_cls.classid = "10:1"
        assert cgroup.net_cls.classid == 0x100001
        cgroup.update(network_class_id=2**32 - 1)
        assert cgroup.net_cls.classid == 2**32 - 1
        Path(cgroup.path("net_cls"), "below").mkdir()
        [below] = cgroup.children()
        assert below.net_cls.classid == 2**32 - 1
        with pytest.raises(InvalidValueError, match=r"net_cls\.classid"):
            cgroup.net_cls.classid = "10:10000"
        assert cgroup.net_cls.classid == 2**32 - 1
        assert isinstance(cgroup.net_cls, NetCls)

    on_v1("net_cls", work)


# net_prio


@pytest.mark.kernel
def test_priorities_by_interface(on_v1: Any) -> None:
    def work(cgroup: Cgroup) -> None:
        cgroup.net_prio.ifpriomap = {"lo": 7}
        assert cgroup.net_prio.ifpriomap["lo"] == 7
        cgroup.update(network_priorities={"lo": 2**32 - 1})
        assert cgroup.net_prio.ifpriomap["lo"] == 2**32 - 1
        assert set(cgroup.net_prio.ifpriomap.values()) <= {0, 2**32 - 1}
        with pytest.raises(NotFoundError, match=r"no such interface.*nothing was changed"):
            cgroup.update(network_priorities={"lo": 3, "nowhere0": 5})
        assert cgroup.net_prio.ifpriomap["lo"] == 2**32 - 1
        cgroup.net_prio.ifpriomap = {}
        assert cgroup.net_prio.ifpriomap["lo"] == 0
        assert cgroup.net_prio.prioidx > 0
        for wrong in ({"lo": 2**32}, {"lo": -1}, {"lo eth0": 1}, {"": 1}, {"lo": "max"}):
            with pytest.raises(InvalidValueError, match=r"net_prio\.ifpriomap"):
                cgroup.net_prio.ifpriomap = wrong

    on_v1("net_prio", work)


@pytest.mark.parametrize("name", ["net_cls", "net_prio"])
def test_on_v2_the_error_says_what_does_the_job(name: str) -> None:
    if any(h.version == 1 for h in host().hierarchies):
        pytest.skip("v1 hierarchies are mounted here")
    with pytest.raises(UnsupportedError, match=rf"{name}.*v1 only; .*nftables.*BPF"):
        Cgroup.of().controller(name)


# perf_event


def perf_event_open(cgroup: int) -> int:
    """Count the CPU clock of all tasks of a cgroup on CPU 0."""
    number = PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        pytest.skip(f"the number of perf_event_open on {platform.machine()} is not known here")
    software, size = 1, 128
    attr = bytearray(size)
    attr[0:4] = software.to_bytes(4, "little")
    attr[4:8] = size.to_bytes(4, "little")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * size).from_buffer(attr)
    fd: int = libc.syscall(number, buffer, cgroup, 0, -1, ctypes.c_ulong(PERF_FLAG_PID_CGROUP))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def counts(cgroup: Cgroup) -> None:
    descriptor = cgroup.perf_event.open()
    try:
        assert not os.get_inheritable(descriptor)
        fd = perf_event_open(descriptor)
        assert len(os.read(fd, 8)) == 8
        os.close(fd)
    finally:
        os.close(descriptor)


@pytest.mark.kernel
def test_a_cgroup_is_given_to_perf(on_v1: Any) -> None:
    on_v1("perf_event", counts)


@pytest.mark.kernel
def test_a_cgroup_is_given_to_perf_on_v2(cgroup: Cgroup, needs_root: None, needs: Any) -> None:
    needs("perf_event", version=2)
    counts(cgroup)
    perf_event = cgroup.perf_event
    cgroup.remove()
    with pytest.raises(NotFoundError):
        perf_event.open()


# Named hierarchies


@pytest.mark.kernel
def test_a_named_hierarchy(on_v1: Any, sleeper: Any) -> None:
    process = sleeper()

    def work(cgroup: Cgroup) -> None:
        assert cgroup.path(NAME).endswith(cgroup.name)
        cgroup.attach(process.pid)
        assert cgroup.procs == [process.pid]
        assert Cgroup.of(process.pid).path(NAME) == cgroup.path(NAME)
        Cgroup("/").branch(NAME)
        Path(host().hierarchy_of(NAME).mount, "cgroup.procs").write_text(str(process.pid))
        made = Cgroup.create(f"{cgroup.name}/made", named=[NAME])
        assert Path(cgroup.path(NAME), "made").is_dir()
        made.remove()
        Cgroup.create(f"{cgroup.name}/other").remove()
        assert not Path(cgroup.path(NAME), "other").exists()
        for branch in Cgroup(cgroup.name).branches:
            if not branch.hierarchy.has(NAME):
                os.rmdir(branch.directory)

    on_v1(f"none,{NAME}", work)


def test_a_named_hierarchy_that_is_not_mounted() -> None:
    with pytest.raises(
        UnsupportedError, match=r"no hierarchy name=nowhere is mounted .*mount -t cgroup"
    ):
        host().hierarchy_of("name=nowhere")
