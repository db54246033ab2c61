"""Where may this process create cgroups? A delegated subtree, a systemd scope, or /cgroupkit."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from functools import cache

import attrs

from cgroupkit import names, tree
from cgroupkit.errors import DelegationError, InvalidValueError
from cgroupkit.hierarchy import Hierarchy, Host, host, key_of, paths_of

DEFAULT_NAME = "cgroupkit"


@attrs.frozen
class Place:
    """The cgroup below which relative names are created, in each hierarchy that allows it."""

    paths: Mapping[Hierarchy, str]
    why: str
    """How it was found, for people."""
    ours: bool = False
    """Root's own, which is made and removed as it is needed."""
    started: bool = True
    """False where systemd would yet have to be asked for it; *paths* is then what to expect."""

    def exists(self) -> bool:
        """Whether it is still there (a scope may have been stopped); root's own is made at need."""
        return self.ours or any(map(os.path.isdir, self.directories()))

    def directories(self) -> list[str]:
        """Where it is in each hierarchy that shows it."""
        return list(filter(None, (h.directory(path) for h, path in self.paths.items())))


def place(parent: str | None = None, *, start: bool = True) -> Place:
    """Where relative paths count from, as docs/cgroups.md describes it.

    Order: *parent* or ``CGROUPKIT_PARENT``; a delegated subtree of our own; on a systemd machine
    with v2 a scope with Delegate=yes; for root ``/cgroupkit``; else :class:`DelegationError`.
    With *start* False systemd is not asked for a scope: that is for looking, not for creating.
    """
    here = host()
    named = parent or os.environ.get("CGROUPKIT_PARENT")
    if named:
        if not isinstance(named, str) or not named.startswith("/"):
            raise InvalidValueError(
                f"parent={named!r} is not valid: give an absolute cgroup path such as /myapp "
                "(in CGROUPKIT_PARENT too)"
            )
        parts = names.components(named)
        told = Place({h: "/" + "/".join(parts) for h in _usable(here)}, f"as told: {named}")
        if named not in _told:
            _told.add(named)
            _prune_at_exit(tuple(d for d in told.directories() if not os.path.isdir(d)))
        return told
    key = (here, os.geteuid())
    found = _found.get(key)
    if found is None or not found.exists():
        found = _delegated(here) or _systemd(here, start) or _root(here)
        if found.started:
            _found[key] = found
    return found


_found: dict[tuple[Host, int], Place] = {}
_told: set[str] = set()


def _usable(here: Host) -> list[Hierarchy]:
    """The hierarchies that cgroups are made in: all but named ones, which control nothing."""
    return [h for h in here.hierarchies if h.version == 2 or h.controllers]


def _delegated(here: Host) -> Place | None:
    """Our own cgroup, where systemd or an administrator has handed it over."""
    if os.geteuid() == 0 and here.mode != "v2":
        return None  # on v1 root may create cgroups anywhere
    own = paths_of()
    found: dict[Hierarchy, str] = {}
    for hierarchy in _usable(here):
        path = own.get(key_of(hierarchy), "/")
        directory = hierarchy.directory(path)
        if directory is None or (path == "/" and hierarchy.root == "/" and not _inner(directory)):
            continue
        for above in _upwards(path, hierarchy.root):
            directory = hierarchy.directory(above)
            if directory and _is_delegated(hierarchy, directory):
                found[hierarchy] = above  # and on, to the top of what is ours
            elif hierarchy in found:
                break
    if not found:
        return None
    return Place(found, f"a subtree delegated to us: {next(iter(found.values()))}")


def _upwards(path: str, top: str) -> list[str]:
    """*path* and its parents up to *top*."""
    parts = [part for part in path.split("/") if part]
    ways = ["/" + "/".join(parts[:n]) for n in range(len(parts), -1, -1)]
    return [way for way in ways if way.startswith(top)]


def _inner(directory: str) -> bool:
    """A v2 cgroup that is not the machine's root, though our namespace calls it ``/``."""
    return os.path.exists(f"{directory}/cgroup.type")


def _is_delegated(hierarchy: Hierarchy, directory: str) -> bool:
    if hierarchy.read_only or not os.access(f"{directory}/cgroup.procs", os.W_OK):
        return False
    if hierarchy.version == 1:
        return os.geteuid() != 0 and os.stat(directory).st_uid == os.geteuid()
    if tree.is_delegated(directory):
        # Where systemd's user manager (or a container's systemd) sits, the subtree is its own.
        return not os.path.isdir(f"{directory}/init.scope")
    if os.path.isdir("/run/systemd/system"):
        return False
    if os.geteuid() == 0:
        return hierarchy.mount == directory and _inner(directory)
    return os.stat(directory).st_uid == os.geteuid()


def _systemd(here: Host, start: bool) -> Place | None:
    unified = here.unified
    if unified is None or not unified.controllers or here.mode != "v2":
        return None
    if not os.path.isdir("/run/systemd/system"):
        return None
    from cgroupkit import systemd  # noqa: PLC0415  (jeepney is needed on this path alone)

    try:
        path, running = (systemd.delegated_scope(), True) if start else systemd.expected_scope()
    except systemd.NoManagerError as error:
        if os.geteuid() == 0:
            return None
        raise DelegationError(
            f"cannot ask systemd for a delegated scope: {error}. Log in through a session with a "
            "user manager (`loginctl enable-linger` starts one), or run as root"
        ) from error
    if not running:
        return Place({unified: path}, f"a systemd scope, on first use: {path}", started=False)
    return Place({unified: path}, f"a delegated systemd scope: {path}")


def _root(here: Host) -> Place:
    if os.geteuid() != 0:
        raise DelegationError(
            "this user may not create cgroups: no cgroup is delegated to it and there is no systemd "
            "user manager to ask. Run as root, have an administrator chown a cgroup's directory, "
            "cgroup.procs and cgroup.subtree_control to you and move you in, or name one in "
            "CGROUPKIT_PARENT"
        )
    if not here.hierarchies:
        raise DelegationError("no cgroup file system is mounted: mount -t cgroup2 none /sys/fs/cgroup")
    found = Place(
        {h: h.path(DEFAULT_NAME) for h in _usable(here)}, f"root's own: /{DEFAULT_NAME}", ours=True
    )
    _prune_at_exit(tuple(found.directories()))
    return found


@cache
def _prune_at_exit(directories: tuple[str, ...]) -> None:
    atexit.register(_prune, directories)


def _prune(directories: tuple[str, ...]) -> None:
    """Leave no empty /cgroupkit behind."""
    for directory in directories:
        try:
            os.rmdir(directory)
        except OSError:
            continue
