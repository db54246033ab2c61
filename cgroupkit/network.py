"""Traffic of a network namespace, read from outside through /proc/PID/net/dev."""

from __future__ import annotations

import os
from collections.abc import Iterable

import attrs

_LOOPBACK = "lo"


@attrs.frozen(kw_only=True)
class Interface:
    """What one network interface has received and sent since it was made."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def parse_net_dev(text: str) -> dict[str, Interface]:
    """/proc/PID/net/dev (proc_pid_net(5)): two lines of headings, then eight and eight figures."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, figures = line.rpartition(":")
        rx = figures.split()
        if len(rx) < 12:
            continue
        numbers = [int(rx[place]) for place in (0, 1, 2, 3, 8, 9, 10, 11)]
        fields = (field.name for field in attrs.fields(Interface))
        found[name.strip()] = Interface(**dict(zip(fields, numbers, strict=True)))
    return found


def interfaces(pids: Iterable[int]) -> dict[str, Interface] | None:
    """The interfaces, loopback left out, of the network namespace that the first of *pids* is in.

    None where that is the machine's own namespace, or ours: its traffic is not theirs alone. A
    process that ends meanwhile is passed over.
    """
    shared = {namespace("self"), namespace("1")} - {None}
    for pid in pids:
        own = namespace(str(pid))
        if own is None:
            continue
        if own in shared:
            return None
        try:
            with open(f"/proc/{pid}/net/dev", encoding="utf-8", errors="replace") as file:
                found = parse_net_dev(file.read())
        except OSError:
            continue
        return {name: figures for name, figures in found.items() if name != _LOOPBACK}
    return None


def namespace(pid: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None
