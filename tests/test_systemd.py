"""The delegated scope from systemd: one for each user, held by a process in a leaf."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from cgroupkit import Cgroup, Sandbox, systemd
from cgroupkit.delegation import place
from cgroupkit.errors import LaunchError
from cgroupkit.hierarchy import host, paths_of
from cgroupkit.sandbox.launch import launcher_path

MIB = 1 << 20
PATIENCE = 120
SYSTEMD = Path("/run/systemd/system")
ASK = "from cgroupkit import systemd; print(systemd.delegated_scope())"


@pytest.fixture
def scope(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("CGROUPKIT_PARENT", raising=False)
    if not SYSTEMD.is_dir():
        pytest.skip("systemd does not run here")
    if host().mode != "v2":
        pytest.skip(f"cgroups are {host().mode} here: systemd's scopes are asked for on v2")
    try:
        launcher_path()
    except (LaunchError, FileNotFoundError) as error:
        pytest.skip(f"the launcher, which holds the scope, is not built: {error}")
    return systemd.delegated_scope()


def holders(path: str) -> list[int]:
    return Cgroup(f"{path}/{systemd.HOLDER}").procs


def test_without_a_manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SYSTEM", "SESSION"):
        monkeypatch.setenv(f"DBUS_{name}_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    monkeypatch.setattr(systemd, "_addresses", lambda: ["SYSTEM", "SESSION"])
    with pytest.raises(systemd.NoManagerError, match="bus cannot be reached"):
        systemd.delegated_scope()


@pytest.mark.parametrize(("uid", "first"), [(0, "SYSTEM"), (1234, "unix:path=")])
def test_the_bus_is_the_users_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid: int, first: str
) -> None:
    (tmp_path / "bus").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert systemd._addresses()[0].startswith(first)


@pytest.mark.kernel
@pytest.mark.rootless
def test_there_is_one_scope(scope: str) -> None:
    assert scope.endswith("/cgroupkit.scope")
    assert systemd.delegated_scope() == scope
    assert systemd.expected_scope() == (scope, True)
    assert list(place().paths.values()) == [scope]


@pytest.mark.kernel
@pytest.mark.rootless
def test_its_holder_sits_in_a_leaf(scope: str) -> None:
    assert Cgroup(scope).procs == []
    (holder,) = holders(scope)
    assert "--hold" in psutil.Process(holder).cmdline()
    assert paths_of(holder)[""] == f"{scope}/{systemd.HOLDER}"


@pytest.mark.kernel
@pytest.mark.rootless
def test_cgroups_land_below_it_with_limits(scope: str, cgroup_name: str, needs: Any) -> None:
    for controller in ("memory", "cpu", "pids"):
        needs(controller)
    made = Cgroup.create(cgroup_name, memory="50M", cpus=0.5, pids_limit=10)
    assert made.name == f"{scope}/{cgroup_name}"
    assert (made.memory.max, made.pids.max, made.cpu.max.cpus) == (50 * MIB, 10, 0.5)


@pytest.mark.kernel
@pytest.mark.rootless
def test_nothing_of_systemds_is_touched(scope: str, cgroup_name: str) -> None:
    """Only the unit itself may be written to, not the slices above it."""
    above = Path(Cgroup(scope).path()).parent / "cgroup.subtree_control"
    before = above.read_text()
    Cgroup.create(f"{cgroup_name}/a/b")
    assert above.read_text() == before


@pytest.mark.kernel
@pytest.mark.rootless
def test_programs_that_start_together_share_it(scope: str, eventually: Any) -> None:
    """From nothing: the one that holds it now ends, and with it the scope."""
    directory = Cgroup(scope).path()
    if [child for child in Cgroup(scope).children() if not child.name.endswith(systemd.HOLDER)]:
        pytest.skip("somebody else's cgroups are in the scope")
    (holder,) = holders(scope)
    psutil.Process(holder).kill()
    eventually(lambda: not os.path.isdir(directory), "systemd keeps an empty scope")
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", ASK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    answers = [program.communicate(timeout=PATIENCE) for program in programs]
    assert [out.strip() for out, _ in answers] == [scope] * 3, answers
    eventually(lambda: len(holders(scope)) == 1, "one holder is enough")
    assert Cgroup(scope).procs == []


@pytest.mark.kernel
@pytest.mark.rootless
def test_a_unit_that_is_delegated_is_the_place(scope: str) -> None:
    """In a service with Delegate=yes there is nothing to ask systemd for."""
    run = shutil.which("systemd-run")
    if run is None:
        pytest.skip("there is no systemd-run")
    code = (
        "from cgroupkit import Cgroup\n"
        "from cgroupkit.delegation import place\n"
        "from cgroupkit.tree import is_delegated\n"
        "own = Cgroup.of()\n"
        "print(*place().paths.values(), own.name, is_delegated(own.path()))"
    )
    environment = [f"--setenv={name}" for name in os.environ if name.startswith("PYTHON")]
    user = ["--user"] if os.geteuid() else []
    done = subprocess.run(
        [run, *user, "--quiet", "--pipe", "--wait", "--collect", "--property=Delegate=yes",
         *environment, f"--working-directory={os.getcwd()}", sys.executable, "-c", code],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, own, marked = done.stdout.split()
    if marked == "False":
        pytest.skip("this systemd does not mark the delegated units of a user's manager")
    assert found == own
    assert own.endswith(".service")


@pytest.mark.kernel
@pytest.mark.rootless
def test_a_sandbox_runs_in_it(scope: str) -> None:
    with Sandbox(memory="100M", pids_limit=20) as box:
        done = box.run([sys.executable, "-c", "print(open('/proc/self/cgroup').read())"],
                       capture_output=True, text=True, timeout=PATIENCE)  # fmt: skip
    assert done.returncode == 0, done
    assert f"{scope}/" in done.stdout
