"""One cgroup's descriptors: opening, reading and closing them."""

from __future__ import annotations

import errno
import os
import time
from array import array
from collections.abc import Callable, Iterable

from cgroupkit import files
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import EXHAUSTED, FileError
from cgroupkit.sampling.plan import Layout, Plan
from cgroupkit.stats import HostCpu, Stats
from cgroupkit.tree import VANISHED


class Watch:
    """A cgroup that is sampled; its descriptors stay open between sweeps where there is room."""

    __slots__ = ("cgroup", "fds", "inodes", "layout", "plan", "turn")

    def __init__(self, cgroup: Cgroup, plan: Plan) -> None:
        self.cgroup = cgroup
        self.plan = plan
        self.layout: Layout = plan.layout(())
        self.fds = array("i")
        self.inodes: tuple[int, ...] = ()
        """One of each hierarchy: another cgroup of the same name has others."""
        self.turn = 0
        """Where there is too little time for all: the sweep in which it was read last."""

    def close(self) -> None:
        """Give the descriptors back."""
        fds, self.fds = self.fds, array("i")
        _close(fds)

    def open(self, refused: Callable[[FileError], None]) -> bool:
        """Open what there is of the cgroup, and tell what was *refused*; False if it is gone.

        Raises EMFILE and ENFILE as they are.
        """
        fds: list[int] = []
        try:
            present = self._open(fds, refused)
            if present is None:
                return False
            self.inodes = self._identity(fds, present)
            self.layout = self.plan.layout(present)
            opened = array("i", fds)
            fds.clear()
            self.fds = opened
        finally:
            _close(fds)
        return bool(self.fds) or self.cgroup.exists()

    def _open(self, fds: list[int], refused: Callable[[FileError], None]) -> tuple[int, ...] | None:
        """Which of the places there are; None if the cgroup is gone from all hierarchies."""
        present: list[int] = []
        absent: set[int] = set()
        for number, place in enumerate(self.plan.places):
            path = place.path(self.cgroup)
            try:
                fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                if error.errno in VANISHED:
                    absent.add(place.branch)
                    continue
                if error.errno in EXHAUSTED:
                    raise
                if error.errno != errno.EOPNOTSUPP:
                    refused(files.refused(error, path, "read"))
                continue
            present.append(number)
        gone = [b for b in absent if not os.path.isdir(self.cgroup.branches[b].directory)]
        if gone and len(gone) == len(self.plan.branches):
            return None
        return tuple(present)

    def _identity(self, fds: list[int], present: Iterable[int]) -> tuple[int, ...]:
        first: dict[int, int] = {}
        for fd, number in zip(fds, present, strict=True):
            first.setdefault(self.plan.places[number].branch, fd)
        found = tuple([os.fstat(fd).st_ino for fd in first.values()])
        return self.inodes if found == self.inodes else found

    def outdated(self) -> bool:
        """Whether there is more to open by now (a controller was enabled), or another cgroup here.

        A removed one tells so itself when it is read; one that v1 renamed does not.
        """
        have = dict.fromkeys(self.layout.present)
        first: dict[int, str] = {}
        for number, place in enumerate(self.plan.places):
            if number in have:
                first.setdefault(place.branch, place.path(self.cgroup))
            elif os.access(place.path(self.cgroup), os.R_OK, effective_ids=True):
                return True
        try:
            return tuple([os.stat(path).st_ino for path in first.values()]) != self.inodes
        except OSError:
            return True

    def read(self, host: HostCpu | None) -> Stats | None:
        """Read what is open, in Python; None if the cgroup is gone or was made anew.

        Raises :class:`FormatError` for text that is not understood.
        """
        now = time.monotonic_ns()
        texts: list[bytes] = []
        unreadable: list[int] = []
        for index, (fd, place) in enumerate(zip(self.fds, self.layout.places, strict=True)):
            try:
                texts.append(self._read_one(fd, index))
            except OSError as error:
                if error.errno in VANISHED:
                    return None
                if error.errno != errno.EOPNOTSUPP:  # pressure is not accounted for, say
                    raise files.refused(error, place.path(self.cgroup), "read") from None
                unreadable.append(index)
        if unreadable:
            self._give_up(unreadable)
        return self.layout.stats(texts, now, self.inodes, host)

    def _read_one(self, fd: int, index: int) -> bytes:
        sizes = self.layout.sizes
        while len(text := os.pread(fd, sizes[index], 0)) >= sizes[index]:
            sizes[index] *= 2
        return text

    def _give_up(self, indexes: list[int]) -> None:
        lost = [self.fds[index] for index in indexes]
        keep = [index for index in range(len(self.fds)) if index not in indexes]
        self.layout = self.plan.layout(tuple([self.layout.present[index] for index in keep]))
        self.fds = array("i", [self.fds[index] for index in keep])
        _close(lost)


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
