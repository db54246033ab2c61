"""What a cgroup is or is not: populated, frozen."""

from __future__ import annotations

import select
from collections.abc import Iterator

from cgroupkit import files, members
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import UnsupportedError
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.sources import Look, Source, open_file, read_again

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
        if on is EventKind.FROZEN:
            self._untold: members.Branches = (members.freezer_of(self._branches),)
        else:
            self._untold = self._branches
        self._fd = -1
        self._path = f"{first.directory}/cgroup.events"
        if first.version == 2:
            self._untold = tuple(branch for branch in self._untold if branch != first)
            self._fd = self.own(open_file(self._path), select.EPOLLPRI | select.EPOLLERR)
        self.told = not self._untold
        try:
            self._now = self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> bool:
        *_, now = self._reading()
        return bool(now)

    def _reading(self) -> Iterator[bool | None]:
        """The state, after as many Nones as there are places to stop."""
        told = dict(files.flat_keyed(read_again(self._fd, self._path))) if self._fd >= 0 else {}
        here = told.get(_KEYS[self._on]) == "1"
        if self.told:
            yield here
        elif self._on is EventKind.FROZEN:
            yield here or members.frozen(self._untold)
        elif not members.same_path(self._branches):
            yield members.populated(self._branches)
        elif here:
            yield True
        else:
            for inside in members.inhabited(self._untold):
                yield None
                if inside:
                    yield True
                    return
            yield False

    def look(self) -> Look:
        for now in self._reading():
            if now is None:
                yield None
            elif now != self._now:
                self._now = now
                yield from self._events()

    def last(self) -> Iterator[Event]:
        if self._on is EventKind.POPULATED and self._now:
            self._now = False
            yield from self._events()

    def _events(self) -> Iterator[Event]:
        kind = self._on if self._now else _OPPOSITES[self._on]
        if kind in self._kinds:
            yield Event(kind=kind, cgroup=self._cgroup)
