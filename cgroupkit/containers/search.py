"""find(): from what somebody types to one container."""

from __future__ import annotations

from collections.abc import Iterable

from cgroupkit.containers.errors import AmbiguousContainerError, ContainerNotFoundError
from cgroupkit.containers.layouts import FULL_ID
from cgroupkit.containers.records import Container
from cgroupkit.containers.walking import Found, walk
from cgroupkit.errors import InvalidValueError

_SHORT_ID = 12
_SHOWN = 10
_HEX = frozenset("0123456789abcdef")


def find(text: str) -> Container:
    """The running container with that id, name, or beginning of an id.

    A full id goes before a name and a name before a beginning, as in ``docker``; but 12 and more
    hexadecimal digits with which an id begins are always that id. A name is matched whole; ``/``
    before it, as Docker's API has it, is ignored. Containers inside of containers are looked at
    where no other fits. Raises :class:`ContainerNotFoundError`, :class:`AmbiguousContainerError`.
    """
    if not isinstance(text, str):
        raise InvalidValueError(f"container {text!r} is not valid: give its id or name as a str")
    wanted = text.strip().removeprefix("/")
    if not wanted:
        raise InvalidValueError(f"container {text!r} is not valid: give an id or a name")
    outer: list[Container] = []
    for nested in (False, True):
        found = walk(nested=nested)
        fitting = _fitting(found, wanted)
        if len(fitting) > 1:
            raise AmbiguousContainerError(
                f"{len(fitting)} containers fit {text!r}: {_listing(fitting)}; {_remedy(fitting)}"
            )
        if fitting:
            return fitting[0]
        outer = outer or _all(found)
    raise ContainerNotFoundError(
        2,
        f"no running container has the id or name {text!r}; "
        + (f"there are {_listing(outer)}" if outer else "none can be seen on this machine"),
        text,
    )


def _fitting(found: list[Found], wanted: str) -> list[Container]:
    """Those that fit best. Names are read only where the ids do not decide."""
    if same := _all(one for one in found if one.match.id == wanted):
        return same
    begins: list[Found] = []
    if _HEX.issuperset(wanted):
        begins = [f for f in found if f.match.id.startswith(wanted) and FULL_ID.fullmatch(f.match.id)]
        if len(wanted) >= _SHORT_ID and (same := _all(begins)):
            return same
    return [c for c in _all(found) if c.name == wanted] or _all(begins)


def _all(found: Iterable[Found]) -> list[Container]:
    return [container for one in found if (container := one.container())]


def _remedy(fitting: list[Container]) -> str:
    if len({container.id for container in fitting}) == len(fitting):
        return "give more of the id"
    paths = ", ".join(container.cgroup.name for container in fitting[:_SHOWN])
    return f"open the cgroup by its path: {paths}"


def _listing(containers: list[Container]) -> str:
    shown = ", ".join(map(str, containers[:_SHOWN]))
    more = len(containers) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
