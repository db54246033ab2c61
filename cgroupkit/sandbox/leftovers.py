"""Boxes whose owner has died: their names tell, and the next cgroupkit program removes them."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping

from cgroupkit import members, tree
from cgroupkit.errors import CgroupKitError
from cgroupkit.hierarchy import Hierarchy
from cgroupkit.tree import Branch

Branches = tuple[Branch, ...]

_NAME = re.compile(r"box-(\d+)-([0-9a-f]+)-([0-9a-f.]+)-\d+")
_serial = itertools.count()


def new_box(place: Mapping[Hierarchy, str]) -> Branches:
    """A name of our own below *place*: ``box-PID-START-NAMESPACES-N``.

    It tells the owner for certain, even after pids were reused.
    """
    pid = os.getpid()
    name = f"box-{pid}-{_started(pid):x}-{_namespaces()}-{next(_serial)}"
    found = (Branch.find(h, f"{path.rstrip('/')}/{name}") for h, path in place.items())
    return tuple(branch for branch in found if branch)


def _started(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, clock ticks after boot; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _namespaces() -> str:
    """What pids and start times mean depends on the pid and the time namespace."""
    found = []
    for name in ("pid", "time"):
        try:
            found.append(f"{os.stat(f'/proc/self/ns/{name}').st_ino:x}")
        except FileNotFoundError:
            found.append("0")
    return ".".join(found)


def abandoned(paths: Mapping[Hierarchy, str]) -> Iterator[Branches]:
    """The boxes directly below *paths* whose owner is gone.

    A box made in another namespace is left alone: its owner cannot be looked up here.
    """
    place = tuple(b for h, path in paths.items() if (b := Branch.find(h, path)))
    here = _namespaces()
    for name in tree.names(place):
        match = _NAME.fullmatch(name)
        if match is None or match[3] != here:
            continue
        started = _started(int(match[1]))
        if started is None or f"{started:x}" != match[2]:
            yield tree.child(place, name)


def end(branches: Branches) -> None:
    """Kill what is inside, and remove it with all cgroups below; what is gone already is fine."""
    try:
        tree.remove(branches)
        return
    except CgroupKitError:
        branches = tuple(branch for branch in branches if os.path.isdir(branch.directory))
    try:
        if branches:
            members.kill(branches, 10)
            tree.remove(branches, recursive=True)
    except FileNotFoundError:
        return  # its launcher, or another program, was faster


def sweep(paths: Mapping[Hierarchy, str]) -> list[str]:
    """End every abandoned box; the names of those that were removed."""
    removed = []
    for branches in abandoned(paths):
        try:
            end(branches)
        except CgroupKitError:
            continue  # not ours to remove: another user's
        removed.append(branches[0].path)
    return removed
