"""cgroupkit stats: what cgroups use, in the columns of docker stats."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import attrs

from cgroupkit import members, systemd
from cgroupkit.cgroup import Cgroup
from cgroupkit.cli import machine, printing, target
from cgroupkit.cli.messages import put
from cgroupkit.cli.parsing import Parser, names, seconds
from cgroupkit.containers import Container, containers
from cgroupkit.errors import CgroupKitError, NotFoundError
from cgroupkit.network import interfaces
from cgroupkit.stats import Stats
from cgroupkit.units import format_bytes

_COLUMNS = (
    "CGROUP", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS",
)  # fmt: skip
_WIDTH = 36
_UNKNOWN = "--"

Sample = dict[Cgroup, Stats]


@attrs.frozen(kw_only=True)
class Row:
    """One cgroup over one interval; None is not known on this machine."""

    name: str
    container: str | None = None
    """The container's id, if it is one; *label* is what its engine calls it."""
    label: str | None = None
    cpu_percent: float | None
    memory_used: int | None
    memory_limit: int | None
    """Its own limit, or what the machine has."""
    memory_percent: float | None
    net_rx_bytes: int | None = None
    net_tx_bytes: int | None = None
    block_read_bytes: int | None
    block_written_bytes: int | None
    pids: int | None
    stats: Stats


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="every cgroup with processes in it")
    parser.add_argument("--no-stream", action="store_true", help="print once, after one interval")
    parser.add_argument("--interval", metavar="SECONDS", default="1", help="between two readings (1)")
    parser.add_argument("--json", action="store_true", help="one JSON array a reading, each on a line")
    parser.add_argument(
        "--format",
        metavar="FORMAT",
        choices=("table", "json"),
        help="table, or json as docker prints it",
    )
    names(parser, optional=True)
    parser.description = (
        "What cgroups and containers use, in the columns of docker stats. Without a name: the running\n"
        "containers and the top-level cgroups of the place where you create them, children counted;\n"
        "if nothing runs there, those of the root. Empty ones are left out."
    )
    parser.example("cgroupkit stats", "cgroupkit stats --no-stream --json /system.slice | jq .")


def main(args: argparse.Namespace) -> int:
    interval = seconds(args.interval, "--interval")
    watched = _Watched(args.names, everything=args.all)
    form = "array" if args.json else args.format or "table"
    if form != "table" or args.no_stream or not printing.redrawable():
        return _print(watched, interval, once=args.no_stream, form=form)
    return _redraw(watched, interval)


class _Watched:
    """The cgroups to look at: those named, or what there is at each moment."""

    def __init__(self, given: Sequence[str], *, everything: bool) -> None:
        self._containers: dict[Cgroup, Container] = {}
        self._named: list[Cgroup] = []
        for name in given:
            container, cgroup = target.container_or_cgroup(name)
            if container is not None:
                self._containers[cgroup] = container
            if cgroup not in self._named:
                self._named.append(cgroup)
        self._everything = everything
        self._machine = machine.memory()

    def sample(self) -> Sample:
        found: Sample = {}
        for cgroup in self._named or self._choose():
            try:
                if cgroup.exists():
                    found[cgroup] = cgroup.stats()
            except NotFoundError:
                continue
        if self._named and not found:
            gone = ", ".join(cgroup.name for cgroup in self._named)
            raise NotFoundError(2, f"there is nothing to show any more: {gone} was removed", gone)
        return found

    def _choose(self) -> list[Cgroup]:
        if self._everything:
            return [cgroup for cgroup in Cgroup("/").walk() if cgroup.name != "/" and _has(cgroup)]
        self._containers = {container.cgroup: container for container in containers()}
        return [*self._containers, *self._tops()]

    def _tops(self) -> list[Cgroup]:
        place = target.ours()
        if self._containers and place is None:
            return []
        for top in filter(None, (place, Cgroup("/"))):
            children = [cgroup for cgroup in top.children() if not cgroup.name.endswith(_HOLDER)]
            inside = [cgroup for cgroup in children if _has(cgroup, below=True)]
            if inside or self._containers:
                return inside
        return []

    def rows(self, before: Sample, now: Sample) -> list[Row]:
        return [self._row(cgroup, before.get(cgroup), stats) for cgroup, stats in now.items()]

    def _row(self, cgroup: Cgroup, before: Stats | None, now: Stats) -> Row:
        limits = [limit for limit in (now.memory.max, self._machine) if limit is not None]
        limit = min(limits) if limits and now.memory.current is not None else None
        percent = None if before is None else now.cpu_percent(before)
        share = now.memory_percent(limit) if limit else None
        network = interfaces(members.everyone(cgroup.branches))
        container = self._containers.get(cgroup)
        return Row(
            name=cgroup.name,
            container=None if container is None else container.id,
            label=None if container is None else container.name,
            cpu_percent=None if percent is None else round(percent, 2),
            memory_used=now.working_set,
            memory_limit=limit,
            memory_percent=None if share is None else round(share, 2),
            net_rx_bytes=None if network is None else sum(i.rx_bytes for i in network.values()),
            net_tx_bytes=None if network is None else sum(i.tx_bytes for i in network.values()),
            block_read_bytes=None if now.io is None else sum(d.rbytes for d in now.io.values()),
            block_written_bytes=None if now.io is None else sum(d.wbytes for d in now.io.values()),
            pids=now.pids.current,
            stats=now,
        )


_HOLDER = f"/{systemd.UNIT}/{systemd.HOLDER}"


def _has(cgroup: Cgroup, *, below: bool = False) -> bool:
    try:
        return cgroup.populated if below else bool(cgroup.procs)
    except CgroupKitError:
        return False


def _print(watched: _Watched, interval: float, *, once: bool, form: str) -> int:
    before = watched.sample()
    while True:
        time.sleep(interval)
        now = watched.sample()
        rows = watched.rows(before, now)
        if form == "array":
            put(printing.dump(rows, indent=None))
        elif form == "json":
            put("\n".join(printing.dump(_as_docker(row), indent=None) for row in rows))
        else:
            put(printing.table(_lines(rows)))
        if once:
            return 0
        before = now


def _redraw(watched: _Watched, interval: float) -> int:
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    before = watched.sample()
    with Live(auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            now = watched.sample()
            text = _fitting(watched.rows(before, now), live.console.width)
            live.update(Text(text, no_wrap=True, overflow="crop"), refresh=True)
            before = now


def _lines(rows: Sequence[Row]) -> list[Sequence[str]]:
    first = "CONTAINER ID" if rows and all(row.container for row in rows) else _COLUMNS[0]
    return [(first, *_COLUMNS[1:]), *map(_cells, rows)]


def _as_docker(row: Row) -> dict[str, str]:
    """The keys of ``docker stats --format json``."""
    first, name, cpu, memory, share, network, disk, pids = _cells(row)
    return {
        "BlockIO": disk,
        "CPUPerc": cpu,
        "Container": first,
        "ID": first,
        "MemPerc": share,
        "MemUsage": memory,
        "Name": name,
        "NetIO": network,
        "PIDs": pids,
    }


def _fitting(rows: Sequence[Row], width: int) -> str:
    """In a narrow window without the first column: the name tells too."""
    cells = _lines(rows)
    text = printing.table(cells)
    return text if max(map(len, text.splitlines())) <= width else printing.table(r[1:] for r in cells)


def _cells(row: Row) -> tuple[str, ...]:
    used, limit = (
        _UNKNOWN if size is None else format_bytes(size) for size in (row.memory_used, row.memory_limit)
    )
    network = (row.net_rx_bytes, row.net_tx_bytes)
    disk = (row.block_read_bytes, row.block_written_bytes)
    return (
        short(row.container or row.name),
        row.label or printing.short_ids(row.name.rpartition("/")[2] or "/"),
        _percent(row.cpu_percent),
        f"{used} / {limit}",
        _percent(row.memory_percent),
        _pair(network),
        _pair(disk),
        _UNKNOWN if row.pids is None else str(row.pids),
    )


def _pair(amounts: tuple[int | None, int | None]) -> str:
    if None in amounts:
        return _UNKNOWN
    return " / ".join(map(printing.decimal_size, amounts))


def _percent(number: float | None) -> str:
    return _UNKNOWN if number is None else f"{number:.2f}%"


def short(path: str) -> str:
    """*path* in at most 36 characters: the end tells more than the beginning."""
    text = printing.short_ids(path)
    return text if len(text) <= _WIDTH else "…" + text[1 - _WIDTH :]
