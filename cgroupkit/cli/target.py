"""From a name on the command line to a cgroup: a path, a pid of a process inside, or a container."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cgroupkit import delegation
from cgroupkit.cgroup import Cgroup
from cgroupkit.cli.messages import UsageError, failed
from cgroupkit.errors import CgroupKitError, DelegationError, NotFoundError
from cgroupkit.tree import Branch

if TYPE_CHECKING:
    from cgroupkit.containers import Container

_PID_DIGITS = 7
"""As many as a pid has at most; a longer number is the beginning of a container's id."""


def find(name: str) -> Cgroup:
    """The cgroup that *name* means. Up to seven digits are a pid, always: /cgroupkit/123 is the cgroup.

    A name without / before it is a cgroup of ours if there is one, else a container.
    """
    return container_or_cgroup(name)[1]


def container_or_cgroup(name: str) -> tuple[Container | None, Cgroup]:
    """As :func:`find`, and the container if that is what was meant."""
    if not name.strip():
        raise UsageError("an empty name is not valid: give a cgroup's path, a pid or a container")
    if name.isascii() and name.isdigit() and len(name) <= _PID_DIGITS:
        return None, Cgroup.of(int(name))
    if name.startswith("/"):
        return None, Cgroup(name)
    place = "there is no place of yours that a relative name could count from"
    try:
        where = delegation.place(start=False)
        place = "none below " + " or ".join(sorted(set(where.paths.values())))
        if where.started:
            return None, Cgroup(name)
    except (NotFoundError, DelegationError):
        pass
    return _container(name, place)


def _container(name: str, place: str) -> tuple[Container, Cgroup]:
    from cgroupkit.containers import ContainerNotFoundError  # noqa: PLC0415
    from cgroupkit.containers import find as find_container  # noqa: PLC0415

    try:
        container = find_container(name)
    except ContainerNotFoundError as error:
        hint = f"did you mean /{name}?" if _exists(f"/{name}") else "`cgroupkit ls` lists what there is"
        words = f"there is no cgroup {name!r}: {place}; {hint}; and {error}"
        raise NotFoundError(2, words, name) from None
    return container, container.cgroup


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
    return each_name(names, lambda name: action(find(name)))


def each_name(names: Iterable[str], action: Callable[[str], object]) -> int:
    """Do *action* with every name, as :func:`each`."""
    status = 0
    for name in names:
        try:
            action(name)
        except CgroupKitError as error:
            status = max(status, failed(error))
    return status
