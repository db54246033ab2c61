"""What a Kubernetes node's files say of a pod and of the containers in it."""

from __future__ import annotations

import re

from cgroupkit.containers import mounts, state

#: The kubelet keeps <namespace>_<pod>_<uid>/ in pods and <pod>_<namespace>_<container>-<id>.log in
#: containers (k8s.io/kubernetes, pkg/kubelet/kuberuntime).
LOGS = "/var/log"


def full_name(uid: str) -> tuple[str, str] | None:
    """The namespace and the name of the pod *uid*."""
    for entry in state.entries(f"{LOGS}/pods"):
        parts = entry.split("_")
        if len(parts) == 3 and parts[2] == uid:
            return parts[0], parts[1]
    return None


def container_name(id: str, uid: str, pids: list[int]) -> str | None:
    """What the container is called in its pod."""
    for entry in state.entries(f"{LOGS}/containers"):
        if entry.endswith(f"-{id}.log"):
            return entry.removesuffix(f"-{id}.log").rpartition("_")[2] or None
    # The kubelet mounts <its root>/pods/UID/containers/NAME/... at /dev/termination-log.
    mounted = re.compile(rf"/pods/{re.escape(uid)}/containers/([^/]+)/")
    for pid in pids[:1]:
        for mount in mounts.mounts_of(pid):
            if found := mounted.search(mount.root):
                return found[1]
    return None


def in_pod(name: str) -> str:
    """The container's part of the name that dockershim, cri-dockerd and CRI-O give it:
    ``k8s_<container>_<pod>_<namespace>_<uid>_<attempt>``."""
    parts = name.split("_")
    return parts[1] if len(parts) == 6 and parts[0] == "k8s" else name
