"""cgroupkit update: change limits, of all that is named."""

from __future__ import annotations

import argparse

from cgroupkit.cli import options, target
from cgroupkit.cli.messages import UsageError
from cgroupkit.cli.parsing import Parser, names


def arguments(parser: Parser, name: str) -> None:
    options.add(parser)
    parser.add_argument(
        "--force", action="store_true", help="lower memory even below what is in use (v2 then kills)"
    )
    names(parser)
    parser.example("cgroupkit update --memory 400M --cpus 2 myapp/worker")


def main(args: argparse.Namespace) -> int:
    limits = options.given(args)
    if not limits:
        raise UsageError("give at least one limit, such as --memory 400M; --help lists them")
    return target.each(args.names, lambda cgroup: cgroup.update(check=not args.force, **limits))
