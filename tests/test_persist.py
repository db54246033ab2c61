"""Limits of systemd's units, which a daemon-reload must not bring back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from cgroupkit import Cgroup, persist
from cgroupkit.controllers import CpuMax
from cgroupkit.errors import DelegationError
from cgroupkit.systemd import NoManagerError

MIB = 1 << 20


def test_what_is_no_unit_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persist, "_RUNNING", "/")
    for path, unit in {
        "/docker/abc": None,
        "/": None,
        "/system.slice/docker-abc.scope": "docker-abc.scope",
        "/system.slice": "system.slice",
        "/a.service/below": None,
    }.items():
        cgroup = Cgroup.at(())
        monkeypatch.setattr(Cgroup, "name", path)
        assert persist.unit_of(cgroup) == unit


def test_cpus_as_bits() -> None:
    assert persist._bits([0]) == b"\x01"
    assert persist._bits([0, 1, 9]) == b"\x03\x02"
    assert persist._bits([]) == b""


@pytest.mark.kernel
def test_a_manager_that_does_not_take_it_is_told_of(
    cgroup: Cgroup, needs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("pids")

    def refuse(unit: str, properties: Any) -> None:
        assert properties == [("TasksMax", ("t", 50))]
        raise NoManagerError("nobody")

    monkeypatch.setattr(persist, "unit_of", lambda cgroup: "x.scope")
    monkeypatch.setattr("cgroupkit.systemd.set_unit_properties", refuse)
    with pytest.raises(DelegationError, match=r"changed, but systemd.*daemon-reload: nobody"):
        cgroup.update(pids_limit=50)
    assert cgroup.pids.max == 50


@pytest.fixture
def scope(needs_root: None) -> Iterator[Cgroup]:
    """A scope of systemd's with one process in it."""
    if not os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd does not run here")
    unit = f"cgroupkit-test-{os.getpid()}.scope"
    process = subprocess.Popen(
        [
            "systemd-run",
            "--scope",
            "--quiet",
            f"--unit={unit}",
            "--property=MemoryMax=1G",
            "sleep",
            "1000",
        ]
    )
    try:
        path = f"/system.slice/{unit}"
        for _ in range(1000):
            if os.path.isdir(f"/sys/fs/cgroup{path}"):
                break
            subprocess.run(["sleep", "0.05"], check=True)
        yield Cgroup(path)
    finally:
        subprocess.run(["systemctl", "stop", unit], check=False)
        process.wait()


@pytest.mark.kernel
def test_a_reload_keeps_what_was_changed(scope: Cgroup, eventually: Any) -> None:
    eventually(lambda: scope.memory.max == 1024 * MIB)
    scope.update(
        memory="500M", memory_swap="600M", memory_reservation="100M", memory_high="400M", cpus=0.5,
        cpu_shares=512, pids_limit=77,
    )  # fmt: skip
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    shown = subprocess.run(
        ["systemctl", "show", scope.name.rpartition("/")[2], "--property=MemoryMax,TasksMax"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert set(shown.split()) == {"MemoryMax=524288000", "TasksMax=77"}
    memory = scope.memory
    assert (memory.max, memory.low, memory.high) == (500 * MIB, 100 * MIB, 400 * MIB)
    assert memory.swap_max == 100 * MIB
    assert scope.cpu.max == CpuMax(50_000, 100_000)
    assert scope.cpu.weight == 59
    assert scope.pids.max == 77


@pytest.mark.kernel
def test_without_telling_a_reload_takes_it_back(scope: Cgroup, eventually: Any) -> None:
    """What the one above is for."""
    eventually(lambda: scope.memory.max == 1024 * MIB)
    scope.memory.max = "500M"
    unit = scope.name.rpartition("/")[2]
    subprocess.run(["systemctl", "set-property", "--runtime", unit, "MemoryHigh=900M"], check=True)
    eventually(lambda: scope.memory.max == 1024 * MIB)
