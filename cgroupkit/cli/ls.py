"""cgroupkit ls: the tree of cgroups."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.cli import printing, target
from cgroupkit.cli.messages import put
from cgroupkit.cli.parsing import Parser, levels
from cgroupkit.cli.show import frozen
from cgroupkit.controllers import Cpu, CpuMax, Cpuset, Memory, Pids, peek
from cgroupkit.errors import CgroupKitError, FileError
from cgroupkit.stats import controller_of, without_roots
from cgroupkit.units import format_bytes, format_ids


@attrs.frozen
class Entry:
    """One line of the tree."""

    cgroup: Cgroup
    lead: str
    """The branches of the tree that are drawn before its name."""
    depth: int
    procs: list[int]
    frozen: bool | None
    memory: int | None
    limits: dict[str, Any]
    """By v2 name, those that this machine knows; None is no limit."""


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default="/", help="where to begin: a path or pid (/)"
    )
    parser.add_argument("--depth", metavar="N", help="how many levels below it to show (all)")
    parser.add_argument("--json", action="store_true", help="as JSON: an array, parents first")
    parser.example("cgroupkit ls --depth 2 /system.slice")


def main(args: argparse.Namespace) -> int:
    depth = levels(args.depth, "--depth")
    top = target.find(args.name)
    entries = _tree(top, depth, "", "", 0)
    if args.json:
        put(printing.dump([_record(entry) for entry in entries]))
        return 0
    rows = [("CGROUP", "PROCS", "STATE", "MEMORY", "LIMITS"), *(_row(entry, top) for entry in entries)]
    put(printing.table(rows, right=(1, 3)))
    return 0


def _tree(cgroup: Cgroup, depth: int | None, lead: str, below: str, level: int) -> Iterator[Entry]:
    entry = _entry(cgroup, lead, level)
    if entry is None:
        return
    yield entry
    if depth == 0:
        return
    try:
        children = cgroup.children()
    except CgroupKitError:
        return  # removed meanwhile, or not to be listed by this user
    deeper = None if depth is None else depth - 1
    for number, child in enumerate(children, 1):
        last = number == len(children)
        yield from _tree(
            child,
            deeper,
            below + ("└─ " if last else "├─ "),
            below + ("   " if last else "│  "),
            level + 1,
        )


def _entry(cgroup: Cgroup, lead: str, depth: int) -> Entry | None:
    """None where it was removed since it was listed."""
    if not cgroup.exists():
        return None
    try:
        procs = cgroup.procs
    except FileError:
        procs = []  # a threaded cgroup: its domain lists the processes
    inside = without_roots(cgroup)
    memory = controller_of(inside, Memory)
    try:
        used, limits = peek(memory, Memory.current), _limits(inside, memory)
    except FileError:
        if not cgroup.exists():
            return None
        used, limits = None, {}
    return Entry(cgroup, lead, depth, procs, frozen(cgroup), used, limits)


def _limits(cgroup: Cgroup, memory: Memory | None) -> dict[str, Any]:
    cpu, pids = controller_of(cgroup, Cpu), controller_of(cgroup, Pids)
    cpuset = controller_of(cgroup, Cpuset)
    found: dict[str, Any] = {}
    if memory is not None:
        found["memory.max"] = peek(memory, Memory.max)
    if cpu is not None:
        found["cpu.max"] = peek(cpu, Cpu.max)
        found["cpu.weight"] = peek(cpu, Cpu.weight)
    if pids is not None:
        found["pids.max"] = peek(pids, Pids.max)
    if cpuset is not None:
        found["cpuset.cpus"] = peek(cpuset, Cpuset.cpus)
    return found


def _row(entry: Entry, top: Cgroup) -> tuple[str, ...]:
    path = entry.cgroup.name
    name = path if entry.cgroup is top else path.rpartition("/")[2]
    memory = printing.NONE if entry.memory is None else format_bytes(entry.memory)
    state = "FROZEN" if entry.frozen else ""
    return entry.lead + name, str(len(entry.procs)), state, memory, _limits_text(entry)


def _limits_text(entry: Entry) -> str:
    """Those that differ from what a new cgroup has."""
    found = entry.limits
    parts = []
    if found.get("memory.max") is not None:
        parts.append(f"memory {format_bytes(found['memory.max'])}")
    bandwidth = found.get("cpu.max")
    if isinstance(bandwidth, CpuMax) and bandwidth.cpus is not None:
        parts.append(f"cpus {bandwidth.cpus:g}")
    if found.get("cpu.weight") not in (None, 100) and entry.depth:
        parts.append(f"weight {found['cpu.weight']}")
    if found.get("pids.max") is not None:
        parts.append(f"pids {found['pids.max']}")
    if found.get("cpuset.cpus") and entry.cgroup.cpuset.version == 2:
        parts.append(f"cpuset {format_ids(found['cpuset.cpus'])}")
    return ", ".join(parts)


def _record(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.cgroup.name,
        "depth": entry.depth,
        "cgroup.procs": entry.procs,
        "frozen": entry.frozen,
        "memory.current": entry.memory,
        **entry.limits,
    }
