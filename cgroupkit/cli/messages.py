"""What is said on stdout and stderr, and the exit status that goes with an error."""

from __future__ import annotations

import sys

from cgroupkit import meanings
from cgroupkit.errors import EXHAUSTED, CgroupKitError, InvalidValueError, RejectedError


class UsageError(CgroupKitError, ValueError):
    """The command line itself cannot be meant."""


class OutputError(CgroupKitError):
    """Standard output cannot be written."""


def put(text: str) -> None:
    """Lines on stdout, at once."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write the output: {error.strerror}") from None


def say(message: str) -> None:
    """One line on stderr."""
    if sys.stderr is None:
        return
    line = " ".join(message.split("\n"))
    try:
        print(f"cgroupkit: {line}", file=sys.stderr, flush=True)
    except OSError:
        return  # nobody listens


def told(error: BaseException) -> str:
    """*error* in words: the system's own without their number, and what to do about some."""
    if isinstance(error, OSError) and not isinstance(error, CgroupKitError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if error.errno in EXHAUSTED:
            text += f": {meanings.of(error.errno or 0, '', 'open')}"
        return text
    return str(error)


def failed(error: CgroupKitError | OSError) -> int:
    """Say what went wrong; 2 where the user asked for what cannot be, 1 for all else."""
    say(told(error))
    return 2 if isinstance(error, (UsageError, InvalidValueError, RejectedError)) else 1
