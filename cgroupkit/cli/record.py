"""cgroupkit record: a run, or a cgroup that runs already, over time into a file."""

from __future__ import annotations

import argparse
import signal

from cgroupkit import units
from cgroupkit.cli import options, running, target
from cgroupkit.cli.interrupts import Box
from cgroupkit.cli.messages import UsageError, say, told
from cgroupkit.cli.parsing import Parser, seconds
from cgroupkit.recording.recorder import DEFAULT, HIGH, LOW, Recorder
from cgroupkit.sandbox import Done

_USAGE = "cgroupkit record [limits] [options] FILE -- COMMAND [ARGUMENT ...]"
_OF_A_RUN = ("timeout", "isolate", "hostname", "parent", "stats", "report")


def arguments(parser: Parser, name: str) -> None:
    parser.usage = f"{_USAGE}\n       cgroupkit record [--hz N] [--duration SECONDS] FILE --cgroup NAME"
    running.arguments(parser)
    parser.add_argument(
        "--hz", metavar="N", default=DEFAULT, help=f"samples a second, {LOW} to {HIGH} ({DEFAULT})"
    )
    parser.add_argument("--cgroup", metavar="NAME", help="record what runs: a path, a pid, a container")
    parser.add_argument("--duration", metavar="SECONDS", help="of --cgroup; else until it is gone")
    parser.add_argument("file", metavar="FILE", help="where to; only a recording is overwritten")
    parser.description = (
        "Run a command under limits, as `cgroupkit run` does and with its exit status, and record in\n"
        "FILE what it uses; or record a cgroup or container until it is gone or you press Ctrl-C.\n"
        "`cgroupkit plot FILE` draws it."
    )
    parser.example(
        "cgroupkit record --memory 200M run.jsonl -- python3 job.py",
        "cgroupkit record --duration 5m web.jsonl --cgroup web",
    )
    parser.parse = lambda words: _parse(parser, list(words))  # type: ignore[method-assign]


def _parse(parser: Parser, words: list[str]) -> argparse.Namespace:
    ours, _, command = running.cut(words)
    args, more = parser.parse_known_args(ours)
    if more and not more[0].startswith("-"):
        raise UsageError(f"write -- before the command: {_USAGE}")
    args = parser.parse_args(ours)
    args.command = command
    if args.cgroup is None and not command:
        raise UsageError(f"name what to record: {_USAGE}, or --cgroup NAME")
    _check(args)
    return args


def _check(args: argparse.Namespace) -> None:
    """What is of a run only is not said of a cgroup that runs already, and the other way round."""
    if args.cgroup is None:
        if args.duration is not None:
            raise UsageError("--duration is for --cgroup; a command is ended by --timeout")
        return
    if args.command:
        raise UsageError("give a command or --cgroup, not both")
    limits = options.unchecked(args)
    for name in (*limits, *_OF_A_RUN):
        if getattr(args, name):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} is for a command, not for --cgroup, of which nothing is changed"
                + ("; `cgroupkit update` changes limits" if name in limits else "")
            )


def main(args: argparse.Namespace) -> int:
    hz = units.parse_int(args.hz, "--hz", LOW, HIGH)
    if args.file == "-":
        raise UsageError("FILE '-' is not valid: the output is the command's; give a file")
    if args.cgroup is not None:
        return _watch(args, hz)
    made: list[Recorder] = []

    def work(box: Box, timeout: float | None) -> Done:
        with Recorder(box.cgroup, args.file, hz=hz, argv=args.command) as recorder:
            done = box.run(args.command, timeout=timeout)
            recorder.ended(done)
        made.append(recorder)
        return done

    status = running.main(args, work)
    for recorder in made:
        say(_summary(recorder, args.file))
    return status


def _watch(args: argparse.Namespace, hz: int) -> int:
    duration = None if args.duration is None else seconds(args.duration, "--duration")
    recorder = Recorder(target.find(args.cgroup), args.file, hz=hz)
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        with recorder:
            recorder.wait(duration)
    except KeyboardInterrupt:
        recorder.close()
        if not recorder.samples:  # it came too early for anything to be in the file
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    say(_summary(recorder, args.file))
    return running.FAILED if recorder.error else 0


def _summary(recorder: Recorder, file: str) -> str:
    """How much is in the file, and what is not."""
    many = "1 sample" if recorder.samples == 1 else f"{recorder.samples} samples"
    rate = f"{recorder.rate:.4g} a second of {recorder.hz}, {recorder.missed} missed"
    text = f"{file}: {many} in {recorder.seconds:.2f} s ({rate})"
    if recorder.error is None:
        return text
    return f"{text}; the recording ended early: {told(recorder.error)}"
