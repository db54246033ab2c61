"""The leaves of Stats by name, and the controllers' descriptions that each is read by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.controllers import Controller, Core, Cpu, Io, Memory, Pids
from cgroupkit.errors import InvalidValueError
from cgroupkit.stats import MemoryStats, PidsStats, PressureStats, _on_v2, controller_of
from cgroupkit.units import invalid

Finder = Callable[[Cgroup], Controller | None]


@attrs.frozen
class Leaf:
    """One value of :class:`Stats`, such as ``memory.current``."""

    name: str
    line: Any  # a Reading, which as an attribute of a class would be a descriptor
    find: Finder
    """The controller to read it from; None where this machine does not have it."""


def _usual(controller: type[Controller]) -> Finder:
    return lambda cgroup: controller_of(cgroup, controller)


def _implicit(controller: type[Controller]) -> Finder:
    return lambda cgroup: _on_v2(cgroup, controller)


def _cpu(cgroup: Cgroup) -> Controller | None:
    return controller_of(cgroup, Cpu) or _on_v2(cgroup, Cpu)


def _group(name: str, record: type[attrs.AttrsInstance], controller: type[Controller]) -> list[Leaf]:
    """A group whose leaves are called as the controller's attributes are."""
    return [
        Leaf(f"{name}.{field.name}", getattr(controller, field.name), _usual(controller))
        for field in attrs.fields(record)
    ]


_ALL = (
    Leaf("cpu", Cpu.stat, _cpu),
    Leaf("cpu_max", Cpu.max, _usual(Cpu)),
    *_group("memory", MemoryStats, Memory),
    *_group("pids", PidsStats, Pids),
    Leaf("io", Io.stat, _usual(Io)),
    Leaf("pressure.cpu", Cpu.pressure, _implicit(Cpu)),
    Leaf("pressure.memory", Memory.pressure, _implicit(Memory)),
    Leaf("pressure.io", Io.pressure, _implicit(Io)),
    Leaf("pressure.irq", Core.irq_pressure, _implicit(Core)),
)
LEAVES: Mapping[str, Leaf] = {leaf.name: leaf for leaf in _ALL}
HOST_CPU = "host_cpu"
GROUPS: Mapping[str, type[attrs.AttrsInstance]] = {
    "memory": MemoryStats,
    "pids": PidsStats,
    "pressure": PressureStats,
}


_NAMES: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in (*LEAVES, HOST_CPU)},
    # The kernel's own names, too: memory.swap.current, cpu.stat, io.pressure.
    **{source.files[0]: (leaf.name,) for leaf in _ALL if (source := leaf.line.sources[2])},
    **{group: tuple(n for n in LEAVES if n.startswith(f"{group}.")) for group in GROUPS},
}


def chosen(fields: Iterable[str] | None) -> tuple[str, ...]:
    """The leaves that *fields* name, in the order of Stats; None is all of them.

    A name is that of a leaf (``memory.current``), of a group (``memory``), or the file's on v2
    (``memory.swap.current``). Raises :class:`InvalidValueError` with the nearest right one.
    """
    if fields is None:
        return (*LEAVES, HOST_CPU)
    if isinstance(fields, str):
        raise invalid("fields", fields, f"give a sequence of names: fields=({fields!r},)")
    found: set[str] = set()
    for name in fields:
        if name not in _NAMES:
            raise _unknown(name)
        found.update(_NAMES[name])
    if not found:
        raise InvalidValueError(
            "fields=() is not valid: name at least one field, or leave it out for all"
        )
    return tuple(name for name in (*LEAVES, HOST_CPU) if name in found)


def _unknown(name: object) -> InvalidValueError:
    text = str(name)
    parents = [n for n in _NAMES if text.startswith(f"{n}.") and n not in GROUPS]
    near = parents[-1:] or get_close_matches(text.lower(), list(_NAMES), 1, 0.5)
    inside = " (its values are read together)" if parents else ""
    hint = f"; did you mean {near[0]!r}{inside}?" if near else ""
    known = ", ".join([*GROUPS, *(n for n in (*LEAVES, HOST_CPU) if "." not in n)])
    return InvalidValueError(
        f"fields: {name!r} is not a field of Stats{hint} Groups and fields are {known}, and inside "
        "of groups such as memory.current"
        if hint
        else f"fields: {name!r} is not a field of Stats; give {known}, or one inside of a group such "
        "as memory.current"
    )
