"""Sampler: the stats of many cgroups, again and again, on kept descriptors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.errors import EXHAUSTED, FileError, FormatError, InvalidValueError
from cgroupkit.hierarchy import Hierarchy
from cgroupkit.sampling.fields import HOST_CPU, chosen
from cgroupkit.sampling.following import Following, everywhere
from cgroupkit.sampling.keeping import Complaints, Keeping
from cgroupkit.sampling.plan import Plan, key_of
from cgroupkit.sampling.rates import Counters, Rates, between, counters
from cgroupkit.sampling.sweep import Sweep
from cgroupkit.sampling.watch import Watch
from cgroupkit.stats import HostCpu, Stats, host_cpu, without_roots
from cgroupkit.units import invalid, parse_int

MOST_THREADS = 16
ROUND_NS = 10_000_000_000
"""In which time each cgroup is looked at for what reading it does not tell."""

Sample = dict[Cgroup, Stats]


class Sampler(Closing):
    """The stats of *cgroups*, again and again, on descriptors that stay open.

    *fields* are the parts of :class:`Stats` to read: leaves such as ``"memory.current"``, groups such
    as ``"memory"``; by default all. Fewer fields are fewer files to read.

    At most *share* of RLIMIT_NOFILE's soft limit is used; cgroups beyond that are opened and closed
    in every sweep, which is slower, and a RuntimeWarning says so once. Close the sampler, or use it
    as a context manager.

    *threads* is how many threads read the files in a large sweep, the calling one included; by default
    two, where this process may run on so many CPUs. They end with the sweep. Threads of yours
    may share a sampler, and then take turns; separate samplers work in parallel. A signal handler may
    close it.
    """

    _closed = True  # until it is made

    def __init__(
        self,
        cgroups: Iterable[Cgroup],
        fields: Iterable[str] | None = None,
        *,
        share: float = 0.5,
        threads: int | None = None,
    ) -> None:
        if isinstance(cgroups, (Cgroup, str, os.PathLike)):
            raise invalid("cgroups", cgroups, "give several Cgroup objects, or one as [cgroup]")
        if threads is None:
            threads = min(2, len(os.sched_getaffinity(0)))
        threads = parse_int(threads, "threads", 1, MOST_THREADS)
        self.fields = chosen(fields)
        """The leaves that are read, by name."""
        self._leaves = tuple(name for name in self.fields if name != HOST_CPU)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._busy = False
        self._plans: dict[tuple[tuple[Hierarchy, bool], ...], Plan] = {}
        self._watches: dict[Cgroup, Watch] = {}
        self._sweep = Sweep(threads)
        self._complaints = Complaints()
        self._keeping = Keeping(self._watches, self._sweep, share, self._complaints)
        self._open: list[Watch] = []
        self._swept: list[Watch] = []
        """Those of the open ones that C reads."""
        self._late = False
        """Whether there was no time left for some."""
        self._sweeps = 0
        self._round = time.monotonic_ns()
        self._looked = 0
        self._following: Following | None = None
        self._before: dict[Cgroup, Counters] = {}
        self._closed = False
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
        threads: int | None = None,
    ) -> Self:
        """All cgroups below *parent*, at each sample those that there are then.

        *depth* 1 is the children alone; None is all descendants. Raises :class:`NotFoundError` where
        there is no *parent*; one that is removed later gives an empty sample until it is back. One
        that was made in further hierarchies since (v1) is another :class:`Cgroup`.
        """
        if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
            raise invalid("depth", depth, "give how many levels below, 1 or more, or None for all")
        self = cls((), fields, share=share, threads=threads)
        top = parent if isinstance(parent, Cgroup) else Cgroup(parent)
        tops = everywhere(without_roots(top))
        used = self._plan(Cgroup.at(tops)).branches
        self._following = Following(tops, used, depth, self._add, self._discard)
        return self

    def add(self, cgroup: Cgroup) -> None:
        """Sample *cgroup*, too, from now on, whether it exists at the moment or not."""
        if not isinstance(cgroup, Cgroup):
            raise invalid("cgroups", cgroup, "give Cgroup objects, such as Cgroup('/docker')")
        with self._alone():
            self._add(cgroup)

    def discard(self, cgroup: Cgroup) -> None:
        """Sample *cgroup* no more, and give its descriptors back."""
        with self._alone():
            self._discard(cgroup)

    def __len__(self) -> int:
        """How many cgroups are watched."""
        return len(self._watches)

    @property
    def descriptors(self) -> int:
        """How many descriptors are open at the moment."""
        return self._keeping.count

    def sample(self, *, timeout: float | None = None) -> Sample:
        """Read all cgroups now; those that do not exist, or end meanwhile, are left out.

        Each has its own moment in ``time_ns``; ``host_cpu`` is read once for all. After *timeout*
        seconds no more are read, nor looked for; the next call begins with those. What may not be read
        is not known, a cgroup with a file that is not understood is left out, and a RuntimeWarning
        says once what was wrong.
        """
        with self._alone():
            return self._sample(timeout)

    def rates(self, sample: Sample | None = None) -> dict[Cgroup, Rates]:
        """What went on since the last call: from its sample to *sample*, or to a new one.

        A cgroup that was not in the last call's sample, or was made anew since, is left out this time.
        So the first call gives nothing.
        """
        with self._alone():
            sample = self._sample(None) if sample is None else sample
            now = {cgroup: counters(stats) for cgroup, stats in sample.items()}
            before, self._before = self._before, now
        pairs = ((c, before.get(c), after) for c, after in now.items())
        found = ((c, between(old, after)) for c, old, after in pairs if old is not None)
        return {cgroup: each for cgroup, each in found if each is not None}

    def close(self) -> None:
        """Close all descriptors; the sampler cannot be used any more."""
        if self._closed:
            return
        self._forked()
        with self._lock:
            self._closed = True
            if not self._busy:
                self._release()

    def __del__(self) -> None:
        self.close()

    # One at a time

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._forked()
        with self._lock:
            if self._closed:
                raise InvalidValueError("this sampler was closed: make another one")
            if self._busy:
                raise InvalidValueError(
                    "this sampler is at work in what this call interrupts: in a signal handler nothing "
                    "but close() can be done with it"
                )
            self._busy = True
            try:
                yield
            finally:
                self._busy = False
                if self._closed:
                    self._release()

    def _forked(self) -> None:
        """In a fork the lock may be another thread's, which is not there any more."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.RLock()
            self._busy = False

    def _release(self) -> None:
        for watch in self._watches.values():
            self._keeping.close(watch)
        self._open = []
        self._swept = self._sweep.take(())
        self._watches.clear()
        self._before.clear()

    # What is watched

    def _add(self, cgroup: Cgroup) -> None:
        if cgroup not in self._watches:
            self._watches[cgroup] = Watch(cgroup, self._plan(cgroup))

    def _discard(self, cgroup: Cgroup) -> None:
        watch = self._watches.pop(cgroup, None)
        self._before.pop(cgroup, None)
        if watch is not None:
            self._keeping.close(watch)

    def _plan(self, cgroup: Cgroup) -> Plan:
        key = key_of(cgroup)
        if key not in self._plans:
            self._plans[key] = Plan(cgroup, self._leaves)
        return self._plans[key]

    def _follow(self, deadline: int) -> None:
        while self._following:
            try:
                for error in self._following.refresh(deadline):
                    self._complaints.about(error)
                return
            except FileError as error:
                if error.errno not in EXHAUSTED:
                    raise
                if not self._keeping.give_back():
                    return  # those that are known have to do

    # A sweep

    def _sample(self, timeout: float | None) -> Sample:
        deadline = _deadline(timeout)
        self._sweeps += 1
        self._keeping.measure()
        self._follow(deadline)
        self._look_again()
        host = host_cpu() if HOST_CPU in self.fields else None
        late, self._late = self._late, False
        result: Sample = {}
        if late:  # those that are not open begin, or they might never have their turn
            closed = [watch for watch in self._watches.values() if not watch.fds]
            result = self._read_others(closed, host, _halfway(deadline))
        if late or self._keeping.changed:
            self._open = self._keeping.open_ones()
            turn = [watch for watch in _in_turn(self._open) if watch.cgroup not in result]
            self._swept = self._sweep.take(turn if late else self._open)
        found = self._sweep.read(host, deadline)
        pairs = zip(self._swept, found, strict=False)
        result |= {watch.cgroup: stats for watch, stats in pairs if stats is not None}
        if len(result) == len(self._watches) and not late:
            return result
        self._late |= len(found) < len(self._swept)
        others = [watch for watch in self._watches.values() if watch.cgroup not in result]
        result |= self._read_others(others, host, deadline)
        if late or self._late:
            self._take_turns(result)
        return {cgroup: result[cgroup] for cgroup in self._watches if cgroup in result}

    def _read_others(self, others: Iterable[Watch], host: HostCpu | None, deadline: int) -> Sample:
        """What is not open yet, or any more, or cannot be read by C."""
        result: Sample = {}
        for watch in _in_turn(others):
            if deadline and time.monotonic_ns() >= deadline:
                self._late = True
                break
            watch.turn = self._sweeps
            try:
                stats = self._keeping.read(watch, host)
            except (FileError, FormatError) as error:
                if isinstance(error, FileError) and error.errno in EXHAUSTED:
                    raise
                self._complaints.about(error, watch)
                continue
            if stats is not None:
                result[watch.cgroup] = stats
                continue
            self._before.pop(watch.cgroup, None)
            if self._following:
                self._following.died(watch.cgroup)
        return result

    def _take_turns(self, done: Iterable[Cgroup]) -> None:
        for cgroup in done:
            self._watches[cgroup].turn = self._sweeps
        self._keeping.changed = True

    def _look_again(self) -> None:
        """At a few each time, so that all have had their turn after a while."""
        now, count = time.monotonic_ns(), len(self._open)
        due = min(count * (now - self._round) // ROUND_NS, count)
        if not due:
            return
        self._round = now
        for number in range(self._looked, self._looked + due):
            watch = self._open[number % count]
            if watch.fds and watch.outdated():
                self._keeping.close(watch)
        self._looked = (self._looked + due) % count


def _in_turn(watches: Iterable[Watch]) -> list[Watch]:
    """First those that have waited for longest."""
    return sorted(watches, key=lambda watch: watch.turn)


def _halfway(deadline: int) -> int:
    now = time.monotonic_ns()
    return max(now, (now + deadline) // 2) if deadline else 0


def _deadline(timeout: float | None) -> int:
    """In time.monotonic_ns(); 0 is none."""
    if timeout is None:
        return 0
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise invalid("timeout", timeout, "give seconds, or None to read all")
    return time.monotonic_ns() + int(min(timeout, 1e9) * 1e9)
