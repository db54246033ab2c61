"""Of which image a container was made: from the same files as its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cgroupkit.containers import keepers, naming, state
from cgroupkit.containers.layouts import FULL_ID

if TYPE_CHECKING:
    from cgroupkit.containers.records import Container

_CRI = "io.kubernetes.cri.image-name"


def image_of(container: Container) -> str | None:
    """As the container's maker called it; None where the engine's state cannot be read."""
    return next(_images(container), None) if FULL_ID.fullmatch(container.id) else None


def _images(container: Container) -> Iterator[str]:
    id, engine = container.id, container.engine
    pids = keepers.some_pids(container.cgroup.branches)
    found: str | None
    if engine == "docker":
        for directory in naming.docker_directories(id, pids):
            config = state.load(f"{directory}/{id}/config.v2.json")
            if found := state.text(config, "Config", "Image"):
                yield found
    elif engine in ("podman", "crio"):
        for directory in naming.storage_directories(id, pids, keepers.keeper_of(pids)):
            if found := state.images_by_id(f"{directory}/containers.json").get(id):
                yield found
    elif engine == "containerd":
        for bundle in naming.bundles(id, pids):
            if found := state.text(state.load(f"{bundle}/config.json"), "annotations", _CRI):
                yield found
