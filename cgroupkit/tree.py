"""The directories of cgroups: making, listing and removing them, in every hierarchy at once."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Self

import attrs

from cgroupkit import files
from cgroupkit.errors import (
    AccessError,
    CgroupKitError,
    FileError,
    InvalidValueError,
    NotFoundError,
    TopologyError,
)
from cgroupkit.hierarchy import Hierarchy
from cgroupkit.waiting import turns

VANISHED = (errno.ENOENT, errno.ENODEV, errno.ENAMETOOLONG)
"""A directory that is gone, or lies deeper than a path can tell (PATH_MAX)."""
_TURNS = 50
_DYING = 2.0
"""Seconds that rmdir is tried again while killed processes are still leaving."""


@attrs.frozen
class Branch:
    """One cgroup in one hierarchy."""

    hierarchy: Hierarchy
    path: str
    """As in /proc/PID/cgroup."""
    directory: str

    @classmethod
    def find(cls, hierarchy: Hierarchy, path: str) -> Self | None:
        """The cgroup *path*, or None where the mount does not show it."""
        directory = hierarchy.directory(path)
        return None if directory is None else cls(hierarchy, path, directory)

    @property
    def version(self) -> int:
        return self.hierarchy.version

    @property
    def is_root(self) -> bool:
        """Whether it is the top of what is mounted."""
        return self.directory == self.hierarchy.mount


def names(branches: Iterable[Branch]) -> list[str]:
    """The names of the cgroups directly below, in any of *branches*."""
    found: set[str] = set()
    for branch in branches:
        try:
            with os.scandir(branch.directory) as entries:
                found.update(e.name for e in entries if e.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise files.refused(error, branch.directory, "list") from None
    return sorted(found)


def walk(directory: str) -> Iterator[tuple[str, int]]:
    """The directory and all below with their inodes, parents first, without those that vanish.

    What is deeper than a path can tell is left out. Raises the fitting :class:`FileError`.
    """
    left = [directory]
    while left:
        here = left.pop()
        try:
            status = os.stat(here)
            if status.st_nlink != 2:  # that many links has one without directories inside
                with os.scandir(here) as entries:
                    left += [e.path for e in entries if e.is_dir(follow_symlinks=False)]
        except OSError as error:
            if error.errno in VANISHED:
                continue
            raise files.refused(error, here, "list") from None
        yield here, status.st_ino


def child(branches: Iterable[Branch], name: str) -> tuple[Branch, ...]:
    """The child *name* in those of *branches* that have it."""
    found = (
        Branch(b.hierarchy, f"{b.path.rstrip('/')}/{name}", f"{b.directory}/{name}") for b in branches
    )
    return tuple(branch for branch in found if os.path.isdir(branch.directory))


def make(branches: Iterable[Branch], *, exist_ok: bool = False) -> list[str]:
    """Make the directories, parents too, ready for processes; the ones made, in order."""
    made: list[str] = []
    try:
        for branch in branches:
            _make_one(branch, made, exist_ok=exist_ok)
    except BaseException:
        unmake(made)
        raise
    return made


def _make_one(branch: Branch, made: list[str], *, exist_ok: bool) -> None:
    directory = branch.directory
    for turn in range(_TURNS):
        try:
            _mkdir(directory, made)
            break
        except FileNotFoundError:  # another program may remove the empty parent again
            if turn == _TURNS - 1:
                raise
            _make_one(_parent(branch), made, exist_ok=True)
        except FileExistsError:
            if not (exist_ok and os.path.isdir(directory)):
                raise
            break
    if branch.is_root:
        return
    if branch.version == 2:
        _enable_controllers(branch)
    elif "cpuset" in branch.hierarchy.controllers:
        _inherit_cpuset(directory)


def _mkdir(directory: str, made: list[str]) -> None:
    try:
        os.mkdir(directory)
    except OSError as error:
        raise files.refused(error, directory, "create") from None
    made.append(directory)


def _parent(branch: Branch) -> Branch:
    if branch.is_root:
        raise NotFoundError(errno.ENOENT, f"{branch.directory} is gone: unmounted?", branch.directory)
    up = os.path.dirname
    return Branch(branch.hierarchy, up(branch.path), up(branch.directory))


def _inherit_cpuset(directory: str) -> None:
    """A new v1 cpuset is empty, and an empty one takes no process: copy the parent's."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not files.read(f"{directory}/{file}").strip():
            _copy_down(directory, file)


def _copy_down(directory: str, file: str) -> str:
    """The parent's may be empty too, while another program is just making it."""
    parent = os.path.dirname(directory)
    text = files.read(f"{parent}/{file}")
    if not text.strip():
        text = _copy_down(parent, file)
    files.write(f"{directory}/{file}", text)
    return text


def _enable_controllers(branch: Branch) -> None:
    """Have every controller that the hierarchy offers in this cgroup, as far as its parents may."""
    offered = branch.hierarchy.controllers
    if not offered or set(_words(f"{branch.directory}/cgroup.controllers")) >= set(offered):
        return
    parent = _parent(branch)
    if not (parent.is_root or is_delegated(parent.directory)):
        with suppress(AccessError):  # not ours to change: what it gives has to do
            _enable_controllers(parent)
    enable(parent.directory)


def is_delegated(directory: str) -> bool:
    """Whether systemd marked it as a unit with Delegate=yes: what is above is systemd's alone."""
    for attribute in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(directory, attribute) == b"1":
                return True
        except OSError:
            continue
    return False


def enable(directory: str) -> None:
    """Enable for the children of *directory* all the controllers that it has itself."""
    have = _words(f"{directory}/cgroup.controllers")
    missing = sorted(set(have) - set(_words(f"{directory}/cgroup.subtree_control")))
    control = f"{directory}/cgroup.subtree_control"
    try:
        if missing:
            files.write(control, " ".join(f"+{name}" for name in missing))
    except FileError as error:
        if error.errno == errno.EBUSY:
            raise TopologyError(errno.EBUSY, str(error), control, error.value) from None
        _enable_singly(control, missing)


def _enable_singly(control: str, missing: Iterable[str]) -> None:
    """One controller that cannot be enabled (cpu, while real-time tasks run) must not cost the rest."""
    refused = []
    for name in missing:
        try:
            files.write(control, f"+{name}")
        except FileError as error:
            refused.append(error)
    if len(refused) == len(list(missing)):
        raise refused[0]


def _words(path: str) -> list[str]:
    return files.read(path).split()


def unmake(made: Iterable[str]) -> None:
    """Remove the directories that :func:`make` made; what cannot be removed stays for `gc`."""
    for directory in reversed(list(made)):
        try:
            _rmdir(directory, time.monotonic() + _DYING)
        except CgroupKitError:
            continue


def remove(branches: tuple[Branch, ...], *, recursive: bool = False) -> None:
    """Remove the directories. :class:`NotFoundError` if there was none of them."""
    if all(branch.is_root for branch in branches):
        raise InvalidValueError("the root cgroup cannot be removed")
    gone: FileError | None = None
    removed = False
    deadline = time.monotonic() + _DYING
    for branch in branches:
        if branch.is_root:
            continue
        try:
            if recursive:
                _remove_below(branch.directory, deadline)
            _rmdir(branch.directory, deadline)
            removed = True
        except NotFoundError as error:
            gone = error
    if gone and not removed:
        raise gone


def _remove_below(directory: str, deadline: float) -> None:
    for inner, _ in reversed(list(walk(directory))[1:]):
        try:
            _rmdir(inner, deadline)
        except NotFoundError:
            continue


def _rmdir(directory: str, deadline: float) -> None:
    """rmdir; EBUSY is retried while nothing but dying processes can be the reason."""
    for last in turns(deadline):
        try:
            return os.rmdir(directory)
        except OSError as error:
            refused = files.refused(error, directory, "remove")
            if error.errno != errno.EBUSY or last or _occupied(directory):
                raise refused from None


def _occupied(directory: str) -> bool:
    """Whether living processes or child cgroups are inside (both stay until somebody acts)."""
    try:
        with os.scandir(directory) as entries:
            if any(e.is_dir(follow_symlinks=False) for e in entries):
                return True
        return bool(files.read(f"{directory}/cgroup.procs").strip())
    except (OSError, CgroupKitError):
        return False
