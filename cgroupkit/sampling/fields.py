"""Names of the parts of Stats, as a user may choose them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from cgroupkit.errors import InvalidValueError
from cgroupkit.stats import GROUPS, LEAVES
from cgroupkit.units import invalid

HOST_CPU = "host_cpu"

_NAMES: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in (*LEAVES, HOST_CPU)},
    # The kernel's own names, too: memory.swap.current, cpu.stat, io.pressure.
    **{source.files[0]: (leaf.name,) for leaf in LEAVES.values() if (source := leaf.line.sources[2])},
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
    hint = f"; did you mean {near[0]!r}{inside}? There are" if near else ""
    known = ", ".join([*GROUPS, *(n for n in (*LEAVES, HOST_CPU) if "." not in n)])
    return InvalidValueError(
        f"fields: {name!r} is not a field of Stats{hint or '; give one of these:'} {known}, or one "
        "inside of a group such as memory.current"
    )
