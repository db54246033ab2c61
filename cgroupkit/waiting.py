"""Trying again until a deadline, on machines that may stand still for a while."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

_LEAST = 10
_FIRST, _LONGEST = 0.0002, 0.05


def turns(deadline: float) -> Iterator[bool]:
    """Turns with growing pauses until *deadline* (``time.monotonic()``), True with the last one.

    There are ten at least, which take a tenth of a second: a virtual machine that is stopped over the
    deadline has had no time to do what is waited for.
    """
    pause = _FIRST
    for number in itertools.count(1):
        left = deadline - time.monotonic()
        last = left <= 0 and number >= _LEAST
        yield last
        if last:
            return
        time.sleep(min(pause, left) if left > 0 else pause)
        pause = min(pause * 2, _LONGEST)
