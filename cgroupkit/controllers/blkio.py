"""What v1's blkio tells and v2's io does not: figures by disk and operation."""

from __future__ import annotations

from cgroupkit.controllers.base import Controller, Reading
from cgroupkit.controllers.io_stat import by_disk, by_operation
from cgroupkit.controllers.kinds import reading
from cgroupkit.errors import UnsupportedError

_STAT = "read io.stat there"
_BYTES = reading("bytes by disk and operation", by_operation)
_COUNT = reading("count by disk and operation", by_operation)
_TIME = reading("ns by disk and operation", by_operation)
_DEBUG = "4.12 (CONFIG_BFQ_CGROUP_DEBUG)"


class Blkio(Controller, name="io"):
    """The readings that only v1 has; the rest of the controller is :class:`Io`."""

    __slots__ = ()

    throttle_io_service_bytes = Reading(
        _BYTES,
        v1="blkio.throttle.io_service_bytes",
        instead=_STAT,
        doc="Bytes of this cgroup alone; since 6.10 on disks that were throttled once.",
    )
    throttle_io_service_bytes_recursive = Reading(
        _BYTES,
        v1="blkio.throttle.io_service_bytes_recursive",
        instead=_STAT,
        doc="The same, descendants included.",
    )
    throttle_io_serviced = Reading(
        _COUNT,
        v1="blkio.throttle.io_serviced",
        instead=_STAT,
        doc="Operations of this cgroup alone.",
    )
    throttle_io_serviced_recursive = Reading(
        _COUNT,
        v1="blkio.throttle.io_serviced_recursive",
        instead=_STAT,
        doc="The same, descendants included.",
    )
    bfq_io_service_bytes = Reading(
        _BYTES,
        v1="blkio.bfq.io_service_bytes",
        since="4.12 (CONFIG_BFQ_GROUP_IOSCHED)",
        instead=_STAT,
        doc="Bytes on disks that use BFQ.",
    )
    bfq_io_service_bytes_recursive = Reading(
        _BYTES,
        v1="blkio.bfq.io_service_bytes_recursive",
        since="4.12 (CONFIG_BFQ_GROUP_IOSCHED)",
        instead=_STAT,
        doc="Bytes on disks that use BFQ, descendants included.",
    )
    bfq_io_serviced = Reading(
        _COUNT,
        v1="blkio.bfq.io_serviced",
        since="4.12 (CONFIG_BFQ_GROUP_IOSCHED)",
        instead=_STAT,
        doc="Operations on disks that use BFQ.",
    )
    bfq_io_serviced_recursive = Reading(
        _COUNT,
        v1="blkio.bfq.io_serviced_recursive",
        since="4.12 (CONFIG_BFQ_GROUP_IOSCHED)",
        instead=_STAT,
        doc="Operations on disks that use BFQ, descendants included.",
    )
    bfq_io_service_time = Reading(
        _TIME,
        v1="blkio.bfq.io_service_time",
        since=_DEBUG,
        instead=_STAT,
        doc="Time from dispatch to completion.",
    )
    bfq_io_service_time_recursive = Reading(
        _TIME,
        v1="blkio.bfq.io_service_time_recursive",
        since=_DEBUG,
        instead=_STAT,
        doc="Time from dispatch to completion, descendants included.",
    )
    bfq_io_wait_time = Reading(
        _TIME,
        v1="blkio.bfq.io_wait_time",
        since=_DEBUG,
        instead=_STAT,
        doc="Time spent in the scheduler's queues.",
    )
    bfq_io_wait_time_recursive = Reading(
        _TIME,
        v1="blkio.bfq.io_wait_time_recursive",
        since=_DEBUG,
        instead=_STAT,
        doc="Time spent in the scheduler's queues, descendants included.",
    )
    bfq_io_merged = Reading(
        _COUNT,
        v1="blkio.bfq.io_merged",
        since=_DEBUG,
        instead=_STAT,
        doc="Requests merged.",
    )
    bfq_io_merged_recursive = Reading(
        _COUNT,
        v1="blkio.bfq.io_merged_recursive",
        since=_DEBUG,
        instead=_STAT,
        doc="Requests merged, descendants included.",
    )
    bfq_io_queued = Reading(
        _COUNT,
        v1="blkio.bfq.io_queued",
        since=_DEBUG,
        instead=_STAT,
        doc="Requests in the queues.",
    )
    bfq_io_queued_recursive = Reading(
        _COUNT,
        v1="blkio.bfq.io_queued_recursive",
        since=_DEBUG,
        instead=_STAT,
        doc="Requests in the queues, descendants included.",
    )
    bfq_time = Reading(
        reading("ms by disk", by_disk),
        v1="blkio.bfq.time",
        since=_DEBUG,
        instead=_STAT,
        doc="Disk time.",
    )
    bfq_time_recursive = Reading(
        reading("ms by disk", by_disk),
        v1="blkio.bfq.time_recursive",
        since=_DEBUG,
        instead=_STAT,
        doc="Disk time, descendants included.",
    )
    bfq_sectors = Reading(
        reading("512 B by disk", by_disk),
        v1="blkio.bfq.sectors",
        since=_DEBUG,
        instead=_STAT,
        doc="Sectors transferred.",
    )
    bfq_sectors_recursive = Reading(
        reading("512 B by disk", by_disk),
        v1="blkio.bfq.sectors_recursive",
        since=_DEBUG,
        instead=_STAT,
        doc="Sectors transferred, descendants included.",
    )
    bfq_avg_queue_size = Reading(
        reading("count by disk", by_disk),
        v1="blkio.bfq.avg_queue_size",
        since=_DEBUG,
        instead=_STAT,
        doc="Average length of the queue.",
    )
    bfq_group_wait_time = Reading(
        reading("ns by disk", by_disk),
        v1="blkio.bfq.group_wait_time",
        since=_DEBUG,
        instead=_STAT,
        doc="Time that the group waited to be scheduled.",
    )
    bfq_idle_time = Reading(
        reading("ns by disk", by_disk),
        v1="blkio.bfq.idle_time",
        since=_DEBUG,
        instead=_STAT,
        doc="Time idled in the hope of a better request.",
    )
    bfq_empty_time = Reading(
        reading("ns by disk", by_disk),
        v1="blkio.bfq.empty_time",
        since=_DEBUG,
        instead=_STAT,
        doc="Time without pending requests while scheduled.",
    )
    bfq_dequeue = Reading(
        reading("count by disk", by_disk),
        v1="blkio.bfq.dequeue",
        since=_DEBUG,
        instead=_STAT,
        doc="How often the group was taken off its disk.",
    )

    def reset_stats(self) -> None:
        """Set v1's figures back to 0, for every reader (blkio.reset_stats)."""
        if self.version == 2:
            raise UnsupportedError(
                "cgroup v2 has no blkio.reset_stats; compare two readings of io.stat"
            )
        self.write("blkio.reset_stats", "1")
