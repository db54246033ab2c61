"""One cgroup's descriptors: opening, reading and closing them."""

from __future__ import annotations

import errno
import os
import time
from array import array
from collections.abc import Iterable

from cgroupkit import files
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import FormatError
from cgroupkit.sampling import quick
from cgroupkit.sampling.plan import Layout, Plan
from cgroupkit.stats import HostCpu, Stats

GONE = (errno.ENOENT, errno.ENODEV)
PROBE_NS = 10_000_000_000
"""How long a controller that a v2 cgroup did not have is taken to be still missing."""


class Watch:
    """A cgroup that is sampled; its descriptors stay open between sweeps where there is room."""

    __slots__ = ("cgroup", "fds", "inodes", "layout", "plan", "probe", "strict")

    def __init__(self, cgroup: Cgroup, plan: Plan, *, strict: bool = True) -> None:
        self.cgroup = cgroup
        self.plan = plan
        self.strict = strict
        self.layout: Layout = plan.layout(())
        self.fds = array("i")
        self.inodes: tuple[int, ...] = ()
        """One of each hierarchy: another cgroup of the same name has others."""
        self.probe = 0
        """When to look again for what was missing; 0 is never."""

    def close(self) -> int:
        """Give the descriptors back; how many."""
        fds, self.fds = self.fds, array("i")
        for fd in fds:
            os.close(fd)
        return len(fds)

    def open(self) -> bool:
        """Open what there is of the cgroup; False if it is gone. Raises EMFILE as it is."""
        fds: list[int] = []
        present: list[int] = []
        try:
            if not self._open(fds, present):
                _close(fds)
                return False
            self.inodes = self._identity(fds, present)
        except BaseException:
            _close(fds)
            raise
        self.fds = array("i", fds)
        self.layout = self.plan.layout(tuple(present))
        self.probe = time.monotonic_ns() + PROBE_NS if self._lacks(present) else 0
        return bool(fds) or self.cgroup.exists()

    def _open(self, fds: list[int], present: list[int]) -> bool:
        for number, place in enumerate(self.plan.places):
            path = place.path(self.cgroup)
            try:
                fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                if error.errno in GONE:
                    if not os.path.isdir(os.path.dirname(path)):
                        return False
                    continue
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise
                if error.errno == errno.EOPNOTSUPP:
                    continue
                if error.errno == errno.EACCES and not self.strict:
                    continue
                raise files.refused(error, path, "read") from None
            present.append(number)
        return True

    def _identity(self, fds: list[int], present: list[int]) -> tuple[int, ...]:
        first: dict[int, int] = {}
        for fd, number in zip(fds, present, strict=True):
            first.setdefault(self.plan.places[number].branch, fd)
        found = tuple([os.fstat(fd).st_ino for fd in first.values()])
        return self.inodes if found == self.inodes else found

    def _lacks(self, present: list[int]) -> bool:
        """Whether a v2 controller is not enabled here, or not yet."""
        missing = {p.file.partition(".")[0] for p in self.plan.places if self._is_v2(p.branch)}
        have = {self.plan.places[number] for number in present}
        return bool(missing - {place.file.partition(".")[0] for place in have})

    def _is_v2(self, branch: int) -> bool:
        place = self.cgroup.branches[branch]
        return place.version == 2 and not place.is_root

    def read(self, host: HostCpu | None) -> Stats | None:
        """Read what is open; None if the cgroup is gone or was made anew."""
        now = time.monotonic_ns()
        program = self.layout.program
        if program.address:
            address = self.fds.buffer_info()[0]
            try:
                stats: Stats | None = quick.read(program.address, address, now, self.inodes, host)
            except FormatError as error:
                raise FormatError(f"{self.cgroup.name}: {error}") from None
            if program.stale:
                program.renew()
            if stats is not None:
                return stats
        texts: list[bytes] = []
        unreadable: list[int] = []
        for index, (fd, place) in enumerate(zip(self.fds, self.layout.places, strict=True)):
            try:
                texts.append(self._read_one(fd, index))
            except OSError as error:
                if error.errno in GONE:
                    return None
                if error.errno != errno.EOPNOTSUPP:  # pressure is not accounted for, say
                    raise files.refused(error, place.path(self.cgroup), "read") from None
                unreadable.append(index)
        if unreadable:
            self._give_up(unreadable)
        try:
            return self.layout.stats(texts, now, self.inodes, host)
        except FormatError as error:
            raise FormatError(f"{self.cgroup.name}: {error}") from None

    def _read_one(self, fd: int, index: int) -> bytes:
        sizes = self.layout.sizes
        while len(text := os.pread(fd, sizes[index], 0)) >= sizes[index]:
            sizes[index] *= 2
        return text

    def _give_up(self, indexes: list[int]) -> None:
        _close([self.fds[index] for index in indexes])
        keep = [index for index in range(len(self.fds)) if index not in indexes]
        self.fds = array("i", [self.fds[index] for index in keep])
        self.layout = self.plan.layout(tuple([self.layout.present[index] for index in keep]))


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
