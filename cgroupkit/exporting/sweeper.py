"""All the cgroups once, in bounded time, for whoever asks."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterable, Mapping

import attrs

from cgroupkit import disks, threads
from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.containers import keepers
from cgroupkit.controllers import IoDevice
from cgroupkit.errors import CgroupKitError
from cgroupkit.exporting.rows import Known, Row, processes
from cgroupkit.exporting.subjects import Subjects
from cgroupkit.network import Interface, interfaces, namespace
from cgroupkit.stats import Stats
from cgroupkit.units import invalid


@attrs.frozen(kw_only=True)
class Sweep:
    """What there was at one moment."""

    rows: tuple[Row, ...] = ()
    seconds: float = 0
    """How long it took, waiting for the one before included."""
    left_out: int = 0
    """Cgroups that are not there, ended meanwhile, or for which there was no time."""
    failed: bool = False
    """Whether the time ran out, or something could not be read."""
    descriptors: int = 0
    """How many are kept open."""


class Sweeper(Closing):
    """*cgroups*, all below *tree*, or the running containers, anew at each :meth:`sweep`.

    Threads take turns. Raises :class:`InvalidValueError` for what cannot be meant and
    :class:`NotFoundError` where there is no *tree*.
    """

    def __init__(
        self,
        cgroups: Iterable[Cgroup] | None,
        *,
        tree: str | Cgroup | None,
        fields: Iterable[str],
        timeout: float,
        count: bool = False,
    ) -> None:
        """*count*: count the processes, too, which takes one more file."""
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
            raise invalid("timeout", timeout, "give seconds")
        self._timeout = min(timeout, threading.TIMEOUT_MAX)
        self._lock = threads.Lock()
        self._count = count
        self._closed = False
        self._known: dict[Cgroup, Known] = {}
        self._subjects = Subjects(cgroups, tree, fields)

    def sweep(self, timeout: float | None = None) -> Sweep:
        """Read all now, in *timeout* seconds or those of the sweeper, whichever are fewer.

        It raises nothing: what could not be read is missing. After :meth:`close` it is empty.
        """
        began = time.monotonic()
        seconds = self._timeout if timeout is None else min(max(timeout, 0), self._timeout)
        # The wait counts, too: those who ask faster than can be read must not queue up.
        if not self._lock.acquire(timeout=seconds):
            return Sweep(seconds=time.monotonic() - began, failed=True)
        try:
            return Sweep() if self._closed else self._sweep(began, began + seconds)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close all descriptors."""
        with self._lock:
            self._closed = True
            self._subjects.close()
            self._known.clear()

    def _sweep(self, began: float, deadline: float) -> Sweep:
        sampler = self._subjects.sampler
        failed = not self._refresh((began + deadline) / 2)
        sample: dict[Cgroup, Stats] = {}
        try:
            sample = sampler.sample(timeout=max(deadline - time.monotonic(), 0))
        except (CgroupKitError, OSError) as error:
            failed = True
            warnings.warn(f"cgroups cannot be read: {error}", RuntimeWarning, stacklevel=4)
        left_out = len(sampler) - len(sample)
        failed = failed or (left_out > 0 and time.monotonic() >= deadline)
        self._recall(sample, deadline)
        rows = tuple(self._rows(sample, deadline))
        return Sweep(
            rows=_with_networks(rows, deadline),
            seconds=time.monotonic() - began,
            left_out=left_out,
            failed=failed,
            descriptors=sampler.descriptors,
        )

    def _refresh(self, deadline: float) -> bool:
        """Half of the time may be spent on looking for containers: the rest is for reading them."""
        try:
            self._subjects.refresh(deadline)
        except TimeoutError:
            return False
        return True

    def _recall(self, sample: Mapping[Cgroup, Stats], deadline: float) -> None:
        """Who is who, of those that are new."""
        before, self._known = self._known, {}
        for cgroup, stats in sample.items():
            known = before.get(cgroup)
            if known is None or known.inodes != stats.inodes:
                known = Known(stats.inodes)
            self._known[cgroup] = known
            if known.wants and time.monotonic() < deadline:
                known.learn(self._subjects.container(cgroup))

    def _rows(self, sample: Mapping[Cgroup, Stats], deadline: float) -> Iterable[Row]:
        names: dict[str, str] = {}
        seen: set[str] = set()
        for cgroup, stats in sample.items():
            row = self._known[cgroup].row(
                cgroup,
                stats,
                disks=_by_name(stats.io or {}, names),
                processes=processes(cgroup) if self._count and time.monotonic() < deadline else None,
            )
            if row.path not in seen:  # on v1 one path may be asked for in different hierarchies
                seen.add(row.path)
                yield row


def _by_name(io: Mapping[str, IoDevice], names: dict[str, str]) -> dict[str, IoDevice]:
    for number in io.keys() - names.keys():
        names[number] = disks.name_of(number) or number
    return {names[number]: device for number, device in io.items()}


def _with_networks(rows: tuple[Row, ...], deadline: float) -> tuple[Row, ...]:
    """A network that several containers share, as in a pod, is that of the first of them."""
    found: dict[str, Mapping[str, Interface]] = {}
    taken: set[str] = set()
    for row in sorted(rows, key=lambda row: row.started or 0):
        if row.container is None or row.started is None or time.monotonic() >= deadline:
            continue
        pids = keepers.some_pids(row.container.cgroup.branches)
        own = next(filter(None, map(namespace, map(str, pids))), None)
        if own is not None and own not in taken:
            taken.add(own)
            found[row.path] = interfaces(pids) or {}
    return tuple(
        attrs.evolve(row, network=found[row.path]) if row.path in found else row for row in rows
    )
