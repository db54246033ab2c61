"""Container engines for tests: state of their own in a directory of the test's, and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgroupkit import Cgroup

PATIENCE = 120
APPLETS = ("sh", "sleep")


def call(*words: str) -> tuple[int, str]:
    """The exit status of a command, and what it printed, or complained of where it failed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.returncode, (done.stderr if done.returncode else done.stdout).strip()


def needs(**packages: str) -> None:
    """Skip without root, or without one of these programs, each with its Debian package."""
    if os.geteuid() != 0:
        pytest.skip("this takes root")
    for program, package in packages.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed here (Debian: {package})")


def make_root(directory: Path) -> None:
    """A root file system of busybox alone."""
    busybox = next((p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p)), None)
    if busybox is None:
        pytest.skip("busybox is not installed here (Debian: busybox-static)")
    (directory / "bin").mkdir(parents=True)
    for inner in ("etc", "proc", "sys", "dev", "run", "tmp"):
        (directory / inner).mkdir()
    shutil.copy(busybox, directory / "bin/busybox")
    for applet in APPLETS:
        (directory / "bin" / applet).symlink_to("busybox")


class Podman:
    """podman with its storage in *directory*; there is no daemon."""

    def __init__(self, directory: Path, runtime: str) -> None:
        self.graph = directory / "graph"
        self._words = (
            "podman", f"--root={self.graph}", f"--runroot={directory}/run", "--storage-driver=vfs",
            f"--tmpdir={directory}/tmp", "--cgroup-manager=cgroupfs", f"--runtime={runtime}",
        )  # fmt: skip

    def try_to(self, *words: str) -> tuple[int, str]:
        return call(*self._words, *words)

    def __call__(self, *words: str) -> str:
        status, said = self.try_to(*words)
        assert status == 0, said
        return said

    def run(self, name: str, *options: str) -> tuple[int, str]:
        # Its own default is above what a shared machine's root may have.
        limits = ("--ulimit=nofile=256:256", "--ulimit=nproc=256:256")
        words = ("--network=none", f"--name={name}", *limits, *options, "busybox", "sleep", "10000")
        return self.try_to("run", "--detach", *words)


@pytest.fixture
def parent(cgroup: Cgroup) -> Iterator[Cgroup]:
    """A cgroup for an engine's containers, which go to the named hierarchies too."""
    yield cgroup
    for branch in Cgroup(cgroup.name).branches:
        if branch.hierarchy.name:
            for directory, _, _ in os.walk(branch.directory, topdown=False):
                os.rmdir(directory)
            remove_upwards(os.path.dirname(branch.directory))


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    needs(podman="podman", conmon="conmon")
    directory = tmp_path_factory.mktemp("podman")
    make_root(directory / "rootfs")
    with tarfile.open(directory / "image.tar", "w") as image:
        image.add(directory / "rootfs", ".")
    reasons = []
    for runtime in ("crun", "runc"):
        if shutil.which(runtime) is None:
            continue
        engine = Podman(directory / runtime, runtime)
        try:
            status, said = engine.try_to("import", str(directory / "image.tar"), "busybox")
            if status == 0:
                parent = f"--cgroup-parent=/test-{os.getpid()}-podman"
                status, said = engine.run("first", parent)
            if status == 0:
                engine("rm", "--force", "--time=0", "first")
                yield engine
                return
            reasons.append(f"with {runtime}: {said}")
        finally:
            engine.try_to("rm", "--all", "--force", "--time=0")
            remove_cgroups(f"test-{os.getpid()}-podman")
    pytest.skip(f"podman runs no container here: {'; '.join(reasons) or 'neither crun nor runc'}")


class Containerd:
    """A containerd of our own, and its ctr."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        make_root(directory / "rootfs")
        # Not the CRI plugin, which takes a fixed port, nor snapshots, which nobody here has.
        (directory / "config.toml").write_text(
            f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{directory}/socket"\n'
        )
        self.log = (directory / "log").open("w")
        self.process = subprocess.Popen(
            ["containerd", f"--config={directory}/config.toml"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def try_to(self, *words: str) -> tuple[int, str]:
        return call("ctr", f"--address={self.directory}/socket", *words)

    def wait(self) -> str | None:
        """Until it answers; what it said if it ended instead."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            if self.try_to("version")[0] == 0:
                return None
            time.sleep(0.05)
        return (self.directory / "log").read_text()[-300:]

    def run(self, name: str) -> tuple[int, str]:
        rootfs = str(self.directory / "rootfs")
        return self.try_to("run", "--detach", "--rootfs", rootfs, name, "/bin/sleep", "10000")

    def remove(self, name: str) -> None:
        self.try_to("task", "rm", "--force", name)
        self.try_to("container", "rm", name)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.log.close()


@pytest.fixture(scope="session")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    needs(containerd="containerd", ctr="containerd", runc="runc")
    engine = Containerd(tmp_path_factory.mktemp("containerd"))
    try:
        if (said := engine.wait()) is not None:
            pytest.skip(f"containerd does not run here: {said}")
        yield engine
    finally:
        engine.stop()
        remove_cgroups("default")


def remove_upwards(directory: str) -> None:
    """An engine makes a cgroup's parents too, and leaves them: as far as they are empty."""
    while not os.path.ismount(directory):
        if os.path.isdir(directory):
            try:
                os.rmdir(directory)
            except OSError:
                return
        directory = os.path.dirname(directory)


def remove_cgroups(name: str) -> None:
    """The engines' leftovers: *name* below each root, if nobody has anything in it."""
    from cgroupkit.hierarchy import host  # noqa: PLC0415

    for hierarchy in host().hierarchies:
        for path in (f"{hierarchy.mount}/{name}/conmon", f"{hierarchy.mount}/{name}"):
            if os.path.isdir(path):
                try:
                    os.rmdir(path)
                except OSError:
                    continue
