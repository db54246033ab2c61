"""How Resources come about: the writes, in an order that is legal, all of them or none."""

from __future__ import annotations

import errno
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

from cgroupkit import files, orders
from cgroupkit.controllers import Memory, Step, peek
from cgroupkit.errors import BusyError, CgroupKitError, FileError, file_error
from cgroupkit.resources import Resources
from cgroupkit.units import format_bytes

if TYPE_CHECKING:
    from cgroupkit.cgroup import Cgroup


def apply(cgroup: Cgroup, wanted: Resources, *, check: bool | None = None, fresh: bool = False) -> None:
    """Write *wanted*, all of it or nothing. A *fresh* cgroup is not undone: it will be removed."""
    if check is None:
        check = wanted.memory_check_before_update is not False
    with nullcontext() if fresh else _one_at_a_time:
        _apply(cgroup, wanted, check=check, fresh=fresh)


_one_at_a_time = threading.Lock()
"""What is planned depends on what is there, so updates of this process do not overlap."""


def _apply(cgroup: Cgroup, wanted: Resources, *, check: bool, fresh: bool) -> None:
    steps = list(orders.writes(cgroup, wanted))
    if check and not fresh:
        _check_in_use(cgroup, wanted)
    done: list[list[Step]] = []
    try:
        for step in steps:
            before = [] if fresh else step.before()
            if step in before:
                continue
            step.take()
            done.append(before)
    except CgroupKitError as error:
        raise _told(error, _undo(done)) from None
    except BaseException:  # KeyboardInterrupt
        _undo(done)
        raise


def _undo(done: list[list[Step]]) -> str:
    """Put back what was there, last first; what became of it, for the message."""
    undone = "; nothing was changed"
    for steps in reversed(done):
        for step in steps:
            try:
                step.take()
            except CgroupKitError as error:
                undone = f"; and an earlier change could not be undone: {error}"
    return undone


def _told(error: CgroupKitError, undone: str) -> CgroupKitError:
    """The same error, saying what became of the other changes and, if it matters, what is in use."""
    if not isinstance(error, FileError):
        return error
    usage = ""
    if error.errno == errno.EBUSY and (error.filename or "").endswith(".limit_in_bytes"):
        file = str(error.filename).replace("limit_in_bytes", "usage_in_bytes")
        usage = f" (in use: {format_bytes(int(files.read(file)))})"
    return file_error(error.errno or 0, f"{error}{usage}{undone}", error.filename, error.value)


def _check_in_use(cgroup: Cgroup, wanted: Resources) -> None:
    """v2 takes any limit at once and kills until it holds; v1 refuses by itself (EBUSY)."""
    limit = wanted.memory
    if not isinstance(limit, int) or cgroup.memory.version == 1:
        return
    memory = cgroup.memory
    in_use = memory.current
    if in_use <= limit:
        return
    stat = memory.stat
    cache = (stat.active_file or 0) + (stat.inactive_file or 0)
    swap = _room_in_swap(memory, wanted)
    if in_use - cache - swap > limit:
        raise BusyError(
            errno.EBUSY,
            f"memory={limit} is below what {memory.directory} has in use: {format_bytes(in_use)}, of "
            f"which {format_bytes(cache)} is page cache that could be dropped, with room for "
            f"{format_bytes(swap)} in swap. The kernel would kill processes at once. Nothing was "
            "changed; pass check=False to do it all the same",
            memory.path("memory.max"),
            str(limit),
        )


def _room_in_swap(memory: Memory, wanted: Resources) -> int:
    """What could still be swapped out: as far as the cgroup may, and the machine can."""
    free = host_swap_free()
    allowed = peek(memory, Memory.swap_max)
    if isinstance(wanted.memory_swap, int) and isinstance(wanted.memory, int):
        allowed = wanted.memory_swap - wanted.memory
    if allowed is None:
        return free
    return min(free, max(allowed - (peek(memory, Memory.swap_current) or 0), 0))


def host_swap_free() -> int:
    """Bytes of unused swap, from /proc/meminfo."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("SwapFree"))
    except (OSError, StopIteration):
        return 0
