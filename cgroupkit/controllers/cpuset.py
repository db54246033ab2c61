"""cpuset: which CPUs and memory nodes may be used."""

from __future__ import annotations

import attrs

from cgroupkit.controllers.base import Controller, Reading, Setting
from cgroupkit.controllers.kinds import COUNTER, FLAG, IDS, Kind, whole
from cgroupkit.errors import RejectedError
from cgroupkit.units import invalid


@attrs.frozen
class Partition:
    """cpuset.cpus.partition as read back: *kind* member, root or isolated, and whether it holds."""

    kind: str
    valid: bool = True
    reason: str = ""
    """The kernel's reason why the partition is invalid."""


def _parse_partition(text: str) -> Partition:
    kind, _, rest = text.strip().partition(" ")
    if not kind:
        raise ValueError("empty")
    reason = rest.removeprefix("invalid").strip()
    return Partition(kind, not rest.startswith("invalid"), reason.strip("()"))


def _print_partition(value: str | Partition, option: str) -> str:
    if isinstance(value, Partition):
        value = value.kind
    if value not in ("member", "root", "isolated"):
        raise invalid(option, value, 'give "member", "root" or "isolated"')
    return value


class PartitionSetting(Setting[Partition, str | Partition]):
    """Since 6.1 the kernel accepts a partition that it cannot make, so the result is read back."""

    def __set__(self, controller: Controller, value: str | Partition) -> None:
        super().__set__(controller, value)
        made = self.__get__(controller, type(controller))
        if not made.valid:
            path = controller.path("cpuset.cpus.partition")
            raise RejectedError(
                22,
                f"{path} took {made.kind!r} but the partition is invalid: "
                f"{made.reason or 'the kernel gives no reason'}; it works once cpuset.cpus is "
                "exclusive to it and available in the parent",
                path,
                made.kind,
            )


class Cpuset(Controller, name="cpuset"):
    """cgroup-v2.rst, "Cpuset"; cgroup-v1/cpusets.rst."""

    __slots__ = ()

    cpus = Setting(
        IDS,
        v2="cpuset.cpus",
        v1="cpuset.cpus",
        doc="CPUs asked for; empty on v2 means the parent's.",
    )
    mems = Setting(
        IDS,
        v2="cpuset.mems",
        v1="cpuset.mems",
        doc="Memory nodes asked for; empty on v2 means the parent's.",
    )
    cpus_effective = Reading(
        IDS, v2="cpuset.cpus.effective", v1="cpuset.effective_cpus", doc="CPUs granted."
    )
    mems_effective = Reading(
        IDS, v2="cpuset.mems.effective", v1="cpuset.effective_mems", doc="Memory nodes granted."
    )
    cpus_exclusive = Setting(
        IDS, v2="cpuset.cpus.exclusive", since="6.7", doc="CPUs reserved for partitions below."
    )
    cpus_exclusive_effective = Reading(
        IDS, v2="cpuset.cpus.exclusive.effective", since="6.7", doc="Exclusive CPUs granted."
    )
    cpus_isolated = Reading(
        IDS, v2="cpuset.cpus.isolated", since="6.8", doc="Root only: CPUs of isolated partitions."
    )
    cpus_partition = PartitionSetting(
        Kind("partition", _parse_partition, _print_partition),
        v2="cpuset.cpus.partition",
        instead="v1 has cpu_exclusive and sched_load_balance",
        doc="member, root or isolated; read back with its validity.",
    )
    cpu_exclusive = Setting(FLAG, v1="cpuset.cpu_exclusive", doc="No sibling may share the CPUs.")
    mem_exclusive = Setting(FLAG, v1="cpuset.mem_exclusive", doc="No sibling may share the nodes.")
    mem_hardwall = Setting(FLAG, v1="cpuset.mem_hardwall", doc="Kernel memory stays inside too.")
    sched_load_balance = Setting(
        FLAG, v1="cpuset.sched_load_balance", doc="The scheduler balances load over the CPUs."
    )
    sched_relax_domain_level = Setting(
        whole("level", -1, 100),
        v1="cpuset.sched_relax_domain_level",
        doc="How far the scheduler searches for an idle CPU.",
    )
    memory_migrate = Setting(
        FLAG, v1="cpuset.memory_migrate", doc="Pages move along with tasks and nodes."
    )
    memory_pressure = Reading(
        COUNTER, v1="cpuset.memory_pressure", doc="Rate of direct reclaim, if enabled on the root."
    )
    memory_pressure_enabled = Setting(
        FLAG, v1="cpuset.memory_pressure_enabled", doc="Root only: count memory_pressure."
    )
    memory_spread_page = Setting(
        FLAG, v1="cpuset.memory_spread_page", doc="Spread page cache over the nodes."
    )
    memory_spread_slab = Setting(
        FLAG, v1="cpuset.memory_spread_slab", doc="Spread inode and dentry caches; gone since 6.8."
    )
