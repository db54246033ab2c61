"""The command line: one small file a subcommand, imported when that is asked for."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from cgroupkit.cli.messages import OutputError, failed, put, say
from cgroupkit.errors import CgroupKitError

COMMANDS = {
    "run": ("run", "run a command under limits, and end all it left behind"),
    "record": ("record", "record a run, or a cgroup that runs, over time"),
    "plot": ("plot", "draw a recording: memory, CPU, I/O and pressure over time"),
    "update": ("update", "change the limits of running cgroups, as docker update does"),
    "stats": ("stats", "what cgroups use, in the columns of docker stats"),
    "top": ("top", "a live tree of cgroups by CPU, memory, I/O, tasks and pressure"),
    "show": ("show", "every setting and reading of one cgroup"),
    "ls": ("ls", "the tree of cgroups, with processes, memory and limits"),
    "watch": ("watch", "print what happens to cgroups: OOM kills, limits hit, the end, ..."),
    "metrics": ("metrics", "serve the metrics of cgroups to Prometheus"),
    "ps": ("ps", "the processes of a cgroup or container"),
    "freeze": ("freeze", "stop every process of a cgroup where it is"),
    "thaw": ("freeze", "let frozen processes run again"),
    "pause": ("freeze", "freeze, as docker calls it"),
    "unpause": ("freeze", "thaw, as docker calls it"),
    "kill": ("kill", "end every process of a cgroup"),
    "doctor": ("doctor", "what this machine offers, and what you may do here"),
    "gc": ("gc", "remove what programs that were killed left behind"),
}

_RUN_FAILED = 125
"""What `run` and `record` end with where it is not the command that failed, as env and timeout do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (without the program's name) and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: say(str(message))
            status = _dispatch(words)
        _flush()
        return status
    except SystemExit as end:  # argparse, after --help
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except (CgroupKitError, OSError) as error:
        if isinstance(error, OutputError):
            _drop_output()
        status = failed(error)
        return _RUN_FAILED if words[0] in ("run", "record") else status


def _dispatch(words: list[str]) -> int:
    name, *rest = words or [""]
    if name in ("-h", "--help", "help"):
        if rest and rest[0] in COMMANDS:
            return _dispatch([rest[0], "--help"])
        put(_overview())
        return 0
    if name == "--version":
        put(f"cgroupkit {_version()}")
        return 0
    if name not in COMMANDS:
        return _unknown(name)
    from cgroupkit.cli.parsing import Parser  # noqa: PLC0415

    home, summary = COMMANDS[name]
    command = import_module(f"cgroupkit.cli.{home}")
    parser = Parser(prog=f"cgroupkit {name}", description=summary[0].upper() + summary[1:] + ".")
    command.arguments(parser, name)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    status: int = command.main(parser.parse(rest))
    return status


def _unknown(name: str) -> int:
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(name, list(COMMANDS), 1)
    if not name:
        say("name a command: " + ", ".join(COMMANDS) + "; `cgroupkit --help` explains them")
    elif near:
        say(f"there is no command {name!r}; did you mean {near[0]}?")
    else:
        say(f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}")
    return 2


def _overview() -> str:
    lines = [
        "usage: cgroupkit COMMAND [options] ...",
        "",
        "Limit, measure, freeze and end groups of processes, with the kernel's cgroups v1 and v2.",
        "",
        *(f"  {name:<8} {summary}" for name, (_, summary) in COMMANDS.items()),
        "",
        "A cgroup is named by its path, by the pid of a process in it, or by a container's id or name.",
        "A path that begins with / counts from the root, as in /proc/PID/cgroup; any other from the",
        "place where you may create cgroups, which `cgroupkit doctor` shows.",
        "",
        "example: cgroupkit run --memory 200M --pids-limit 64 -- python3 job.py",
        "",
        "`cgroupkit COMMAND --help` explains one; `cgroupkit --version` prints the version.",
    ]
    return "\n".join(lines)


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.version("cgroupkit")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _flush() -> None:
    """What is left of it went to a terminal that is gone: all that is told was written at once."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _drop_output()


def _drop_output() -> None:
    """Nobody reads on, or the disk is full: keep the interpreter from trying again when it ends."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):
        return
