"""containers(): go through the cgroups of every hierarchy, past what is inside of containers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import attrs

from cgroupkit import members
from cgroupkit.cgroup import Cgroup
from cgroupkit.containers import keepers, layouts
from cgroupkit.containers.records import Container
from cgroupkit.hierarchy import Hierarchy, host
from cgroupkit.tree import Branch


@attrs.define
class Found:
    """A container as the paths show it: nothing has been read yet."""

    match: layouts.Match
    branches: list[Branch]

    def container(self) -> Container | None:
        """The record; None where it is gone, or no container after all."""
        cgroup = Cgroup.at(tuple(self.branches))
        engine = self.match.engine
        if engine is None:
            engine = keepers.engine_of(cgroup.branches)
            if engine is None:
                return None
        elif not cgroup.exists():
            return None
        return Container(engine=engine, id=self.match.id, cgroup=cgroup, pod=layouts.pod(cgroup.name))


def containers(root: Cgroup | str | None = None, *, nested: bool = False) -> Iterator[Container]:
    """The running containers of this machine, of whatever engine; by default of all its cgroups.

    *root* narrows it to those below one cgroup. What runs inside of a container (Docker in LXC,
    Kubernetes in Docker) is passed over unless *nested*. A container that goes meanwhile is left
    out. Needs no privilege; what cannot be read is not known. Raises :class:`NotFoundError` where
    *root* does not exist.
    """
    for found in walk(root, nested=nested):
        container = found.container()
        if container is not None:
            yield container


def at(cgroup: Cgroup) -> Container | None:
    """The container whose outermost cgroup *cgroup* is, inside of another one or not, if it is one."""
    branch = members.effective(cgroup.branches)[0]
    parent, _, name = branch.path.rpartition("/")
    step = _step(parent.rpartition("/")[2], name, branch.directory) if name else None
    return Found(step, list(cgroup.branches)).container() if isinstance(step, layouts.Match) else None


def walk(
    root: Cgroup | str | None = None, *, nested: bool = False, deadline: float | None = None
) -> list[Found]:
    """All that the paths alone tell; one for each container, however many hierarchies have it.

    Raises TimeoutError after *deadline*, of time.monotonic().
    """
    if root is None:
        tops = [Branch(h, h.root, h.mount) for h in host().hierarchies]
    else:
        tops = list((root if isinstance(root, Cgroup) else Cgroup(root)).branches)
    found: dict[layouts.Match, list[Found]] = {}
    for top in tops:
        name = os.path.basename(top.path)
        for match, path, directory in _below(top.path, top.directory, name, nested, deadline):
            _add(found.setdefault(match, []), match, Branch(top.hierarchy, path, directory))
    return [one for same in found.values() for one in same]


def _add(same: list[Found], match: layouts.Match, branch: Branch) -> None:
    """Join *branch* to the container that it is of: by path, else to one that lacks its hierarchy."""
    free: Found | None = None
    for one in same:
        if one.branches[0].path == branch.path:
            one.branches.append(branch)
            return
        if free is None and not _has(one, branch.hierarchy):
            free = one
    if free is None:
        same.append(Found(match, [branch]))
    else:
        free.branches.append(branch)


def _has(found: Found, hierarchy: Hierarchy) -> bool:
    return any(branch.hierarchy is hierarchy for branch in found.branches)


def _below(
    path: str, directory: str, name: str, nested: bool, deadline: float | None
) -> Iterator[tuple[layouts.Match, str, str]]:
    waiting = _inside(path, directory, name)
    while waiting:
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError("there are more cgroups than could be looked through in time")
        parent, below, *place = waiting.pop()
        step = _step(parent, below, place[1])
        if step == "leave out":
            continue
        if step:
            yield step, place[0], place[1]
        if nested or step is None:
            waiting += _inside(place[0], place[1], below)


def _inside(path: str, directory: str, name: str) -> list[tuple[str, str, str, str]]:
    """Parent, name, path and directory of each cgroup in one, the last one first."""
    try:
        if os.stat(directory).st_nlink == 2:  # that many links has one without directories inside
            return []
        with os.scandir(directory) as entries:
            inner = sorted((e.name for e in entries if e.is_dir(follow_symlinks=False)), reverse=True)
    except OSError:
        return []  # removed meanwhile, or not ours to see
    return [(name, below, f"{path.rstrip('/')}/{below}", f"{directory}/{below}") for below in inner]


def _step(parent: str, name: str, directory: str) -> layouts.Step:
    """What the cgroup *name* is, of which a hierarchy has *directory*."""
    step = layouts.match(parent, name) or keepers.task(parent, name, directory)
    if isinstance(step, layouts.Match) and step.engine is None and _is_podmans_pod(directory):
        return None
    return step


def _is_podmans_pod(directory: str) -> bool:
    """A pod's cgroup has an id for its name too, and its containers below (``--cgroup-parent``)."""
    try:
        with os.scandir(directory) as entries:
            return any(e.name.startswith("libpod-") for e in entries)
    except OSError:
        return False
