"""cgroupkit freeze and thaw, which docker calls pause and unpause."""

from __future__ import annotations

import argparse

from cgroupkit.cli import target
from cgroupkit.cli.parsing import Parser, names, seconds


def arguments(parser: Parser, name: str) -> None:
    freezes = name in ("freeze", "pause")
    if freezes:
        parser.add_argument(
            "--timeout", metavar="SECONDS", default="5", help="give up, and thaw again, after (5)"
        )
    parser.set_defaults(freeze=freezes)
    names(parser)
    parser.example(f"cgroupkit {name} myapp/worker")


def main(args: argparse.Namespace) -> int:
    if not args.freeze:
        return target.each(args.names, lambda cgroup: cgroup.thaw())
    timeout = seconds(args.timeout, "--timeout")
    return target.each(args.names, lambda cgroup: cgroup.freeze(timeout))
