"""What an errno means on a given cgroup file, in words, with what to do about it."""

from __future__ import annotations

import os
import re
from errno import (
    EACCES,
    EAGAIN,
    EBUSY,
    EEXIST,
    EINVAL,
    EMFILE,
    ENFILE,
    ENODEV,
    ENOENT,
    ENOSPC,
    EOPNOTSUPP,
    EPERM,
    ERANGE,
    EROFS,
    ESRCH,
)

_SIZE = re.compile(r"^hugetlb\.\d+[KMG]B\.")
_GONE = "the cgroup was removed while it was in use; create it again or pick another one"
_BELONGS = "run as root, or work in a cgroup delegated to you (`cgroupkit doctor` shows where)"
_RT = "a real-time (SCHED_FIFO or SCHED_RR) task needs cpu.rt_runtime_us above 0 in its cgroup"
_INTERNAL = (
    "v2 allows either processes in a cgroup or controllers enabled for its children, not both; move "
    "the processes to a leaf first: Cgroup.vacate() does that"
)

_BY_DISK = (
    "io.max", "io.low", "io.latency", "io.weight", "io.bfq.weight", "io.cost.qos", "io.cost.model",
    "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device",
    "blkio.bfq.weight_device",
)  # fmt: skip
_NO_DISK = "there is no such disk (any more), or it is a partition, where the kernel wants the disk"
_NO_BFQ = "the disk does not use the BFQ scheduler: echo bfq > /sys/block/NAME/queue/scheduler"
_CHILDREN = "from an allow list to allowing everything, or back, is a way only without child cgroups"
_HUGE = (
    "hugetlb.<size>.max", "hugetlb.<size>.limit_in_bytes",
    "hugetlb.<size>.rsvd.max", "hugetlb.<size>.rsvd.limit_in_bytes",
)  # fmt: skip

_ANY: dict[int, str] = {
    EACCES: f"no permission; {_BELONGS}",
    EPERM: f"not permitted; {_BELONGS}",
    EROFS: (
        "the cgroup file system is mounted read-only (usual inside containers); remount it "
        "read-write, or start the container with a writable cgroup mount"
    ),
    ENODEV: _GONE,
    EINVAL: "the kernel does not accept this value here",
    EMFILE: "this process has too many files open; raise RLIMIT_NOFILE (`ulimit -n`)",
    ENFILE: "the machine has too many files open; raise the sysctl fs.file-max",
    ERANGE: "the value is out of the range that the kernel accepts",
    EOPNOTSUPP: "this kernel has the file but not the feature, or the cgroup is threaded",
}

_VERBS: dict[tuple[str, int], str] = {
    ("create", EEXIST): "a cgroup of that name exists; open it with Cgroup(path)",
    ("create", ENOENT): "the parent cgroup does not exist or was removed",
    ("create", EAGAIN): (
        "an ancestor's cgroup.max.depth or cgroup.max.descendants is reached; raise it or remove "
        "unused cgroups (`cgroupkit gc`)"
    ),
    (
        "remove",
        EBUSY,
    ): "something is still inside: kill() ends processes, remove(recursive=True) removes cgroups",
}

_FILES: dict[tuple[str, int], str] = {
    ("cgroup.event_control", EACCES): (
        "v1 tells of oom, oom_kill and thresholds whom it lets write there; run as root, or choose "
        "other kinds of events, such as memory_max"
    ),
    ("memory.limit_in_bytes", EBUSY): (
        "the memory in use cannot be reclaimed below that limit; stop or shrink the processes first"
    ),
    ("memory.memsw.limit_in_bytes", EBUSY): (
        "memory plus swap in use is above that limit; stop or shrink the processes first"
    ),
    ("memory.limit_in_bytes", EINVAL): (
        "v1 wants memory.limit_in_bytes <= memory.memsw.limit_in_bytes at every moment, and no limit "
        "at all on the root"
    ),
    ("memory.memsw.limit_in_bytes", EINVAL): (
        "v1 wants memory.memsw.limit_in_bytes >= memory.limit_in_bytes at every moment, and no limit "
        "at all on the root"
    ),
    ("memory.kmem.limit_in_bytes", EOPNOTSUPP): (
        "kernels 5.16 and later have no kernel-memory limit; kernel memory counts in memory.max"
    ),
    ("cpu.cfs_quota_us", EINVAL): (
        "the quota is below 1000 us, below cpu.cfs_burst_us, or its share of the period is above the "
        "parent's or below a child's (raise the parent first, lower children first)"
    ),
    ("cpu.cfs_period_us", EINVAL): (
        "the period is outside 1000..1000000 us, or the quota's share of it is above the parent's or "
        "below a child's"
    ),
    (
        "cpu.max",
        EINVAL,
    ): "the quota is below 1000 us or below cpu.max.burst, or the period is outside 1000..1000000 us",
    ("cpu.max.burst", EINVAL): "the burst must not be above the quota of cpu.max",
    ("cpu.cfs_burst_us", EINVAL): "the burst must not be above the quota",
    ("cpu.weight", EINVAL): "cpu.idle is 1; set cpu.idle to 0 first",
    ("cpu.shares", EINVAL): "cpu.idle is 1 (set it to 0 first), or this is the root cgroup",
    ("cpu.rt_runtime_us", EINVAL): (
        "the parent's real-time share does not cover it; give the parent cpu.rt_runtime_us first"
    ),
    ("cpu.rt_period_us", EINVAL): "the parent's real-time share does not cover runtime / period",
    ("cpu.rt_runtime_us", EBUSY): "real-time tasks are inside",
    (
        "cpuset.cpus",
        EACCES,
    ): "these CPUs are not all in the parent's cpuset; widen the parent first",
    (
        "cpuset.mems",
        EACCES,
    ): "these nodes are not all in the parent's cpuset; widen the parent first",
    ("cpuset.cpus", EBUSY): "a child uses CPUs outside of this list; shrink the children first",
    ("cpuset.mems", EBUSY): "a child uses nodes outside of this list; shrink the children first",
    ("cpuset.cpus", ENOSPC): "tasks are inside; a cpuset with tasks must not become empty",
    ("cpuset.mems", ENOSPC): "tasks are inside; a cpuset with tasks must not become empty",
    (
        "cpuset.cpus",
        EINVAL,
    ): "not all of these CPUs are online, or a sibling holds them exclusively",
    ("cpuset.mems", EINVAL): "not all of these memory nodes exist",
    ("cgroup.procs", EBUSY): _INTERNAL,
    ("cgroup.procs", ESRCH): "there is no such process",
    ("cgroup.threads", ESRCH): "there is no such thread",
    ("tasks", ESRCH): "there is no such thread",
    (
        "cgroup.procs",
        ENOSPC,
    ): "v1 cpuset: give cpuset.cpus and cpuset.mems before the first process",
    ("tasks", ENOSPC): "v1 cpuset: give cpuset.cpus and cpuset.mems before the first process",
    ("cgroup.procs", EINVAL): _RT,
    ("tasks", EINVAL): _RT,
    ("cgroup.procs", ENOENT): (
        "the source or the target lies outside this cgroup namespace's delegation (nsdelegate)"
    ),
    ("cgroup.procs", EOPNOTSUPP): "the cgroup is in a threaded subtree: use cgroup.threads",
    ("cgroup.threads", EOPNOTSUPP): "threads move only within their own resource domain",
    ("cgroup.subtree_control", EBUSY): _INTERNAL,
    ("cgroup.subtree_control", ENOENT): (
        "the controller is not available here: enable it in the parent's cgroup.subtree_control "
        "first, or it is bound to a v1 hierarchy"
    ),
    ("cgroup.subtree_control", EINVAL): (
        "unknown controller, or cpu cannot be enabled while real-time tasks run outside the root"
    ),
    ("memory.reclaim", EAGAIN): "less was reclaimed than asked for",
    **{(file, ENODEV): _NO_DISK for file in _BY_DISK},
    ("io.max", EINVAL): "a limit has to be at least 2 here (Linux 5.10 to 6.12 refuse 1)",
    ("io.weight", EOPNOTSUPP): (
        "a weight by disk takes iocost on that disk first: write io.cost.qos in the root cgroup"
    ),
    ("io.bfq.weight", EOPNOTSUPP): _NO_BFQ,
    ("blkio.bfq.weight_device", EOPNOTSUPP): _NO_BFQ,
    ("io.cost.qos", EOPNOTSUPP): "iocost works on disks with a request queue (blk-mq) only",
    ("io.cost.model", EOPNOTSUPP): "iocost works on disks with a request queue (blk-mq) only",
    **{(file, EBUSY): "more huge pages are in use; free them first" for file in _HUGE},
    ("devices.allow", EPERM): "the parent cgroup does not allow that, or CAP_SYS_ADMIN is missing",
    ("devices.deny", EPERM): "CAP_SYS_ADMIN is missing",
    ("devices.allow", EINVAL): _CHILDREN,
    ("devices.deny", EINVAL): _CHILDREN,
    ("net_prio.ifpriomap", ENODEV): "the first network namespace has no such interface",
    ("rdma.max", ENODEV): "there is no such RDMA device; rdma.max lists them",
    ("rdma.max", EINVAL): "there is no such RDMA device (rdma.max lists them), or no such resource",
    ("misc.max", EINVAL): "the machine has no such resource: misc.capacity of the root lists them",
    **{
        (f"dmem.{name}", EINVAL): "there is no such region: dmem.capacity of the root lists them"
        for name in ("max", "low", "min")
    },
}


def of(errno: int, path: str, verb: str) -> str:
    """The meaning of *errno* for *verb* on *path*, or an empty string."""
    name = _SIZE.sub("hugetlb.<size>.", os.path.basename(path))
    home = path if verb in ("remove", "open") else os.path.dirname(path)
    if errno in (ENOENT, ENODEV) and verb != "create" and not os.path.isdir(home):
        return _GONE
    specific = _VERBS.get((verb, errno)) or (_FILES.get((name, errno)) if verb == "write" else None)
    if specific:
        return specific
    if errno == ENOENT:
        return "this kernel or this cgroup does not have the file"
    return _ANY.get(errno, "")
