"""Where may this process create cgroups? A delegated subtree, a systemd scope, or /cgroupkit."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from functools import cache

import attrs

from cgroupkit import names
from cgroupkit.errors import DelegationError, InvalidValueError
from cgroupkit.hierarchy import Hierarchy, Host, host, key_of, paths_of

DEFAULT_NAME = "cgroupkit"


@attrs.frozen
class Place:
    """The cgroup below which relative names are created, in each hierarchy that allows it."""

    paths: Mapping[Hierarchy, str]
    why: str
    """How it was found, for people."""


def place(parent: str | None = None) -> Place:
    """Where relative paths count from, as docs/cgroups.md describes it.

    Order: *parent* or ``CGROUPKIT_PARENT``; a delegated subtree of our own; on a systemd machine
    with v2 a scope with Delegate=yes; for root ``/cgroupkit``; else :class:`DelegationError`.
    """
    here = host()
    named = parent or os.environ.get("CGROUPKIT_PARENT")
    if named:
        if not named.startswith("/"):
            raise InvalidValueError(
                f"parent={named!r} is not valid: give an absolute cgroup path such as /myapp "
                "(in CGROUPKIT_PARENT too)"
            )
        parts = names.components(named)
        return Place({h: "/" + "/".join(parts) for h in _usable(here)}, f"as told: {named}")
    return _delegated(here) or _systemd(here) or _root(here)


def _usable(here: Host) -> list[Hierarchy]:
    """The hierarchies that cgroups are made in: all but named ones, which control nothing."""
    return [h for h in here.hierarchies if h.version == 2 or h.controllers]


def _delegated(here: Host) -> Place | None:
    """Our own cgroup, where systemd or an administrator has handed it over."""
    if os.geteuid() == 0 and not (here.unified and here.unified.controllers):
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
                found[hierarchy] = above
                break
    if not found:
        return None
    return Place(found, f"a subtree delegated to us: {next(iter(found.values()))}")


def _upwards(path: str, top: str) -> list[str]:
    """*path* and its parents up to *top*."""
    parts = path.strip("/").split("/")
    ways = ["/" + "/".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return [way for way in ways if way.startswith(top)] or [path]


def _inner(directory: str) -> bool:
    """A v2 cgroup that is not the machine's root, though our namespace calls it ``/``."""
    return os.path.exists(f"{directory}/cgroup.type")


def _is_delegated(hierarchy: Hierarchy, directory: str) -> bool:
    if hierarchy.read_only or not os.access(f"{directory}/cgroup.procs", os.W_OK):
        return False
    if hierarchy.version == 1:
        return os.geteuid() != 0 and os.stat(directory).st_uid == os.geteuid()
    if _marked(directory):
        return True
    if os.path.isdir("/run/systemd/system"):
        return False
    if os.geteuid() == 0:
        return hierarchy.mount == directory and _inner(directory)
    return os.stat(directory).st_uid == os.geteuid()


def _marked(directory: str) -> bool:
    """systemd marks units with Delegate=yes by an extended attribute (systemd.resource-control)."""
    for attribute in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(directory, attribute) == b"1":
                return True
        except OSError:
            continue
    return False


def _systemd(here: Host) -> Place | None:
    unified = here.unified
    if unified is None or not unified.controllers or here.mode != "v2":
        return None
    if not os.path.isdir("/run/systemd/system"):
        return None
    from cgroupkit import systemd  # noqa: PLC0415  (jeepney is needed on this path alone)

    try:
        path = systemd.delegated_scope()
    except systemd.NoManagerError as error:
        if os.geteuid() == 0:
            return None
        raise DelegationError(
            f"cannot ask systemd for a delegated scope: {error}. Log in through a session with a "
            "user manager (`loginctl enable-linger` starts one), or run as root"
        ) from error
    return Place({unified: path}, f"a delegated systemd scope: {path}")


@cache
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
    paths = {h: h.path(DEFAULT_NAME) for h in _usable(here)}
    atexit.register(_prune, tuple(filter(None, map(Hierarchy.directory, paths, paths.values()))))
    return Place(paths, f"root's own: /{DEFAULT_NAME}")


def _prune(directories: tuple[str, ...]) -> None:
    """Leave no empty /cgroupkit behind."""
    for directory in directories:
        try:
            os.rmdir(directory)
        except OSError:
            continue
