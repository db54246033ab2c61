"""cgroupkit doctor: what the machine offers and what this user may do, for a person."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterator

from cgroupkit.cli import findings, gc, printing
from cgroupkit.cli.findings import Findings, Lack
from cgroupkit.cli.messages import put
from cgroupkit.cli.parsing import Parser
from cgroupkit.hierarchy import Hierarchy
from cgroupkit.units import format_names

_MODES = {
    "v1": "v1",
    "v2": "v2",
    "hybrid": "hybrid: v1 and v2 are mounted",
    "none": "no cgroup file system is mounted",
}


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.description = (
        "What this machine mounts, where each controller is or why it is missing, and what you may\n"
        "do here. Changes nothing. The exit status is 1 if you may not create cgroups."
    )
    parser.example("cgroupkit doctor")


def main(args: argparse.Namespace) -> int:
    found = findings.examine()
    abandoned = [left.name for left in gc.abandoned()]
    if args.json:
        put(printing.dump(findings.as_json(found, abandoned)))
    else:
        verdict = "\n".join(_verdict(found))
        put("\n\n".join([_machine(found, abandoned), _mounts(found), _controllers(found), verdict]))
    return 0 if found.able else 1


def _machine(found: Findings, abandoned: list[str]) -> str:
    place = found.place
    return printing.table(
        [
            ("cgroups", _MODES[found.host.mode]),
            ("kernel", f"Linux {os.uname().release}"),
            ("user", found.user),
            ("pressure", ", ".join(found.pressure) or "not accounted for"),
            ("namespaces", ", ".join(found.namespaces) or "none for this user"),
            ("launcher", found.launcher or "missing"),
            ("cgroups go", place.why if place else "nowhere yet"),
            ("left behind", _left(abandoned)),
        ]
    )


def _left(abandoned: list[str]) -> str:
    if not abandoned:
        return "nothing"
    what = abandoned[0] if len(abandoned) == 1 else f"{len(abandoned)} boxes"
    return f"{what}: `cgroupkit gc` removes what programs that were killed left"


def _mounts(found: Findings) -> str:
    rows = [(f"v{h.version}", h.mount, _contents(h)) for h in found.host.hierarchies]
    return "Hierarchies\n" + _indented(printing.table(rows) if rows else "none")


def _contents(hierarchy: Hierarchy) -> str:
    what = f"name={hierarchy.name}" if hierarchy.name else ""
    parts = [" ".join(filter(None, [what, *hierarchy.controllers])) or "no controllers"]
    if hierarchy.root != "/":
        parts.append(f"only {hierarchy.root} and below")
    if hierarchy.read_only:
        parts.append("read-only")
    return ", ".join(parts)


def _controllers(found: Findings) -> str:
    rows = []
    for info in found.host.controllers.values():
        if info.available:
            rows.append((info.name, f"v{info.version}", info.mount or ""))
        else:
            rows.append((info.name, printing.NONE, f"{info.reason}; {info.remedy}".rstrip("; ")))
    return "Controllers\n" + _indented(printing.table(rows))


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")


def _verdict(found: Findings) -> Iterator[str]:
    if found.able and found.place:
        paths = sorted(set(found.place.paths.values()))
        yield f"You can create cgroups below {printing.clean(format_names(paths))}."
        if found.limits:
            yield f"You can limit with {format_names(found.limits)}."
        if found.launcher:
            walls = ", and wall them off with --isolate" if found.namespaces else ""
            yield f"You can run commands in boxes{walls}."
    remedies: dict[str, list[Lack]] = {}
    for lack in sorted(found.lacks, key=lambda lack: not lack.vital):
        remedies.setdefault(lack.remedy, []).append(lack)
    for remedy, lacks in remedies.items():
        for lack in lacks:
            yield f"You cannot {lack.what}: {lack.reason}".rstrip(".") + "."
        if remedy:
            yield f"    Do this: {remedy}"
