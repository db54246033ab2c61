"""cgroupkit ps: the processes of a cgroup or container, those of cgroups below included."""

from __future__ import annotations

import argparse
import time
from typing import Any

import attrs

from cgroupkit import members
from cgroupkit.cli import printing, target
from cgroupkit.cli.messages import put
from cgroupkit.cli.parsing import Parser
from cgroupkit.units import format_bytes

_COLUMNS = ("PID", "PPID", "USER", "STATE", "RSS", "TIME", "COMMAND")


@attrs.frozen(kw_only=True)
class Process:
    """One process, by the machine's numbers."""

    pid: int
    ppid: int
    user: str
    status: str
    rss: int
    cpu_seconds: float
    started: float
    """Seconds since the epoch."""
    command: list[str]


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument("name", metavar="NAME", help="a cgroup's path, a pid in it, or a container")
    parser.add_argument("--json", action="store_true", help="as a JSON array")
    parser.description = (
        "The processes inside, with those of cgroups below, under this machine's process numbers."
    )
    parser.example("cgroupkit ps web", "cgroupkit ps --json $$ | jq '.[].command'")


def main(args: argparse.Namespace) -> int:
    cgroup = target.find(args.name)
    found = [one for pid in sorted(members.everyone(cgroup.branches)) if (one := _process(pid))]
    put(
        printing.dump(found)
        if args.json
        else printing.table([_COLUMNS, *map(_cells, found)], right=(0, 1))
    )
    return 0


def _process(pid: int) -> Process | None:
    import psutil  # noqa: PLC0415

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return Process(
                pid=pid,
                ppid=process.ppid(),
                user=process.username(),
                status=process.status(),
                rss=process.memory_info().rss,
                cpu_seconds=round(times.user + times.system, 2),
                started=process.create_time(),
                command=process.cmdline() or [f"[{process.name()}]"],
            )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _cells(one: Process) -> tuple[Any, ...]:
    clock = time.strftime("%H:%M:%S", time.gmtime(one.cpu_seconds))
    command = " ".join(one.command)
    return str(one.pid), str(one.ppid), one.user, one.status, format_bytes(one.rss), clock, command
