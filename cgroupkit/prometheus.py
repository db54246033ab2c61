"""Metrics for Prometheus, under the names, types and labels of cAdvisor.

Needs prometheus_client: ``pip install "cgroupkit[prometheus]"``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.containers import Container, containers
from cgroupkit.errors import InvalidValueError
from cgroupkit.sampling import Sampler
from cgroupkit.stats import Stats
from cgroupkit.units import invalid

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector
except ImportError as error:  # pragma: no cover
    raise ImportError(
        'cgroupkit.prometheus needs prometheus_client: pip install "cgroupkit[prometheus]"'
    ) from error

Values = Iterable[tuple[Mapping[str, str], float | None]]


@attrs.frozen
class Family:
    """One metric: its name, type and help, and its samples out of the stats of one cgroup."""

    name: str
    kind: str
    help: str
    values: Callable[[Stats], Values]


def _one(get: Callable[[Stats], float | None], **labels: str) -> Callable[[Stats], Values]:
    return lambda stats: [(labels, get(stats))]


def _usec(number: int | None) -> float | None:
    return None if number is None else number / 1e6


def _disks(field: str) -> Callable[[Stats], Values]:
    return lambda stats: [
        ({"device": disk}, getattr(row, field)) for disk, row in (stats.io or {}).items()
    ]


def _stalled(resource: str, kind: str) -> Callable[[Stats], Values]:
    def get(stats: Stats) -> Values:
        pressure = getattr(stats.pressure, resource)
        stall = getattr(pressure, kind, None)
        return [({}, _usec(stall.total) if stall else None)]

    return get


def _failures(stats: Stats) -> Values:
    for key in ("pgfault", "pgmajfault"):
        yield {"failure_type": key, "scope": "hierarchy"}, getattr(stats.memory.stat, key)
        yield {"failure_type": key, "scope": "container"}, stats.memory.stat.extra.get(key)


def _quota(stats: Stats) -> float | None:
    return stats.cpu_max.quota if stats.cpu_max else None


def _memory_limit(stats: Stats) -> float | None:
    """cAdvisor: 0 is unlimited."""
    return None if stats.memory.current is None else stats.memory.max or 0


def _swap(stats: Stats) -> float | None:
    now = stats.memory.swap_current
    return stats.memory.stat.swap if now is None else now


_C, _G = "counter", "gauge"
FAMILIES = (
    Family("container_cpu_usage_seconds", _C, "CPU time used.",
           _one(lambda s: _usec(s.cpu.usage_usec), cpu="total")),
    Family("container_cpu_user_seconds", _C, "CPU time in user mode.",
           _one(lambda s: _usec(s.cpu.user_usec))),
    Family("container_cpu_system_seconds", _C, "CPU time in the kernel.",
           _one(lambda s: _usec(s.cpu.system_usec))),
    Family("container_cpu_cfs_periods", _C, "Periods of the CPU limit that went by.",
           _one(lambda s: s.cpu.nr_periods)),
    Family("container_cpu_cfs_throttled_periods", _C, "Periods in which it was throttled.",
           _one(lambda s: s.cpu.nr_throttled)),
    Family("container_cpu_cfs_throttled_seconds", _C, "Time that it was throttled.",
           _one(lambda s: _usec(s.cpu.throttled_usec))),
    Family("container_spec_cpu_period", _G, "Period of the CPU limit, microseconds.",
           _one(lambda s: s.cpu_max.period if s.cpu_max else None)),
    Family("container_spec_cpu_quota", _G, "CPU time in each period, microseconds.", _one(_quota)),
    Family("container_memory_usage_bytes", _G, "Memory in use, page cache included.",
           _one(lambda s: s.memory.current)),
    Family("container_memory_max_usage_bytes", _G, "The most memory there was in use.",
           _one(lambda s: s.memory.peak)),
    Family("container_memory_working_set_bytes", _G, "Memory in use less inactive page cache.",
           _one(lambda s: s.working_set)),
    Family("container_memory_rss", _G, "Anonymous memory, bytes.", _one(lambda s: s.memory.stat.anon)),
    Family("container_memory_cache", _G, "Page cache, bytes.", _one(lambda s: s.memory.stat.file)),
    Family("container_memory_swap", _G, "Swap in use, bytes.", _one(_swap)),
    Family("container_memory_mapped_file", _G, "Mapped files, bytes.",
           _one(lambda s: s.memory.stat.file_mapped)),
    Family("container_memory_kernel_usage", _G, "Memory of the kernel, bytes.",
           _one(lambda s: s.memory.stat.kernel)),
    Family("container_memory_failcnt", _C, "How often the memory limit was hit.",
           _one(lambda s: s.memory.events.max)),
    Family("container_memory_failures", _C, "Page faults.", _failures),
    Family("container_oom_events", _C, "Processes killed for want of memory.",
           _one(lambda s: s.memory.events.oom_kill)),
    Family("container_spec_memory_limit_bytes", _G, "Memory limit; 0 is none.", _one(_memory_limit)),
    Family("container_fs_reads_bytes", _C, "Bytes read from disks.", _disks("rbytes")),
    Family("container_fs_writes_bytes", _C, "Bytes written to disks.", _disks("wbytes")),
    Family("container_fs_reads", _C, "Reads from disks.", _disks("rios")),
    Family("container_fs_writes", _C, "Writes to disks.", _disks("wios")),
    Family("container_threads", _G, "Tasks.", _one(lambda s: s.pids.current)),
    Family("container_threads_max", _G, "Most tasks there may be.", _one(lambda s: s.pids.max)),
    *(
        Family(f"container_pressure_{resource}_{word}_seconds", _C,
               f"Time in which {who} waited for {resource}.", _stalled(resource, kind))
        for resource in ("cpu", "memory", "io")
        for word, kind, who in (("waiting", "some", "a task"), ("stalled", "full", "all tasks"))
    ),
)  # fmt: skip
"""All that is exported; what this kernel does not know has no sample, rather than 0."""

_NO_TOTAL = ("container_memory_failcnt",)
"""cAdvisor's counters whose name does not end in _total."""


class CgroupCollector(Closing, Collector):
    """Exports *cgroups*, or all cgroups below *tree*, or by default the running containers.

    Registers itself with *registry* (None: it does not); labels are ``id`` (the cgroup's path),
    ``name`` and ``image`` (always empty: no cgroup knows it). A scrape longer than *timeout* seconds
    ends with what it has, and ``cgroupkit_scrape_left_out`` says how many cgroups are missing. Raises
    :class:`InvalidValueError` if the registry has such a collector. :meth:`close` gives the descriptors
    back.
    """

    def __init__(
        self,
        cgroups: Iterable[Cgroup] | None = None,
        *,
        tree: str | Cgroup | None = None,
        registry: CollectorRegistry | None = REGISTRY,
        timeout: float = 5,
    ) -> None:
        """*timeout*: seconds after which no more cgroups are read."""
        if cgroups is not None and tree is not None:
            raise InvalidValueError("give cgroups or tree, not both")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
            raise invalid("timeout", timeout, "give seconds")
        self._lock = threading.Lock()
        self._timeout = timeout
        self._named = cgroups is None and tree is None
        self._containers: dict[Cgroup, Container] = {}
        self._sampler = Sampler.tree(tree) if tree is not None else Sampler(cgroups or ())
        self._registry = registry
        try:
            if registry is not None:
                registry.register(self)
        except ValueError as error:
            self._sampler.close()
            raise InvalidValueError(
                f"this registry has a CgroupCollector already ({error}); use that one, close() it "
                "first, or give another registry="
            ) from None

    def describe(self) -> Iterator[Metric]:
        """The names alone: registering reads nothing."""
        for family in FAMILIES:
            yield _metric(family)
        yield from self._about(0, 0, 0)

    def collect(self) -> Iterator[Metric]:
        """Read all cgroups now."""
        with self._lock:
            began = time.monotonic()
            if self._named:
                self._find()
            metrics = {family.name: _metric(family) for family in FAMILIES}
            sample = self._sampler.sample(timeout=self._timeout)
            for cgroup, stats in sample.items():
                self._add(metrics, cgroup, stats)
            left_out = len(self._sampler) - len(sample)
            about = self._about(time.monotonic() - began, len(sample), left_out)
        yield from metrics.values()
        yield from about

    def _find(self) -> None:
        found = {container.cgroup: container for container in containers()}
        for cgroup in self._containers.keys() - found.keys():
            self._sampler.discard(cgroup)
        for cgroup in found.keys() - self._containers.keys():
            self._sampler.add(cgroup)
        self._containers = found

    def _add(self, metrics: Mapping[str, Metric], cgroup: Cgroup, stats: Stats) -> None:
        container = self._containers.get(cgroup)
        name = container.name if container else None
        labels = {"id": cgroup.name, "name": name or "", "image": ""}
        for family in FAMILIES:
            metric = metrics[family.name]
            suffix = "_total" if family.kind == _C and family.name not in _NO_TOTAL else ""
            for more, value in family.values(stats):
                if value is not None:
                    metric.add_sample(family.name + suffix, {**labels, **more}, value)

    @staticmethod
    def _about(seconds: float, seen: int, left_out: int) -> list[Metric]:
        rows = (
            ("cgroupkit_scrape_duration_seconds", "How long this scrape took.", seconds),
            ("cgroupkit_cgroups", "Cgroups in this scrape.", seen),
            (
                "cgroupkit_scrape_left_out",
                "Cgroups that ended, or with no time left.",
                left_out,
            ),
        )
        found = []
        for name, help, value in rows:
            metric = Metric(name, help, _G)
            metric.add_sample(name, {}, value)
            found.append(metric)
        return found

    def close(self) -> None:
        """Leave the registry and close all descriptors."""
        with self._lock:
            registry, self._registry = self._registry, None
            if registry is not None:
                registry.unregister(self)
            self._sampler.close()


def _metric(family: Family) -> Metric:
    # prometheus_client appends _total to the name of every counter in its text.
    kind: Any = "unknown" if family.name in _NO_TOTAL else family.kind
    return Metric(family.name, family.help, kind)
