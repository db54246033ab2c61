"""cgroupkit update: change limits, of all that is named."""

from __future__ import annotations

import argparse
from typing import Any

from cgroupkit import persist
from cgroupkit.cli import options, target
from cgroupkit.cli.messages import UsageError, say
from cgroupkit.cli.parsing import Parser, names
from cgroupkit.errors import BusyError
from cgroupkit.resources import Resources


def arguments(parser: Parser, name: str) -> None:
    options.add(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help="v2: lower memory even below what is in use, and so kill; v1 refuses all the same",
    )
    parser.add_argument("--restart", metavar="POLICY", help=argparse.SUPPRESS)
    names(parser)
    parser.description = (
        "Change limits of cgroups and running containers, with the options and meanings of docker\n"
        "update: of each all that is given, or nothing."
    )
    parser.example(
        "cgroupkit update --memory 400M --cpus 2 myapp/worker",
        "cgroupkit update -m 200M web  # a container of Docker, Podman, containerd, ...",
    )


def main(args: argparse.Namespace) -> int:
    if args.restart is not None:
        raise UsageError(
            "--restart is kept by whoever starts the program: `docker update --restart` for Docker's "
            "containers; of a Sandbox it is supervise(argv, restart=...), which can be changed there"
        )
    limits = options.unchecked(args)
    if not limits:
        raise UsageError("give at least one limit, such as --memory 400M; --help lists them")
    meant: Any = {name: text for name, text in limits.items() if not _left_alone(name, text)}
    Resources.of(meant)
    check = False if args.force else None

    def update(name: str) -> None:
        container, cgroup = target.container_or_cgroup(name)
        try:
            if container is None:
                cgroup.update(check=check, **limits)
            else:
                container.update(check=check, **meant)
        except BusyError as error:
            words = _in_our_terms(str(error))
            raise BusyError(error.errno or 0, words, error.filename, error.value) from None
        if unit := persist.unit_of(cgroup):
            say(f"note: {unit} is a unit of systemd's, which was told: a daemon-reload keeps this")

    return target.each_name(args.names, update)


def _left_alone(name: str, value: object) -> bool:
    """Whether Docker takes the value of a container's option for none: 0, but for the pids limit."""
    return value == "0" and (
        name == "cpus" or name.startswith(("memory", "kernel_memory", "cpu_", "blkio_weight"))
    )


def _in_our_terms(message: str) -> str:
    return message.replace("pass check=False", "give --force")
