"""Sampler: the stats of many cgroups, again and again, on kept descriptors."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
import warnings
from collections.abc import Iterable
from typing import Self

from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.errors import FileError, InvalidValueError
from cgroupkit.hierarchy import Hierarchy
from cgroupkit.sampling.fields import HOST_CPU, chosen
from cgroupkit.sampling.following import Following
from cgroupkit.sampling.plan import Plan, key_of
from cgroupkit.sampling.rates import Counters, Rates, between, counters
from cgroupkit.sampling.watch import Watch
from cgroupkit.stats import HostCpu, Stats, host_cpu
from cgroupkit.units import invalid


class Sampler(Closing):
    """The stats of *cgroups*, again and again, on descriptors that stay open.

    *fields* are the parts of :class:`Stats` to read: leaves such as ``"memory.current"``, groups such
    as ``"memory"``; by default all. Fewer fields are fewer files to read. What may not be read raises
    :class:`AccessError`, or with *strict* False is not known.

    At most *share* of RLIMIT_NOFILE's soft limit is used; cgroups beyond that are opened and closed
    in every sweep, which is slower, and a RuntimeWarning says so once. Close
    the sampler, or use it as a context manager. Threads may share one, and then take turns; separate
    samplers work in parallel.
    """

    def __init__(
        self,
        cgroups: Iterable[Cgroup],
        fields: Iterable[str] | None = None,
        *,
        share: float = 0.5,
        strict: bool = True,
    ) -> None:
        self.fields = chosen(fields)
        """The leaves that are read, by name."""
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
            raise invalid("share", share, "give a number above 0, and at most 1, of RLIMIT_NOFILE")
        self._share = share
        self._strict = strict
        # C reads by addresses that must not change meanwhile.
        self._lock = threading.RLock()
        self._leaves = tuple(name for name in self.fields if name != HOST_CPU)
        self._plans: dict[tuple[tuple[Hierarchy, bool], ...], Plan] = {}
        self._watches: dict[Cgroup, Watch] = {}
        self._following: Following | None = None
        self._before: dict[Cgroup, Counters] = {}
        self._kept = 0
        self._room = self._ceiling = 1 << 30
        self._limit = -1
        self._warned = self._closed = False
        for cgroup in cgroups:
            self.add(cgroup)

    @classmethod
    def tree(
        cls,
        parent: str | os.PathLike[str] | Cgroup,
        fields: Iterable[str] | None = None,
        *,
        depth: int | None = None,
        share: float = 0.5,
        strict: bool = True,
    ) -> Self:
        """All cgroups below *parent*, at each sample those that there are then.

        *depth* 1 is the children alone; None is all descendants. Raises :class:`NotFoundError` where
        there is no *parent*; one that is removed later gives an empty sample until it is back.
        """
        if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
            raise invalid("depth", depth, "give how many levels below, 1 or more, or None for all")
        self = cls((), fields, share=share, strict=strict)
        top = parent if isinstance(parent, Cgroup) else Cgroup(parent)
        used = self._plan(top).branches
        self._following = Following(top, used, depth, self.add, self.discard, strict=strict)
        return self

    def add(self, cgroup: Cgroup) -> None:
        """Sample *cgroup*, too, from now on, whether it exists at the moment or not."""
        if not isinstance(cgroup, Cgroup):
            raise invalid("cgroups", cgroup, "give Cgroup objects, such as Cgroup('/docker')")
        with self._lock:
            self._check_open()
            if cgroup not in self._watches:
                self._watches[cgroup] = Watch(cgroup, self._plan(cgroup), strict=self._strict)

    def discard(self, cgroup: Cgroup) -> None:
        """Sample *cgroup* no more, and give its descriptors back."""
        with self._lock:
            watch = self._watches.pop(cgroup, None)
            self._before.pop(cgroup, None)
            if watch is not None:
                self._kept -= watch.close()

    def __len__(self) -> int:
        """How many cgroups are watched."""
        return len(self._watches)

    @property
    def descriptors(self) -> int:
        """How many descriptors are open at the moment."""
        return self._kept

    def sample(self, *, timeout: float | None = None) -> dict[Cgroup, Stats]:
        """Read all cgroups now; those that do not exist, or end meanwhile, are left out.

        Each has its own moment in ``time_ns``; ``host_cpu`` is read once for all. Raises
        :class:`AccessError` where a file may not be read, if strict. After *timeout* seconds no
        more are read, nor looked for.
        """
        with self._lock:
            return self._sample(timeout)

    def _sample(self, timeout: float | None) -> dict[Cgroup, Stats]:
        self._check_open()
        deadline = None if timeout is None else time.monotonic() + timeout
        self._measure_room()
        if self._following:
            self._following.refresh(deadline)
        host = host_cpu() if HOST_CPU in self.fields else None
        result: dict[Cgroup, Stats] = {}
        for cgroup, watch in self._watches.items():
            if deadline is not None and time.monotonic() >= deadline:
                break
            stats = self._read(watch, host)
            if stats is not None:
                result[cgroup] = stats
                continue
            self._before.pop(cgroup, None)
            if self._following:
                self._following.died(cgroup)
        return result

    def rates(self, sample: dict[Cgroup, Stats] | None = None) -> dict[Cgroup, Rates]:
        """What went on since the last call: from its sample to *sample*, or to a new one.

        A cgroup that was not in the last call's sample, or was made anew since, is left out this time.
        So the first call gives nothing.
        """
        with self._lock:
            now = {c: counters(s) for c, s in (self.sample() if sample is None else sample).items()}
            before, self._before = self._before, now
        pairs = ((c, before.get(c), after) for c, after in now.items())
        found = ((c, between(old, after)) for c, old, after in pairs if old is not None)
        return {cgroup: each for cgroup, each in found if each is not None}

    def close(self) -> None:
        """Close all descriptors; the sampler cannot be used any more."""
        with self._lock:
            self._closed = True
            for watch in self._watches.values():
                self._kept -= watch.close()
            self._watches.clear()
            self._before.clear()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    # Descriptors

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidValueError("this sampler was closed: make another one")

    def _plan(self, cgroup: Cgroup) -> Plan:
        key = key_of(cgroup)
        if key not in self._plans:
            self._plans[key] = Plan(cgroup, self._leaves)
        return self._plans[key]

    def _read(self, watch: Watch, host: HostCpu | None) -> Stats | None:
        """Open what is not open, read it, and keep it open if there is room."""
        if watch.fds and not 0 < watch.probe < time.monotonic_ns():
            before = len(watch.fds)
            stats = watch.read(host)
            self._kept += len(watch.fds) - before
            if stats is not None:
                return stats
        self._kept -= watch.close()
        if not self._open(watch):
            return None
        stats = watch.read(host)
        # Beside those that are kept there has to be room for one that is not.
        if stats is None or self._kept + len(watch.fds) > self._room - len(watch.plan.places):
            if stats is not None:
                self._warn()
            watch.close()
        self._kept += len(watch.fds)
        return stats

    def _open(self, watch: Watch) -> bool:
        while True:
            try:
                return watch.open()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                if not self._kept:
                    raise FileError(
                        error.errno,
                        f"cannot open the files of {watch.cgroup.name}: no descriptor is left; raise "
                        f"RLIMIT_NOFILE, now {self._limit} (ulimit -n, LimitNOFILE= of a unit)",
                    ) from None
                self._shed(self._kept // 2)
                self._ceiling = self._room = self._kept
                self._warn()

    def _measure_room(self) -> None:
        """The limit may be changed while we run."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit != self._limit:
            self._limit = limit
            self._ceiling = 1 << 30
        self._room = min(int(limit * self._share), self._ceiling)
        if self._kept > self._room:
            self._shed(self._room)

    def _shed(self, most: int) -> None:
        for watch in reversed(self._watches.values()):
            if self._kept <= most:
                break
            self._kept -= watch.close()

    def _warn(self) -> None:
        if self._warned:
            return
        self._warned = True
        each = max((len(plan.places) for plan in self._plans.values()), default=0)
        needed = int((len(self._watches) + 1) * each / self._share) + 1
        warnings.warn(
            f"{len(self._watches)} cgroups need {each} descriptors each, but RLIMIT_NOFILE is "
            f"{self._limit}, of which share={self._share} may be used: the rest is opened anew in "
            f"every sweep, which is slower. Raise the limit to {needed} (ulimit -n, LimitNOFILE= of a "
            "unit), or choose fewer fields",
            RuntimeWarning,
            stacklevel=4,
        )
