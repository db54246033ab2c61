"""cgroupkit watch: print what happens to cgroups, as it happens."""

from __future__ import annotations

import argparse
import sys

from cgroupkit.cli import printing, target
from cgroupkit.cli.messages import put
from cgroupkit.cli.parsing import Parser, names
from cgroupkit.events import Event, Watch
from cgroupkit.events.kinds import parse_kinds


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument(
        "--event",
        "-e",
        metavar="KIND",
        action="append",
        default=[],
        help="oom_kill, memory_max, pids_max, empty, frozen, removed, ... (all; may be repeated)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object an event, each on a line")
    names(parser)
    parser.description = (
        "What happens to cgroups and those below, as it happens: OOM kills, limits that are hit, the\n"
        "first process and the last one, freezing, removal. Ends when all of them are gone."
    )
    parser.example("cgroupkit watch /system.slice", "cgroupkit watch -e oom_kill --json web | jq .")


def main(args: argparse.Namespace) -> int:
    parse_kinds(args.event, "--event")
    with Watch() as watch:
        for name in args.names:
            watch.add(target.find(name), *args.event)
        for event in watch:
            put(printing.dump(_plain(event), indent=None) if args.json else _line(event))
            sys.stdout.flush()
    return 0


def _plain(event: Event) -> dict[str, object]:
    return {
        "event": str(event.kind),
        "cgroup": event.cgroup.name if event.cgroup else None,
        "count": event.count,
        "monotonic_ns": event.time,
    }


def _line(event: Event) -> str:
    times = f" x{event.count}" if event.count > 1 else ""
    return printing.clean(f"{event.kind}{times}  {event.cgroup.name if event.cgroup else 'machine'}")
