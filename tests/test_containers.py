"""Whose cgroup is it? The layouts of the engines, as paths and as real cgroups of those names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import Cgroup
from cgroupkit.containers import (
    AmbiguousContainerError,
    Container,
    ContainerNotFoundError,
    containers,
    find,
)
from cgroupkit.containers.layouts import Match, match, pod, unescape
from cgroupkit.containers.walking import at
from cgroupkit.errors import InvalidValueError, NotFoundError
from tests.engines import parent

ID = "dc6d2297d670" + "0123456789abcdef" * 3 + "beef"
OTHER = "dc6d9" + ID[5:]
UID = "6f1c2d3e-aaaa-bbbb-cccc-0123456789ab"
__all__ = ["parent"]

PATIENCE = 120

# Names and paths


@pytest.mark.parametrize(
    ("parent", "name", "engine"),
    [
        ("docker", ID, "docker"),
        ("system.slice", f"docker-{ID}.scope", "docker"),
        ("machine.slice", f"libpod-{ID}.scope", "podman"),
        ("libpod_parent", f"libpod-{ID}", "podman"),
        ("x.slice", f"crio-{ID}.scope", "crio"),
        ("x.slice", f"cri-containerd-{ID}.scope", "containerd"),
        (f"pod{UID}", f"kubepods-besteffort-pod{UID}.slice:cri-containerd:{ID}", "containerd"),
        ("system.slice", f"nerdctl-{ID}.scope", "containerd"),
        (f"pod{UID}", ID, None),
        ("jobs", ID, None),
    ],
)
def test_ids_in_names(parent: str, name: str, engine: Any) -> None:
    assert match(parent, name) == Match(engine, ID)


@pytest.mark.parametrize(
    ("parent", "name", "found"),
    [
        ("", "lxc.payload.web", Match("lxc", "web")),
        ("lxc", "web", Match("lxc", "web")),
        ("lxc.payload", "web", Match("lxc", "web")),
        ("machine.slice", r"machine-my\x2dbox.scope", Match("nspawn", "my-box")),
        ("machine.slice", "systemd-nspawn@box.service", Match("nspawn", "box")),
        ("machine.slice", r"machine-qemu\x2d1\x2dvm.scope", "leave out"),
        ("machine.slice", f"libpod-conmon-{ID}.scope", "leave out"),
        ("x.slice", f"crio-conmon-{ID}.scope", "leave out"),
        ("", "lxc.monitor.web", "leave out"),
        ("docker", "buildkit", None),
        ("", "docker", None),
        ("system.slice", "docker.service", None),
        ("docker", ID[:-1], None),
        ("user.slice", "user-1000.slice", None),
    ],
)
def test_other_names(parent: str, name: str, found: Any) -> None:
    assert match(parent, name) == found


@pytest.mark.parametrize(
    ("path", "qos"),
    [
        (f"/kubepods/burstable/pod{UID}/{ID}", "burstable"),
        (f"/kubepods/besteffort/pod{UID}", "besteffort"),
        (f"/kubepods/pod{UID}/{ID}", "guaranteed"),
        (f"/outer/kubepods/pod{UID}/{ID}", "guaranteed"),
        (
            "/kubepods.slice/kubepods-burstable.slice/"
            f"kubepods-burstable-pod{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope",
            "burstable",
        ),
        (f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/crio-{ID}.scope", "guaranteed"),
    ],
)
def test_pods(path: str, qos: str) -> None:
    found = pod(path)
    assert found is not None
    assert (found.uid, found.qos) == (UID, qos)


def test_what_is_no_pod() -> None:
    assert pod(f"/docker/{ID}") is None
    assert pod("/podman/x") is None


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_name_is_matched_or_not(parent: str, name: str) -> None:
    match(parent, name)
    pod(f"{parent}/{name}")
    unescape(name)


# Real cgroups of those names


@pytest.fixture
def tree(cgroup_name: str) -> Callable[..., Cgroup]:
    """tree("kubepods/x"): a cgroup of that path in one of the test's own."""

    def make(path: str) -> Cgroup:
        return Cgroup.create(f"{cgroup_name}/{path}", exist_ok=True)

    return make


def below(top: Cgroup) -> list[Container]:
    return sorted(containers(top), key=lambda container: (container.engine, container.id))


@pytest.mark.kernel
def test_one_in_several_hierarchies_is_one(tree: Any, cgroup_name: str, sleeper: Any) -> None:
    made = tree(f"docker/{ID}")
    process = sleeper(made)
    [container] = below(Cgroup(cgroup_name))
    assert (container.engine, container.id, container.cgroup) == ("docker", ID, made)
    assert len(container.cgroup.branches) == len(made.branches)
    assert container.pids == (process.pid,)
    assert container.pod is None


@pytest.mark.kernel
def test_kubernetes_with_either_driver(tree: Any, cgroup_name: str) -> None:
    tree(f"kubepods/burstable/pod{UID}/crio-{ID}")
    slices = (
        f"kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID.replace('-', '_')}.slice"
    )
    tree(f"{slices}/crio-conmon-{OTHER}.scope")
    tree(f"{slices}/cri-containerd-{OTHER}.scope")
    found = [(c.engine, c.id, c.pod and c.pod.qos) for c in below(Cgroup(cgroup_name))]
    assert found == [("containerd", OTHER, "besteffort"), ("crio", ID, "burstable")]


@pytest.mark.kernel
def test_lxc_nspawn_and_what_runs_inside_of_them(tree: Any, cgroup_name: str) -> None:
    tree(f"lxc.payload.web/docker/{ID}")
    tree(r"machine.slice/machine-my\x2dbox.scope")
    top = Cgroup(cgroup_name)
    assert [(c.engine, c.id) for c in below(top)] == [("lxc", "web"), ("nspawn", "my-box")]
    nested = {(c.engine, c.id) for c in containers(top, nested=True)}
    assert nested == {("lxc", "web"), ("nspawn", "my-box"), ("docker", ID)}


@pytest.mark.kernel
def test_which_container_a_cgroup_is(tree: Any, cgroup_name: str, sleeper: Any) -> None:
    inner = tree(f"lxc.payload.web/docker/{ID}")
    for cgroup, expected in {
        inner: ("docker", ID),
        Cgroup(f"{cgroup_name}/lxc.payload.web"): ("lxc", "web"),
        Cgroup(f"{cgroup_name}/lxc.payload.web/docker"): None,
        Cgroup(cgroup_name): None,
        Cgroup("/"): None,
        tree(f"crio-conmon-{OTHER}.scope"): None,
    }.items():
        found = at(cgroup)
        assert (found and (found.engine, found.id)) == expected
        assert found is None or found.cgroup == cgroup
    bare = tree(f"jobs/{ID}")
    assert at(bare) is None
    sleeper(bare)
    container = at(bare)
    assert container is not None and container.id == ID
    inner.remove()
    assert at(inner) is None


@pytest.mark.kernel
def test_an_id_alone_takes_a_process_inside(tree: Any, cgroup_name: str, sleeper: Any) -> None:
    made = tree(f"jobs/{ID}")
    assert below(Cgroup(cgroup_name)) == []
    sleeper(made)
    [container] = below(Cgroup(cgroup_name))
    assert container.engine == "unknown"
    assert container.name is None


@pytest.mark.kernel
def test_by_id_beginning_and_name(tree: Any) -> None:
    first, second = tree(f"docker/{ID}"), tree(f"docker/{OTHER}")
    named = tree("lxc/dc6d")
    assert find(ID).cgroup == first
    assert find(ID[:8]).cgroup == first
    assert find(f" /{OTHER} ").cgroup == second
    assert find("dc6d").cgroup == named  # a name goes before the beginning of an id
    with pytest.raises(AmbiguousContainerError, match=f"2 containers.*{ID[:12]}.*{OTHER[:12]}"):
        find("dc6d2297d670"[:3])
    assert Cgroup.of_container(ID[:12]) == first


@pytest.mark.kernel
@pytest.mark.parametrize("text", ["", " ", "/", 5, None, b"web"])
def test_what_names_no_container(text: Any) -> None:
    with pytest.raises(InvalidValueError, match="container"):
        find(text)


@pytest.mark.kernel
def test_one_that_is_not_there(tree: Any) -> None:
    tree(f"docker/{ID}")
    with pytest.raises(ContainerNotFoundError, match=rf"'nowhere'; there are .*{ID[:12]}"):
        find("nowhere")
    with pytest.raises(NotFoundError):
        list(containers("/no/such/cgroup"))


@pytest.mark.kernel
def test_docker_s_rules(tree: Any, cgroup_name: str) -> None:
    tree(f"docker/{ID}")
    [container] = below(Cgroup(cgroup_name))
    for options in (
        {"memory": "5M"},
        {"memory_reservation": "1M"},
        {"cpus": 100_000},
        {"cpuset_cpus": "9999"},
    ):
        with pytest.raises(InvalidValueError, match=next(iter(options))):
            container.update(**options)  # type: ignore[arg-type]


@pytest.mark.kernel
def test_another_one_that_took_the_name_is_left_alone(tree: Any, cgroup_name: str) -> None:
    made = tree("lxc/web")
    [container] = below(Cgroup(cgroup_name))
    made.remove()
    again = tree("lxc/web")
    with pytest.raises(ContainerNotFoundError, match=r"web .*has ended"):
        container.update(pids_limit=5)
    assert again.pids.max is None


# Podman


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Callable[..., str]]:
    if os.geteuid() != 0:
        pytest.skip("this takes root")
    if shutil.which("podman") is None or not os.path.exists("/bin/busybox"):
        pytest.skip("podman and busybox-static are not both installed here")

    short = tempfile.mkdtemp(prefix="podman-")  # podman takes no longer path

    def call(*words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["podman", f"--root={tmp_path}/root", f"--runroot={short}", "--storage-driver=vfs",
             "--cgroup-manager=cgroupfs", "--runtime=runc", "--events-backend=none", *words],
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip() if done.returncode == 0 else f"error: {done.stderr.strip()}"

    yield call
    call("rm", "--all", "--force", "--time=0", check=False)
    for directory in (f"{tmp_path}/root/vfs", short):
        subprocess.run(["umount", "--quiet", directory], check=False, capture_output=True)
    shutil.rmtree(short, ignore_errors=True)


@pytest.mark.kernel
def test_a_real_container_of_podman(podman: Callable[..., str], tmp_path: Path, parent: Cgroup) -> None:
    with tarfile.open(tmp_path / "image.tar", "w") as image:
        image.add("/bin/busybox", "bin/busybox")
        link = tarfile.TarInfo("bin/sleep")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        image.addfile(link)
    imported = podman("import", str(tmp_path / "image.tar"), "busybox", check=False)
    if imported.startswith("error"):
        pytest.skip(f"podman does not run here: {imported[-200:]}")
    started = podman(
        "run", "--detach", "--network=none", "--name=pod-web", "--memory=64m",
        "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", f"--cgroup-parent={parent.name}",
        "busybox", "sleep", "1000", check=False,
    )  # fmt: skip
    if started.startswith("error"):
        pytest.skip(f"podman starts no container here: {started[-200:]}")
    for text in (started, started[:12], "pod-web"):
        container = find(text)
        assert (container.engine, container.id, container.name) == ("podman", started, "pod-web")
    pid = json.loads(podman("inspect", "pod-web"))[0]["State"]["Pid"]
    assert pid in container.pids
    assert container.cgroup.memory.max == 64 << 20
    container.update(memory="32M")
    assert container.cgroup.memory.max == 32 << 20
    podman("rm", "--force", "--time=0", "pod-web")
