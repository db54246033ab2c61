"""Interface files that are no attribute, or that an attribute only reads: what serves instead."""

from __future__ import annotations

from collections.abc import Mapping

_DEBUG = "for developers of the kernel (CONFIG_CGROUP_DEBUG); its text changes without notice"
_RESET = "a reset would be for every reader: compare two readings"
_EVENTS = "a subscription, which lasts as long as a descriptor, and no value"

NO_ATTRIBUTE: Mapping[str, str] = {
    "-": "no files: `Cgroup.devices` (on v2 a BPF program), `Cgroup.perf_event.open()`",
    "cgroup.kill": "`Cgroup.kill()`",
    "memory.reclaim": "`cg.memory.reclaim(size)`",
    "memory.force_empty": "`cg.memory.force_empty()`",
    "blkio.reset_stats": "`cg.io.reset_stats()`",
    "cgroup.event_control": _EVENTS,
    "memory.pressure_level": _EVENTS,
    ".__DEBUG__.cpuset.cpus.subpartitions": _DEBUG,
    **{
        f"debug.{name}": _DEBUG
        for name in (
            "taskcount", "current_css_set", "current_css_set_refcount", "current_css_set_cg_links",
            "cgroup_css_links", "cgroup_subsys_states", "cgroup_masks", "releasable", "css_links",
            "csses", "masks",
        )
    },
}  # fmt: skip
"""Files that no attribute has."""

SET_ELSEWHERE: Mapping[str, str] = {
    "tasks": "`Cgroup.attach(tid, thread=True)`",
    "cgroup.procs": "`Cgroup.attach(pid)`",
    "cgroup.threads": "`Cgroup.attach(tid, thread=True)`",
    "cgroup.subtree_control": "`Cgroup.create()`, `Cgroup.vacate()`",
    "cpuacct.usage": "`cg.cpuacct.reset()`",
    "memory.peak": "`cg.memory.peak_meter()`",
    "memory.max_usage_in_bytes": "`cg.memory.peak_meter()`",
    "memory.swap.peak": "a reset is for one descriptor only (6.12): compare two readings",
    **dict.fromkeys(
        (
            "memory.failcnt", "memory.kmem.failcnt", "memory.kmem.max_usage_in_bytes",
            "memory.kmem.tcp.failcnt", "memory.kmem.tcp.max_usage_in_bytes", "memory.memsw.failcnt",
            "memory.memsw.max_usage_in_bytes", "hugetlb.<size>.max_usage_in_bytes",
            "hugetlb.<size>.failcnt", "hugetlb.<size>.rsvd.max_usage_in_bytes",
            "hugetlb.<size>.rsvd.failcnt",
        ),
        _RESET,
    ),
    **{f"{name}.pressure": _EVENTS for name in ("cpu", "memory", "io", "irq")},
}  # fmt: skip
"""Files that can be written, and that an attribute only reads."""
