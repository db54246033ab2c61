"""cgroupkit gc: remove the boxes of programs that were killed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

import attrs

from cgroupkit import members
from cgroupkit.cli import printing
from cgroupkit.cli.messages import put, say
from cgroupkit.cli.parsing import Parser
from cgroupkit.errors import CgroupKitError
from cgroupkit.hierarchy import Hierarchy, host
from cgroupkit.sandbox import leftovers
from cgroupkit.tree import Branch


@attrs.frozen
class Leftover:
    """A box whose owner has died."""

    name: str
    branches: tuple[Branch, ...]
    procs: tuple[int, ...]


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument("--dry-run", "-n", action="store_true", help="only show what there is")
    parser.add_argument("--json", action="store_true", help="as JSON: an array of objects")
    parser.description = (
        "Remove the boxes (see `cgroupkit run`) whose owner was killed, wherever they are: end what\n"
        "still runs inside, and remove the cgroups. Boxes in use are left alone. Every new box does\n"
        "the same for those beside it."
    )
    parser.example("cgroupkit gc --dry-run")


def main(args: argparse.Namespace) -> int:
    status = 0
    records = []
    for left in abandoned():
        error = None
        if not args.dry_run:
            try:
                leftovers.end(left.branches)
            except CgroupKitError as refused:
                error, status = str(refused), 1
                say(error)
        removed = not args.dry_run and error is None
        records.append({"name": left.name, "procs": left.procs, "removed": removed, "error": error})
        if not args.json and error is None:
            put(_line(left, dry=args.dry_run))
    if args.json:
        put(printing.dump(records))
    elif not records:
        put("nothing was left behind")
    return status


def _line(left: Leftover, *, dry: bool) -> str:
    count = len(left.procs)
    inside = "no processes" if not count else "1 process" if count == 1 else f"{count} processes"
    done = f"abandoned, with {inside}" if dry else f"removed, with {inside}"
    return f"{printing.clean(left.name)}: {done}"


def abandoned() -> Iterator[Leftover]:
    """The abandoned boxes in all that is mounted that this user could remove."""
    for path, where in sorted(_parents().items()):
        for branches in leftovers.abandoned(dict.fromkeys(where, path)):
            mine = tuple(b for b in branches if os.access(os.path.dirname(b.directory), os.W_OK))
            if not mine:
                continue
            try:
                procs = tuple(sorted(members.everyone(mine)))
            except CgroupKitError:
                procs = ()
            yield Leftover(mine[0].path, mine, procs)


def _parents() -> dict[str, list[Hierarchy]]:
    """The cgroups that have what may be a box, and in which hierarchies."""
    found: dict[str, list[Hierarchy]] = {}
    for hierarchy in host().hierarchies:
        if hierarchy.version == 1 and not hierarchy.controllers:
            continue
        for directory, names, _ in os.walk(hierarchy.mount):
            if any(name.startswith("box-") for name in names):
                below = directory[len(hierarchy.mount) :].strip("/")
                found.setdefault(hierarchy.path(below), []).append(hierarchy)
    return found
