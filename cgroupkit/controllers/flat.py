"""Flat keyed files as records: said once, read by Python here and by C in cgroupkit.sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from cgroupkit import files
from cgroupkit.controllers.kinds import Kind, reading

R = TypeVar("R")


def _same(key: str) -> str:
    return key.replace(".", "_")


@attrs.frozen(kw_only=True)
class Flat(Generic[R]):
    """How ``key value`` lines, and single numbers from further files, become the record *cls*.

    Keys that are no field of *cls* go to its ``extra``, under the kernel's names; lines whose value is
    no number are left out.
    """

    cls: type[R]
    field: Callable[[str], str | None] = _same
    """The field for a key of the kernel's; None leaves the line out."""
    divide: Mapping[str, int] = attrs.field(factory=dict)
    """By field: how many of the kernel's units are one of ours."""
    also: tuple[str, ...] = ()
    """The fields that further files hold, in the order of the files; one may be absent."""
    shares: tuple[str, str, str] | None = None
    """(whole, part, rest): two sampled parts are scaled so that they add up to the whole."""

    def __call__(self, text: str, *numbers: str) -> R:
        known = self.fields
        values: dict[str, Any] = {}
        extra: dict[str, int] = {}
        for key, word in files.flat_keyed(text):
            field = self.field(key)
            try:
                number = int(word)
            except ValueError:
                continue
            if field is None:
                continue
            if field in known:
                values[field] = number // self.divide.get(field, 1)
            else:
                extra[key] = number
        for field, word in zip(self.also, numbers, strict=False):
            if word:
                values[field] = int(word) // self.divide.get(field, 1)
        if self.shares:
            self._scale(values, *self.shares)
        if "extra" in self.cls.__annotations__:
            values["extra"] = extra
        return self.cls(**values)

    @property
    def fields(self) -> frozenset[str]:
        """What a key may become."""
        return frozenset(self.cls.__annotations__) - {"extra"}

    @staticmethod
    def _scale(values: dict[str, Any], whole: str, part: str, rest: str) -> None:
        if not {whole, part, rest} <= values.keys():
            values.pop(part, None)
            values.pop(rest, None)
            return
        total, ticks = values[whole], values[part] + values[rest]
        values[part] = total * values[part] // ticks if ticks else total
        values[rest] = total - values[part]


def record(cls: type[R]) -> Kind[R, Any]:
    """A flat keyed file in which the kernel's keys are the fields of *cls*."""
    return flat(Flat(cls=cls))


def flat(shape: Flat[R]) -> Kind[R, Any]:
    return reading(shape.cls.__name__, shape)
