"""Where the engines put their containers' cgroups: names and paths, and nothing but them.

Sources: runc's and crun's cgroup managers, Docker's daemon, podman's libpod, CRI-O, containerd's
cri plugin, nerdctl, the kubelet's cgroup name conversion, lxc.container.conf(5), systemd-nspawn(1);
docs/containers.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import attrs

from cgroupkit.containers.records import Engine, Pod, Qos

_ID = "[0-9a-f]{64}"
FULL_ID = re.compile(_ID)

_PREFIXES: Mapping[str, Engine] = {
    "docker": "docker",
    "libpod": "podman",
    "libpod-payload": "podman",  # --cgroups=split, which Quadlet uses
    "crio": "crio",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
}
#: A systemd scope, a cgroupfs name, or what runc's cgroupfs manager makes of "slice:prefix:id".
_PREFIXED = re.compile(rf"(?:.*:)?({'|'.join(_PREFIXES)})[-:]({_ID})(?:\.scope)?")
_POD = re.compile(r"(?:^|[/-])kubepods(?:\.slice)?(?:[/-](burstable|besteffort))?[/-]pod([\w-]+)")
_QOS: Mapping[str, Qos] = {
    "guaranteed": "guaranteed",
    "burstable": "burstable",
    "besteffort": "besteffort",
}
#: libvirt registers its machines in systemd's manner too; those of QEMU are no containers.
_VIRTUAL = re.compile(r"qemu-[0-9]+-")
_MACHINE = re.compile(r"machine-(.+)\.scope|systemd-nspawn@(.+)\.service")
_PAYLOAD = "lxc.payload."
#: Containers' keepers, next to the containers; nothing below them is one.
_KEEPERS = re.compile(rf"(?:libpod|crio)-conmon-{_ID}(?:\.scope)?|lxc\.(?:monitor|pivot)(?:\..*)?")


@attrs.frozen
class Match:
    """A cgroup that is a container's, as far as its path tells."""

    engine: Engine | None
    """None where only a process inside can tell."""
    id: str


Step = Match | Literal["leave out"] | None


def match(parent: str, name: str) -> Step:
    """What the cgroup *name* in one called *parent* is; None for no container's, so look below it."""
    if FULL_ID.fullmatch(name):
        if parent == "libpod_parent":
            return None  # a podman pod, with its containers below
        return Match("docker" if parent == "docker" else None, name)
    if found := _PREFIXED.fullmatch(name):
        return Match(_PREFIXES[found[1]], found[2])
    if _KEEPERS.fullmatch(name):
        return "leave out"
    if name.startswith(_PAYLOAD) and name != _PAYLOAD:
        return Match("lxc", name.removeprefix(_PAYLOAD))
    if parent in ("lxc", "lxc.payload"):
        return Match("lxc", name)
    if found := _MACHINE.fullmatch(name):
        machine = unescape(found[1] or found[2])
        return "leave out" if _VIRTUAL.match(machine) else Match("nspawn", machine)
    return None


def pod(path: str) -> Pod | None:
    """The Kubernetes pod whose cgroup is *path*, or has it below.

    With the kubelet's cgroupfs driver ``kubepods/burstable/podUID``, with its systemd driver
    ``kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice``; guaranteed pods
    lie directly below kubepods. What stands before kubepods (``--cgroup-root``) is free.
    """
    matches = list(_POD.finditer(path))
    if not matches:
        return None
    found = matches[-1]  # of a kubelet in a pod: the inner one
    qos = _QOS[found[1] or "guaranteed"]
    return Pod(uid=found[2].replace("_", "-"), qos=qos)


def unescape(text: str) -> str:
    r"""systemd's ``\x2d`` back to the character (systemd.unit(5), "String escaping")."""
    raw = re.sub(
        rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode("utf-8", "surrogateescape")
    )
    return raw.decode("utf-8", "surrogateescape")
