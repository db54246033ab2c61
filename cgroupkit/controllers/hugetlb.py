"""hugetlb: how much of each size of huge page may be used."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping

import attrs

from cgroupkit import units
from cgroupkit.controllers.base import Controller, Reading, Setting
from cgroupkit.controllers.flat import record
from cgroupkit.controllers.kinds import BYTES, COUNTER, SIZE, node_table, reading
from cgroupkit.errors import InvalidValueError
from cgroupkit.units import invalid

_EVENTS = "read hugetlb.failcnt there"
_FAILCNT = "read hugetlb.events there"
_NO_PEAK = "watch hugetlb.current there"
_FILE = re.compile(r"hugetlb\.(\d+[KMG]B)\.(?:max|limit_in_bytes)")
_POOLS = "/sys/kernel/mm/hugepages"


@attrs.frozen(kw_only=True)
class HugetlbEvents:
    """*max*: allocations refused by the limit."""

    max: int | None = None
    extra: Mapping[str, int] = attrs.field(factory=dict)


def page_size(value: object, option: str = "page size") -> str:
    """The kernel's spelling of a size of huge pages, "2MB", from "2M", "2048kB" or 2097152."""
    size = units.parse_bytes(value, option) if isinstance(value, (int, str)) else None
    if size is None or size < 1024 or size & (size - 1):
        raise invalid(option, value, 'give a size of huge pages such as "2MB" or "1GB"')
    power, suffix = next(unit for unit in ((30, "GB"), (20, "MB"), (10, "KB")) if size >> unit[0])
    return f"{size >> power}{suffix}"


def machine_sizes() -> tuple[str, ...]:
    """The sizes of huge pages that this machine has, small ones first."""
    try:
        names = os.listdir(_POOLS)
    except OSError:
        return ()
    numbers = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in names)
    return tuple(page_size(number * 1024) for number in numbers)


class Hugetlb(Controller, name="hugetlb"):
    """cgroup-v2.rst, "HugeTLB"; cgroup-v1/hugetlb.rst. One set of files a size of huge page.

    ``cgroup.hugetlb["2MB"].max`` is an attribute of one size; ``sizes`` are those of this machine.
    """

    __slots__ = ("size",)

    def __init__(
        self, version: int, directory: str, find: Callable[[str], Controller], size: str = ""
    ) -> None:
        super().__init__(version, directory, find)
        self.size = size
        """The size of huge page that the attributes are about."""

    def __repr__(self) -> str:
        return super().__repr__().replace(">", f" {self.size}>") if self.size else super().__repr__()

    def __getitem__(self, size: int | str) -> Hugetlb:
        """The files of one size: "2MB", "1G" or a number of bytes."""
        return self.of(size, "page size")

    def of(self, size: int | str, option: str) -> Hugetlb:
        """As ``hugetlb[size]``; *option* is named where there is no such size."""
        name = page_size(size, option)
        if name not in self.sizes:
            raise invalid(
                option, size, f"this machine has {units.format_names(self.sizes or ('none',))}"
            )
        return Hugetlb(self.version, self.directory, self._find, name)

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes that there are files for, small ones first."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            names = []
        found = {match[1] for name in names if (match := _FILE.fullmatch(name))}
        return tuple(sorted(found, key=lambda size: units.parse_bytes(size) or 0)) or machine_sizes()

    def parts(self) -> Iterator[Controller]:
        yield from (self,) if self.size else (self[size] for size in self.sizes)

    def path(self, file: str) -> str:
        if not self.size and "<size>" in file:
            sizes = units.format_names(f'hugetlb["{size}"]' for size in self.sizes or ("2MB",))
            raise InvalidValueError(f"name the size of huge page: {sizes}")
        return super().path(file.replace("<size>", self.size))

    max = Setting(
        BYTES,
        v2="hugetlb.<size>.max",
        v1="hugetlb.<size>.limit_in_bytes",
        since="5.6 (v1: 3.6)",
        doc="Hard limit on huge pages in use; rounded down to whole ones.",
    )
    current = Reading(
        SIZE,
        v2="hugetlb.<size>.current",
        v1="hugetlb.<size>.usage_in_bytes",
        since="5.6 (v1: 3.6)",
        doc="Huge pages in use.",
    )
    rsvd_max = Setting(
        BYTES,
        v2="hugetlb.<size>.rsvd.max",
        v1="hugetlb.<size>.rsvd.limit_in_bytes",
        since="5.7",
        doc="Hard limit on reservations, made at mmap: it fails there and not with SIGBUS later.",
    )
    rsvd_current = Reading(
        SIZE,
        v2="hugetlb.<size>.rsvd.current",
        v1="hugetlb.<size>.rsvd.usage_in_bytes",
        since="5.7",
        doc="Huge pages reserved.",
    )
    events = Reading(
        record(HugetlbEvents),
        v2="hugetlb.<size>.events",
        since="5.6",
        instead=_EVENTS,
        doc="Allocations refused, descendants included.",
    )
    events_local = Reading(
        record(HugetlbEvents),
        v2="hugetlb.<size>.events.local",
        since="5.6",
        instead=_EVENTS,
        doc="Allocations refused by this cgroup's own limit.",
    )
    numa_stat = Reading(
        reading("bytes by node", node_table),
        v2="hugetlb.<size>.numa_stat",
        v1="hugetlb.<size>.numa_stat",
        since="5.17",
        doc="Huge pages in use by node.",
    )
    max_usage = Reading(
        SIZE, v1="hugetlb.<size>.max_usage_in_bytes", instead=_NO_PEAK, doc="The most in use."
    )
    failcnt = Reading(
        COUNTER, v1="hugetlb.<size>.failcnt", instead=_FAILCNT, doc="How often max was hit."
    )
    rsvd_max_usage = Reading(
        SIZE,
        v1="hugetlb.<size>.rsvd.max_usage_in_bytes",
        since="5.7",
        instead=_NO_PEAK,
        doc="The most reserved.",
    )
    rsvd_failcnt = Reading(
        COUNTER,
        v1="hugetlb.<size>.rsvd.failcnt",
        since="5.7",
        instead=_FAILCNT,
        doc="How often rsvd_max was hit.",
    )
