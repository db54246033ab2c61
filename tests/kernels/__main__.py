"""The command line behind tests/run."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

from . import images, matrix, native, payload, qemu
from .guests import GUESTS, Guest
from .tools import SetupError, step

TIME_LIMIT = 60 * 60


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests/run",
        allow_abbrev=False,
        description="Test on this machine's kernel and on those of the guests.",
        epilog="Any other argument is for pytest, here and in the guests.",
    )
    names = [guest.name for guest in GUESTS]
    parser.add_argument("--native", action="store_true", help="test on this machine only")
    parser.add_argument(
        "--guest", action="append", choices=names, help="test in this guest only (may be repeated)"
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=TIME_LIMIT,
        metavar="SECONDS",
        help=f"for the tests on one kernel; default: {TIME_LIMIT}",
    )
    parser.add_argument(
        "--at-once", type=int, default=os.cpu_count(), metavar="N", help="guests; default: CPUs"
    )
    parser.add_argument("--cache", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    options, pytest_arguments = parser.parse_known_args()
    chosen = options.guest or ([] if options.native else names)
    guests = [guest for guest in GUESTS if guest.name in chosen]
    results = options.work / "results"
    scratch = options.work / "scratch"
    for directory in (results, scratch):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
    try:
        wheel = native.install(scratch)
    except SetupError as error:
        print(f"tests/run: {error}", file=sys.stderr)
        return 2
    rows = []
    if options.native or not options.guest:
        rows += native.check(results / "native", pytest_arguments, options.time_limit)
    try:
        if guests:
            image = images.cached(options.cache, native.PIP)
            disk = scratch / "payload.ext4"
            with step("disk with the package and the tests"):
                payload.make_disk(disk, wheel, pytest_arguments, native.PIP)
            boots = [
                qemu.boot(guest, image, disk, results / guest.name, options.time_limit)
                for guest in guests
            ]
            with step("guests"):
                ends = asyncio.run(qemu.all_of(boots, options.at_once))
            for guest, ended in zip(guests, ends, strict=True):
                rows += rows_of(guest, ended, bool(pytest_arguments))
    except SetupError as error:
        print(f"tests/run: {error}", file=sys.stderr, flush=True)
        rows.append(matrix.Row("guests", problem="could not be prepared, see above"))
    return 0 if matrix.show(rows) else 1


def rows_of(guest: Guest, ended: qemu.Ended, selected: bool) -> list[matrix.Row]:
    absent = f"no results: {ended.problem}" if ended.problem else "no results"
    rows = [
        matrix.read_row(f"{guest.name} {row}", ended.results, row, selected, absent)
        for row in guest.rows
    ]
    if ended.problem or any(row.problem for row in rows):
        rows[-1] = replace(rows[-1], tail=ended.tail)
    return rows


if __name__ == "__main__":
    # Ignored when we are started in the background, and then by pytest as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
