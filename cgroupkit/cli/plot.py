"""cgroupkit plot: a recording as a picture."""

from __future__ import annotations

import argparse
import os
import re

from cgroupkit.cli.messages import UsageError, put, say
from cgroupkit.cli.parsing import Parser
from cgroupkit.recording import draw, load
from cgroupkit.recording.drawing import LARGEST, SMALLEST, SUFFIXES, check_path, check_size


def arguments(parser: Parser, name: str) -> None:
    kinds = " or ".join(SUFFIXES)
    parser.add_argument("-o", "--output", metavar="OUT", help=f"{kinds} (FILE with the suffix .png)")
    parser.add_argument("--size", metavar="WxH", help="in pixels: 1200x900")
    parser.add_argument("--title", metavar="TEXT", help="in place of the command")
    parser.add_argument("file", metavar="FILE", help="what `cgroupkit record` wrote")
    parser.description = (
        "Draw a recording: memory, CPU, I/O and pressure over time, with limits, OOM kills and\n"
        "throttling. Prints the picture's name."
    )
    parser.example("cgroupkit plot run.jsonl", "cgroupkit plot run.jsonl -o run.svg --size 1600x1000")


def main(args: argparse.Namespace) -> int:
    out = args.output or f"{os.path.splitext(args.file)[0]}.png"
    check_path(out)
    size = None if args.size is None else _size(args.size)
    recording = load(args.file)
    if os.path.exists(out) and os.path.samefile(out, args.file):
        raise UsageError(f"{out} is the recording itself: name another file with -o")
    try:
        draw(recording, out, size=size, title=args.title)
    except ImportError as error:
        say(str(error))
        return 1
    put(out)
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text, re.ASCII)
    if match is None:
        sizes = "{}x{} to {}x{}".format(*SMALLEST, *LARGEST)
        raise UsageError(
            f"--size {text!r} is not valid: give WIDTHxHEIGHT in pixels, {sizes}: 1200x900"
        )
    size = int(match[1]), int(match[2])
    check_size(size)
    return size
