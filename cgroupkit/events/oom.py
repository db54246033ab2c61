"""v1's OOM kills: eventfds that are signalled before anybody is killed, and counts of the killed."""

from __future__ import annotations

import os
import resource
import select
import time
from collections.abc import Iterator

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import FileError, NotFoundError
from cgroupkit.events.counts import Counts, Tally
from cgroupkit.events.eventfd import listen, signals
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.sources import Look

_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Seconds between looks for what the kernel has announced, or has yet to announce."""
_LEAVING = 10.0
"""Seconds that the eventfd of a removed cgroup is kept; on a busy machine 3 s late was seen."""
_SHARE = 4
"""One in so many of RLIMIT_NOFILE is the most for eventfds of cgroups below."""


@attrs.define(eq=False)
class Bell:
    """The eventfd of one cgroup. The kernel rings those of the cgroup at its limit and of all below.

    It rings once more when the cgroup is removed, some time after the directory is gone.
    """

    fd: int
    directory: str
    above: Bell | None
    heard: int = 0
    """Signals that are not accounted for yet."""
    missing: int = 0
    """What the one above has heard in the last look, and this one has not."""
    left: int = 0
    """Of a cgroup that is gone: signals of its own, maybe with that of the removal."""
    told: int = 0
    """Of those, how many have been told."""
    since: float = 0.0
    """time.monotonic() when it was found to be gone."""

    def own(self) -> int:
        """How often this cgroup was at its limit, and none above."""
        more = self.heard - (self.above.heard if self.above else 0)
        missing, self.missing = self.missing, max(-more, 0)
        return max(more - missing, 0)

    def leave(self) -> int:
        """As :meth:`own`, when it is gone: one may be the removal."""
        self.since = self.since or time.monotonic()
        self.left += self.own()
        more = max(self.left - 1, 0) - self.told
        self.told += more
        return more

    @property
    def is_over(self) -> bool:
        return bool(self.since) and time.monotonic() > self.since + _LEAVING


class OomV1(Counts):
    """memory.oom_control of one cgroup and, with *recursive*, of those below."""

    def __init__(self, cgroup: Cgroup, kinds: frozenset[EventKind], recursive: bool) -> None:
        self._bells: dict[int, Bell] = {}
        self._passed: dict[str, int] = {}
        self._giving_way: set[int] = set()
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE
        self._report = EventKind.OOM in kinds
        self._awaited = 0
        self._pauses: list[float] = []
        branch = cgroup.branch("memory")
        keys = {"oom_kill": EventKind.OOM_KILL} if EventKind.OOM_KILL in kinds else {}
        super().__init__(cgroup, branch, "memory.oom_control", keys, recursive=recursive, mask=0)

    def _each(self, total: Tally) -> Iterator[tuple[int, str, Tally]]:
        self._passed = {}
        for key, directory, tally in super()._each(total):
            self._passed[directory] = key
            if key not in self._bells and self._has_room():
                self._hang(key, directory)
            yield key, directory, tally

    def _has_room(self) -> bool:
        """For one more; of those that are gone the one gives way that is gone for the longest time."""
        if len(self._bells) - len(self._giving_way) < self._most:
            return True
        leaving = [
            key for key, bell in self._bells.items() if bell.since and key not in self._giving_way
        ]
        self._giving_way.update(sorted(leaving, key=lambda key: self._bells[key].since)[:1])
        return bool(leaving)

    def _hang(self, key: int, directory: str) -> None:
        try:
            fd = self.own(listen(directory, "memory.oom_control"), select.EPOLLIN)
        except FileError:
            if key:
                return  # it is gone, or there are no descriptors left: the interval has to do
            if os.path.exists(f"{directory}/cgroup.event_control"):
                raise
            self._most = 0  # a real-time kernel has no such signals
            return
        self._bells[key] = Bell(fd, directory, self._above(directory))

    def _above(self, directory: str) -> Bell | None:
        while directory != self._branch.directory:
            directory = os.path.dirname(directory)
            if bell := self._bells.get(self._passed.get(directory, -1)):
                return bell
        return None

    def look(self) -> Look:
        # From below: who is asked before the one above cannot have heard more of it.
        for bell in reversed(self._bells.values()):
            bell.heard += signals(bell.fd)
        killed = 0
        try:
            for event in super().look():
                killed += event.count if event else 0
                yield event
        except NotFoundError:
            self.lingers = self._may_ring()
            if not self.lingers:
                yield from self._limits(set())
                raise
            return
        limits = self._limits({*self._passed.values()})
        yield from limits if self._report else ()
        self._expect(sum(event.count for event in limits), killed)

    def _limits(self, here: set[int]) -> list[Event]:
        """Who was at its limit, of those that are *here* and those that are gone."""
        found = [(b, b.own() if key in here else b.leave()) for key, b in self._bells.items()]
        for key, bell in list(self._bells.items()):
            bell.heard = 0
            if key not in here and (bell.is_over or key in self._giving_way):
                self.drop(bell.fd)
                del self._bells[key]
        self._giving_way.clear()
        return [self._event(EventKind.OOM, count, bell.directory) for bell, count in found if count]

    def _expect(self, limits: int, killed: int) -> None:
        """Look again soon for the kills that were announced."""
        if not self._keys:
            return
        self._awaited = max(self._awaited + limits - killed, 0)
        if limits:
            self._pauses = list(_PAUSES)
        if self._awaited and self._pauses:
            self.again = time.monotonic() + self._pauses.pop(0)
        else:
            self._awaited = 0

    def _may_ring(self) -> bool:
        """Whether to wait for the ring of a removal, to tell it from the one of a limit."""
        if not self.lingers:
            self._pauses = list(_PAUSES[:-1])
        unclear = any(bell.left + bell.heard == 1 for bell in self._bells.values())
        if not (self._report and unclear and self._pauses):
            return False
        self.again = time.monotonic() + self._pauses.pop(0)
        return True
