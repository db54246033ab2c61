"""cgroupkit kill."""

from __future__ import annotations

import argparse

from cgroupkit.cli import target
from cgroupkit.cli.parsing import Parser, names, seconds


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument(
        "--timeout", metavar="SECONDS", default="10", help="give up waiting for their end after (10)"
    )
    names(parser)
    parser.description = (
        "End every process of a cgroup and of those below it with SIGKILL, and wait until none is\n"
        "left. A pid stands for its whole cgroup here too."
    )
    parser.example("cgroupkit kill myapp/worker")


def main(args: argparse.Namespace) -> int:
    timeout = seconds(args.timeout, "--timeout")
    return target.each(args.names, lambda cgroup: cgroup.kill(timeout))
