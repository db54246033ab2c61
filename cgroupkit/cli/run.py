"""cgroupkit run: a command under limits."""

from __future__ import annotations

import argparse

from cgroupkit.cli import running
from cgroupkit.cli.messages import UsageError
from cgroupkit.cli.parsing import Parser


def arguments(parser: Parser, name: str) -> None:
    parser.usage = "cgroupkit run [limits] [options] [--] COMMAND [ARGUMENT ...]"
    running.arguments(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.description = (
        "Run a command under limits; when it ends, all that it left running is killed. The exit\n"
        "status is the command's, 128+N if signal N ended it, 124 if the time was up, 127 and 126 if\n"
        "it was not found or is not executable, and 125 for all that cgroupkit itself fails in: an\n"
        "option that cannot be meant, a box that could not be set up."
    )
    parser.example("cgroupkit run --memory 200M --cpus 1.5 --timeout 30 -- python3 job.py")
    parser.parse = lambda words: _parse(parser, list(words))  # type: ignore[method-assign]


def _parse(parser: Parser, words: list[str]) -> argparse.Namespace:
    """The first ``--`` ends our options, unless the command has begun before it."""
    ours, dashes, command = running.cut(words)
    args = parser.parse_args(ours)
    args.command = [*args.command, *dashes, *command] if args.command else command
    if not args.command:
        raise UsageError("name the command to run: cgroupkit run [limits] -- COMMAND [ARGUMENT ...]")
    return args


def main(args: argparse.Namespace) -> int:
    return running.main(args, lambda box, timeout: box.run(args.command, timeout=timeout))
