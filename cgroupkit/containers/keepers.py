"""The process that keeps a container alive: containerd's shim, or conmon; and what it tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import attrs

from cgroupkit import members
from cgroupkit.containers.layouts import Match
from cgroupkit.containers.records import Engine
from cgroupkit.errors import CgroupKitError
from cgroupkit.tree import Branch

#: containerd's state directory has a directory for each task, <namespace>/<id>.
TASKS = "/run/containerd/io.containerd.runtime.v2.task"
_UPWARDS = 32
_TRIES = 4


@attrs.frozen
class Keeper:
    """A container's parent on the machine."""

    pid: int
    engine: Engine
    namespace: str | None
    """containerd's."""
    id: str | None
    bundle: str | None
    """The directory with config.json: conmon's as conmon sees it."""
    name: str | None = None
    """The container's when it was started; it may have been renamed."""


def some_pids(branches: tuple[Branch, ...]) -> list[int]:
    """A few of the processes inside, the oldest first; none where they cannot be read."""
    for branch in branches:
        with suppress(CgroupKitError, OSError, ValueError):
            if found := members.everyone((branch,)):
                return sorted(found)[:_TRIES]
    return []


def keeper_of(pids: list[int]) -> Keeper | None:
    """The nearest shim or conmon above any of *pids*."""
    for pid in pids:
        for above in _ancestors(pid):
            found = _keeper(above)
            if found:
                return found
    return None


def engine_of(branches: tuple[Branch, ...]) -> Engine | None:
    """Whose container it is, by its keeper; ``unknown`` where that tells nothing. None if empty."""
    pids = some_pids(branches)
    if not pids:
        return None
    found = keeper_of(pids)
    return found.engine if found else "unknown"


def task(namespace: str, name: str, directory: str) -> Match | None:
    """A containerd task whose id is any name (``ctr run``), in /<namespace>/<name>.

    containerd's state directory tells; of one that lies elsewhere, for the namespace ``default``
    alone, the shim.
    """
    if os.path.isdir(f"{TASKS}/{namespace}/{name}") and namespace:
        return Match("docker" if namespace == "moby" else "containerd", name)
    if namespace == "default" and (found := keeper_of(_members(directory))) and found.id == name:
        return Match(found.engine, name)
    return None


def _members(directory: str) -> list[int]:
    try:
        with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
            return sorted(map(int, file.read().split()))[:_TRIES]
    except (OSError, ValueError):
        return []


def _ancestors(pid: int) -> Iterator[int]:
    for _ in range(_UPWARDS):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                # The command's name, in parentheses, may itself have blanks and parentheses.
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return
        if pid <= 1:
            return
        yield pid


def _keeper(pid: int) -> Keeper | None:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            argv = [os.fsdecode(word) for word in file.read(1 << 16).split(b"\0")]
    except OSError:
        return None
    program = os.path.basename(argv[0])
    if program.startswith(("containerd-shim", "docker-containerd-shim")):
        namespace = _option(argv, "-namespace")
        return Keeper(
            pid, "docker" if namespace == "moby" else "containerd", namespace, _option(argv, "-id"),
            f"/proc/{pid}/cwd",
        )  # fmt: skip
    if program == "conmon":
        is_crio = any("crio" in word for word in (_option(argv, "--exit-dir") or "", argv[0]))
        engine: Engine = "crio" if is_crio else "podman"
        return Keeper(pid, engine, None, _option(argv, "-c"), _option(argv, "-b"), _option(argv, "-n"))
    return None


def _option(argv: list[str], name: str) -> str | None:
    with suppress(ValueError, IndexError):
        return argv[argv.index(name) + 1]
    return None
