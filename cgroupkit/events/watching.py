"""Watch: many cgroups and triggers, waited for together, from threads and from asyncio."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.errors import InvalidValueError
from cgroupkit.events import eventfd, subjects
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.polling import Polling
from cgroupkit.events.psi import Resource
from cgroupkit.events.subjects import Subject
from cgroupkit.events.turns import Turns
from cgroupkit.units import Size, invalid

_LONGEST = 3600.0
"""Seconds to sleep at most: poll(2) knows no infinity."""


class Watch(Closing):
    """Events of any number of cgroups and triggers, as they come.

    ::

        with Watch() as watch:
            watch.add(cgroup, "oom_kill")
            watch.add_pressure(None, "memory", some="150ms/2s")
            for event in watch: ...

    What the kernel counts from the moment that ``add`` returns is told however late it is asked for,
    as long as the cgroup exists; it is counted together. An event goes to one reader. Iteration ends
    when :meth:`close` was called, or nothing that is watched exists any more.

    *interval*: seconds after which everything is looked at unasked, because the kernel does not tell
    all: removal never, on v1 hardly anything. It becomes longer where that would take a tenth of a
    CPU: from some hundred cgroups on. Threads may share one watch, and signal handlers close it;
    after a fork, the child has to make its own.
    """

    _released = True  # until it is made

    def __init__(self, *, interval: float = 0.5) -> None:
        if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not interval > 0:
            raise invalid("interval", interval, "give seconds, above 0")
        # A signal handler may close it while this very thread is at work.
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._closed = False
        self._waiters = 0
        self._events: deque[Event] = deque()
        self._turns = Turns(min(interval, _LONGEST), self._events.append, self._settle)
        self._polling = Polling()
        self._released = False

    # What is watched

    def add(self, cgroup: Cgroup, *kinds: EventKind | str, recursive: bool = True) -> None:
        """Watch *cgroup* for *kinds* (see :class:`EventKind`); without any, for all that it can tell.

        With *recursive*, OOM kills and limits hit in the cgroups below are told too, each of its own
        cgroup. Raises :class:`UnsupportedError` for a kind that this cgroup cannot tell, and
        :class:`NotFoundError` where it does not exist.
        """
        self._admit(partial(subjects.of_cgroup, cgroup, kinds, recursive))

    def add_pressure(
        self,
        cgroup: Cgroup | None,
        resource: Resource,
        *,
        some: str | None = None,
        full: str | None = None,
    ) -> None:
        """Tell when tasks of *cgroup* (None: of the machine) waited too long for *resource*.

        *some* (at least one task waits) and *full* (all do) are ``"STALL/WINDOW"``, such as
        ``"150ms/2s"``, up to 10 s; there is at most one event in a window. The kernel wants multiples
        of 2 s of whoever lacks CAP_SYS_RESOURCE (6.4), and at least 500 ms before 6.5; it refuses
        with :class:`RejectedError`. :class:`UnsupportedError` where PSI is off, or the cgroup is on
        v1 only.
        """
        if some is None and full is None:
            raise InvalidValueError('give some="150ms/2s", full="50ms/2s", or both')
        wanted = {"some": some, "full": full}
        self._admit(partial(subjects.of_trigger, cgroup, resource, wanted))

    def add_memory_usage(self, cgroup: Cgroup, threshold: Size) -> None:
        """v1: tell when memory in use crosses *threshold* bytes, up or down."""
        make = partial(eventfd.usage, cgroup, threshold)
        self._admit(partial(subjects.of_signal, cgroup, make))

    def add_memory_level(self, cgroup: Cgroup, level: str, *, scope: str = "") -> None:
        """v1: tell when reclaim becomes as hard as *level*: ``low``, ``medium`` or ``critical``.

        *scope*: ``local`` leaves out what happens below; ``hierarchy`` has it even if somebody there
        listens; by default only if nobody does (cgroup-v1/memory.rst, 11).
        """
        make = partial(eventfd.level, cgroup, level, scope)
        self._admit(partial(subjects.of_signal, cgroup, make))

    def _admit(self, make: Callable[[], Subject]) -> None:
        with self._waiting():
            subject = make()
            with self._lock:
                try:
                    if self._closed:
                        raise InvalidValueError("the watch is closed; make a new one")
                    self._turns.add(subject)
                    self._polling.settle(subject)
                except BaseException:
                    self._dismiss(subject)
                    raise

    def _settle(self, subject: Subject) -> None:
        if subject.done:
            self._dismiss(subject)
        else:
            self._polling.settle(subject)

    def _dismiss(self, subject: Subject) -> None:
        self._turns.discard(subject)
        self._polling.dismiss(subject)

    @property
    def _is_ours(self) -> bool:
        """A fork shares what is behind the descriptors: it may close its own and no more."""
        return os.getpid() == self._pid

    # Waiting

    @property
    def active(self) -> bool:
        """Whether there can be more events: it is not closed, and something watched still exists."""
        return bool(self._events) or bool(self._turns.subjects and not self._closed)

    def wait(self, timeout: float | None = None) -> list[Event]:
        """The events since the last call; waits up to *timeout* seconds for the first.

        Empty when the time is up, or at once when the watch is no longer :attr:`active`. With 0,
        everything is looked at now, without waiting.
        """
        deadline = _deadline(timeout)
        with self._waiting() as alive:
            for pause in self._pauses(deadline) if alive else ():
                self._polling.wait(pause)
            return self._take()

    async def wait_async(self, timeout: float | None = None) -> list[Event]:
        """As :meth:`wait`, for asyncio. Cancelled, it has taken no event."""
        deadline = _deadline(timeout)
        with self._waiting() as alive:
            if not alive:
                return self._take()
            loop = asyncio.get_running_loop()
            # A descriptor of its own, as the loop knows only one reader for each.
            fd = self._polling.duplicate()
            woken = asyncio.Event()
            try:
                loop.add_reader(fd, woken.set)
                for pause in self._pauses(deadline):
                    if not pause:
                        await asyncio.sleep(0)
                        continue
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await woken.wait()
                    woken.clear()
            finally:
                loop.remove_reader(fd)
                os.close(fd)
            return self._take()

    def __iter__(self) -> Iterator[Event]:
        while (event := self._next()) or self.active:
            if event:
                yield event
            else:
                self._put_back(self.wait())

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := self._next()) or self.active:
            if event:
                yield event
            else:
                self._put_back(await self.wait_async())

    def _next(self) -> Event | None:
        with self._waiting(), self._lock:
            return self._events.popleft() if self._events else None

    def _put_back(self, events: list[Event]) -> None:
        """What a loop is left with is for the next one."""
        with self._lock:
            self._events.extendleft(reversed(events))

    def _take(self) -> list[Event]:
        with self._lock:
            events = list(self._events)
            self._events.clear()
        return events

    def _pauses(self, deadline: float | None) -> Iterator[float]:
        """Take turns until there are events or the time is up, with the seconds to wait before each."""
        everything = deadline == 0
        with self._lock:
            if everything:
                self._turns.hurry(self._turns.subjects)
        while True:
            with self._lock:
                if self._closed:
                    return
                if not everything:
                    self._turns.hurry(self._polling.ready())
                self._turns.take()
                pressing, due = self._turns.pressing, self._turns.due
            if everything and pressing:
                yield 0
                continue
            now = time.monotonic()
            if self._events or not self.active or (deadline is not None and now >= deadline):
                return
            due = due if deadline is None else min(due, deadline)
            yield min(max(due - now, 0), _LONGEST)

    # The end

    @contextmanager
    def _waiting(self) -> Iterator[bool]:
        """Whoever waits keeps the descriptors open: closed, their numbers would be used again."""
        if not self._is_ours:
            raise InvalidValueError(
                f"this watch is another process's ({self._pid}) and was inherited by a fork: make one "
                "of your own"
            )
        with self._lock:
            alive = not self._closed
            self._waiters += 1
        try:
            yield alive
        finally:
            with self._lock:
                self._waiters -= 1
                self._release()

    def close(self) -> None:
        """Stop watching and close all descriptors; whoever waits returns at once.

        A signal handler may call it, too, and a child after a fork, which closes its own copies.
        """
        if self._released:
            return
        if not self._is_ours:
            self._closed = self._released = True  # the lock may be held by a thread that is not here
            for subject in self._turns.subjects:
                subject.close()
            self._polling.close()
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._waiters:
                    self._polling.ring()
            self._release()

    def _release(self) -> None:
        if not self._closed or self._waiters or self._released:
            return
        self._released = True
        for subject in list(self._turns.subjects):
            self._dismiss(subject)
        self._polling.close()

    def __del__(self) -> None:
        self.close()


def _deadline(timeout: float | None) -> float | None:
    """time.monotonic() at which the time is up; 0 for a timeout of 0."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise invalid("timeout", timeout, "give seconds, or None to wait without end")
    return time.monotonic() + min(timeout, 1e9) if timeout else 0
