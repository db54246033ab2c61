"""Trying again until a deadline, on machines that may stand still for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator

_FIRST, _LONGEST = 0.0002, 0.05
_LAST = 10


def turns(deadline: float) -> Iterator[bool]:
    """Turns with growing pauses until *deadline* (``time.monotonic()``), True with the very last one.

    After the deadline there are ten more, in a tenth of a second: a virtual machine that was stopped
    over it has had no time to do what is waited for.
    """
    for pause in _pauses():
        left = deadline - time.monotonic()
        if left <= 0:
            break
        yield False
        time.sleep(min(pause, left))
    for _, pause in zip(range(_LAST - 1), _pauses(), strict=False):
        yield False
        time.sleep(pause)
    yield True


def _pauses() -> Iterator[float]:
    pause = _FIRST
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST)
