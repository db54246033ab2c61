"""What is said on stderr, and the exit status that goes with an error."""

from __future__ import annotations

import sys

from cgroupkit.errors import CgroupKitError, InvalidValueError, RejectedError


class UsageError(CgroupKitError, ValueError):
    """The command line itself cannot be meant."""


def say(message: str) -> None:
    """One line on stderr."""
    if sys.stderr is None:
        return
    line = " ".join(message.split("\n"))
    try:
        print(f"cgroupkit: {line}", file=sys.stderr, flush=True)
    except OSError:
        return  # nobody listens


def failed(error: CgroupKitError) -> int:
    """Say what went wrong; 2 where the user asked for what cannot be, 1 for all else."""
    say(str(error))
    return 2 if isinstance(error, (UsageError, InvalidValueError, RejectedError)) else 1
