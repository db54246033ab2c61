"""What an engine calls a container: from its state on disk, found through the container itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cgroupkit.containers import keepers, kubernetes, mounts, state
from cgroupkit.containers.keepers import Keeper
from cgroupkit.containers.layouts import FULL_ID

if TYPE_CHECKING:
    from cgroupkit.containers.records import Container

DOCKER = ["/var/lib/docker"]
STORAGE = ["/var/lib/containers/storage"]
NERDCTL = "/var/lib/nerdctl"

_LAYER = re.compile(r"(.+)/(overlay|vfs|btrfs|aufs)/(?:[^/]+/diff|dir/[^/]+)$")


def name_of(container: Container) -> str | None:
    """The name; None where the engine gives none, or where its state cannot be read."""
    id, engine, pod = container.id, container.engine, container.pod
    if engine in ("lxc", "nspawn") or FULL_ID.fullmatch(id) is None:
        return id
    pids = keepers.some_pids(container.cgroup.branches)
    if pod and (name := kubernetes.container_name(id, pod.uid, pids)):
        return name
    if engine == "docker":
        name = _docker(id, pids)
    elif engine in ("podman", "crio"):
        name = _storage(id, pids)
    elif engine == "containerd":
        name = _containerd(id, pids)
    else:
        name = None
    return kubernetes.in_pod(name) if name and pod else name


def _docker(id: str, pids: list[int]) -> str | None:
    for directory in docker_directories(id, pids):
        name = state.text(state.load(f"{directory}/{id}/config.v2.json"), "Name")
        if name:
            return name.removeprefix("/")
    from cgroupkit.containers import docker_api  # noqa: PLC0415  (http.client takes 15 ms)

    return docker_api.name(id)


def docker_directories(id: str, pids: list[int]) -> Iterator[str]:
    """Each place that may hold the daemon's directory of containers."""
    for pid in pids[:1]:
        for mount in mounts.mounts_of(pid):
            # <data-root>/containers/<id>/hostname, mounted at /etc/hostname; hosts; resolv.conf
            above, found, _ = mount.root.partition(f"/{id}/")
            if found and above.endswith("/containers") and (seen := mounts.here(mount.device, above)):
                yield seen
                break
    yield from (f"{root}/containers" for root in [*DOCKER, _home("docker")])


def _storage(id: str, pids: list[int]) -> str | None:
    """podman and CRI-O: containers/storage's list, which has an entry for each container."""
    keeper = keepers.keeper_of(pids)
    for directory in storage_directories(id, pids, keeper):
        name = state.names_by_id(f"{directory}/containers.json").get(id)
        if name:
            return name
    return keeper.name if keeper and keeper.id == id else None


def storage_directories(id: str, pids: list[int], keeper: Keeper | None) -> Iterator[str]:
    """Each place that may be a driver's directory, as ``overlay-containers``."""
    if keeper and keeper.id == id and keeper.bundle:
        driver = os.path.dirname(os.path.dirname(keeper.bundle))
        yield f"/proc/{keeper.pid}/root{driver}"  # a rootless podman has mounts of its own
        yield driver
    for pid in pids[:1]:
        for mount in mounts.mounts_of(pid):
            if mount.at == "/":
                upper = (
                    o.removeprefix("upperdir=") for o in mount.options if o.startswith("upperdir=")
                )
                for layer in filter(None, (*upper, mounts.here(mount.device, mount.root))):
                    if found := _LAYER.match(layer):
                        yield f"{found[1]}/{found[2]}-containers"
    for root in [*STORAGE, _home("containers/storage")]:
        yield from (f"{root}/{e}" for e in state.entries(root) if e.endswith("-containers"))


def _containerd(id: str, pids: list[int]) -> str | None:
    """nerdctl and Kubernetes leave the name among the annotations of the task's config.json."""
    for bundle in bundles(id, pids):
        config = state.load(f"{bundle}/config.json")
        for key in ("nerdctl/name", "io.kubernetes.cri.container-name"):
            if name := state.text(config, "annotations", key):
                return name
    return _nerdctl(id)


def bundles(id: str, pids: list[int]) -> Iterator[str]:
    keeper = keepers.keeper_of(pids)
    if keeper and keeper.bundle:
        yield f"{keeper.bundle}/../{id}"  # a pod's shim keeps all of its containers
    yield from (f"{keepers.TASKS}/{namespace}/{id}" for namespace in state.entries(keepers.TASKS))


def _nerdctl(id: str) -> str | None:
    """Its name store: <data root>/<address>/names/<namespace>/<name>, a file that holds the id."""
    for address in state.entries(NERDCTL):
        names = f"{NERDCTL}/{address}/names"
        for namespace in state.entries(names):
            for name in state.entries(f"{names}/{namespace}"):
                if state.line(f"{names}/{namespace}/{name}") == id:
                    return name
    return None


def _home(path: str) -> str:
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return f"{data}/{path}"
