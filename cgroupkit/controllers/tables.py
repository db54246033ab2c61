"""Files with a line a key (a device, an interface, a resource), written one line at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs

from cgroupkit.controllers.base import Controller, Setting, Source, Step, parsed
from cgroupkit.controllers.kinds import Kind, reading
from cgroupkit.units import invalid

V = TypeVar("V")
R = TypeVar("R")


def _name(value: object, option: str) -> str:
    if not isinstance(value, str) or not value or value.split() != [value]:
        raise invalid(option, value, "give a name without blanks")
    return value


@attrs.frozen
class Row(Generic[V]):
    """One line of such a file: the key, and what follows it."""

    unit: str
    parse: Callable[[str], V]
    print: Callable[[Any, str], str]
    """Gets the value and the option's name; what a partial value leaves out stays as it is."""
    unset: str
    """What gives a key its default back."""
    whole: Callable[[Any, str], Any] = lambda value, option: value
    """Completes a partial value with defaults."""
    key: Callable[[object, str], str] = _name
    """Checks a key and gives it the kernel's spelling."""

    @property
    def kind(self) -> Kind[Mapping[str, V], Any]:
        return reading(f"{self.unit} by key", lambda text: dict(self.rows(text)))

    def rows(self, text: str) -> Iterator[tuple[str, V]]:
        for key, rest in split(text):
            yield key, self.parse(rest)


def split(text: str) -> Iterator[tuple[str, str]]:
    """The lines as key and rest; the line of a ``default`` is left out."""
    for line in text.splitlines():
        key, _, rest = line.strip().partition(" ")
        if key and key != "default":
            yield key, rest


class Table(Source[Mapping[str, V], Mapping[Any, Any]]):
    """One such file. Setting a mapping makes the file hold it; keys left out get their default."""

    def __init__(self, file: str, row: Row[V]) -> None:
        self.files = (file,)
        self.row = row
        self.kind = row.kind

    def read(self, controller: Controller) -> Mapping[str, V]:
        return parsed(self.kind.parse, controller.read(self.files[0]), controller, self.files[0])

    def steps(self, controller: Controller, value: Any, option: str) -> list[Step]:
        whole = {
            key: self.row.whole(inner, f"{option}[{key!r}]") for key, inner in pairs(value, option)
        }
        steps = self.changes(controller, whole, option)
        kept = {step.text.split()[0] for step in steps}
        rest = (key for key, _ in split(controller.read(self.files[0])) if key not in kept)
        return [self._step(controller, key, self.row.unset) for key in rest] + steps

    def changes(self, controller: Controller, value: Any, option: str) -> list[Step]:
        """The writes for these keys alone; the others stay as they are."""
        return [
            self._step(
                controller, self.row.key(key, option), self.row.print(inner, f"{option}[{key!r}]")
            )
            for key, inner in pairs(value, option)
        ]

    def _step(self, controller: Controller, key: str, text: str) -> Step:
        unset = f"{key} {self.row.unset}"
        return Step(controller, self.files[0], f"{key} {text}", unset=unset)


class TableSetting(Setting[Mapping[str, V], Mapping[Any, Any]], Generic[V]):
    """An attribute that is a table. Keys left out of what is set get their default."""

    def changes(self, controller: Controller, value: Mapping[Any, Any], option: str) -> list[Step]:
        """The writes that change these keys alone."""
        source: Any = self.source(controller)
        steps: list[Step] = source.changes(controller, value, option)
        return steps


def pairs(value: object, option: str) -> Iterable[tuple[Any, Any]]:
    if not isinstance(value, Mapping):
        raise invalid(option, value, "give a mapping, such as a dict")
    return value.items()


def single(kind: Kind[V, Any], unset: str, key: Callable[[object, str], str] = _name) -> Row[V]:
    """Lines of ``key value``."""
    return Row(kind.unit, kind.parse, kind.print, unset, key=key)


def record_row(
    cls: Callable[..., R],
    fields: Mapping[str, Kind[Any, Any]],
    unset: str,
    key: Callable[[object, str], str] = _name,
    *,
    sparse: bool = False,
) -> Row[R]:
    """Lines of ``key name=value name=value`` as the frozen record *cls*, unknown names in its extra.

    To set, give the record, or a mapping with some of the names. In a *sparse* one None is not given;
    elsewhere it is no limit.
    """

    def parse(text: str) -> R:
        values: dict[str, Any] = {}
        extra: dict[str, str] = {}
        for word in text.split():
            name, _, value = word.partition("=")
            if name in fields:
                values[name] = fields[name].parse(value)
            else:
                extra[name] = value
        return cls(**values, extra=extra)

    def given(value: Any, option: str) -> dict[str, Any]:
        if isinstance(cls, type) and isinstance(value, cls):
            return {name: getattr(value, name) for name in fields}
        if not isinstance(value, Mapping) or not value or not value.keys() <= fields.keys():
            accepted = f"give a {cls.__name__}, or a mapping with some of {', '.join(fields)}"
            raise invalid(option, value, accepted)
        return dict(value)

    def show(value: Any, option: str) -> str:
        return " ".join(
            f"{name}={fields[name].print(inner, f'{option} {name}')}"
            for name, inner in given(value, option).items()
            if inner is not None or not sparse
        )

    def whole(value: Any, option: str) -> R:
        return cls(**given(value, option))

    unit = ", ".join(dict.fromkeys(kind.unit for kind in fields.values()))
    return Row(unit, parse, show, unset, whole, key)
