"""v1's notifications: an eventfd registered in cgroup.event_control (cgroup-v1/memcg_test.rst)."""

from __future__ import annotations

import os
import select

from cgroupkit import files
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import RejectedError, UnsupportedError
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.sources import Look, Source, explained, open_file, read_again
from cgroupkit.units import Size, format_bytes, invalid, parse_bytes

LEVELS = ("low", "medium", "critical")
_SCOPES = ("", "local", "hierarchy")


def listen(directory: str, file: str, argument: str = "") -> int:
    """An eventfd, not blocking, that the kernel signals about *file*."""
    control = f"{directory}/cgroup.event_control"
    watched = open_file(f"{directory}/{file}")
    try:
        try:
            wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError as error:
            raise explained(error, control, "watch") from None
        try:
            files.write(control, f"{wake} {watched} {argument}".rstrip())
        except BaseException as error:
            os.close(wake)
            if isinstance(error, RejectedError):
                read_again(watched, f"{directory}/{file}")  # says so if the cgroup was just removed
            raise
    finally:
        os.close(watched)
    return wake


def signals(wake: int) -> int:
    """How many times it was signalled since it was asked last."""
    try:
        return os.eventfd_read(wake)
    except BlockingIOError:
        return 0


class Signal(Source):
    """An event each time that an eventfd is signalled."""

    def __init__(self, cgroup: Cgroup, kind: EventKind, file: str, argument: str, detail: str) -> None:
        super().__init__()
        self._cgroup = cgroup
        self._kind = kind
        self._detail = detail
        self.told = True
        # Kept open, to tell a signal from the one that the kernel sends on removal.
        self._path = f"{cgroup.path('memory')}/{file}"
        self._wake = self.own(listen(cgroup.path("memory"), file, argument), select.EPOLLIN)

    def look(self) -> Look:
        count = signals(self._wake)
        if count and os.path.exists(self._path):
            yield Event(kind=self._kind, cgroup=self._cgroup, count=count, detail=self._detail)


def usage(cgroup: Cgroup, threshold: Size) -> Signal:
    size = parse_bytes(threshold, "threshold")
    if size is None:
        raise invalid("threshold", threshold, "give the bytes at which to be told")
    _refuse_v2(cgroup, "usage thresholds", "watch(cgroup, 'memory_high') or pressure()")
    kind = EventKind.MEMORY_USAGE
    return Signal(cgroup, kind, "memory.usage_in_bytes", str(size), format_bytes(size))


def level(cgroup: Cgroup, level: str, scope: str) -> Signal:
    if level not in LEVELS:
        raise invalid("level", level, f"give one of {', '.join(LEVELS)}")
    if scope not in _SCOPES:
        raise invalid("scope", scope, "give local, hierarchy, or nothing for the kernel's default")
    _refuse_v2(cgroup, "memory.pressure_level", "pressure(cgroup, 'memory', some='150ms/2s')")
    argument = f"{level},{scope}" if scope else level
    return Signal(cgroup, EventKind.MEMORY_LEVEL, "memory.pressure_level", argument, argument)


def _refuse_v2(cgroup: Cgroup, what: str, instead: str) -> None:
    branch = cgroup.branch("memory")
    if branch.version == 2:
        raise UnsupportedError(f"v2 has no {what}; use {instead}")
    if not os.path.exists(f"{branch.directory}/cgroup.event_control"):
        raise UnsupportedError(
            f"{branch.directory}/cgroup.event_control does not exist: this kernel was built without "
            "v1's memory notifications (real-time kernels have none)"
        )
