"""From a name on the command line to a cgroup: a path, or the pid of a process inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cgroupkit import delegation
from cgroupkit.cgroup import Cgroup
from cgroupkit.cli.messages import UsageError, failed
from cgroupkit.errors import CgroupKitError, DelegationError, NotFoundError
from cgroupkit.tree import Branch


def find(name: str) -> Cgroup:
    """The cgroup that *name* means. All digits are a pid, always: /cgroupkit/123 is the cgroup."""
    if not name.strip():
        raise UsageError("an empty name is not valid: give a cgroup's path or a pid")
    if name.isascii() and name.isdigit():
        return Cgroup.of(int(name))
    if name.startswith("/"):
        return Cgroup(name)
    found = None
    place = "there is no place of yours that a relative name could count from"
    try:
        where = delegation.place(start=False)
        place = "none below " + " or ".join(sorted(set(where.paths.values())))
        found = Cgroup(name) if where.started else None
    except (NotFoundError, DelegationError):
        pass
    if found is None:
        hint = f"did you mean /{name}?" if _exists(f"/{name}") else "`cgroupkit ls` lists what there is"
        raise NotFoundError(2, f"there is no cgroup {name!r}: {place}; {hint}", name)
    return found


def _exists(path: str) -> bool:
    try:
        return Cgroup(path).exists()
    except CgroupKitError:
        return False


def ours() -> Cgroup | None:
    """The cgroup in which relative names lie, if there is one already."""
    try:
        place = delegation.place(start=False)
    except CgroupKitError:
        return None
    found = (Branch.find(hierarchy, path) for hierarchy, path in place.paths.items())
    cgroup = Cgroup.at(tuple(branch for branch in found if branch))
    return cgroup if cgroup.exists() else None


def each(names: Iterable[str], action: Callable[[Cgroup], object]) -> int:
    """Do *action* with every cgroup named; one that fails is reported and does not stop the rest."""
    status = 0
    for name in names:
        try:
            action(find(name))
        except CgroupKitError as error:
            status = max(status, failed(error))
    return status
