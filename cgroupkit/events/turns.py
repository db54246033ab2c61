"""Whose turn it is: who has news, at once; everybody, from time to time; and a little in a turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import chain

from cgroupkit.errors import InvalidValueError
from cgroupkit.events.kinds import Event
from cgroupkit.events.sources import Look
from cgroupkit.events.subjects import Subject

_TURN = 0.01
"""Seconds after which a look is left for the next turn, so that asyncio's loop is not held up."""
_REST = 11
"""How many times the CPU time of a turn unasked nobody is looked at unasked: below a tenth of a CPU."""


class Turns:
    """Looks at subjects: those with news, and in rounds all, for what the kernel does not tell.

    *tell* gets the events, *settle* each subject whose look ends or is left.
    """

    def __init__(
        self, interval: float, tell: Callable[[Event], None], settle: Callable[[Subject], None]
    ) -> None:
        self.subjects: dict[Subject, None] = {}
        self._interval = interval
        self._tell = tell
        self._settle = settle
        self._always: dict[Subject, None] = {}
        self._urgent: dict[Subject, Look | None] = {}
        self._once_more: set[Subject] = set()
        self._again: dict[Subject, float] = {}
        self._round: dict[Subject, Look | None] = {}
        self._began = 0.0
        self._due = time.monotonic() + interval
        self._busy = False

    def add(self, subject: Subject) -> None:
        self.subjects[subject] = None
        if subject.always:
            self._always[subject] = None

    def discard(self, subject: Subject) -> None:
        for part in (self.subjects, self._always, self._urgent, self._again, self._round):
            part.pop(subject, None)
        self._once_more.discard(subject)

    @property
    def pressing(self) -> bool:
        """Whether somebody with news has yet to be looked at."""
        return bool(self._urgent)

    @property
    def due(self) -> float:
        """time.monotonic() of the next turn."""
        return 0 if self._urgent else min(self._due, *self._again.values(), float("inf"))

    def hurry(self, subjects: Iterable[Subject]) -> None:
        """Look at them next, at all that they have."""
        for subject in subjects:
            if self._urgent.setdefault(subject, None) is not None:
                self._once_more.add(subject)

    def take(self) -> None:
        """One turn."""
        if self._busy:
            raise InvalidValueError(
                "the watch is just looking: a signal handler may close() it, not wait for its events"
            )
        self._busy = True
        try:
            now = time.monotonic()
            self.hurry(self._always)
            self.hurry([subject for subject, due in self._again.items() if due <= now])
            if self._look_at_urgent(now + _TURN) and now >= self._due:
                self._look_unasked(now)
        finally:
            self._busy = False

    def _look_at_urgent(self, end: float) -> bool:
        while self._urgent:
            subject, look = next(iter(self._urgent.items()))
            if look is None:
                # One look at a time: what was begun unasked comes to its end first.
                look = chain(self._round.pop(subject, None) or (), subject.look())
                self._urgent[subject] = look
            try:
                ended = self._go_on(subject, look, end)
            except BaseException:
                if self._urgent.pop(subject, None):
                    self._urgent[subject] = None
                raise
            if not ended:
                return False
            self._urgent.pop(subject, None)
            if subject in self._once_more:
                self._once_more.remove(subject)
                self._urgent[subject] = None
        return True

    def _look_unasked(self, now: float) -> None:
        if not self._round:
            self._began = now
            self._round = dict.fromkeys(self.subjects)
        before = time.thread_time()
        try:
            ended = True
            while self._round and ended:
                subject, look = next(iter(self._round.items()))
                del self._round[subject]
                look = look or subject.look(unasked=True)
                ended = self._go_on(subject, look, now + _TURN)
                if not ended:
                    self._round = {subject: look, **self._round}
        finally:
            self._due = time.monotonic() + _REST * (time.thread_time() - before)
            if not self._round:
                self._due = max(self._due, self._began + self._interval)

    def _go_on(self, subject: Subject, look: Look, end: float) -> bool:
        """Whether the look came to its end before the turn's *end*."""
        ended = True
        for event in look:
            if event is not None:
                self._tell(event)
            elif time.monotonic() >= end:
                ended = False
                break
        again = subject.again
        if again is None:
            self._again.pop(subject, None)
        else:
            self._again[subject] = again
        self._settle(subject)
        return ended
