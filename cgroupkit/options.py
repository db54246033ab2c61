"""How each option of Resources is parsed, from Python or from the command line."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import attrs

from cgroupkit import convert, disks, units
from cgroupkit.controllers.cpu import QUOTA_MAX
from cgroupkit.controllers.hugetlb import page_size
from cgroupkit.controllers.net_cls import parse_classid
from cgroupkit.controllers.net_prio import PRIORITY_MAX
from cgroupkit.controllers.pids import PID_MAX
from cgroupkit.controllers.rdma import COUNT_MAX, RDMA_KEYS, RdmaUse
from cgroupkit.units import IdList, Size, invalid

if TYPE_CHECKING:
    from cgroupkit.devices.rules import DeviceRule

_RT_MAX = 2**63 - 1
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class Unlimited(enum.Enum):
    """The parsed form of -1 and "max", to be told from None, which leaves a setting alone."""

    UNLIMITED = "max"

    def __repr__(self) -> str:
        return "'max'"


UNLIMITED = Unlimited.UNLIMITED
Limit = int | Unlimited | None


V = TypeVar("V")
Table = Mapping[Any, V] | str | Sequence[str] | None
"""By disk, page size or interface: a mapping, or text such as "/dev/sda:5M", one or several."""


class Options(TypedDict, total=False):
    """The keyword arguments of :class:`Resources`, for the functions that take them too."""

    memory: Size
    memory_swap: Size
    memory_reservation: Size
    memory_high: Size
    memory_swappiness: int | str | None
    kernel_memory: Size
    kernel_memory_tcp: Size
    oom_kill_disable: bool | None
    memory_check_before_update: bool | None
    cpus: float | str | Decimal | None
    cpu_shares: int | str | None
    cpu_quota: int | str | None
    cpu_period: int | str | None
    cpu_burst: int | str | None
    cpu_idle: bool | None
    cpu_rt_period: int | str | None
    cpu_rt_runtime: int | str | None
    cpuset_cpus: IdList | None
    cpuset_mems: IdList | None
    pids_limit: int | str | None
    blkio_weight: int | str | None
    blkio_weight_device: Table[int | str]
    device_read_bps: Table[Size]
    device_write_bps: Table[Size]
    device_read_iops: Table[int | str | None]
    device_write_iops: Table[int | str | None]
    hugepage_limits: Table[Size]
    network_class_id: int | str | None
    network_priorities: Table[int | str]
    rdma: Table[RdmaUse | Mapping[str, int | str | None]]
    devices: str | DeviceRule | Iterable[str | DeviceRule] | Unlimited | None
    unified: Table[str]


def limit(parse: Callable[[Any, str], Any], value: Any, option: str) -> Any:
    """What *parse* makes of *value*; UNLIMITED where that is None, no limit."""
    parsed = parse("max" if value is UNLIMITED else value, option)
    return UNLIMITED if parsed is None else parsed


def field(parse: Any) -> Any:
    def convert_value(value: Any, self: Any, field: attrs.Attribute[Any]) -> Any:
        if value is None:
            return None
        return limit(parse, value, field.name)

    return attrs.field(
        default=None, converter=attrs.Converter(convert_value, takes_self=True, takes_field=True)
    )


def whole(low: int, high: int) -> Any:
    return field(lambda value, option: units.parse_int(value, option, low, high))


def cpus(value: Any, option: str) -> Decimal:
    number = units.parse_decimal(value, option)
    if not Decimal("0.01") <= number <= QUOTA_MAX // convert.DEFAULT_CPU_PERIOD:
        raise invalid(option, value, "give at least 0.01 CPUs (1000 us of each 100 ms)")
    return number


def pids_limit(value: Any, option: str) -> int | None:
    return units.parse_limit(value, option, 0, PID_MAX) or None


def quota(value: Any, option: str) -> int | None:
    quota = units.parse_limit(value, option, 0, QUOTA_MAX) or None
    return quota and units.parse_int(quota, option, 1000, QUOTA_MAX)


def size(value: Any, option: str) -> int | None:
    size = units.parse_bytes(value, option)
    if size is not None and size < PAGE_SIZE:
        raise invalid(
            option, value, f"the kernel rounds down to pages, so give at least {PAGE_SIZE} bytes"
        )
    return size


def rt_runtime(value: Any, option: str) -> int | None:
    return units.parse_limit(value, option, 0, _RT_MAX)


def ids(value: Any, option: str) -> frozenset[int]:
    ids = units.parse_ids(value, option)
    if not ids:
        raise invalid(option, value, "name at least one")
    return ids


def rt_period(value: Any, option: str) -> int:
    return units.parse_int(value, option, 1, _RT_MAX)


def rate(value: Any, option: str) -> int | None:
    """Bytes a second; 0 is no limit, as Docker and the v1 kernel have it."""
    return units.parse_bytes(value, option) or None


def iops(value: Any, option: str) -> int | None:
    return units.parse_limit(value, option, 0, 2**32 - 1) or None


def blkio_weight(value: Any, option: str) -> int:
    return units.parse_int(value, option, 10, 1000)


def priority(value: Any, option: str) -> int:
    return units.parse_int(value, option, 0, PRIORITY_MAX)


def name(value: Any, option: str) -> str:
    if not isinstance(value, str) or value.split() != [value] or "/" in value:
        raise invalid(option, value, "give a name without blanks and slashes")
    return value


def text(value: Any, option: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise invalid(option, value, "give the text to be written")
    return value


def rdma_use(value: Any, option: str) -> dict[str, Any]:
    accepted = "give hca_handle, hca_object or both, as a mapping or as hca_handle=2,hca_object=2000"
    if isinstance(value, RdmaUse):
        value = {key: getattr(value, key) for key in RDMA_KEYS}
    elif isinstance(value, str):
        value = dict(word.partition("=")[::2] for word in value.split(","))
    if not isinstance(value, Mapping) or not value or not value.keys() <= set(RDMA_KEYS):
        raise invalid(option, value, accepted)

    def count(value: Any, option: str) -> int | None:
        return units.parse_limit(value, option, 0, COUNT_MAX)

    return {key: limit(count, inner, f"{option} {key}") for key, inner in value.items()}


def device_rules(value: Any, option: str) -> tuple[DeviceRule, ...] | None:
    """None is no restriction."""
    from cgroupkit.devices.rules import parse_rules  # noqa: PLC0415

    return None if isinstance(value, str) and value in ("max", "all") else parse_rules(value, option)


def table(
    key: Callable[[Any, str], str], parse: Callable[[Any, str], Any], separator: str = ":"
) -> Any:
    """A field that is a mapping, or as text ``KEY:VALUE``, one or several."""

    def convert_value(value: Any, option: str) -> dict[str, Any]:
        return {
            key(name, option): limit(parse, inner, f"{option}[{name!r}]")
            for name, inner in _pairs(value, option, separator)
        }

    return field(convert_value)


def _pairs(value: Any, option: str, separator: str) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    lines = [value] if isinstance(value, str) else value
    accepted = f'give a mapping, or text such as "NAME{separator}VALUE"'
    if not isinstance(lines, Iterable):
        raise invalid(option, value, accepted)
    found = []
    for line in lines:
        if not isinstance(line, str) or separator not in line:
            raise invalid(option, line, accepted)
        # A disk may be "8:0", and what follows "=" may be anything.
        cut = line.partition(separator) if separator == "=" else line.rpartition(separator)
        found.append((cut[0].strip(), cut[2].strip()))
    return found


disk = disks.parse_number
page = page_size
classid = parse_classid
