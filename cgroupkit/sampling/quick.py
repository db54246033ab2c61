"""The C way to read cgroups: the programs for build.c, made of the controllers' descriptions.

Without libquick.so, or on a Python that is not CPython, all is read by Python: slower, no different.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from ctypes import (
    Structure,
    c_char_p,
    c_int,
    c_long,
    c_longlong,
    c_ulong,
    c_ulonglong,
    c_void_p,
    py_object,
)
from typing import Any

import attrs

from cgroupkit import files, units
from cgroupkit.controllers.flat import Flat
from cgroupkit.controllers.kinds import Kind, is_limit, is_number

_NUMBER, _LIMIT, _FLAT, _CALL = range(4)
_EXTRA, _LEFT_OUT, _NONE = -1, -2, -1
_FILES, _LEAVES, _FIELDS, _ALSO = 64, 48, 96, 3
_KEYS = 1000
_DESCR_SET = 55  # Py_tp_descr_set, of the stable ABI


class _Key(Structure):
    _fields_ = (
        ("text", c_char_p),
        ("length", c_int),
        ("field", c_int),
        ("divide", c_ulonglong),
        ("name", py_object),
    )


class _Record(Structure):
    _fields_ = (
        ("type", py_object),
        ("fields", c_int),
        ("extra", c_int),
        ("descriptors", ctypes.POINTER(py_object)),
        ("defaults", ctypes.POINTER(py_object)),
        ("keys", c_int),
        ("key", ctypes.POINTER(_Key)),
        ("extras", py_object),
        ("extra_keys", c_int),
    )


class _Leaf(Structure):
    _fields_ = (
        ("kind", c_int),
        ("files", c_int),
        ("file", c_int * (_ALSO + 1)),
        ("also", c_int * _ALSO),
        ("divide", c_ulonglong * _ALSO),
        ("whole", c_int),
        ("part", c_int),
        ("rest", c_int),
        ("record", ctypes.POINTER(_Record)),
        ("call", py_object),
    )


class _Group(Structure):
    _fields_ = (("record", ctypes.POINTER(_Record)), ("source", ctypes.POINTER(c_int)))


class _Program(Structure):
    _fields_ = (
        ("files", c_int),
        ("leaves", c_int),
        ("groups", c_int),
        ("stale", c_int),
        ("leaf", ctypes.POINTER(_Leaf)),
        ("group", ctypes.POINTER(_Group)),
        ("set", c_void_p),
        ("unlimited", c_ulonglong),
        ("none", py_object),
    )


class _Library:
    """libquick.so, loaded."""

    def __init__(self) -> None:
        library = ctypes.PyDLL(os.path.join(os.path.dirname(__file__), "libquick.so"))
        get_slot = ctypes.pythonapi.PyType_GetSlot
        get_slot.argtypes, get_slot.restype = (py_object, c_int), c_void_p
        self.set_slot: int = get_slot(_Described.slot.__class__, _DESCR_SET)  # type: ignore[attr-defined]
        self.slots: Callable[[int], int] = library.quick_slots
        library.quick_slots.argtypes, library.quick_slots.restype = (c_int,), c_ulong
        self.sweep: Callable[..., int] = library.quick_sweep
        library.quick_sweep.argtypes = (
            c_void_p, c_long, py_object, py_object, c_longlong, c_void_p, c_int
        )  # fmt: skip


class _Described:
    __slots__ = ("slot",)


def _load() -> _Library | None:
    if sys.implementation.name != "cpython" or os.environ.get("CGROUPKIT_PURE_PYTHON"):
        return None
    try:
        return _Library()
    except (OSError, AttributeError, ValueError):
        return None


def decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


library = _load()
"""None where cgroups are read by Python."""


@attrs.frozen
class LeafPlan:
    """One leaf of Stats: its name, the files it is made of, and how."""

    name: str
    files: tuple[int, ...]
    how: Kind[Any, Any] | Flat[Any] | None
    """None is only known to *parse*."""
    parse: Callable[..., Any]
    """From the files' texts, as bytes."""


class Program:
    """What build.c does for all cgroups that have the same files."""

    def __init__(
        self,
        count: int,
        leaves: Sequence[LeafPlan],
        groups: Mapping[str, type[attrs.AttrsInstance]],
        stats: type[attrs.AttrsInstance],
    ) -> None:
        self._kept: list[object] = []
        self._learned: dict[str, dict[str, None]] = {}
        self._files = count
        self._leaves = leaves
        self._groups = groups
        self._stats = stats
        self._program = _Program(stale=1)
        # A control group has few files; who has more is read by Python.
        fits = count <= _FILES and len(leaves) + len(groups) + 4 <= _LEAVES
        self.address = ctypes.addressof(self._program) if library and fits else 0
        """Where the program is, for as long as this lives; 0 where C cannot do it."""

    def prepare(self) -> None:
        """Compile it with the keys that were seen, if there are new ones; not while it runs."""
        if self._program.stale:
            self._compile()

    def _compile(self) -> None:
        """Interrupted at any point, it leaves a program whose parts are kept."""
        before = len(self._kept)
        leaves = (_Leaf * len(self._leaves))(*map(self._leaf, self._leaves))
        at = {"time_ns": 0, "inodes": 1, "host_cpu": 2}
        at |= {leaf.name: number + 3 for number, leaf in enumerate(self._leaves)}
        groups = []
        for name, record in self._groups.items():
            groups.append(self._group(record, at, f"{name}."))
            at[name] = 2 + len(self._leaves) + len(groups)
        groups.append(self._group(self._stats, at, ""))
        program = _Program(
            self._files,
            len(leaves),
            len(groups),
            0,
            leaves,
            self._keep((_Group * len(groups))(*groups)),
            library.set_slot if library else 0,
            units.V1_UNLIMITED,
            None,
        )
        self._keep(program, leaves)
        ctypes.pointer(self._program)[0] = program
        del self._kept[:before]

    def _keep(self, *things: Any) -> Any:
        self._kept.extend(things)
        return things[0]

    def _group(self, record: type[attrs.AttrsInstance], at: Mapping[str, int], prefix: str) -> _Group:
        names = [field.name for field in attrs.fields(record)]
        source = self._keep((c_int * len(names))(*[at.get(prefix + name, _NONE) for name in names]))
        return _Group(ctypes.pointer(self._record(record)), source)

    def _record(self, cls: type[attrs.AttrsInstance], keys: Sequence[_Key] = ()) -> _Record:
        fields = attrs.fields(cls)
        names = [field.name for field in fields]
        # Fields without a default, and those that a factory makes, always get a value.
        made = (attrs.NOTHING, *(f.default for f in fields if hasattr(f.default, "factory")))
        defaults: list[Any] = [None if field.default in made else field.default for field in fields]
        descriptors: list[Any] = [vars(cls)[name] for name in names]
        extras = {key.name: None for key in keys if key.field == _EXTRA}
        self._keep(defaults, descriptors, keys, extras)
        record = _Record(
            cls,
            len(names),
            names.index("extra") if "extra" in names else _NONE,
            (py_object * len(names))(*descriptors),
            (py_object * len(names))(*defaults),
            len(keys),
            (_Key * len(keys))(*keys),
            extras,
            len(extras),
        )
        self._keep(record)
        return record

    def _leaf(self, plan: LeafPlan) -> _Leaf:
        leaf = _Leaf(kind=_CALL, files=len(plan.files), whole=_NONE, part=_NONE, rest=_NONE)
        leaf.file[: len(plan.files)] = plan.files
        leaf.call = plan.parse
        if isinstance(plan.how, Flat):
            self._flat(leaf, plan, plan.how)
        elif is_number(plan.how):
            leaf.kind = _NUMBER
        elif is_limit(plan.how):
            leaf.kind = _LIMIT
        self._keep(plan.parse, leaf.call)
        return leaf

    def _flat(self, leaf: _Leaf, plan: LeafPlan, flat: Flat[Any]) -> None:
        names = [field.name for field in attrs.fields(flat.cls)]
        if len(plan.files) != 1 + len(flat.also) or len(names) > _FIELDS:
            return
        leaf.kind = _FLAT
        for number, name in enumerate(flat.also):
            leaf.also[number] = names.index(name)
            leaf.divide[number] = flat.divide.get(name, 1)
        if flat.shares:
            leaf.whole, leaf.part, leaf.rest = map(names.index, flat.shares)
        learned = self._learned.setdefault(plan.name, {})
        keys = [self._key(flat, names, key) for key in learned]
        leaf.record = ctypes.pointer(self._record(flat.cls, keys))

        def learn(text: bytes, *more: bytes) -> Any:
            value = plan.parse(text, *more)
            found = dict.fromkeys(key for key, _ in files.flat_keyed(decoded(text)))
            if not found.keys() <= learned.keys() and len(learned) < _KEYS:
                learned.update(found)
                self._program.stale = 1
            return value

        leaf.call = self._keep(learn)

    def _key(self, flat: Flat[Any], names: Sequence[str], key: str) -> _Key:
        field = flat.field(key)
        index = _LEFT_OUT if field is None else names.index(field) if field in flat.fields else _EXTRA
        text = self._keep(key.encode("utf-8", "surrogateescape"))
        return _Key(
            text, len(text), index, flat.divide.get(field or "", 1), self._keep(sys.intern(key))
        )
