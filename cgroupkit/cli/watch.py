"""cgroupkit watch: print what happens to cgroups, as it happens."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import cast

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.cli import printing, target
from cgroupkit.cli.messages import UsageError, put
from cgroupkit.cli.parsing import Parser, names
from cgroupkit.errors import UnsupportedError
from cgroupkit.events import Event, Watch
from cgroupkit.events.kinds import parse_kinds
from cgroupkit.events.psi import RESOURCES, Resource, branch_of, parse_trigger


@attrs.frozen
class Pressure:
    """What --pressure asks for."""

    resource: Resource
    kind: str
    trigger: str

    def add(self, watch: Watch, cgroup: Cgroup | None) -> None:
        watch.add_pressure(cgroup, self.resource, **{self.kind: self.trigger})


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument(
        "--event",
        "-e",
        metavar="KIND",
        action="append",
        default=[],
        help="oom_kill, memory_max, pids_max, empty, frozen, removed, ... (all; may be repeated)",
    )
    parser.add_argument(
        "--pressure",
        metavar="RESOURCE=STALL/WINDOW",
        action="append",
        default=[],
        help="a task waited for cpu, memory or io: memory=150ms/2s; all did: memory:full=50ms/2s "
        "(may be repeated)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object an event, each on a line")
    names(parser, optional=True)
    parser.description = (
        "What happens to cgroups, as it happens: OOM kills and limits that are hit, also below; the\n"
        "first process and the last one, freezing, removal. Ends when all of them are gone. With\n"
        "--pressure: when tasks waited for STALL or longer within WINDOW, in the cgroups or, without\n"
        "a name, on the whole machine; of other events then those of -e alone."
    )
    parser.example(
        "cgroupkit watch /system.slice",
        "cgroupkit watch -e oom_kill --json web | jq .",
        "cgroupkit watch --pressure memory=150ms/2s --pressure io:full=100ms/2s",
    )


def main(args: argparse.Namespace) -> int:
    parse_kinds(args.event, "--event")
    pressures = [_pressure(text) for text in args.pressure]
    if not args.names and not pressures:
        raise UsageError("give a NAME, or --pressure RESOURCE=STALL/WINDOW for the whole machine")
    if not args.names and args.event:
        raise UsageError("--event needs a NAME: of the whole machine there is --pressure alone")
    with Watch() as watch:
        for cgroup in [target.find(name) for name in args.names]:
            if args.event or not pressures:
                watch.add(cgroup, *args.event)
            _add(watch, cgroup, pressures)
        if not args.names:
            _add(watch, None, pressures)
        for event in watch:
            put(printing.dump(_plain(event), indent=None) if args.json else _line(event))
            sys.stdout.flush()
    return 0


def _pressure(text: str) -> Pressure:
    what, equals, trigger = text.partition("=")
    resource, colon, kind = what.partition(":")
    usual = "full" if resource == "irq" else "some"  # of interrupts there is no other
    kind = kind if colon else usual
    if not equals or resource not in RESOURCES or kind not in (usual, "full"):
        raise UsageError(
            f"--pressure {text!r} is not valid: give cpu, memory, io or irq, the stall and the window: "
            "memory=150ms/2s (a task waited), memory:full=50ms/2s (all did; irq has this alone)"
        )
    parse_trigger(trigger, f"--pressure {what}")
    return Pressure(cast(Resource, resource), kind, trigger)


def _add(watch: Watch, cgroup: Cgroup | None, pressures: Sequence[Pressure]) -> None:
    if cgroup is not None and pressures:
        try:
            branch_of(cgroup)
        except UnsupportedError:
            raise UnsupportedError(
                f"v1 does not account for pressure, and {cgroup.name} does not exist on v2; leave out "
                "the name for that of the whole machine"
            ) from None
    for pressure in pressures:
        pressure.add(watch, cgroup)


def _plain(event: Event) -> dict[str, object]:
    return {
        "event": str(event.kind),
        "cgroup": event.cgroup.name if event.cgroup else None,
        "count": event.count,
        "detail": event.detail,
        "time": (time.time_ns() - time.monotonic_ns() + event.time) // 1_000_000 / 1000,
        "monotonic_ns": event.time,
    }


def _line(event: Event) -> str:
    times = f" x{event.count}" if event.count > 1 else ""
    where = event.cgroup.name if event.cgroup else "machine"
    detail = f"  {event.detail}" if event.detail else ""
    return printing.clean(f"{event.kind}{times}  {where}{detail}")
