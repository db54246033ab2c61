"""cgroupkit show: everything that can be read of one cgroup, under v2's names."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.cli import printing, target
from cgroupkit.cli.messages import put
from cgroupkit.cli.parsing import Parser
from cgroupkit.controllers import CONTROLLERS, Controller, Hugetlb, Reading, described
from cgroupkit.errors import FileError, NotFoundError, UnsupportedError
from cgroupkit.units import format_bytes


@attrs.frozen
class Item:
    """One attribute as this machine has it."""

    name: str
    value: Any
    file: str
    unit: str
    refused: str = ""
    """Why it could not be read, though it is there."""


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument("name", metavar="NAME", help="the cgroup's path, or a pid in it")
    parser.add_argument("--json", action="store_true", help="as JSON: values by name, no limit is null")
    parser.description = (
        "Every setting and reading of one cgroup, under v2's names on v1 too; what this kernel does\n"
        "not have is left out, and - is what it does not say."
    )
    parser.example(
        "cgroupkit show myapp/worker", "cgroupkit show --json $$ | jq '.values[\"memory.max\"]'"
    )


def main(args: argparse.Namespace) -> int:
    cgroup = target.find(args.name)
    found = {name: list(items(cgroup, controller)) for name, controller in controllers(cgroup).items()}
    if not cgroup.exists():
        raise NotFoundError(2, f"cgroup {cgroup.name} was removed meanwhile", cgroup.name)
    put(_json(cgroup, found) if args.json else _text(cgroup, found))
    return 0


def frozen(cgroup: Cgroup) -> bool | None:
    """Whether it is, by whichever of v1's freezer and v2's cgroup.freeze is in force; None: unknown."""
    try:
        return cgroup.frozen
    except (UnsupportedError, FileError):
        return None


def controllers(cgroup: Cgroup) -> dict[str, Controller]:
    """The controllers that *cgroup* has here."""
    have = {}
    for name in CONTROLLERS:
        try:
            have[name] = cgroup.controller(name)
        except UnsupportedError:
            continue
    return have


def items(cgroup: Cgroup, controller: Controller) -> Iterator[Item]:
    for part in controller.parts():
        for line in described(type(part)):
            source = line.sources[part.version]
            if source is None:
                continue
            name = key(line, part)
            file = part.path(source.files[0]) if source.files else ""
            try:
                yield Item(name, source.read(part), file, line.kind.unit)
            except UnsupportedError:
                continue
            except NotFoundError:
                if not cgroup.exists():
                    return
            except FileError as error:
                yield Item(name, None, file, line.kind.unit, refused=str(error))


def key(line: Reading[Any], part: Controller) -> str:
    """v2's name; what only v1 has is called by its controller and attribute."""
    modern, old = line.sources[2], line.sources[1]
    if modern is not None and modern.files and not line.name.endswith("_device"):
        return os.path.basename(part.path(modern.files[0]))
    if line.owner.name == "core" and old is not None:
        return old.files[0]
    size = f".{part.size}" if isinstance(part, Hugetlb) else ""
    return f"{line.owner.name}{size}.{line.name}"


def _json(cgroup: Cgroup, found: Mapping[str, list[Item]]) -> str:
    every = [item for group in found.values() for item in group if not item.refused]
    return printing.dump(
        {
            "name": cgroup.name,
            "frozen": frozen(cgroup),
            "paths": {str(b.hierarchy.mount): b.path for b in cgroup.branches},
            "versions": {name: cgroup.controller(name).version for name in found},
            "values": {item.name: item.value for item in every},
            "files": {item.name: item.file for item in every},
        }
    )


def _text(cgroup: Cgroup, found: Mapping[str, list[Item]]) -> str:
    state = frozen(cgroup)
    shown = "" if state is None else f"\nfrozen   {'yes' if state else 'no'}"
    blocks = [printing.clean(cgroup.name) + shown]
    for name, group in found.items():
        if not group:
            continue
        controller = cgroup.controller(name)
        rows = [row for item in group for row in _rows(item, controller.directory)]
        title = f"{name} (v{controller.version}) {printing.clean(controller.directory)}"
        blocks.append(title + "\n" + _indented(printing.table(rows)))
    return "\n\n".join(blocks)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _rows(item: Item, directory: str) -> Iterator[tuple[str, str, str]]:
    """Name, value, and the kernel's file where it has another name."""
    file = item.file.removeprefix(f"{directory}/")
    file = "" if file == item.name else file
    parts = _parts(item.value)
    if parts is None:
        yield item.name, printing.NONE if item.refused else _value(item.value, item.unit), file
        return
    if not parts:
        yield item.name, printing.NONE, file
    for number, (part, value) in enumerate(parts.items()):
        yield f"{item.name} {part}", _value(value, item.unit), file if number == 0 else ""


def _parts(value: Any) -> dict[str, Any] | None:
    """The known fields of a record, one level of tables with them; None for a plain value."""
    if attrs.has(type(value)):
        fields = attrs.asdict(value, recurse=False)
        extra = fields.pop("extra", {})
        flat: dict[str, Any] = {}
        others = {name: inner for name, inner in extra.items() if name not in fields}
        for name, inner in {**fields, **others}.items():
            nested = _parts(inner)
            if nested is not None:
                flat.update({f"{name} {part}": leaf for part, leaf in nested.items()})
            elif inner is not None:
                flat[name] = inner
        if "quota" in fields:  # where None is no limit, not unknown
            flat = {"quota": fields["quota"], **flat}
        return flat
    if isinstance(value, Mapping):
        flat = {}
        for name, inner in value.items():
            nested = _parts(inner)
            flat.update({f"{name} {p}": v for p, v in nested.items()} if nested else {str(name): inner})
        return flat
    return None


def _value(value: Any, unit: str) -> str:
    if value is None:
        return "max"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (frozenset, set)):
        return printing.ids(value)
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or printing.NONE
    if unit == "bytes" and isinstance(value, int) and value >= 1024:
        return f"{value} ({format_bytes(value)})"
    return str(value).replace("\n", " ") if value != "" else printing.NONE
