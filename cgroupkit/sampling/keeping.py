"""Which descriptors stay open: a share of RLIMIT_NOFILE; and reading what is not open."""

from __future__ import annotations

import os
import resource
import warnings

from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import EXHAUSTED, CgroupKitError, FileError
from cgroupkit.sampling.sweep import Sweep
from cgroupkit.sampling.watch import Watch
from cgroupkit.stats import HostCpu, Stats
from cgroupkit.units import invalid

_ENDLESS = 1 << 30


class Complaints:
    """Warnings, each kind once, whatever the many names in them may be."""

    def __init__(self) -> None:
        self._told: set[tuple[object, ...]] = set()

    def about(self, error: CgroupKitError, watch: Watch | None = None) -> None:
        file = os.path.basename(error.filename or "") if isinstance(error, FileError) else ""
        who = f"{watch.cgroup.name} is left out: " if watch else ""
        self.once((type(error), file), f"{who}{error}")

    def once(self, key: tuple[object, ...], text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            warnings.warn(text, RuntimeWarning, stacklevel=2)


class Keeping:
    """Keeps the descriptors of *watches* open as far as there is room."""

    def __init__(
        self, watches: dict[Cgroup, Watch], sweep: Sweep, share: float, complaints: Complaints
    ) -> None:
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
            raise invalid("share", share, "give a number above 0, and at most 1, of RLIMIT_NOFILE")
        self._watches = watches
        self._sweep = sweep
        self._share = share
        self._complaints = complaints
        self._limit = -1
        self._room = 0
        self._ceiling = _ENDLESS
        self.count = 0
        """How many are open."""
        self.changed = True
        """Whether another set of watches is open than when :meth:`open_ones` was asked."""

    def open_ones(self) -> list[Watch]:
        found = [watch for watch in self._watches.values() if watch.fds]
        self.count = sum([len(watch.fds) for watch in found])
        self.changed = False
        return found

    def measure(self) -> None:
        """The limit may be changed while we run."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        limit = limit if limit >= 0 else _ENDLESS
        if limit != self._limit:
            self._limit = limit
            self._ceiling = _ENDLESS
        self._room = min(int(limit * self._share), self._ceiling)
        if self.count > self._room:
            self._shed(self._room)

    def read(self, watch: Watch, host: HostCpu | None) -> Stats | None:
        """Open what is not open, read it, and keep it open if there is room; None if it is gone.

        Raises :class:`FormatError`, and :class:`FileError` for a read that failed.
        """
        if watch.fds:
            stats = self._read_open(watch, host)
            if stats is not None:
                return stats
            self.close(watch)
        if not self._open(watch):
            return None
        keep, stats = False, None
        try:
            stats = self._sweep.read_one(watch, host) or watch.read(host)
            # Beside those that are kept there has to be room for one that is not.
            room = self._room - len(watch.plan.places)
            keep = stats is not None and self.count + len(watch.fds) <= room
        finally:
            if keep:
                self.count += len(watch.fds)
                self.changed = True
            else:
                watch.close()
        if stats is not None and not keep:
            self._complain()
        return stats

    def _read_open(self, watch: Watch, host: HostCpu | None) -> Stats | None:
        before = len(watch.fds)
        try:
            return watch.read(host)
        finally:
            if len(watch.fds) != before:
                self.count += len(watch.fds) - before
                self.changed = True

    def _open(self, watch: Watch) -> bool:
        while True:
            try:
                return watch.open(self._complaints.about)
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                if not self.give_back():
                    raise FileError(
                        error.errno,
                        f"cannot open the files of {watch.cgroup.name}: no descriptor is left; raise "
                        f"RLIMIT_NOFILE, now {self._limit} (ulimit -n, LimitNOFILE= of a unit)",
                    ) from None
                self._complain()

    def close(self, watch: Watch) -> None:
        self.count -= len(watch.fds)
        self.changed = True
        watch.close()

    def give_back(self) -> bool:
        """Half of ours, as others have taken the rest; False if there is nothing to give."""
        if not self.count:
            self._complain()
            return False
        self._shed(self.count // 2)
        self._ceiling = self._room = self.count
        return True

    def _shed(self, most: int) -> None:
        for watch in reversed(self._watches.values()):
            if self.count <= most:
                break
            self.close(watch)

    def _complain(self) -> None:
        each = max((len(watch.plan.places) for watch in self._watches.values()), default=0)
        needed = int((len(self._watches) + 1) * each / self._share) + 1
        self._complaints.once(
            ("descriptors",),
            f"{len(self._watches)} cgroups need {each} descriptors each, but RLIMIT_NOFILE is "
            f"{self._limit}, of which share={self._share} may be used: the rest is opened anew in "
            f"every sweep, which is slower. Raise the limit to {needed} (ulimit -n, LimitNOFILE= of a "
            "unit), or choose fewer fields",
        )
