"""cgroupkit watch: events and pressure, one line each."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cgroupkit import Cgroup, cli
from cgroupkit.cli.watch import Pressure, _pressure
from cgroupkit.errors import CgroupKitError
from cgroupkit.hierarchy import host

PATIENCE = 120
"""Seconds; some of the machines that this runs on are emulated."""


@pytest.fixture
def inside(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: status, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(["watch", *words])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def watching() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """watching(*words): the command, running."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "cgroupkit", "watch", *words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def crowd(sleeper: Any) -> Callable[..., None]:
    """crowd(cgroup): more tasks than CPUs; without a cgroup, somewhere on the machine."""

    def start(cgroup: Cgroup | None = None) -> None:
        for _ in range((os.cpu_count() or 1) + 1):
            sleeper(cgroup, "sh", "-c", "while :; do :; done")

    return start


def needs_psi() -> None:
    try:
        with open("/proc/pressure/cpu", encoding="ascii") as file:
            file.read()
    except OSError as error:
        pytest.skip(f"no PSI here: {error.strerror}")


# Words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("memory=150ms/2s", Pressure("memory", "some", "150ms/2s")),
        ("memory:some=150ms/2s", Pressure("memory", "some", "150ms/2s")),
        ("io:full=1s/10s", Pressure("io", "full", "1s/10s")),
        ("irq=1ms/2s", Pressure("irq", "full", "1ms/2s")),
    ],
)
def test_what_pressure_may_be(text: str, expected: Pressure) -> None:
    assert _pressure(text) == expected


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "give a NAME, or --pressure"),
        (["-e", "oom_kill", "--pressure", "cpu=1ms/2s"], "--event needs a NAME"),
        (["--pressure", "cpu"], "--pressure 'cpu' is not valid: give cpu, memory, io or irq"),
        (["--pressure", "memry=1ms/2s"], "--pressure 'memry=1ms/2s'"),
        (["--pressure", "cpu:all=1ms/2s"], "memory:full=50ms/2s"),
        (["--pressure", "cpu:=1ms/2s"], "memory:full=50ms/2s"),
        (["--pressure", "irq:some=1ms/2s"], "irq has this alone"),
        (["--pressure", "memory=15"], "--pressure memory='15' is not valid"),
        (["--pressure", "memory:full=3s/2s"], "--pressure memory:full='3s/2s'"),
        (["--pressure", "io=1ms/20s"], "<= 10s"),
    ],
)
def test_what_cannot_be_meant(inside: Any, words: list[str], part: str) -> None:
    status, out, err = inside(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("cgroupkit: ")
    assert part in err


# Events


@pytest.mark.kernel
def test_events_until_all_is_gone(watching: Any, cgroup: Cgroup, sleeper: Any) -> None:
    process = watching("--json", "-e", "populated", "-e", "removed", cgroup.name)
    while not select.select([process.stdout], [], [], 0.5)[0]:  # until it is listening
        inside = sleeper(cgroup)
        select.select([process.stdout], [], [], 1)
        inside.kill()
        inside.wait()
    found = json.loads(process.stdout.readline())
    assert (found["event"], found["cgroup"], found["detail"]) == ("populated", cgroup.name, "")
    assert found["monotonic_ns"] > 0
    assert time.time() - PATIENCE < found["time"] <= time.time()
    cgroup.kill(PATIENCE)
    cgroup.remove()
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["event"] == "removed"


# Pressure


@pytest.mark.kernel
def test_pressure_on_the_machine(watching: Any, crowd: Any) -> None:
    needs_psi()
    process = watching("--pressure", "cpu=1ms/2s")
    crowd()
    assert process.stdout.readline() == "pressure  machine  cpu some 1ms/2s\n"


@pytest.mark.kernel
def test_pressure_on_a_cgroup(watching: Any, inside: Any, cgroup: Cgroup, crowd: Any) -> None:
    needs_psi()
    if host().unified is None:
        status, _, err = inside("--pressure", "cpu=1ms/2s", cgroup.name)
        assert (status, err.count("\n")) == (1, 1)
        assert "leave out the name for that of the whole machine" in err
        return
    process = watching("--json", "--pressure", "cpu=1ms/2s", "--pressure", "io:full=2s/2s", cgroup.name)
    crowd(cgroup)
    found = json.loads(process.stdout.readline())
    assert (found["event"], found["cgroup"]) == ("pressure", cgroup.name)
    assert found["detail"] == "cpu some 1ms/2s"


@pytest.mark.kernel
def test_pressure_and_events_together(watching: Any, cgroup: Cgroup, crowd: Any) -> None:
    needs_psi()
    if host().unified is None:
        pytest.skip("v1 does not account for pressure")
    process = watching("--pressure", "cpu=1ms/2s", "-e", "removed", cgroup.name)
    crowd(cgroup)
    assert process.stdout.readline().startswith("pressure  ")
    cgroup.kill(PATIENCE)
    cgroup.remove()
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert out.splitlines()[-1] == f"removed  {cgroup.name}"


@pytest.mark.kernel
def test_a_cgroup_of_v1_alone(inside: Any) -> None:
    if host().mode != "hybrid":
        pytest.skip("there is no v1 beside v2 here")
    try:
        cgroup = Cgroup.create(f"/watch-{os.getpid()}")
    except CgroupKitError as error:
        pytest.skip(str(error))
    try:
        os.rmdir(cgroup.branches[0].directory)
        status, out, err = inside("--pressure", "cpu=1ms/2s", cgroup.name)
    finally:
        cgroup.remove()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "does not exist on v2; leave out the name for that of the whole machine" in err


@pytest.mark.kernel
def test_how_to_turn_it_on(in_child: Any, unshare: Any, tmp_path: Any) -> None:
    needs_psi()

    def work() -> str:
        unshare()
        subprocess.run(["mount", "--bind", str(tmp_path), "/proc/pressure"], check=True)
        command = [sys.executable, "-m", "cgroupkit", "watch", "--pressure", "cpu=1ms/2s"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return f"{done.returncode} {done.stderr}"

    told = in_child(work)
    assert told.startswith("1 cgroupkit: ")
    assert "boot with psi=1" in told
