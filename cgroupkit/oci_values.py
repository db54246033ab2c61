"""The kinds of value in an OCI document: each is parsed with its path, and printed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs

from cgroupkit import options
from cgroupkit.controllers.rdma import COUNT_MAX
from cgroupkit.errors import InvalidValueError
from cgroupkit.options import UNLIMITED
from cgroupkit.units import invalid

if TYPE_CHECKING:
    from cgroupkit.devices.rules import DeviceRule


class Codec(Protocol):
    """One value of the document."""

    def parse(self, value: Any, path: str) -> Any:
        """The option's value, checked; None where nothing is asked for."""

    def print(self, value: Any, option: str) -> Any:
        """The value as the document has it."""


@attrs.frozen
class Number:
    low: int
    high: int
    unlimited: int | None = attrs.field(default=None, kw_only=True)
    """What means no limit."""
    unset: int | None = attrs.field(default=None, kw_only=True)
    """What means to leave the setting alone."""

    def parse(self, value: Any, path: str) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value == self.unset:
                return None
            if value == self.unlimited:
                return UNLIMITED
            if self.low <= value <= self.high:
                return value
        no_limit = "" if self.unlimited is None else f", or {self.unlimited} for no limit"
        raise invalid(path, value, f"give a whole number from {self.low} to {self.high}{no_limit}")

    def print(self, value: Any, option: str) -> Any:
        if value == self.unset:
            raise InvalidValueError(
                f"{option}={value} has no form in OCI, where {value} leaves the setting as it is: "
                "leave the option out"
            )
        return self.unlimited if value is UNLIMITED else value


class PidsLimit(Number):
    """0 was "no limit" to runc 1.0, nothing to crun, and is 1 to runc 1.4 (runc issue 4014)."""

    def parse(self, value: Any, path: str) -> Any:
        if value == 0 and isinstance(value, int) and value is not False:
            hint = "runtimes read 0 in three ways: give -1 for no limit, or 1 for a single task"
            raise invalid(path, value, hint)
        return super().parse(value, path)


class Flag:
    def parse(self, value: Any, path: str) -> bool:
        if not isinstance(value, bool):
            raise invalid(path, value, "give true or false")
        return value

    def print(self, value: Any, option: str) -> Any:
        return value


class NumberFlag(Number):
    def parse(self, value: Any, path: str) -> bool:
        return bool(super().parse(value, path))

    def print(self, value: Any, option: str) -> Any:
        return int(value)


@attrs.frozen
class Text:
    check: Callable[[Any, str], Any] = options.text
    format: Callable[[Any], str] = str

    def parse(self, value: Any, path: str) -> Any:
        if not isinstance(value, str):
            raise invalid(path, value, "give a string")
        return self.check(value, path)

    def print(self, value: Any, option: str) -> Any:
        return self.format(value)


def ids(value: str, path: str) -> frozenset[int] | None:
    return options.ids(value, path) if value else None


@attrs.frozen
class Refused:
    """What cgroupkit has no option for, and the one value of it that asks for nothing."""

    harmless: object
    why: str

    def parse(self, value: Any, path: str) -> None:
        if type(value) is not type(self.harmless) or value != self.harmless:
            raise invalid(path, value, self.why)

    def print(self, value: Any, option: str) -> Any:
        raise NotImplementedError


@attrs.frozen
class Rows:
    """A list of objects, which is a mapping to us: the fields *keys* make up the key."""

    keys: Mapping[str, Codec]
    name: str
    value: Codec
    others: Mapping[str, Codec] = attrs.field(factory=dict)

    def parse(self, value: Any, path: str) -> Any:
        table: dict[str, Any] = {}
        fields = {**self.keys, self.name: self.value, **self.others}
        for here, found in items(value, path, fields, (*self.keys, self.name)):
            key = ":".join(str(found[name]) for name in self.keys)
            if key in table:
                raise InvalidValueError(f"{here} is about {key}, as one before it: give one of them")
            table[key] = found[self.name]
        return table or None

    def print(self, value: Any, option: str) -> Any:
        return [
            {**self._parts(key), self.name: self.value.print(inner, f"{option}[{key!r}]")}
            for key, inner in value.items()
        ]

    def _parts(self, key: str) -> dict[str, Any]:
        if len(self.keys) == 1:
            return dict.fromkeys(self.keys, key)
        return dict(zip(self.keys, map(int, key.split(":")), strict=True))


class Rdma:
    """Counts by device; the kernel prints the largest one as "max"."""

    _NAMES: ClassVar = {"hcaHandles": "hca_handle", "hcaObjects": "hca_object"}
    _COUNT = Number(0, COUNT_MAX - 1, unlimited=COUNT_MAX)

    def parse(self, value: Any, path: str) -> Any:
        table = {}
        for device, here, uses in members(value, path):
            counts = parsed(uses, here, dict.fromkeys(self._NAMES, self._COUNT))
            if not counts:
                raise invalid(here, uses, "give hcaHandles, hcaObjects or both")
            table[options.name(device, path)] = {self._NAMES[name]: n for name, n in counts.items()}
        return table or None

    def print(self, value: Any, option: str) -> Any:
        return {device: self._print(uses, option) for device, uses in value.items()}

    def _print(self, uses: Mapping[str, Any], option: str) -> dict[str, Any]:
        counts = {name: uses[key] for name, key in self._NAMES.items() if key in uses}
        return {name: self._COUNT.print(count, option) for name, count in counts.items()}


def _kind(value: str, path: str) -> str:
    if value not in ("a", "b", "c"):
        raise invalid(path, value, 'give "b", "c", or "a" for both')
    return value


def _access(value: str, path: str) -> str:
    if not value or set(value) - set("rwm") or len(set(value)) < len(value):
        raise invalid(path, value, "give some of r, w and m")
    return "".join(letter for letter in "rwm" if letter in value)


class Devices:
    """In order, as the last rule that matches decides; the number -1, as moby writes it, is any."""

    _FIELDS: ClassVar[dict[str, Codec]] = {
        "allow": Flag(),
        "type": Text(_kind),
        "major": Number(0, 2**12 - 1, unset=-1),
        "minor": Number(0, 2**20 - 1, unset=-1),
        "access": Text(_access),
    }

    def parse(self, value: Any, path: str) -> Any:
        rules = []
        for here, found in items(value, path, self._FIELDS, ("allow", "access")):
            rule = {"type": "a", "major": None, "minor": None, **found}
            if rule["type"] == "a" and (found.keys() & {"major", "minor"} or found["access"] != "rwm"):
                raise InvalidValueError(
                    f"{here} has no type, or type a, which stands for all access to all devices: give "
                    'type "b" or "c" with numbers and access'
                )
            rules.append(rule)
        if not rules:
            return None
        from cgroupkit.devices.rules import DeviceRule  # noqa: PLC0415

        return tuple(DeviceRule(**rule) for rule in rules)

    def print(self, value: Any, option: str) -> Any:
        if value is UNLIMITED or not value:
            return [{"allow": value is UNLIMITED, "access": "rwm"}]
        return [self._print(rule, kind) for rule in value for kind in self._kinds(rule)]

    def _kinds(self, rule: DeviceRule) -> str:
        """Both where runtimes would take "a" for all devices."""
        everything = (rule.major, rule.minor, rule.access) == (None, None, "rwm")
        return "bc" if rule.type == "a" and not everything else rule.type

    def _print(self, rule: DeviceRule, kind: str) -> dict[str, Any]:
        said = {"type": kind, "major": rule.major, "minor": rule.minor}
        said = {name: of for name, of in said.items() if of not in (None, "a")}
        return {"allow": rule.allow, **said, "access": rule.access}


class Files:
    """Texts by name of file."""

    def parse(self, value: Any, path: str) -> Any:
        found = {
            options.name(file, path): Text().parse(text, here)
            for file, here, text in members(value, path)
        }
        return found or None

    def print(self, value: Any, option: str) -> Any:
        return dict(value)


def members(
    value: Any, path: str, known: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, str, Any]]:
    """Name, path and value of the members of an object that are not null."""
    if not isinstance(value, Mapping):
        raise invalid(path or "resources", value, "give an object (a dict)")
    for name, inner in value.items():
        here = f"{path}.{name}" if path else str(name)
        if known is not None and name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0.75)
            hint = f"did you mean {near[0]}?" if near else f"known there: {', '.join(known)}"
            raise InvalidValueError(f"{here} is not a field of linux.resources; {hint}")
        if inner is not None:
            yield name, here, inner


def parsed(value: Any, path: str, fields: Mapping[str, Codec]) -> dict[str, Any]:
    """What the members of an object ask for."""
    found = {
        name: fields[name].parse(inner, here) for name, here, inner in members(value, path, fields)
    }
    return {name: inner for name, inner in found.items() if inner is not None}


def items(
    value: Any, path: str, fields: Mapping[str, Codec], needed: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and members of the objects in a list; each has those that are *needed*."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise invalid(path, value, "give a list of objects")
    for number, item in enumerate(value):
        here = f"{path}[{number}]"
        found = parsed(item, here, fields)
        for name in needed:
            if name not in found:
                raise InvalidValueError(f"{here}.{name} is missing: each item of {path} has it")
        yield here, found
