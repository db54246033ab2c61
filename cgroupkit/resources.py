"""Resources: what is asked for, in Docker's words, checked as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, Unpack

import attrs

from cgroupkit import options, units
from cgroupkit.controllers.cpu import QUOTA_MAX
from cgroupkit.errors import InvalidValueError
from cgroupkit.options import UNLIMITED, Limit, Options, Unlimited, field, whole

if TYPE_CHECKING:
    from cgroupkit.devices.rules import DeviceRule


@attrs.frozen(kw_only=True, init=False)
class Resources:
    """What a cgroup is to be given; a field left out (None) is left as it is.

    Names and meanings are those of ``docker update``: sizes in bytes or as "200M"; -1 or "max" for
    no limit. Raises :class:`InvalidValueError` for values and combinations that cannot be meant.
    """

    memory: Limit = field(options.size)
    """Hard limit on memory: memory.max."""
    memory_swap: Limit = field(options.size)
    """Limit on memory plus swap, as on v1; -1 for any amount of swap."""
    memory_reservation: Limit = field(units.parse_bytes)
    """Soft limit: memory.low on v2, memory.soft_limit_in_bytes on v1."""
    memory_high: Limit = field(options.size)
    """Throttling limit, v2 only: memory.high."""
    memory_swappiness: int | None = whole(0, 200)
    """v1 only: memory.swappiness."""
    kernel_memory: Limit = field(options.size)
    """v1 only, and refused by the kernel since 5.16."""
    kernel_memory_tcp: Limit = field(options.size)
    """v1 only: limit on TCP buffers, memory.kmem.tcp.limit_in_bytes."""
    oom_kill_disable: bool | None = field(units.parse_bool)
    """v1 only: at the limit tasks wait instead of being killed (memory.oom_control)."""
    memory_check_before_update: bool | None = field(units.parse_bool)
    """Refuse a memory limit below what is in use; update(check=...) overrides it."""
    cpus: Decimal | None = field(options.cpus)
    """How many CPUs' worth of time: a quota over 100 ms. Excludes cpu_quota and cpu_period."""
    cpu_shares: int | None = whole(2, 262144)
    """Proportional weight, 1024 by default; converted to cpu.weight on v2 as runc does."""
    cpu_quota: Limit = field(options.quota)
    """Microseconds of CPU time in each period; -1 for no limit."""
    cpu_period: int | None = whole(1000, 1_000_000)
    """Microseconds; 100000 by default."""
    cpu_burst: int | None = whole(0, QUOTA_MAX)
    """Microseconds of unused quota that may be saved up."""
    cpu_idle: bool | None = field(units.parse_bool)
    """Run only when nothing else wants the CPU."""
    cpu_rt_period: int | None = field(options.rt_period)
    """v1 only: microseconds, cpu.rt_period_us."""
    cpu_rt_runtime: Limit = field(options.rt_runtime)
    """v1 only: microseconds of cpu_rt_period, cpu.rt_runtime_us."""
    cpuset_cpus: frozenset[int] | None = field(options.ids)
    """CPUs to run on: "0-3,8" or numbers."""
    cpuset_mems: frozenset[int] | None = field(options.ids)
    """Memory nodes to allocate from."""
    pids_limit: Limit = field(options.pids_limit)
    """Most tasks; 0 and -1 are no limit."""
    blkio_weight: int | None = field(options.blkio_weight)
    """Proportional I/O weight; converted to io.weight on v2 as runc does, where there is no BFQ."""
    blkio_weight_device: Mapping[str, int] | None = options.table(options.disk, options.blkio_weight)
    """The same by disk: ``{"/dev/sda": 500}``. Disks are "MAJOR:MINOR", paths or mount points."""
    device_read_bps: Mapping[str, Limit] | None = options.table(options.disk, options.rate)
    """Bytes a second by disk: ``{"/dev/sda": "5M"}``; 0 and -1 are no limit."""
    device_write_bps: Mapping[str, Limit] | None = options.table(options.disk, options.rate)
    device_read_iops: Mapping[str, Limit] | None = options.table(options.disk, options.iops)
    """Operations a second by disk."""
    device_write_iops: Mapping[str, Limit] | None = options.table(options.disk, options.iops)
    hugepage_limits: Mapping[str, Limit] | None = options.table(options.page, units.parse_bytes)
    """Bytes by size of huge page: ``{"2MB": "1G"}``; use and reservations are limited."""
    network_class_id: int | None = field(options.classid)
    """v1 only: net_cls.classid, tc's "10:1" (hexadecimal) or a number."""
    network_priorities: Mapping[str, int] | None = options.table(options.name, options.priority)
    """v1 only: net_prio.ifpriomap, ``{"eth0": 5}``."""
    rdma: Mapping[str, Mapping[str, Limit]] | None = options.table(options.name, options.rdma_use)
    """By device: ``{"mlx5_0": {"hca_handle": 2, "hca_object": 2000}}``."""
    devices: tuple[DeviceRule, ...] | Unlimited | None = field(options.device_rules)
    """Device nodes that may be used, all others not: "docker", or rules such as "c 1:3 rw", of which
    the last that matches decides. "all" is no restriction."""
    unified: Mapping[str, str] | None = options.table(options.name, options.text, "=")
    """v2 only: texts by interface file, ``{"memory.high": "100M"}``."""

    def __init__(self, **options: Unpack[Options]) -> None:
        # What is given has other types than what is kept: the fields' converters lie between.
        init: Callable[..., None] = self.__attrs_init__
        init(**options)

    @classmethod
    def from_oci(cls, resources: Mapping[str, Any]) -> Self:
        """From ``linux.resources`` of an OCI configuration (runtime-spec 1.2, config-linux.md).

        What cannot be expressed is an :class:`InvalidValueError` that names the field.
        """
        from cgroupkit.oci import resources_from_oci  # noqa: PLC0415

        return cls.of(resources_from_oci(resources))

    def to_oci(self) -> dict[str, Any]:
        """As ``linux.resources`` of an OCI configuration."""
        from cgroupkit.oci import resources_to_oci  # noqa: PLC0415

        return resources_to_oci(self)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """From options of a caller's caller: an unknown one is an :class:`InvalidValueError`."""
        known = [field.name for field in attrs.fields(cls)]
        for name in options:
            if name not in known:
                raise unknown_option(name, known)
        return cls(**options)

    def __attrs_post_init__(self) -> None:
        if self.cpus is not None and (self.cpu_quota is not None or self.cpu_period is not None):
            other = "cpu_quota" if self.cpu_quota is not None else "cpu_period"
            raise InvalidValueError(
                f"cpus={self.cpus} and {other}={getattr(self, other)!r} exclude each other: cpus is "
                "a quota over 100 ms; give cpus alone, or cpu_quota with cpu_period"
            )
        self._ordered("memory", "memory_swap", "memory_swap counts memory and swap together")
        self._ordered("memory_reservation", "memory", "a soft limit above the hard one does nothing")
        self._ordered("cpu_burst", "cpu_quota", "the burst must not be above the quota")
        self._ordered("cpu_rt_runtime", "cpu_rt_period", "the runtime is a part of the period")

    def _ordered(self, low: str, high: str, why: str) -> None:
        one, other = getattr(self, low), getattr(self, high)
        if one is None or one is UNLIMITED or other is None or other is UNLIMITED:
            return
        if one > other:
            raise InvalidValueError(f"{low}={one} is above {high}={other}: {why}")

    def asked(self) -> dict[str, Any]:
        """The fields that were given."""
        values = ((f.name, getattr(self, f.name)) for f in attrs.fields(type(self)))
        return {name: value for name, value in values if value is not None}


def unknown_option(name: str, known: Iterable[str], prefix: str = "") -> InvalidValueError:
    """The error for *name*, with the nearest of *known* names; *prefix* stands before each."""
    import difflib  # noqa: PLC0415

    near = difflib.get_close_matches(str(name), list(known), 1, 0.75)
    options = ", ".join(prefix + option for option in known)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"the options are {options}"
    return InvalidValueError(f"there is no option '{prefix}{name}'; {hint}")
