"""memory: limits on and accounting of memory, swap and kernel memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

import attrs

from cgroupkit import files, units
from cgroupkit.closing import Closing
from cgroupkit.controllers.base import Controller, File, Joined, Reading, Setting, Step, parsed
from cgroupkit.controllers.flat import Flat, record
from cgroupkit.controllers.kinds import (
    BYTES,
    COUNTER,
    FLAG,
    SIZE,
    TEXT,
    node_table,
    reading,
    whole,
)
from cgroupkit.controllers.memory_stat import MEMORY_STAT, MEMORY_STAT_V1
from cgroupkit.controllers.pressure import PRESSURE
from cgroupkit.errors import FeatureError, InvalidValueError, UnsupportedError
from cgroupkit.units import Size


@attrs.frozen(kw_only=True)
class MemoryEvents:
    """How often limits were hit. On v1 only *max* and *oom_kill* are known, for this group alone."""

    low: int | None = None
    high: int | None = None
    max: int | None = None
    oom: int | None = None
    oom_kill: int | None = None
    oom_group_kill: int | None = None
    extra: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class SwapEvents:
    """memory.swap.events."""

    high: int | None = None
    max: int | None = None
    fail: int | None = None
    extra: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class OomControl:
    """v1's memory.oom_control."""

    oom_kill_disable: int | None = None
    under_oom: int | None = None
    oom_kill: int | None = None
    extra: Mapping[str, int] = attrs.field(factory=dict)


_EVENTS_V1 = Flat(cls=MemoryEvents, field={"oom_kill": "oom_kill"}.get, also=("max",))


def _swap_current_v1(both: str, memory: str) -> int:
    return max(int(both) - int(memory), 0)


class KernelMemory(File[int | None, Size]):
    """A limit that newer kernels refuse (5.16) or take and forget (6.6)."""

    def __init__(self) -> None:
        super().__init__("memory.kmem.limit_in_bytes", BYTES)

    def steps(self, controller: Controller, value: Size, option: str) -> list[Step]:
        return [
            KernelMemoryStep(step.controller, step.file, step.text)
            for step in super().steps(controller, value, option)
        ]


class KernelMemoryStep(Step):
    def take(self) -> None:
        self.controller.write(self.file, self.text)
        if BYTES.parse(self.controller.read(self.file)) is None and self.text != "-1":
            raise FeatureError(
                errno.EOPNOTSUPP,
                f"{self.path} took {self.text} and forgot it: Linux refuses a limit on kernel memory "
                f"since 5.16 and ignores it since 6.6 (this is {os.uname().release}); kernel memory "
                "counts in memory.max",
                self.path,
                self.text,
            )


class OomKillDisable(File[bool, bool]):
    """Written by itself, read among other keys."""

    def __init__(self) -> None:
        super().__init__("memory.oom_control", FLAG)

    def read(self, controller: Controller) -> bool:
        text = controller.read(self.files[0])
        return parsed(lambda text: FLAG.parse(_oom_kill_disable(text)), text, controller, self.files[0])

    def steps(self, controller: Controller, value: bool, option: str) -> list[Step]:
        return [OomStep(controller, self.files[0], self.kind.print(value, option))]


class OomStep(Step):
    def before(self) -> list[Step]:
        return [attrs.evolve(self, text=_oom_kill_disable(self.controller.read(self.file)))]


def _oom_kill_disable(text: str) -> str:
    return dict(files.flat_keyed(text))["oom_kill_disable"]


LIMIT_V1 = File("memory.limit_in_bytes", BYTES)
"""The limit alone, for who takes care of memsw himself."""


class LimitBelowMemsw(File[int | None, Size]):
    """v1 keeps memory.limit_in_bytes <= memory.memsw.limit_in_bytes after each single write.

    So a limit that grows above memory plus swap raises that first, by the swap that was allowed.
    """

    def __init__(self) -> None:
        super().__init__(LIMIT_V1.files[0], BYTES)

    def steps(self, controller: Controller, value: Size, option: str) -> list[Step]:
        steps = super().steps(controller, value, option)
        if not controller.has(_MEMSW):
            return steps
        new = units.parse_bytes(value, option)
        both = BYTES.parse(controller.read(_MEMSW))
        if both is None or (new is not None and new <= both):
            return steps
        swap = both - (self.read(controller) or both)
        raised = None if new is None else new + swap
        return File(_MEMSW, BYTES).steps(controller, raised, option) + steps


_MEMSW = "memory.memsw.limit_in_bytes"
_SWAP_V1 = "v1 limits memory and swap together: set memory.memsw_limit, or update(memory_swap=...)"
_NO_KMEM = "v2 counts kernel memory in memory.max; read memory.stat.kernel"
_SOFT = "memory.low protects and memory.high throttles there"
_WATCH = "watch memory.events there"
_ZSWAP = "5.19 (CONFIG_ZSWAP)"


class Memory(Controller, name="memory"):
    """cgroup-v2.rst, "Memory"; cgroup-v1/memory.rst."""

    __slots__ = ()

    max = Setting(
        BYTES,
        v2="memory.max",
        v1=LimitBelowMemsw(),
        doc="Hard limit; above it the OOM killer ends processes inside.",
    )
    high = Setting(
        BYTES,
        v2="memory.high",
        instead="v1 has memory.soft_limit",
        doc="Above it the cgroup is throttled and reclaimed, never killed.",
    )
    low = Setting(BYTES, v2="memory.low", doc="Best-effort protection from reclaim.")
    min = Setting(BYTES, v2="memory.min", doc="Hard protection from reclaim.")
    soft_limit = Setting(
        BYTES,
        v1="memory.soft_limit_in_bytes",
        instead=_SOFT,
        doc="Reclaim target when memory is short; inert in 2026 stable kernels (6.1.176, 6.12.110).",
    )
    current = Reading(
        SIZE,
        v2="memory.current",
        v1="memory.usage_in_bytes",
        doc="Memory in use, page cache and kernel memory included.",
    )
    peak = Reading(
        SIZE,
        v2="memory.peak",
        v1="memory.max_usage_in_bytes",
        since="5.19",
        doc="The most that was in use; see peak_meter() for resetting.",
    )
    swap_max = Setting(BYTES, v2="memory.swap.max", instead=_SWAP_V1, doc="Hard limit on swap.")
    swap_high = Setting(
        BYTES, v2="memory.swap.high", since="5.8", instead=_SWAP_V1, doc="Throttle above it."
    )
    swap_current = Reading(
        SIZE,
        v2="memory.swap.current",
        v1=Joined(
            "memory.memsw.usage_in_bytes",
            "memory.usage_in_bytes",
            make=_swap_current_v1,
            optional=2,
        ),
        doc="Swap in use.",
    )
    swap_peak = Reading(SIZE, v2="memory.swap.peak", since="6.5", doc="The most swap in use.")
    swap_events = Reading(record(SwapEvents), v2="memory.swap.events", doc="Swap limits hit.")
    zswap_current = Reading(
        SIZE, v2="memory.zswap.current", since=_ZSWAP, doc="Compressed bytes in zswap."
    )
    zswap_max = Setting(BYTES, v2="memory.zswap.max", since=_ZSWAP, doc="Limit on zswap.")
    zswap_writeback = Setting(
        FLAG, v2="memory.zswap.writeback", since="6.8", doc="Whether zswap may write to disk."
    )
    oom_group = Setting(
        FLAG,
        v2="memory.oom.group",
        instead="v1 kills one process at a time",
        doc="The OOM killer ends the whole cgroup, not one process.",
    )
    events = Reading(
        record(MemoryEvents),
        v2="memory.events",
        v1=Joined("memory.oom_control", "memory.failcnt", make=_EVENTS_V1, optional=2),
        doc="Limits hit and OOM kills, descendants included (v1: of this group alone).",
    )
    events_local = Reading(
        record(MemoryEvents), v2="memory.events.local", doc="As events, of this cgroup alone."
    )
    stat = Reading(
        MEMORY_STAT,
        v2="memory.stat",
        v1=File("memory.stat", MEMORY_STAT_V1),
        doc="What the memory is used for, descendants included.",
    )
    numa_stat = Reading(
        reading("bytes (v1: pages) each node", node_table),
        v2="memory.numa_stat",
        v1="memory.numa_stat",
        since="5.10 (CONFIG_NUMA)",
        doc="Memory by node.",
    )
    pressure = Reading(PRESSURE, v2="memory.pressure", doc="PSI for memory.")

    memsw_limit = Setting(
        BYTES,
        v1="memory.memsw.limit_in_bytes",
        instead="set memory.swap_max there, which counts swap alone",
        doc="Hard limit on memory plus swap; never below memory.max.",
    )
    memsw_usage = Reading(SIZE, v1="memory.memsw.usage_in_bytes", doc="Memory plus swap in use.")
    memsw_max_usage = Reading(
        SIZE, v1="memory.memsw.max_usage_in_bytes", doc="The most memory plus swap in use."
    )
    memsw_failcnt = Reading(COUNTER, v1="memory.memsw.failcnt", doc="How often memsw_limit was hit.")
    failcnt = Reading(
        COUNTER,
        v1="memory.failcnt",
        instead="read memory.events.max there",
        doc="How often the limit was hit.",
    )
    swappiness = Setting(
        whole("0..200", 0, 200),
        v1="memory.swappiness",
        instead="there is vm.swappiness, and memory.reclaim(swappiness=...)",
        doc="How eagerly to swap (up to 100 before Linux 5.15).",
    )
    oom_control = Reading(
        record(OomControl), v1="memory.oom_control", instead=_WATCH, doc="The OOM killer's state."
    )
    oom_kill_disable = Setting(
        FLAG,
        v1=OomKillDisable(),
        instead="there the OOM killer cannot be turned off; memory.high throttles",
        doc="At the limit tasks wait until there is memory again, instead of one being killed.",
    )
    use_hierarchy = Setting(FLAG, v1="memory.use_hierarchy", doc="Always on since 5.11.")
    move_charge_at_immigrate = Setting(
        whole("bit mask", 0, 3), v1="memory.move_charge_at_immigrate", doc="Gone since 6.13."
    )
    kmem_limit = Setting(
        BYTES,
        v1=KernelMemory(),
        instead=_NO_KMEM,
        doc="Limit on kernel memory; refused since 5.16, without effect since 6.6.",
    )
    kmem_usage = Reading(
        SIZE, v1="memory.kmem.usage_in_bytes", instead=_NO_KMEM, doc="Kernel memory in use."
    )
    kmem_max_usage = Reading(
        SIZE, v1="memory.kmem.max_usage_in_bytes", instead=_NO_KMEM, doc="The most in use."
    )
    kmem_failcnt = Reading(
        COUNTER, v1="memory.kmem.failcnt", instead=_NO_KMEM, doc="How often kmem_limit was hit."
    )
    kmem_slabinfo = Reading(
        TEXT, v1="memory.kmem.slabinfo", instead=_NO_KMEM, doc="Slab table; empty since 5.9."
    )
    kmem_tcp_limit = Setting(
        BYTES,
        v1="memory.kmem.tcp.limit_in_bytes",
        instead=_NO_KMEM,
        doc="Limit on TCP buffers; setting it starts their accounting for good.",
    )
    kmem_tcp_usage = Reading(
        SIZE, v1="memory.kmem.tcp.usage_in_bytes", instead=_NO_KMEM, doc="TCP buffers in use."
    )
    kmem_tcp_max_usage = Reading(
        SIZE, v1="memory.kmem.tcp.max_usage_in_bytes", instead=_NO_KMEM, doc="The most in use."
    )
    kmem_tcp_failcnt = Reading(
        COUNTER, v1="memory.kmem.tcp.failcnt", instead=_NO_KMEM, doc="Times its limit was hit."
    )

    def reclaim(self, size: Size, *, swappiness: int | None = None) -> bool:
        """Ask the kernel to reclaim *size* bytes; False when it fell short (EAGAIN).

        memory.reclaim (5.19; *swappiness* since 6.11). v1 has memory.force_empty instead, see
        :meth:`force_empty`.
        """
        amount = units.parse_bytes(size, "size")
        if amount is None:
            raise InvalidValueError(f"size={size!r} is not valid: give the bytes to reclaim")
        if self.version == 1:
            raise UnsupportedError("cgroup v1 has no memory.reclaim; force_empty() reclaims all")
        text = str(amount)
        if swappiness is not None:
            text += f" swappiness={units.parse_int(swappiness, 'swappiness', 0, 200)}"
        try:
            self.write("memory.reclaim", text)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return False
            raise
        return True

    def force_empty(self) -> None:
        """v1: reclaim as much of this cgroup's memory as possible (memory.force_empty)."""
        if self.version == 2:
            raise UnsupportedError("cgroup v2 has no memory.force_empty; use reclaim(size)")
        self.write("memory.force_empty", "0")

    def peak_meter(self) -> PeakMeter:
        """Start counting the peak anew; see :class:`PeakMeter`."""
        return PeakMeter(self)


class PeakMeter(Closing):
    """The most memory in use since this object was made.

    On v2 the kernel counts for this object alone (memory.peak, 6.12; before that it cannot be
    reset and :class:`UnsupportedError` is raised). On v1 the reset is for every reader.
    Close it, or use it as a context manager.
    """

    def __init__(self, memory: Memory) -> None:
        file = Memory.peak.source(memory).files[0]
        self._path = path = memory.path(file)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError as error:
            if not os.access(path, os.R_OK) or os.stat(path).st_mode & 0o200:
                raise files.refused(error, path, "write", "0") from None
            raise UnsupportedError(f"{path} cannot be reset before Linux 6.12") from None
        except FileNotFoundError:
            memory.read(file)
            raise
        try:
            os.write(self._fd, b"0")
        except OSError as error:
            os.close(self._fd)
            if error.errno == errno.EINVAL:
                raise UnsupportedError(f"{path} cannot be reset before Linux 6.12") from None
            raise files.refused(error, path, "write", "0") from None

    def read(self) -> int:
        """Bytes."""
        try:
            return int(os.pread(self._fd, 64, 0))
        except OSError as error:
            raise files.refused(error, self._path, "read") from None

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
