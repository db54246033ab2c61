"""cgroupkit update: change limits, of all that is named."""

from __future__ import annotations

import argparse

from cgroupkit.cgroup import Cgroup
from cgroupkit.cli import options, target
from cgroupkit.cli.messages import UsageError
from cgroupkit.cli.parsing import Parser, names
from cgroupkit.errors import BusyError


def arguments(parser: Parser, name: str) -> None:
    options.add(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help="v2: lower memory even below what is in use, and so kill; v1 refuses all the same",
    )
    names(parser)
    parser.example("cgroupkit update --memory 400M --cpus 2 myapp/worker")


def main(args: argparse.Namespace) -> int:
    limits = options.given(args)
    if not limits:
        raise UsageError("give at least one limit, such as --memory 400M; --help lists them")

    def update(cgroup: Cgroup) -> None:
        try:
            cgroup.update(check=not args.force, **limits)
        except BusyError as error:
            words = _in_our_terms(str(error))
            raise BusyError(error.errno or 0, words, error.filename, error.value) from None

    return target.each(args.names, update)


def _in_our_terms(message: str) -> str:
    return message.replace("pass check=False", "give --force")
