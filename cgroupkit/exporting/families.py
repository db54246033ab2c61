"""cAdvisor's metrics (lib/metrics/prometheus.go): their names, types and labels, out of a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import attrs

from cgroupkit import convert
from cgroupkit.exporting.rows import Row
from cgroupkit.stats import Stats

FIELDS = (
    "cpu", "cpu_max", "cpu_weight", "cpu_shares", "memory", "pids.current", "pids.max", "io",
    "pressure.cpu", "pressure.memory", "pressure.io",
)  # fmt: skip
"""The parts of Stats that are told about."""

Values = Iterable[tuple[Mapping[str, str], float | None]]


@attrs.frozen
class Family:
    """One metric: its name (a counter's without _total), type and help, and a cgroup's samples."""

    name: str
    kind: Literal["counter", "gauge", "unknown"]
    help: str
    values: Callable[[Row], Values]


def _of(get: Callable[[Stats], float | None], **labels: str) -> Callable[[Row], Values]:
    return lambda row: [(labels, get(row.stats))]


def _row(get: Callable[[Row], float | None]) -> Callable[[Row], Values]:
    return lambda row: [({}, get(row))]


def _limited(get: Callable[[Stats], float | None]) -> Callable[[Row], Values]:
    """What there is of a CPU limit, where one is set."""
    return lambda row: [({}, get(row.stats) if row.stats.cpu_max and row.stats.cpu_max.quota else None)]


def _usec(number: int | None) -> float | None:
    return None if number is None else number / 1e6


def _disks(field: str) -> Callable[[Row], Values]:
    return lambda row: [
        ({"device": disk if ":" in disk else f"/dev/{disk}"}, getattr(device, field))
        for disk, device in row.disks.items()
    ]


def _network(field: str) -> Callable[[Row], Values]:
    return lambda row: [
        ({"interface": name}, getattr(interface, field)) for name, interface in row.network.items()
    ]


def _stalled(resource: str, kind: str) -> Callable[[Row], Values]:
    def get(stats: Stats) -> float | None:
        stall = getattr(getattr(stats.pressure, resource), kind, None)
        return _usec(stall.total) if stall else None

    return _of(get)


def _failures(row: Row) -> Values:
    """Only v1 counts for the cgroup alone; as cAdvisor has it, v2 gives the same for both."""
    stat = row.stats.memory.stat
    for key in ("pgfault", "pgmajfault"):
        whole = getattr(stat, key)
        yield {"failure_type": key, "scope": "hierarchy"}, whole
        yield {"failure_type": key, "scope": "container"}, stat.extra.get(key, whole)


def _shares(stats: Stats) -> float | None:
    """On v2 those that runc (since 1.3.2) and crun make the weight of; an idle cgroup has weight 0."""
    if stats.cpu_shares is not None or not stats.cpu_weight:
        return stats.cpu_shares
    return convert.cpu_shares_from_weight(stats.cpu_weight)


def _memory_limit(stats: Stats) -> float | None:
    return None if stats.memory.current is None else stats.memory.max or 0


def _swap_limit(stats: Stats) -> float | None:
    """v2: of swap alone; v1: of memory and swap."""
    memory = stats.memory
    return None if memory.swap_current is None else memory.memsw_limit or memory.swap_max or 0


def _reservation(stats: Stats) -> float | None:
    memory = stats.memory
    if memory.current is None:
        return None
    return memory.soft_limit or max(memory.low or 0, memory.min or 0)


def _swap(stats: Stats) -> float | None:
    now = stats.memory.swap_current
    return stats.memory.stat.swap if now is None else now


def _kernel(stats: Stats) -> float | None:
    now = stats.memory.stat.kernel
    return stats.memory.kmem_usage if now is None else now


def _threads_max(stats: Stats) -> float | None:
    return None if stats.pids.current is None else stats.pids.max or 0


_C: Literal["counter"] = "counter"
_G: Literal["gauge"] = "gauge"
FAMILIES = (
    Family("container_last_seen", _G, "When it was there, seconds since 1970.",
           _row(lambda _: time.time())),
    Family("container_start_time_seconds", _G, "When the container was started, since 1970.",
           _row(lambda row: row.started)),
    Family("container_cpu_usage_seconds", _C, "CPU time used.",
           _of(lambda s: _usec(s.cpu.usage_usec), cpu="total")),
    Family("container_cpu_user_seconds", _C, "CPU time in user mode.",
           _of(lambda s: _usec(s.cpu.user_usec))),
    Family("container_cpu_system_seconds", _C, "CPU time in the kernel.",
           _of(lambda s: _usec(s.cpu.system_usec))),
    Family("container_cpu_cfs_periods", _C, "Periods of the CPU limit that went by.",
           _limited(lambda s: s.cpu.nr_periods)),
    Family("container_cpu_cfs_throttled_periods", _C, "Periods in which it was throttled.",
           _limited(lambda s: s.cpu.nr_throttled)),
    Family("container_cpu_cfs_throttled_seconds", _C, "Time that it was throttled.",
           _limited(lambda s: _usec(s.cpu.throttled_usec))),
    Family("container_cpu_cfs_burst_periods", _C, "Periods in which saved quota was used.",
           _limited(lambda s: s.cpu.nr_bursts)),
    Family("container_cpu_cfs_burst_seconds", _C, "CPU time out of saved quota.",
           _limited(lambda s: _usec(s.cpu.burst_usec))),
    Family("container_spec_cpu_period", _G, "Period of the CPU limit, microseconds.",
           _of(lambda s: s.cpu_max.period if s.cpu_max else None)),
    Family("container_spec_cpu_quota", _G, "CPU time in each period, microseconds.",
           _of(lambda s: s.cpu_max.quota if s.cpu_max else None)),
    Family("container_spec_cpu_shares", _G, "Share of CPU time among siblings.", _of(_shares)),
    Family("container_memory_usage_bytes", _G, "Memory in use, page cache included.",
           _of(lambda s: s.memory.current)),
    Family("container_memory_max_usage_bytes", _G, "The most memory there was in use.",
           _of(lambda s: s.memory.peak)),
    Family("container_memory_working_set_bytes", _G, "Memory in use less inactive page cache.",
           _of(lambda s: s.working_set)),
    Family("container_memory_rss", _G, "Anonymous memory, bytes.", _of(lambda s: s.memory.stat.anon)),
    Family("container_memory_cache", _G, "Page cache, bytes.", _of(lambda s: s.memory.stat.file)),
    Family("container_memory_swap", _G, "Swap in use, bytes.", _of(_swap)),
    Family("container_memory_mapped_file", _G, "Mapped files, bytes.",
           _of(lambda s: s.memory.stat.file_mapped)),
    Family("container_memory_kernel_usage", _G, "Memory of the kernel, bytes.", _of(_kernel)),
    Family("container_memory_total_active_file_bytes", _G, "Page cache in use lately.",
           _of(lambda s: s.memory.stat.active_file)),
    Family("container_memory_total_inactive_file_bytes", _G, "Page cache not in use lately.",
           _of(lambda s: s.memory.stat.inactive_file)),
    Family("container_memory_file_dirty_bytes", _G, "Page cache to be written.",
           _of(lambda s: s.memory.stat.file_dirty)),
    Family("container_memory_file_writeback_bytes", _G, "Page cache being written.",
           _of(lambda s: s.memory.stat.file_writeback)),
    Family("container_memory_failcnt", "unknown", "How often the memory limit was hit.",
           _of(lambda s: s.memory.events.max)),
    Family("container_memory_events_max", _C, "How often the memory limit was hit.",
           _of(lambda s: s.memory.events.max)),
    Family("container_memory_events_high", _C, "How often it was throttled above memory.high.",
           _of(lambda s: s.memory.events.high)),
    Family("container_memory_failures", _C, "Page faults.", _failures),
    Family("container_memory_pgscan", _C, "Pages looked at for reclaim.",
           _of(lambda s: s.memory.stat.pgscan)),
    Family("container_memory_pgsteal", _C, "Pages reclaimed.", _of(lambda s: s.memory.stat.pgsteal)),
    Family("container_memory_workingset_refault_file", _C, "Pages of files read again.",
           _of(lambda s: s.memory.stat.workingset_refault_file)),
    Family("container_memory_workingset_refault_anon", _C, "Pages swapped in again.",
           _of(lambda s: s.memory.stat.workingset_refault_anon)),
    Family("container_oom_events", _C, "Processes killed for want of memory.",
           _of(lambda s: s.memory.events.oom_kill)),
    Family("container_spec_memory_limit_bytes", _G, "Memory limit; 0 is none.", _of(_memory_limit)),
    Family("container_spec_memory_swap_limit_bytes", _G,
           "Limit on swap (cgroup v1: on memory and swap); 0 is none.", _of(_swap_limit)),
    Family("container_spec_memory_reservation_limit_bytes", _G,
           "Memory that is protected (cgroup v1: the soft limit); 0 is none.", _of(_reservation)),
    Family("container_fs_reads_bytes", _C, "Bytes read from disks.", _disks("rbytes")),
    Family("container_fs_writes_bytes", _C, "Bytes written to disks.", _disks("wbytes")),
    Family("container_fs_reads", _C, "Reads from disks.", _disks("rios")),
    Family("container_fs_writes", _C, "Writes to disks.", _disks("wios")),
    *(
        Family(f"container_network_{verb}_{what}", _C, f"{help} of the container's own network.",
               _network(f"{way}_{field}"))
        for verb, way in (("receive", "rx"), ("transmit", "tx"))
        for what, field, help in (
            ("bytes", "bytes", "Bytes"), ("packets", "packets", "Packets"),
            ("packets_dropped", "dropped", "Packets dropped"), ("errors", "errors", "Errors"),
        )
    ),
    Family("container_processes", _G, "Processes in the cgroup itself.", _row(lambda r: r.processes)),
    Family("container_threads", _G, "Tasks.", _of(lambda s: s.pids.current)),
    Family("container_threads_max", _G, "Most tasks there may be; 0 is no limit.", _of(_threads_max)),
    *(
        Family(f"container_pressure_{resource}_{word}_seconds", _C,
               f"Time in which {who} waited for {resource}.", _stalled(resource, kind))
        for resource in ("cpu", "memory", "io")
        for word, kind, who in (("waiting", "some", "a task"), ("stalled", "full", "all tasks"))
    ),
)  # fmt: skip
"""All that is exported; what this kernel does not know has no sample, rather than 0."""
