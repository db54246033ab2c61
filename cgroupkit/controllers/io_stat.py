"""io.stat, and v1's files that say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from cgroupkit import files
from cgroupkit.controllers.kinds import reading


@attrs.frozen(kw_only=True)
class IoDevice:
    """Bytes and operations on one disk."""

    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0
    dbytes: int = 0
    dios: int = 0
    extra: Mapping[str, str] = attrs.field(factory=dict)
    """Keys of iocost, io.latency or a newer kernel, as text."""


IoStat = Mapping[str, IoDevice]
"""By disk, "8:0"."""

_FIELDS = ("rbytes", "wbytes", "rios", "wios", "dbytes", "dios")


def parse_io_stat(text: str) -> dict[str, IoDevice]:
    """io.stat; a device without figures is listed with zeros."""
    table = {}
    for device, pairs in files.nested_keyed(text):
        numbers: dict[str, Any] = {key: int(pairs.pop(key)) for key in _FIELDS if key in pairs}
        table[device] = IoDevice(**numbers, extra=pairs)
    return table


def io_stat_v1(bytes_text: str, ios_text: str) -> dict[str, IoDevice]:
    table: dict[str, dict[str, Any]] = {}
    for text, suffix in ((bytes_text, "bytes"), (ios_text, "ios")):
        for device, operations in by_operation(text).items():
            for operation, number in operations.items():
                if device != TOTAL and operation in ("Read", "Write", "Discard"):
                    table.setdefault(device, {})[operation[0].lower() + suffix] = number
    return {device: IoDevice(**row) for device, row in table.items()}


TOTAL = "Total"


def by_operation(text: str) -> dict[str, dict[str, int]]:
    """``8:0 Read 4096`` -> {"8:0": {"Read": 4096}}; the sum over all disks is under "Total"."""
    table: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        device, *operation, number = line.split()
        table.setdefault(device, {})[operation[0] if operation else TOTAL] = int(number)
    return table


def by_disk(text: str) -> dict[str, int]:
    """``8:0 4096`` -> {"8:0": 4096}."""
    return {device: int(number) for device, number in (line.split() for line in text.splitlines())}


IO_STAT = reading("bytes, count", parse_io_stat)
