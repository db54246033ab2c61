"""argparse, made to speak in one line and to end with our exit status."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from cgroupkit.cli.messages import UsageError, put


class Parser(argparse.ArgumentParser):
    """The parser of one subcommand."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def example(self, *lines: str) -> None:
        """Examples that end the help text."""
        label = "example: " if len(lines) == 1 else "examples:\n  "
        self.epilog = label + "\n  ".join(lines)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        return self.parse_args(list(words))

    def print_help(self, file: Any = None) -> None:
        put(self.format_help().rstrip())

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message and unknown.startswith("-"):
            message = f"there is no option {self._with_hint(unknown.split()[0].partition('=')[0])}"
        if message.endswith("expected one argument"):
            message += " (write --option=VALUE for a value that begins with -)"
        raise UsageError(f"{message}; `{self.prog} --help` explains the options")

    def _with_hint(self, flag: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415

        known = [known[2:] for known in self._option_string_actions if known.startswith("--")]
        near = get_close_matches(flag.lstrip("-"), known, 1)
        return f"{flag}, did you mean --{near[0]}?" if near else flag


def names(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """The positional NAME..."""
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*" if optional else "+",
        help="a cgroup's path, a pid in it, or a container",
    )


def levels(text: str | None, option: str) -> int | None:
    """A number of levels of the tree, 0 or more; None is all."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
        raise UsageError(f"{option} {text!r} is not valid: give a number of levels, 0 or more")
    return int(text)


def seconds(text: str, option: str) -> float:
    """A positive number of seconds, or with one of timeout(1)'s suffixes: 90, 1.5, 5m, 2h, 1d."""
    scale = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:], 0)
    digits = text[:-1] if scale else text
    whole, _, fraction = digits.partition(".")
    number = 0.0
    if (whole + fraction).isdecimal() and digits.isascii() and len(digits) < 16:
        number = float(digits) * (scale or 1)
    if not 0 < number <= 1e9:
        raise UsageError(
            f"{option} {text!r} is not valid: give seconds above 0, or with a suffix: 90, 1.5, 5m, 2h"
        )
    return number
