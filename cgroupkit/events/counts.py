"""Events that the kernel counts: OOM kills, and hits on memory.high, memory.max and pids.max."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from cgroupkit import files
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import FileError
from cgroupkit.events.eventfd import listen, signals
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.sources import Source, below, open_file, read_again, text_or_none
from cgroupkit.tree import Branch

Tally = dict[EventKind, int]
_MASK = select.EPOLLPRI | select.EPOLLERR
_KEYS = {
    "oom_kill": EventKind.OOM_KILL,
    "oom": EventKind.OOM,
    "high": EventKind.MEMORY_HIGH,
    "max": EventKind.MEMORY_MAX,
}
MEMORY = frozenset(_KEYS.values())
_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Seconds between looks for the kill that v1 has announced."""


def parse(text: str, keys: Mapping[str, EventKind]) -> Tally:
    """The counters of a flat keyed file; one of a single number (memory.failcnt) has the key ``""``."""
    if "" in keys:
        return {keys[""]: int(text)}
    return {keys[key]: int(value) for key, value in files.flat_keyed(text) if key in keys}


class Counts(Source):
    """One file of counters, of one cgroup and, with *recursive*, those below it.

    Where the kernel adds up over the subtree itself (*local* is the file that does not), the sum
    counts: what is in no cgroup below, because it was removed meanwhile, is reported of the one
    watched. Elsewhere each cgroup's own file is read.
    """

    def __init__(
        self,
        cgroup: Cgroup,
        branch: Branch,
        file: str,
        keys: Mapping[str, EventKind],
        *,
        local: str = "",
        recursive: bool = True,
        mask: int = _MASK,
    ) -> None:
        super().__init__()
        self._cgroup = cgroup
        self._branch = branch
        self._keys = keys
        self._recursive = recursive
        self._summed = bool(local) and recursive
        self._file = local or file
        self._path = f"{branch.directory}/{file if recursive else self._file}"
        self._fd = self.own(open_file(self._path), mask)
        self._ahead: Tally = {}
        try:
            # The sum first: what comes in between is then found in the next one.
            self._sum = self._read()
            self._seen = {key: tally for key, _, tally in self._each()}
        except BaseException:
            self.close()
            raise

    def _read(self) -> Tally:
        return parse(read_again(self._fd, self._path), self._keys)

    def _each(self) -> Iterator[tuple[tuple[str, int], str, Tally]]:
        """Of the cgroup and of those below: who it is, where, and its own counters."""
        top = self._branch.directory
        for directory in (top, *(below(top) if self._recursive else ())):
            text = text_or_none(f"{directory}/{self._file}")
            with suppress(OSError):
                if text is not None:
                    yield (directory, os.stat(directory).st_ino), directory, parse(text, self._keys)

    def look(self, now: int) -> Iterator[Event]:
        total = self._read()
        if total == self._sum and (self._summed or not self._recursive):
            return
        found: Tally = {}
        before, self._seen = self._seen, {}
        for key, directory, tally in self._each():
            self._seen[key] = tally
            for kind, count in tally.items():
                more = count - before.get(key, {}).get(kind, 0)
                if more < 0:  # somebody has reset memory.failcnt
                    more = count
                if more:
                    found[kind] = found.get(kind, 0) + more
                    yield self._event(kind, more, now, directory)
        if self._summed:
            yield from self._remainder(total, found, now)
        self._sum = total

    def _remainder(self, total: Tally, found: Tally, now: int) -> Iterator[Event]:
        """What the sum has and nobody below; a cgroup's own counter may be ahead of the sum."""
        for kind, count in total.items():
            told = found.get(kind, 0) + self._ahead.get(kind, 0)
            left = count - self._sum.get(kind, 0) - told
            self._ahead[kind] = max(-left, 0)
            if left > 0:
                yield self._event(kind, left, now)

    def _event(self, kind: EventKind, count: int, now: int, directory: str = "") -> Event:
        rest = directory[len(self._branch.directory) :]
        return Event(kind=kind, cgroup=self._below(rest), count=count, time=now)

    def _below(self, rest: str) -> Cgroup:
        if not rest:
            return self._cgroup
        found = (
            Branch(b.hierarchy, b.path.rstrip("/") + rest, b.directory + rest)
            for b in self._cgroup.branches
        )
        here = self._branch.directory + rest
        return Cgroup.at(tuple(b for b in found if b.directory == here or os.path.isdir(b.directory)))


class OomV1(Counts):
    """v1's memory.oom_control: the eventfd is signalled before anybody is killed and counted."""

    def __init__(
        self, cgroup: Cgroup, branch: Branch, kinds: frozenset[EventKind], recursive: bool
    ) -> None:
        keys = {key: kind for key, kind in _KEYS.items() if key == "oom_kill" and kind in kinds}
        super().__init__(cgroup, branch, "memory.oom_control", keys, recursive=recursive, mask=0)
        self._report = EventKind.OOM in kinds
        self._pauses: list[float] = []
        self._wake = -1
        try:
            self._wake = self.own(listen(branch.directory, "memory.oom_control"), select.EPOLLIN)
        except FileError:
            if os.path.exists(f"{branch.directory}/cgroup.event_control"):
                self.close()
                raise  # else it is a real-time kernel, and the interval has to do

    def look(self, now: int) -> Iterator[Event]:
        woken = signals(self._wake) if self._wake >= 0 else 0
        events = list(super().look(now))  # raises if the signal was for the removal
        if woken and self._report:
            yield Event(kind=EventKind.OOM, cgroup=self._cgroup, count=woken, time=now)
        yield from events
        if woken:
            self._pauses = list(_PAUSES)
        if events:
            self._pauses = []
        self.again = time.monotonic() + self._pauses.pop(0) if self._pauses else None


def memory(cgroup: Cgroup, kinds: frozenset[EventKind], recursive: bool) -> Source:
    """The source of those of *kinds* that memory.events or, on v1, memory.oom_control has."""
    branch = cgroup.branch("memory")
    if branch.version == 1:
        return OomV1(cgroup, branch, kinds, recursive)
    cgroup.memory.read("memory.events")  # explains why it is absent
    local = "memory.events.local" if cgroup.memory.has("memory.events.local") else ""
    keys = {key: kind for key, kind in _KEYS.items() if kind in kinds}
    return Counts(cgroup, branch, "memory.events", keys, local=local, recursive=recursive)


def failures(cgroup: Cgroup, recursive: bool) -> Source:
    """v1's memory.failcnt, of which nobody is notified."""
    keys = {"": EventKind.MEMORY_MAX}
    branch = cgroup.branch("memory")
    return Counts(cgroup, branch, "memory.failcnt", keys, recursive=recursive, mask=0)


def pids(cgroup: Cgroup, recursive: bool) -> Source:
    """pids.events: since 6.11 v2 adds up over the subtree, and counts where the limit was."""
    cgroup.pids.read("pids.events")
    local = "pids.events.local" if cgroup.pids.has("pids.events.local") else ""
    keys = {"max": EventKind.PIDS_MAX}
    branch = cgroup.branch("pids")
    return Counts(cgroup, branch, "pids.events", keys, local=local, recursive=recursive)
