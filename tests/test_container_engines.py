"""Which cgroup is this container? Layouts as real cgroups; podman, containerd and Docker themselves."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import Cgroup
from cgroupkit.containers import (
    AmbiguousContainerError,
    Container,
    ContainerNotFoundError,
    containers,
    docker_api,
    find,
    keepers,
    kubernetes,
    layouts,
    mounts,
    naming,
    state,
)
from cgroupkit.errors import InvalidValueError, NotFoundError
from cgroupkit.hierarchy import host
from tests.engines import Containerd, Podman, containerd, parent, podman
from tests.test_docker import PATIENCE, Docker, Start, docker, start

# Fixtures, which pytest finds by their names here.
__all__ = ["containerd", "docker", "parent", "podman", "start"]

kernel = pytest.mark.kernel

ID, POD = secrets.token_hex(32), secrets.token_hex(32)
UID = "1f4c4f54-0d2e-4f4b-8e0a-5a6c3a8f9b21"
SLICE = UID.replace("-", "_")
SYSTEMD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + SLICE
BEST = "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + SLICE


@kernel
@pytest.mark.parametrize(
    ("path", "engine", "id", "qos"),
    [
        (f"docker/{ID}", "docker", ID, None),
        (f"system.slice/docker-{ID}.scope", "docker", ID, None),
        (f"my.slice/my-own.slice/docker-{ID}.scope", "docker", ID, None),
        (f"system.slice:docker:{ID}", "docker", ID, None),
        (f"libpod_parent/libpod-{ID}", "podman", ID, None),
        (f"libpod_parent/{POD}/libpod-{ID}", "podman", ID, None),
        (f"own/{POD}/libpod-{ID}", "podman", ID, None),
        (f"machine.slice/libpod-{ID}.scope", "podman", ID, None),
        (f"machine.slice/machine-libpod_pod_{POD}.slice/libpod-{ID}.scope", "podman", ID, None),
        (f"user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
         "podman", ID, None),
        (f"system.slice/web.service/libpod-payload-{ID}", "podman", ID, None),
        (f"system.slice/nerdctl-{ID}.scope", "containerd", ID, None),
        (f"system.slice/crio-{ID}.scope", "crio", ID, None),
        (f"{SYSTEMD}.slice/cri-containerd-{ID}.scope", "containerd", ID, "burstable"),
        (f"{BEST}.slice/crio-{ID}.scope", "crio", ID, "besteffort"),
        (f"kubepods.slice/kubepods-pod{SLICE}.slice/docker-{ID}.scope", "docker", ID, "guaranteed"),
        (f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
         f"kubelet-kubepods-besteffort-pod{SLICE}.slice/cri-containerd-{ID}.scope",
         "containerd", ID, "besteffort"),
        (f"kubepods-burstable-pod{SLICE}.slice:cri-containerd:{ID}", "containerd", ID, "burstable"),
        (f"kubepods/besteffort/pod{UID}/crio-{ID}", "crio", ID, "besteffort"),
        (f"kubelet/kubepods/burstable/pod{UID}/crio-{ID}", "crio", ID, "burstable"),
        ("lxc.payload.web-1", "lxc", "web-1", None),
        ("lxc.payload/web", "lxc", "web", None),
        ("lxc/web", "lxc", "web", None),
        ("machine.slice/machine-my\\x2dbox.scope", "nspawn", "my-box", None),
        ("machine.slice/systemd-nspawn@my\\x2dbox.service", "nspawn", "my-box", None),
    ],
)  # fmt: skip
def test_a_layout(cgroup: Cgroup, path: str, engine: str, id: str, qos: str | None) -> None:
    made = Cgroup.create(f"{cgroup.name}/{path}")
    Cgroup.create(f"{made.name}/container")  # as crun and systemd make inside
    (found,) = containers(cgroup)
    assert (found.engine, found.id) == (engine, id)
    assert found.cgroup == made
    assert found.pids == ()
    assert (found.pod.qos if found.pod else None) == qos
    if found.pod:
        assert found.pod.uid == UID
        assert (found.pod.name, found.pod.namespace) == (None, None)
    if engine in ("lxc", "nspawn"):
        assert found.name == id


@kernel
def test_what_is_no_container(cgroup: Cgroup) -> None:
    for path in (
        f"libpod_parent/libpod-conmon-{ID}", f"machine.slice/libpod-conmon-{ID}.scope",
        f"system.slice/crio-conmon-{ID}.scope", "libpod_parent/conmon", "lxc.monitor.web",
        "lxc.monitor/web", "machine.slice/machine-qemu\\x2d1\\x2dvm.scope", "docker/buildkit",
        f"system.slice/docker-{ID[:12]}.scope", f"docker-{ID.upper()}x.scope", "default/nothing",
        "lxc.pivot", f"system.slice/pod{UID}", f"own/{ID}",
    ):  # fmt: skip
        Cgroup.create(f"{cgroup.name}/{path}", exist_ok=True)
    assert list(containers(cgroup)) == []


@kernel
def test_of_an_engine_that_nobody_knows(cgroup: Cgroup, sleeper: Any) -> None:
    made = Cgroup.create(f"{cgroup.name}/own/{ID}")
    inner = Cgroup.create(f"{made.name}/inner")
    process = sleeper(inner)
    (found,) = containers(cgroup)
    assert (found.engine, found.id, found.cgroup) == ("unknown", ID, made)
    assert found.pids == (process.pid,)
    assert found.name is None
    assert str(found) == f"{ID[:12]} (unknown)"


@kernel
def test_a_container_in_a_container(cgroup: Cgroup) -> None:
    outer = Cgroup.create(f"{cgroup.name}/lxc.payload.box")
    inner = Cgroup.create(f"{outer.name}/docker/{ID}")
    assert [c.cgroup for c in containers(cgroup)] == [outer]
    assert [c.cgroup for c in containers(cgroup, nested=True)] == [outer, inner]
    assert [c.cgroup for c in containers(outer)] == [inner]
    assert find(ID).cgroup == inner


@kernel
def test_a_kubelet_in_a_pod(cgroup: Cgroup) -> None:
    uid = "0" + UID[1:]
    path = f"{cgroup.name}/kubepods/pod{uid}/crio-{POD}/kubepods/burstable/pod{UID}/crio-{ID}"
    inner = Cgroup.create(path)
    found = {c.id: c for c in containers(cgroup, nested=True)}
    assert found[ID].cgroup == inner
    assert [(c.pod.uid, c.pod.qos) for c in (found[POD], found[ID]) if c.pod] == [
        (uid, "guaranteed"),
        (UID, "burstable"),
    ]


@kernel
def test_elsewhere_in_another_hierarchy(cgroup: Cgroup) -> None:
    if len(cgroup.branches) < 2:
        pytest.skip("there is one hierarchy only")
    first, second = cgroup.branches[:2]
    os.makedirs(f"{first.directory}/docker/{ID}")
    os.makedirs(f"{second.directory}/elsewhere/docker/{ID}")
    (found,) = containers(cgroup)
    assert [b.directory for b in found.cgroup.branches] == [
        f"{first.directory}/docker/{ID}",
        f"{second.directory}/elsewhere/docker/{ID}",
    ]


@kernel
def test_the_same_name_in_two_places(cgroup: Cgroup) -> None:
    made = {Cgroup.create(f"{cgroup.name}/{above}/lxc/web") for above in "ab"}
    assert {c.cgroup for c in containers(cgroup)} == made


@kernel
def test_one_that_goes_meanwhile(cgroup: Cgroup) -> None:
    made = [Cgroup.create(f"{cgroup.name}/lxc/{name}") for name in "abc"]
    found = containers(cgroup)
    assert next(found).cgroup == made[0]
    made[1].remove()
    assert [c.cgroup for c in found] == [made[2]]


@kernel
def test_one_that_is_gone(cgroup: Cgroup) -> None:
    made = Cgroup.create(f"{cgroup.name}/docker/{ID}")
    (found,) = containers(cgroup)
    made.remove()
    assert found.pids == ()
    assert found.name is None


@kernel
def test_below_what_does_not_exist(cgroup: Cgroup) -> None:
    with pytest.raises(NotFoundError):
        list(containers(f"{cgroup.name}/nowhere"))


@kernel
def test_in_a_cgroup_namespace(cgroup: Cgroup, unshare: Any, in_child: Any, tmp_path: Path) -> None:
    """In a container of ours, with its own cgroup for ``/``: what it runs itself."""

    def work() -> list[tuple[str, str]]:
        Cgroup.create(f"{cgroup.name}/docker/{ID}")
        own = Cgroup.create(f"{cgroup.name}/lxc.payload.own")
        own.attach(os.getpid())
        unshare(0x2020000)
        for number, branch in enumerate(own.branches):
            where = tmp_path / str(number)
            where.mkdir()
            names = [{"io": "blkio"}.get(name, name) for name in branch.hierarchy.controllers]
            kind = ["cgroup2"] if branch.version == 2 else ["cgroup", "-o", ",".join(names)]
            subprocess.run(["mount", "-t", *kind, "none", str(where)], check=True)
        host(refresh=True)
        here = Cgroup.of()
        if any(branch.version == 2 and branch.hierarchy.controllers for branch in here.branches):
            here.vacate()
        Cgroup.create(f"/docker/{POD}")
        return [(c.id, c.cgroup.name) for c in containers()]

    found = in_child(work)
    assert (POD, f"/docker/{POD}") in found
    assert all(id != ID for id, _ in found)


# find()


@pytest.fixture
def dockers(cgroup: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cgroup]:
    """dockers("web", id): the cgroup of a container that Docker's files have under that name."""
    monkeypatch.setattr(naming, "DOCKER", [str(tmp_path)])

    def make(name: str, id: str | None = None) -> Cgroup:
        id = id or secrets.token_hex(32)
        (tmp_path / "containers" / id).mkdir(parents=True)
        (tmp_path / "containers" / id / "config.v2.json").write_text(json.dumps({"Name": f"/{name}"}))
        return Cgroup.create(f"{cgroup.name}/docker/{id}")

    return make


@kernel
def test_found_by_path_alone(dockers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [dockers("web", ID), *(dockers("other") for _ in range(5))]

    def name_of(container: Container) -> str:
        raise AssertionError(f"the name of {container.id} was read")

    monkeypatch.setattr(naming, "name_of", name_of)
    assert find(ID).cgroup == made[0]
    assert find(ID[:12]).cgroup == made[0]
    assert find(f" {ID[:40]}\n").cgroup == made[0]
    assert Cgroup.of_container(ID) == made[0]


@kernel
def test_found_by_name_or_beginning(dockers: Any) -> None:
    name, short = secrets.token_hex(8) + "-web", ID[:11]
    made, other = dockers(name, ID), dockers(short)
    assert find(name).cgroup == find(f"/{name}").cgroup == made
    assert find(ID[:10]).cgroup == made
    assert find(short).cgroup == other  # a name goes before the beginning of an id
    with pytest.raises(ContainerNotFoundError):
        find(name[:-1])
    long = dockers(ID[:12])
    assert find(ID[:12]).cgroup == made  # but not before twelve digits of one
    assert long.exists()


@kernel
def test_several_fit(dockers: Any, cgroup: Cgroup) -> None:
    name, start = secrets.token_hex(8) + "-web", secrets.token_hex(8)
    ids = [start + secrets.token_hex(24) for _ in range(2)]
    for id in ids:
        dockers(name, id)
    for text in (name, start, start[:10]):
        with pytest.raises(AmbiguousContainerError) as caught:
            find(text)
        assert isinstance(caught.value, ValueError)
        for id in ids:
            assert f"{id[:12]} {name} (docker)" in str(caught.value)
    lxc = Cgroup.create(f"{cgroup.name}/lxc.payload.{ids[0]}")
    with pytest.raises(AmbiguousContainerError, match=f"by its path: .*, {lxc.name}$"):
        find(ids[0])


@kernel
def test_none_fits(dockers: Any) -> None:
    for _ in range(12):
        dockers("web")
    with pytest.raises(ContainerNotFoundError) as caught:
        find("nothing-of-this-name")
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.filename == "nothing-of-this-name"
    assert "'nothing-of-this-name'; there are " in str(caught.value)
    assert " more" in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "/", None, 12])
def test_nothing_to_find(text: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"give (an|its) id"):
        find(text)


@kernel
def test_found_fast_among_many(cgroup: Cgroup) -> None:
    first = cgroup.branches[0].directory
    os.mkdir(f"{first}/docker")
    for _ in range(300):
        os.mkdir(f"{first}/docker/{secrets.token_hex(32)}")
    os.mkdir(f"{first}/docker/{ID}")
    took = []
    for _ in range(3):
        start = time.perf_counter()
        assert find(ID).id == ID
        took.append(time.perf_counter() - start)
    assert min(took) < 5


# Names


def container(engine: str, id: str, *, cgroup: Cgroup | None = None, **more: Any) -> Container:
    return Container(
        engine=engine,  # type: ignore[arg-type]
        id=id,
        cgroup=cgroup or Cgroup.at((attrs.evolve(Cgroup("/").branches[0], directory="/nowhere"),)),
        **more,
    )


NONSENSE = [
    b"", b"{", b"null", b"[]", b"[1, null]", b"7", b'"x"', b"\xff\xfe", b"[" * 100_000,
    b'{"Name": 7, "annotations": []}', b'{"Name": "", "annotations": {"nerdctl/name": 1}}',
    b'[{"id": 1, "names": "x"}, {"id": "ID", "names": []}, {"id": "ID", "names": [3]}]',
    b'[{"id": "ID", "metadata": "{"}, {"id": "ID", "metadata": "7"}, {"id": "ID", "metadata": 7}]',
    b'{"Config": {"Image": 7}}',
]  # fmt: skip


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every engine's directory is below this one, which is empty."""
    monkeypatch.setattr(naming, "DOCKER", [str(tmp_path / "docker")])
    monkeypatch.setattr(naming, "STORAGE", [str(tmp_path / "storage")])
    monkeypatch.setattr(naming, "NERDCTL", str(tmp_path / "nerdctl"))
    monkeypatch.setattr(keepers, "TASKS", str(tmp_path / "tasks"))
    monkeypatch.setattr(kubernetes, "LOGS", str(tmp_path / "log"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path


def put(path: Path, text: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


ENGINES = ["docker", "podman", "crio", "containerd", "unknown"]


@kernel
@pytest.mark.parametrize("engine", ENGINES)
def test_no_state_no_name(nowhere: Path, engine: str) -> None:
    assert container(engine, ID).name is None
    assert container(engine, ID).image is None


@kernel
@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_no_name(nowhere: Path, text: bytes) -> None:
    text = text.replace(b"ID", ID.encode())
    put(nowhere / f"docker/containers/{ID}/config.v2.json", text)
    put(nowhere / "storage/overlay-containers/containers.json", text)
    put(nowhere / f"tasks/k8s.io/{ID}/config.json", text)
    put(nowhere / "nerdctl/1935db59/names/default/web", text)
    for engine in ENGINES:
        assert container(engine, ID).name is None
        assert container(engine, ID).image is None


@kernel
def test_names_in_the_usual_places(nowhere: Path) -> None:
    put(nowhere / f"docker/containers/{ID}/config.v2.json", b'{"Name": "/a"}')
    entry = json.dumps([{"id": ID, "names": ["b"]}]).encode()
    put(nowhere / "storage/overlay-containers/containers.json", entry)
    put(nowhere / f"nerdctl/1935db59/names/default/{'c'}", f"{ID}\n".encode())
    assert [container(e, ID).name for e in ("docker", "podman", "crio", "containerd")] == list("abbc")
    put(nowhere / f"tasks/k8s.io/{ID}/config.json", b'{"annotations": {"nerdctl/name": "d"}}')
    assert container("containerd", ID).name == "d"


@kernel
def test_images(nowhere: Path) -> None:
    put(nowhere / f"docker/containers/{ID}/config.v2.json", b'{"Config": {"Image": "a"}}')
    entry = json.dumps([{"id": ID, "metadata": json.dumps({"image-name": "b"})}]).encode()
    put(nowhere / "storage/overlay-containers/containers.json", entry)
    annotations = b'{"annotations": {"io.kubernetes.cri.image-name": "c"}}'
    put(nowhere / f"tasks/k8s.io/{ID}/config.json", annotations)
    assert [container(e, ID).image for e in ("docker", "podman", "crio", "containerd")] == list("abbc")
    assert container("lxc", "web").image is None


@kernel
def test_names_in_a_pod(nowhere: Path) -> None:
    (nowhere / f"log/pods/shop_web-0_{UID}").mkdir(parents=True)
    (nowhere / "log/pods/nonsense").mkdir()
    put(nowhere / f"log/containers/web-0_shop_nginx-proxy-{ID}.log", b"")
    of_a_pod = layouts.pod(f"/kubepods/burstable/pod{UID}/{ID}")
    assert of_a_pod is not None
    assert (of_a_pod.namespace, of_a_pod.name) == ("shop", "web-0")
    assert container("unknown", ID, pod=of_a_pod).name == "nginx-proxy"
    full = json.dumps({"Name": f"/k8s_app_web-0_shop_{UID}_0"}).encode()
    put(nowhere / f"docker/containers/{POD}/config.v2.json", full)
    assert container("docker", POD, pod=of_a_pod).name == "app"
    assert container("docker", POD).name == f"k8s_app_web-0_shop_{UID}_0"


@kernel
def test_the_name_that_a_mount_shows(nowhere: Path, cgroup: Cgroup, unshare: Any, forked: Any) -> None:
    """As Docker and the kubelet mount their files into a container, found from outside of it."""
    hostname = nowhere / f"moved/containers/{ID}/hostname"
    log = nowhere / f"kubelet/pods/{UID}/containers/proxy/1b2c"
    put(hostname, b"x")
    put(log, b"x")
    put(hostname.with_name("config.v2.json"), b'{"Name": "/moved"}')
    put(nowhere / "at/hostname", b"")
    put(nowhere / "at/log", b"")

    def work() -> None:
        unshare()
        for file, at in ((hostname, "hostname"), (log, "log")):
            subprocess.run(["mount", "--bind", str(file), str(nowhere / "at" / at)], check=True)

    child = forked(work)
    made = Cgroup.create(f"{cgroup.name}/docker/{ID}")
    made.attach(child.pid)
    assert child.go()
    assert container("docker", ID, cgroup=made).name == "moved"
    pod = layouts.pod(f"/kubepods/pod{UID}")
    assert container("docker", ID, cgroup=made, pod=pod).name == "proxy"


Serve = Callable[[bytes | None], Path]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """daemon(answer): a socket that says that to each who asks; None for one that says nothing."""
    server = socket.socket(socket.AF_UNIX)
    held: list[socket.socket] = []

    def serve(answer: bytes | None) -> None:
        while True:
            try:
                asked, _ = server.accept()
            except OSError:
                return
            held.append(asked)
            asked.recv(4096)
            if answer is not None:
                asked.sendall(answer)
                asked.close()

    def start(answer: bytes | None) -> Path:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        threading.Thread(target=serve, args=(answer,), daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/socket")
        return tmp_path / "socket"

    monkeypatch.setattr(docker_api, "TIMEOUT", PATIENCE)
    yield start
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for one in held:
        one.close()


def http(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_asking_docker(daemon: Serve) -> None:
    listed = [{"Id": ID, "Names": ["/other/alias", "/web"]}, {"Id": POD, "Names": None}, 7]
    daemon(http(json.dumps(listed).encode()))
    assert docker_api.name(ID) == "web"
    assert docker_api.name(POD) is None


@pytest.mark.parametrize("body", [b"", b"nonsense", b"7", b"{}", b'[{"Id": 1}]', b"[" * 100_000])
def test_docker_talks_nonsense(daemon: Serve, body: bytes) -> None:
    daemon(http(body))
    assert docker_api.name(ID) is None


def test_docker_is_no_server(daemon: Serve) -> None:
    daemon(b"220 mail.example.org\r\n")
    assert docker_api.name(ID) is None


def test_docker_does_not_answer(daemon: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_api, "TIMEOUT", 0.2)
    monkeypatch.setattr(docker_api, "_FRESH", 60)
    daemon(None)
    start = time.monotonic()
    assert [docker_api.name(ID) for _ in range(100)] == [None] * 100
    assert time.monotonic() - start < 10  # it is waited for once


@pytest.mark.parametrize(
    ("told", "sockets"),
    [
        ("unix:///run/x.sock", ["/run/x.sock"]),
        ("tcp://192.0.2.1:2375", []),
        ("", ["/var/run/docker.sock", "/run/user/7/docker.sock"]),
    ],
)
def test_where_docker_listens(monkeypatch: pytest.MonkeyPatch, told: str, sockets: list[str]) -> None:
    monkeypatch.setenv("DOCKER_HOST", told)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert docker_api.sockets() == sockets


# Parsers


@given(st.text(), st.text())
def test_any_name_is_taken(parent: str, name: str) -> None:
    layouts.match(parent, name)
    layouts.match("lxc", name)
    layouts.match(parent, f"machine-{name}.scope")
    layouts.pod(f"{parent}/kubepods{name}")
    kubernetes.in_pod(name)


@given(st.text())
def test_unescaping(text: str) -> None:
    escaped = "".join(f"\\x{byte:02x}" for byte in text.encode())
    assert layouts.unescape(escaped) == text


def test_lists_are_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "containers.json"
    assert state.names_by_id(str(file)) == {}
    for name in ("a", "other"):
        file.write_text(json.dumps([{"id": ID, "names": [name]}]))
        assert state.names_by_id(str(file)) == {ID: name}
    assert state.entries(str(tmp_path)) == ("containers.json",)


@kernel
def test_where_a_mounted_directory_is(tmp_path: Path) -> None:
    own = max(
        (m for m in mounts.mounts_of("self") if f"{tmp_path}/".startswith(m.at.rstrip("/") + "/")),
        key=lambda m: len(m.at),
    )
    inside = own.root.rstrip("/") + str(tmp_path)[len(own.at.rstrip("/")) :]
    seen = mounts.here(own.device, inside)
    assert seen is not None
    assert os.path.samefile(seen, tmp_path)
    assert mounts.here("999:999", inside) is None
    assert list(mounts.mounts_of(1 << 30)) == []


# The engines themselves


@kernel
def test_podman(podman: Podman, parent: Cgroup) -> None:
    name = f"web-{os.getpid()}"
    status, id = podman.run(name, f"--cgroup-parent={parent.name}")
    assert status == 0, id
    try:
        found = find(name)
        assert (found.engine, found.id, found.name) == ("podman", id, name)
        assert found.image == "localhost/busybox:latest"
        assert found.cgroup.name == f"{parent.name}/libpod-{id}"
        assert [*map(str, found.pids)] == podman("inspect", "-f", "{{.State.Pid}}", name).split()
        assert [c.id for c in containers(parent)] == [id]
        podman("rename", name, f"{name}-new")
        assert find(f"{name}-new").id == id
        with pytest.raises(ContainerNotFoundError):
            find(name)
    finally:
        podman("rm", "--force", "--time=0", id)
    with pytest.raises(ContainerNotFoundError):
        find(id)


@kernel
def test_containerd(containerd: Containerd) -> None:
    name = f"web-{os.getpid()}"
    try:
        status, said = containerd.run(name)
        if status != 0:
            pytest.skip(f"containerd runs no container here: {said}")
        found = find(name)
        assert (found.engine, found.id, found.name) == ("containerd", name, name)
        assert found.cgroup.name == f"/default/{name}"
        assert len(found.pids) == 1
    finally:
        containerd.remove(name)


@kernel
def test_docker_below_another_cgroup(
    docker: Docker, parent: Cgroup, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"own-{os.getpid()}"
    id = start(name, f"--cgroup-parent={parent.name}")
    (found,) = containers(parent)
    assert (found.engine, found.id, found.name) == ("docker", id, name)
    assert found.image == "busybox"
    docker("rename", name, f"{name}-new")
    assert find(f"{name}-new").id == id
    docker("rename", f"{name}-new", name)
    # Without its files there is its socket.
    monkeypatch.setattr(docker_api, "TIMEOUT", PATIENCE)
    monkeypatch.setattr(naming, "docker_directories", lambda id, pids: iter(()))
    monkeypatch.setenv("DOCKER_HOST", docker.socket)
    assert find(name).id == id
