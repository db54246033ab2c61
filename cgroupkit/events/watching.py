"""Watch: many cgroups and triggers, waited for together, from threads and from asyncio."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.errors import InvalidValueError
from cgroupkit.events import eventfd, subjects
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.psi import Resource
from cgroupkit.events.sources import explained
from cgroupkit.events.subjects import Subject
from cgroupkit.units import Size, invalid


class Watch(Closing):
    """Events of any number of cgroups and triggers, as they come.

    ::

        with Watch() as watch:
            watch.add(cgroup, "oom_kill")
            watch.add_pressure(None, "memory", some="150ms/2s")
            for event in watch: ...

    What happens from the moment that ``add`` returns is not lost, however late it is asked for; it
    is counted together. An event goes to one reader. Iteration ends when :meth:`close` was called,
    or nothing that is watched exists any more.

    *interval*: seconds after which everything is looked at unasked, because the kernel does not tell
    all: removal never, on v1 hardly anything. Threads may share one watch.
    """

    def __init__(self, *, interval: float = 0.5) -> None:
        self._released = True
        if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not interval > 0:
            raise invalid("interval", interval, "give seconds, above 0")
        self._interval = interval
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        self._waiters = 0
        self._subjects: set[Subject] = set()
        self._by_fd: dict[int, Subject] = {}
        self._events: deque[Event] = deque()
        self._tick = time.monotonic() + interval
        try:
            self._epoll = select.epoll()
        except OSError as error:
            raise explained(error, "epoll", "open") from None
        try:
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError as error:
            self._epoll.close()
            raise explained(error, "eventfd", "open") from None
        self._epoll.register(self._bell, select.EPOLLIN)
        self._released = False

    # What is watched

    def add(self, cgroup: Cgroup, *kinds: EventKind | str, recursive: bool = True) -> None:
        """Watch *cgroup* for *kinds* (see :class:`EventKind`); without any, for all that it can tell.

        With *recursive*, OOM kills and limits hit in the cgroups below are told too, each of its own
        cgroup. Raises :class:`UnsupportedError` for a kind that this cgroup cannot tell, and
        :class:`NotFoundError` where it does not exist.
        """
        self._admit(subjects.of_cgroup(cgroup, kinds, recursive))

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
        self._admit(subjects.of_trigger(cgroup, resource, {"some": some, "full": full}))

    def add_memory_usage(self, cgroup: Cgroup, threshold: Size) -> None:
        """v1: tell when memory in use crosses *threshold* bytes, up or down."""
        self._admit(subjects.of_signal(cgroup, eventfd.usage(cgroup, threshold)))

    def add_memory_level(self, cgroup: Cgroup, level: str, *, scope: str = "") -> None:
        """v1: tell when reclaim becomes as hard as *level*: ``low``, ``medium`` or ``critical``.

        *scope*: ``local`` leaves out what happens below; ``hierarchy`` has it even if somebody there
        listens; by default only if nobody does (cgroup-v1/memory.rst, 11).
        """
        self._admit(subjects.of_signal(cgroup, eventfd.level(cgroup, level, scope)))

    def _admit(self, subject: Subject) -> None:
        try:
            with self._lock:
                if self._released or self._closed:
                    raise InvalidValueError("the watch is closed; make a new one")
                self._subjects.add(subject)
                for source in subject.sources:
                    for fd, mask in source.masks.items():
                        self._epoll.register(fd, mask)
                        self._by_fd[fd] = subject
                        subject.fds.add(fd)
        except BaseException:
            with self._lock:
                self._dismiss(subject)
            raise

    def _dismiss(self, subject: Subject) -> None:
        self._subjects.discard(subject)
        self._forget(subject, set(subject.fds))
        subject.close()

    def _forget(self, subject: Subject, fds: set[int]) -> None:
        """Unregistered before it is closed: a fork of ours may hold it, and epoll would go on."""
        subject.fds -= fds
        for fd in fds:
            del self._by_fd[fd]
            if self._is_ours:
                self._epoll.unregister(fd)

    @property
    def _is_ours(self) -> bool:
        """A fork shares what is behind the descriptors: it may close its own and no more."""
        return os.getpid() == self._pid

    # Waiting

    @property
    def active(self) -> bool:
        """Whether there can be more events: it is not closed, and something watched still exists."""
        return bool(self._events) or bool(self._subjects and not self._closed)

    def wait(self, timeout: float | None = None) -> list[Event]:
        """The events since the last call; waits up to *timeout* seconds for the first.

        Empty when the time is up, or at once when the watch is no longer :attr:`active`. With 0,
        everything is looked at now, without waiting.
        """
        deadline = _deadline(timeout)
        with self._waiting() as alive:
            self._collect(everything=timeout == 0)
            while alive and not self._events and self.active:
                pause = self._pause(deadline)
                if pause is None:
                    break
                with suppress(InterruptedError):
                    self._epoll.poll(pause)
                self._collect()
            return self._take()

    async def wait_async(self, timeout: float | None = None) -> list[Event]:
        """As :meth:`wait`, for asyncio. Cancelled, it has taken no event."""
        deadline = _deadline(timeout)
        with self._waiting() as alive:
            if not alive:
                return self._take()
            loop = asyncio.get_running_loop()
            # A descriptor of its own, as the loop knows only one reader for each.
            fd = os.dup(self._epoll.fileno())
            woken = asyncio.Event()
            try:
                loop.add_reader(fd, woken.set)
                self._collect(everything=timeout == 0)
                while not self._events and self.active:
                    pause = self._pause(deadline)
                    if pause is None:
                        break
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await woken.wait()
                    woken.clear()
                    self._collect()
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
        with self._lock:
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

    def _pause(self, deadline: float | None) -> float | None:
        """Seconds to sleep; None when the time is up."""
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            return None
        with self._lock:
            due = [self._tick, *(s.again for s in self._subjects if s.again is not None)]
        if deadline is not None:
            due.append(deadline)
        return max(min(due) - now, 0)

    def _collect(self, *, everything: bool = False) -> None:
        """Look at what may have changed."""
        with self._lock:
            if self._closed:
                return
            now = time.monotonic()
            if everything or now >= self._tick:
                chosen = list(self._subjects)
                self._tick = now + self._interval
            else:
                ready = {self._by_fd[fd] for fd, _ in self._epoll.poll(0) if fd in self._by_fd}
                due = (s for s in self._subjects if s.always or (s.again or now + 1) <= now)
                chosen = list(ready.union(due))
            for subject in chosen:
                self._look(subject)

    def _look(self, subject: Subject) -> None:
        for event in subject.look():
            self._events.append(event)
        if subject.done:
            self._dismiss(subject)
            return
        self._forget(subject, subject.fds - {fd for s in subject.sources for fd in s.masks})

    # The end

    @contextmanager
    def _waiting(self) -> Iterator[bool]:
        """Whoever waits keeps the descriptors open: closed, their numbers would be used again."""
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
        """Stop watching and close all descriptors; whoever waits returns at once."""
        if self._released:
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._waiters and self._is_ours:
                    os.eventfd_write(self._bell, 1)
            self._release()

    def _release(self) -> None:
        if not self._closed or self._waiters or self._released:
            return
        self._released = True
        for subject in list(self._subjects):
            self._dismiss(subject)
        self._epoll.close()
        os.close(self._bell)

    def __del__(self) -> None:
        self.close()


def _deadline(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise invalid("timeout", timeout, "give seconds, or None to wait without end")
    return time.monotonic() + timeout
