"""What a cgroup is or is not: populated, frozen."""

from __future__ import annotations

import select
from collections.abc import Iterator

from cgroupkit import files, members
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import UnsupportedError
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.sources import Source, open_file, read_again

_KEYS = {EventKind.POPULATED: "populated", EventKind.FROZEN: "frozen"}
_OPPOSITES = {EventKind.POPULATED: EventKind.EMPTY, EventKind.FROZEN: EventKind.THAWED}


class State(Source):
    """*on* or its opposite, as cgroup.events tells it, and what v1 hierarchies know besides."""

    def __init__(self, cgroup: Cgroup, on: EventKind, kinds: frozenset[EventKind]) -> None:
        super().__init__()
        self._cgroup = cgroup
        self._on = on
        self._kinds = kinds
        self._branches = members.effective(cgroup.branches)
        first = self._branches[0]
        if first.is_root:
            raise UnsupportedError(
                f"the root cgroup is always populated and never frozen: there is no {on} to wait for"
            )
        self._fd = -1
        self._path = f"{first.directory}/cgroup.events"
        if first.version == 2:
            self._fd = self.own(open_file(self._path), select.EPOLLPRI | select.EPOLLERR)
        try:
            self._now = self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> bool:
        told = dict(files.flat_keyed(read_again(self._fd, self._path))) if self._fd >= 0 else {}
        here = told.get(_KEYS[self._on])
        if self._on is EventKind.FROZEN:
            if here is not None and len(self._branches) == 1:
                return here == "1"
            return members.frozen(self._branches)
        if len(self._branches) == 1 and here is not None:
            return here == "1"
        same = len({branch.path for branch in self._branches}) == 1
        return (same and here == "1") or members.populated(self._branches)

    def look(self, now: int) -> Iterator[Event]:
        before, self._now = self._now, self._read()
        if self._now != before:
            yield from self._events(now)

    def last(self, now: int) -> Iterator[Event]:
        if self._on is EventKind.POPULATED and self._now:
            self._now = False
            yield from self._events(now)

    def _events(self, now: int) -> Iterator[Event]:
        kind = self._on if self._now else _OPPOSITES[self._on]
        if kind in self._kinds:
            yield Event(kind=kind, cgroup=self._cgroup, time=now)
