"""memory.stat: one record for v2's keys and for v1's, which say the same in other words."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from cgroupkit.controllers.flat import Flat, flat, record


@attrs.frozen(kw_only=True)
class MemoryStat:
    """What a cgroup's memory, descendants included, is used for. Bytes, unless a key is an event.

    cgroup-v2.rst, "memory.stat". A field is None where this kernel does not print it; keys without
    a field of their own are in *extra*.
    """

    anon: int | None = None
    file: int | None = None
    kernel: int | None = None
    kernel_stack: int | None = None
    pagetables: int | None = None
    sec_pagetables: int | None = None
    percpu: int | None = None
    sock: int | None = None
    vmalloc: int | None = None
    shmem: int | None = None
    zswap: int | None = None
    zswapped: int | None = None
    file_mapped: int | None = None
    file_dirty: int | None = None
    file_writeback: int | None = None
    swapcached: int | None = None
    anon_thp: int | None = None
    file_thp: int | None = None
    shmem_thp: int | None = None
    inactive_anon: int | None = None
    active_anon: int | None = None
    inactive_file: int | None = None
    active_file: int | None = None
    unevictable: int | None = None
    slab_reclaimable: int | None = None
    slab_unreclaimable: int | None = None
    slab: int | None = None
    swap: int | None = None
    """v1 only: bytes in swap (v2: memory.swap.current)."""
    pgfault: int | None = None
    pgmajfault: int | None = None
    workingset_refault_anon: int | None = None
    workingset_refault_file: int | None = None
    workingset_activate_anon: int | None = None
    workingset_activate_file: int | None = None
    workingset_restore_anon: int | None = None
    workingset_restore_file: int | None = None
    workingset_nodereclaim: int | None = None
    pgscan: int | None = None
    pgsteal: int | None = None
    pgrefill: int | None = None
    pgactivate: int | None = None
    pgdeactivate: int | None = None
    extra: Mapping[str, int] = attrs.field(factory=dict)


_FROM_V1 = {
    "rss": "anon",
    "cache": "file",
    "rss_huge": "anon_thp",
    "mapped_file": "file_mapped",
    "dirty": "file_dirty",
    "writeback": "file_writeback",
}


def _field_v1(key: str) -> str:
    """v1's total_* keys count descendants too, as v2's do; the group's own go to extra."""
    total = key.removeprefix("total_")
    return _FROM_V1.get(total, total) if total != key else f"local {key}"


MEMORY_STAT = record(MemoryStat)
MEMORY_STAT_V1 = flat(Flat(cls=MemoryStat, field=_field_v1))
