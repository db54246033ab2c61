"""A command in a box, ended as timeout(1) and the shell report it: what `run` and `record` share."""

from __future__ import annotations

import argparse
import errno
import time
from collections.abc import Callable
from typing import IO, Any

import attrs

from cgroupkit.cli import options
from cgroupkit.cli.interrupts import Box, InterruptedRunError, Signals
from cgroupkit.cli.messages import UsageError, say, told
from cgroupkit.cli.parsing import Parser, seconds
from cgroupkit.errors import (
    CgroupKitError,
    LaunchError,
    ProgramAccessError,
    ProgramNotFoundError,
)
from cgroupkit.sandbox import Done, Verdict
from cgroupkit.units import format_bytes

_TIMEOUT, FAILED, _NOT_EXECUTABLE, _NOT_FOUND, _SIGNAL = 124, 125, 126, 127, 128

Work = Callable[[Box, float | None], Done]
"""What is done in the box, within so many seconds."""


def arguments(parser: Parser) -> None:
    options.add(parser)
    parser.add_argument("--timeout", metavar="SECONDS", help="then kill it: 30, 1.5, 5m, 2h")
    parser.add_argument(
        "--isolate",
        metavar="LIST",
        default="",
        help="namespaces of its own (pid,ipc,uts,mnt,net,user,cgroup,time), or process or strict; "
        "none of them, strict included, walls off files yet",
    )
    parser.add_argument("--hostname", metavar="NAME", help="its host name (with uts in --isolate)")
    parser.add_argument("--parent", metavar="PATH", help="the cgroup to create it in: /myapp")
    parser.add_argument("--stats", action="store_true", help="say on stderr what it used")
    parser.add_argument(
        "--report", metavar="FILE", help="write how it ended and what it used as JSON; - is stdout"
    )


def cut(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """What is before the first ``--``, that itself, and what is after it."""
    if "--" not in words:
        return words, [], []
    place = words.index("--")
    return words[:place], ["--"], words[place + 1 :]


def main(args: argparse.Namespace, work: Work) -> int:
    """Do *work* in the box that *args* ask for; the exit status."""
    limits = options.given(args)
    timeout = None if args.timeout is None else seconds(args.timeout, "--timeout")
    box = Box(isolate=args.isolate, hostname=args.hostname, parent=args.parent, **limits)
    try:
        with Signals(box):
            return _run(args, box, timeout, work)
    except InterruptedRunError as interrupted:
        return _SIGNAL + interrupted.number


def _run(args: argparse.Namespace, box: Box, timeout: float | None, work: Work) -> int:
    report = _open(args.report)
    started = time.monotonic()
    try:
        with box:
            done = work(box, timeout)
    except (CgroupKitError, OSError, InterruptedRunError) as error:
        status = _status_of(error)
        say(told(error))
        _write(report, args.report, {"status": status, "error": told(error)})
        return status
    elapsed = time.monotonic() - started
    status = _exit_status(done)
    _explain(done, args.timeout)
    if args.stats:
        say(_summary(done, elapsed))
    _write(report, args.report, _record(done, status, elapsed))
    return status


def _status_of(error: Exception) -> int:
    if isinstance(error, InterruptedRunError):
        return _SIGNAL + error.number
    if isinstance(error, ProgramNotFoundError):
        return _NOT_FOUND
    if isinstance(error, ProgramAccessError):
        return _NOT_EXECUTABLE
    if isinstance(error, LaunchError) and error.errno == errno.ENOEXEC:
        return _NOT_EXECUTABLE
    return FAILED


def _exit_status(done: Done) -> int:
    if done.verdict is Verdict.TIMEOUT:
        return _TIMEOUT
    return done.returncode if done.returncode >= 0 else _SIGNAL - done.returncode


def _explain(done: Done, timeout: str | None) -> None:
    """Say which limit it was, if it was one."""
    if done.verdict is Verdict.OOM:
        say(done.reason)
    elif done.verdict is Verdict.TIMEOUT:
        say(f"{done.reason} (--timeout {timeout})")
    pids = done.usage.pids
    if pids.events.max and done.verdict is not Verdict.OK:
        limit = "" if pids.max is None else f" ({pids.max})"
        times = "once" if pids.events.max == 1 else f"{pids.events.max} times"
        say(f"out of processes: pids_limit{limit} was reached and fork refused {times}")


def _summary(done: Done, elapsed: float) -> str:
    cpu, memory, pids, io = done.usage.cpu, done.usage.memory, done.usage.pids, done.usage.io
    parts = [f"exit status {_exit_status(done)} after {elapsed:.2f} s"]
    if cpu.usage_usec is not None:
        split = [
            f"{name} {value / 1e6:.2f} s"
            for name, value in [("user", cpu.user_usec), ("system", cpu.system_usec)]
            if value is not None
        ]
        held = [f"throttled {cpu.throttled_usec / 1e6:.2f} s"] if cpu.throttled_usec else []
        inner = ", ".join(split + held)
        parts.append(f"cpu {cpu.usage_usec / 1e6:.2f} s" + (f" ({inner})" if inner else ""))
    if memory.peak is not None:
        limit = f" of {format_bytes(memory.max)}" if memory.max is not None else ""
        parts.append(f"memory peak {format_bytes(memory.peak)}{limit}")
    if pids.peak is not None:
        parts.append(f"tasks peak {pids.peak}" + (f" of {pids.max}" if pids.max is not None else ""))
    if io is not None:
        read, written = sum(d.rbytes for d in io.values()), sum(d.wbytes for d in io.values())
        parts.append(f"disk {format_bytes(read)} read, {format_bytes(written)} written")
    return "; ".join(parts)


def _record(done: Done, status: int, elapsed: float) -> dict[str, Any]:
    return {
        "args": done.args,
        "status": status,
        "returncode": done.returncode,
        "verdict": done.verdict,
        "reason": done.reason,
        "elapsed_seconds": round(elapsed, 6),
        "usage": attrs.asdict(done.usage),
    }


def _open(path: str | None) -> IO[str] | None:
    """Before the command runs: a report that cannot be written should not cost its work."""
    if path is None:
        return None
    stdout = path == "-"
    try:
        return open(1 if stdout else path, "w", encoding="utf-8", closefd=not stdout)
    except OSError as error:
        raise UsageError(f"--report {path}: cannot write it: {error.strerror}") from None


def _write(file: IO[str] | None, path: str, record: dict[str, Any]) -> None:
    if file is None:
        return
    try:
        from cgroupkit.cli.printing import dump  # noqa: PLC0415  (json costs a millisecond)

        with file:
            file.write(dump(record) + "\n")
    except OSError as error:
        say(f"--report {path}: cannot write it: {error.strerror}")
