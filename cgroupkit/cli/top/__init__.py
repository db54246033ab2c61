"""cgroupkit top: what the cgroups do, live."""

from __future__ import annotations

import argparse

from cgroupkit.cli import printing
from cgroupkit.cli.messages import UsageError
from cgroupkit.cli.parsing import Parser, levels, names, seconds
from cgroupkit.cli.top.arranging import ORDERS, Choice

_SHORTEST = 0.1


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument("--sort", metavar="KEY", default="cpu", help=f"{', '.join(ORDERS)} (cpu)")
    parser.add_argument("--reverse", "-r", action="store_true", help="the smallest first")
    parser.add_argument(
        "--filter", metavar="TEXT", default="", help="those alone that have it in their name"
    )
    parser.add_argument("--flat", action="store_true", help="a list of all, in place of the tree")
    parser.add_argument("--depth", metavar="N", help="how many levels below NAME to show (all)")
    parser.add_argument("--interval", metavar="SECONDS", default="1", help="between two readings (1)")
    parser.add_argument("--iterations", "-n", metavar="N", help="end after so many readings")
    parser.add_argument("--json", action="store_true", help="one JSON array a reading, each on a line")
    names(parser, optional=True)
    parser.description = (
        "A live tree of cgroups: CPU, memory, I/O, tasks and pressure. Without a name, all from the\n"
        "root on; h shows the keys. Where stdout is not a terminal, one reading is printed."
    )
    parser.example(
        "cgroupkit top --sort memory /system.slice", "cgroupkit top --json -n 1 | jq '.[0].cpu_cores'"
    )


def main(args: argparse.Namespace) -> int:
    interval = seconds(args.interval, "--interval")
    if interval < _SHORTEST:
        raise UsageError(f"--interval {args.interval!r} is not valid: give {_SHORTEST} seconds or more")
    depth, count = levels(args.depth, "--depth"), _count(args.iterations)
    choice = Choice(by=_order(args.sort), reverse=args.reverse, flat=args.flat, text=args.filter)
    from cgroupkit.cli.top import live  # noqa: PLC0415
    from cgroupkit.cli.top.source import Source  # noqa: PLC0415

    with Source(args.names or ["/"], depth) as source:
        if args.json:
            return live.stream(source, choice, interval, count, json=True)
        if count == 1 or not (printing.redrawable() and live.has_keys()):
            return live.stream(source, choice, interval, count or 1, json=False)
        return live.show(source, choice, interval, count)


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise UsageError(f"--iterations {text!r} is not valid: give a number of readings, 1 or more")
    return int(text)


def _order(text: str) -> str:
    if text in ORDERS:
        return text
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(text.lower(), ORDERS, 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"--sort {text!r} is not valid: {hint}Give one of {', '.join(ORDERS)}")
