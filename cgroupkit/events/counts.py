"""Events that the kernel counts: OOM kills, and hits on memory.high, memory.max and pids.max."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Mapping

from cgroupkit import files, tree
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import EXHAUSTED, FileError
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.sources import Look, Source, open_file, read_again
from cgroupkit.tree import Branch

Tally = dict[EventKind, int]
MASK = select.EPOLLPRI | select.EPOLLERR
KEYS = {
    "oom_kill": EventKind.OOM_KILL,
    "oom": EventKind.OOM,
    "high": EventKind.MEMORY_HIGH,
    "max": EventKind.MEMORY_MAX,
}
MEMORY = frozenset(KEYS.values())


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
        mask: int = MASK,
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
        self.told = bool(mask) and (self._summed or not recursive)
        self._seen: dict[int, Tally] = {}
        self._ahead: Tally = {}
        try:
            # The sum first: what comes in between is then found in the next one.
            self._sum = self._read()
            for key, _, tally in self._each(self._sum):
                self._seen[key] = tally
        except BaseException:
            self.close()
            raise

    def _read(self) -> Tally:
        return parse(read_again(self._fd, self._path), self._keys)

    def _each(self, total: Tally) -> Iterator[tuple[int, str, Tally]]:
        """Of the cgroup and of those below: which (0 and inodes), where, and its own counters."""
        top = self._branch.directory
        for directory, inode in tree.walk(top) if self._recursive else ((top, 0),):
            if directory == top and not self._summed:
                yield 0, top, total
                continue
            key = 0 if directory == top else inode
            try:
                yield key, directory, parse(files.read(f"{directory}/{self._file}"), self._keys)
            except FileError as error:
                if error.errno in EXHAUSTED:
                    raise
                if error.errno not in tree.VANISHED:  # not to be read now: as it was
                    yield key, directory, self._seen.get(key, {})

    def look(self) -> Look:
        total = self._read()
        if total == self._sum and (self._summed or not self._recursive):
            return
        found: Tally = {}
        passed: set[int] = set()
        try:
            for key, directory, tally in self._each(total):
                passed.add(key)
                seen = self._seen.setdefault(key, {})
                for kind, count in tally.items():
                    more, seen[kind] = count - seen.get(kind, 0), count
                    if more < 0:  # somebody has reset memory.failcnt
                        more = count
                    if more:
                        found[kind] = found.get(kind, 0) + more
                        yield self._event(kind, more, directory)
                yield None
        except BaseException:  # the sum has yet to be looked at: this much of it has been told
            for kind, count in found.items():
                self._ahead[kind] = self._ahead.get(kind, 0) + count
            raise
        self._seen = {key: tally for key, tally in self._seen.items() if key in passed}
        if self._summed:
            yield from self._remainder(total, found)
        self._sum = total

    def _remainder(self, total: Tally, found: Tally) -> Iterator[Event]:
        """What the sum has and nobody below; a cgroup's own counter may be ahead of the sum."""
        for kind, count in total.items():
            told = found.get(kind, 0) + self._ahead.get(kind, 0)
            left = count - self._sum.get(kind, 0) - told
            self._ahead[kind] = max(-left, 0)
            if left > 0:
                yield self._event(kind, left)

    def _event(self, kind: EventKind, count: int, directory: str = "") -> Event:
        rest = directory[len(self._branch.directory) :]
        return Event(kind=kind, cgroup=self._below(rest), count=count)

    def _below(self, rest: str) -> Cgroup:
        if not rest:
            return self._cgroup
        found = (
            Branch(b.hierarchy, b.path.rstrip("/") + rest, b.directory + rest)
            for b in self._cgroup.branches
        )
        here = self._branch.directory + rest
        return Cgroup.at(tuple(b for b in found if b.directory == here or os.path.isdir(b.directory)))


def memory(cgroup: Cgroup, kinds: frozenset[EventKind], recursive: bool) -> Source:
    """The source of those of *kinds* that v2's memory.events has."""
    cgroup.memory.read("memory.events")  # explains why it is absent
    local = "memory.events.local" if cgroup.memory.has("memory.events.local") else ""
    keys = {key: kind for key, kind in KEYS.items() if kind in kinds}
    branch = cgroup.branch("memory")
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
