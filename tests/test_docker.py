"""Real containers of a real Docker: changed live without its help, and seen by it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup
from cgroupkit.containers import AmbiguousContainerError, ContainerNotFoundError, containers, find
from cgroupkit.errors import InvalidValueError
from cgroupkit.hierarchy import host

pytestmark = pytest.mark.kernel

MIB = 1 << 20
PATIENCE = 120
APPLETS = ("sh", "sleep", "cat", "dd", "yes")


class Docker:
    """A daemon of our own, on a private socket and in private directories."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = f"unix://{directory}/docker.sock"
        self.log = (directory / "log").open("w")
        parents = [f"{hierarchy.mount}/docker" for hierarchy in host().hierarchies]
        self.parents = [parent for parent in parents if not os.path.isdir(parent)]
        self.process = subprocess.Popen(
            ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none",
             f"--data-root={directory}/data", f"--exec-root={directory}/exec",
             f"--pidfile={directory}/pid", f"--host={self.socket}"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def __call__(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["docker", f"--host={self.socket}", *words],
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return (done.stdout if done.returncode == 0 else done.stderr).strip()

    def wait(self) -> str | None:
        """Until it answers; what it said if it ended instead."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            if "Server Version" in self("info", check=False):
                return None
            time.sleep(0.1)
        return (self.directory / "log").read_text()[-300:]

    def stop(self) -> None:
        if self.process.poll() is None:
            for container in self("ps", "--all", "--quiet").split():
                self("rm", "--force", container)
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
        self.log.close()
        for parent in self.parents:
            with suppress(OSError):  # another Docker uses it
                os.rmdir(parent)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    if os.geteuid() != 0:
        pytest.skip("this takes root")
    for program in ("dockerd", "docker", "containerd"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed here (Debian: docker.io, docker-cli)")
    busybox = next((p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p)), None)
    if busybox is None:
        pytest.skip("busybox-static is not installed here")
    directory = tmp_path_factory.mktemp("docker")
    with tarfile.open(directory / "image.tar", "w") as image:
        image.add(busybox, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            image.addfile(link)
    daemon = Docker(directory)
    try:
        if (said := daemon.wait()) is not None:
            pytest.skip(f"dockerd does not run here: {said}")
        daemon("import", str(directory / "image.tar"), "busybox")
        yield daemon
    finally:
        daemon.stop()


Start = Callable[..., str]


@pytest.fixture
def start(docker: Docker) -> Iterator[Start]:
    """start("web", "--memory=1g"): the id of a container that sleeps; removed afterwards."""
    made: list[str] = []

    def run(name: str, *options: str, command: tuple[str, ...] = ("sleep", "10000")) -> str:
        made.append(name)
        words = ("run", "--detach", "--network=none", f"--name={name}", *options, "busybox", *command)
        return docker(*words)

    yield run
    for name in made:
        docker("rm", "--force", name, check=False)


def cgroupkit(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "cgroupkit", *words],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    # With Docker's systemd driver it says that systemd was told.
    said = [line for line in done.stderr.splitlines(True) if not line.startswith("cgroupkit: note:")]
    return done.returncode, done.stdout + "".join(said)


def docker_stats(docker: Docker, name: str) -> dict[str, str]:
    """Right after the start Docker knows nothing yet and prints zeros."""
    end = time.monotonic() + PATIENCE
    while True:
        found: dict[str, str] = json.loads(docker("stats", "--no-stream", "--format={{json .}}", name))
        if not found["MemUsage"].startswith("0B / 0B") or time.monotonic() > end:
            return found


def settings(identity: str) -> dict[str, str]:
    """Every file of a container's cgroups that can be set, by controller and name."""
    cgroup = find(identity).cgroup
    found = {}
    for branch in cgroup.branches:
        for file in Path(branch.directory).iterdir():
            if not file.is_file() or file.stat().st_mode & 0o600 != 0o600:
                continue
            if re.search(r"usage|failcnt|procs|tasks|threads|pressure|peak|oom_control", file.name):
                continue
            found[f"{branch.hierarchy} {file.name}"] = file.read_text()
    return found


# The article


def test_the_story_step_by_step(docker: Docker, start: Start) -> None:
    """1 GiB; then 200 MiB without Docker's help, which sees it; then, in one command, 2 GiB."""
    identity = start("story", "--memory=1g")
    assert docker_stats(docker, "story")["MemUsage"].endswith("/ 1GiB")
    cgroup = Cgroup.of_container(identity[:12])
    assert cgroup.memory.max == 1024 * MIB

    assert cgroupkit("update", "-m", "200M", "story") == (0, "")
    assert docker_stats(docker, "story")["MemUsage"].endswith("/ 200MiB")
    if cgroup.memory.version == 1:
        file = Path(cgroup.path("memory"), "memory.limit_in_bytes")
        assert str(file).endswith(f"/docker/{identity}/memory.limit_in_bytes")
        assert file.read_text() == "209715200\n"

    assert cgroupkit("update", "-m", "2G", "story") == (0, "")
    assert docker_stats(docker, "story")["MemUsage"].endswith("/ 2GiB")
    assert docker("inspect", "--format={{.HostConfig.Memory}}", "story") == str(1024 * MIB)


def test_every_other_option_of_the_list(start: Start) -> None:
    identity = start("every", "--memory=1g")
    options = {
        "--blkio-weight": "300", "--cpu-shares": "512", "--cpuset-cpus": "0", "--cpuset-mems": "0",
        "--memory": "300M", "--memory-reservation": "100M", "--memory-swap": "500M",
        "--pids-limit": "50", "--cpu-period": "50000", "--cpu-quota": "25000",
    }  # fmt: skip
    cgroup = Cgroup.of_container(identity)
    if not cgroup.io.has("blkio.bfq.weight" if cgroup.io.version == 1 else "io.weight"):
        del options["--blkio-weight"]
    assert cgroupkit("update", *(f"{k}={v}" for k, v in options.items()), identity) == (0, "")
    assert (cgroup.memory.max, cgroup.pids.max) == (300 * MIB, 50)
    assert (cgroup.cpu.max.quota, cgroup.cpu.max.period) == (25_000, 50_000)
    assert cgroup.cpuset.cpus == cgroup.cpuset.mems == {0}
    if cgroup.memory.version == 1:
        assert cgroup.memory.memsw_limit == 500 * MIB
        assert cgroup.cpu.shares == 512
    assert cgroupkit("update", "--pids-limit=-1", "--memory-swap=-1", identity) == (0, "")
    assert cgroup.pids.max is None
    if cgroup.memory.version == 1:  # Docker 20.10 leaves the old limit on swap here
        assert cgroup.memory.memsw_limit is None
    assert cgroupkit("update", "--cpus=0.3", identity) == (0, "")
    assert cgroup.cpu.max.cpus == 0.3
    if cgroup.cpu.version == 1 and cgroup.cpu.has("cpu.rt_runtime_us"):
        assert cgroupkit("update", "--cpu-rt-period=500000", identity) == (0, "")
        assert cgroup.cpu.rt_period_us == 500_000


@pytest.mark.parametrize(
    "options",
    [
        ["--memory=300m", "--memory-swap=500m"],
        ["--memory=300m", "--memory-swap=300m", "--memory-reservation=100m"],
        ["--cpu-shares=512"],
        ["--cpus=0.5"],
        ["--cpu-period=50000", "--cpu-quota=25000"],
        ["--cpuset-cpus=0", "--cpuset-mems=0"],
        ["--pids-limit=77"],
        ["--pids-limit=0"],
        ["--pids-limit=-1"],
        ["--blkio-weight=0", "--cpu-shares=0", "--memory=0", "--cpu-quota=0", "--pids-limit=5"],
    ],
    ids=" ".join,
)
def test_a_twin_by_docker_update_has_the_same_text(
    docker: Docker, start: Start, options: list[str]
) -> None:
    ours, theirs = start("ours", "--memory=1g"), start("theirs", "--memory=1g")
    assert settings(ours) == settings(theirs)
    docker("update", *options, "theirs")
    assert cgroupkit("update", *options, "ours") == (0, "")
    assert settings(ours) == settings(theirs)


def test_what_docker_refuses_and_should_not(docker: Docker, start: Start) -> None:
    """A limit above the stored swap limit: it is only the order of two writes."""
    start("order", "--memory=200m", "--memory-swap=300m")
    assert "memory" in docker("update", "--memory=1g", "order", check=False).lower()
    assert cgroupkit("update", "--memory=1g", "order") == (0, "")
    assert docker_stats(docker, "order")["MemUsage"].endswith("/ 1GiB")


@pytest.mark.parametrize(
    "options",
    [["--memory=5m"], ["--memory-reservation=1m"], ["--cpus=100000"], ["--cpus=0.001"],
     ["--cpu-period=5"], ["--cpu-quota=5"], ["--cpuset-cpus=4000"], ["--cpuset-mems=500"],
     ["--blkio-weight=5"], ["--memory=300m", "--memory-swap=200m"], ["--cpus=1", "--cpu-quota=5000"],
     ["--memory=100m", "--memory-reservation=200m"], []],
    ids=" ".join,
)  # fmt: skip
def test_what_docker_refuses_we_refuse(docker: Docker, start: Start, options: list[str]) -> None:
    identity = start("rules")
    before = settings(identity)
    status, said = cgroupkit("update", *options, "rules")
    assert status == 2
    assert said.startswith("cgroupkit: ")
    assert docker("update", *options, "rules", check=False) != "rules"
    assert settings(identity) == before


def test_several_in_one_call(start: Start) -> None:
    names = ["one", "two"]
    for name in names:
        start(name)
    assert cgroupkit("update", "--pids-limit=33", *names) == (0, "")
    assert [Cgroup.of_container(name).pids.max for name in names] == [33, 33]
    status, said = cgroupkit("update", "--pids-limit=44", "one", "no-such-one", "two")
    assert status == 1
    assert "no-such-one" in said
    assert [Cgroup.of_container(name).pids.max for name in names] == [44, 44]


# What it uses


def test_stats_agree(docker: Docker, start: Start, eventually: Any) -> None:
    """Memory and tasks within 1 %, CPU to the noise of a shared machine."""
    hold = "x=$(yes | head -c 25000000); while :; do :; done"
    identity = start("busy", "--memory=256m", "--cpus=0.5", command=("sh", "-c", hold))
    cgroup = Cgroup.of_container(identity)
    eventually(lambda: cgroup.memory.current > 20 * MIB)
    eventually(lambda: len(cgroup.procs) == 1)
    for _ in range(10):
        theirs = docker_stats(docker, "busy")
        status, out = cgroupkit("stats", "--no-stream", "--format=json", "busy")
        assert status == 0
        ours = json.loads(out)
        used = [float(re.match(r"[\d.]+", one["MemUsage"])[0]) for one in (ours, theirs)]  # type: ignore[index]
        cpu = [float(one["CPUPerc"].rstrip("%")) for one in (ours, theirs)]
        same = all(ours[key] == theirs[key] for key in ("ID", "Name", "NetIO", "PIDs"))
        if same and abs(used[0] - used[1]) <= used[1] / 100 and abs(cpu[0] - cpu[1]) < 15:
            break
    assert abs(used[0] - used[1]) <= used[1] / 100
    assert abs(cpu[0] - cpu[1]) < 15
    for key in ("ID", "Name", "NetIO", "PIDs"):
        assert ours[key] == theirs[key]
    assert ours["MemUsage"].partition(" / ")[2] == theirs["MemUsage"].partition(" / ")[2]


def test_pause_and_the_processes_inside(docker: Docker, start: Start) -> None:
    start("pausing")
    assert cgroupkit("pause", "pausing") == (0, "")
    assert Cgroup.of_container("pausing").frozen
    assert cgroupkit("unpause", "pausing") == (0, "")
    found = json.loads(cgroupkit("ps", "--json", "pausing")[1])
    assert [one["pid"] for one in found] == [
        int(docker("inspect", "--format={{.State.Pid}}", "pausing"))
    ]
    assert found[0]["command"] == ["sleep", "10000"]
    assert cgroupkit("kill", "pausing")[0] == 0
    assert docker("wait", "pausing") == "137"


# Which one


def test_they_are_found_by_id_beginning_and_name(start: Start) -> None:
    first, second = start("web"), start("web-2")
    for text in (first, first[:12], first[:20], "web", "/web"):
        container = find(text)
        assert (container.engine, container.id, container.name) == ("docker", first, "web")
    assert {first, second} <= {container.id for container in containers()}
    assert find("web-2").pids
    if host().mode != "v2":
        assert Cgroup.of_container("web").path("memory").endswith(f"/docker/{first}")


def test_one_that_is_not_there_or_several(start: Start) -> None:
    identity = start("lonely")
    with pytest.raises(ContainerNotFoundError, match=rf"no-such.*{identity[:12]} lonely"):
        find("no-such")
    with pytest.raises(InvalidValueError):
        find("")
    known = {container.id for container in containers()}
    for first in "0123456789abcdef":
        if len([one for one in known if one.startswith(first)]) > 1:
            with pytest.raises(AmbiguousContainerError, match="give more"):
                find(first)


def test_a_container_that_has_ended(docker: Docker, start: Start) -> None:
    start("gone")
    container = find("gone")
    docker("rm", "--force", "gone")
    with pytest.raises(ContainerNotFoundError, match="gone"):
        container.update(memory="100M")
    with pytest.raises(ContainerNotFoundError):
        find("gone")
    other = start("gone")
    with pytest.raises(ContainerNotFoundError, match="has ended"):
        container.update(memory="100M")
    assert find(other).cgroup.memory.max is None
