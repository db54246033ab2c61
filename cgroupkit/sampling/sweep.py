"""Watches read by C, all in one call."""

from __future__ import annotations

import ctypes
import time
from array import array
from collections.abc import Iterable

from cgroupkit.errors import FormatError
from cgroupkit.sampling import quick
from cgroupkit.sampling.quick import Program
from cgroupkit.sampling.watch import Watch
from cgroupkit.stats import HostCpu, Stats

_ITEM = 3
"""How many words sweep.c has of each: its program, its descriptors, its inodes."""
_MANY = 32
"""Cgroups for which it is worth it to start a thread."""


class Sweep:
    """Reads many watches with *threads* threads, the caller's included. One caller at a time.

    Where C cannot, nothing is read.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._slots = ctypes.create_string_buffer(quick.library.slots(threads) if quick.library else 0)
        self._watches: list[Watch] = []
        self._items = array("L")

    def take(self, watches: Iterable[Watch]) -> list[Watch]:
        """Read these from now on, until their descriptors or layouts change; which ones it can."""
        self._watches = [watch for watch in watches if watch.layout.program.address]
        self._items = _items(self._watches)
        return self._watches

    def read(self, host: HostCpu | None, deadline: int = 0) -> list[Stats | None]:
        """Of each watch that was taken, in their order; None where it has to be read with more care.

        Fewer where *deadline*, of time.monotonic_ns(), is over; 0 is none.
        """
        return self._read(self._watches, self._items, host, deadline)

    def read_one(self, watch: Watch, host: HostCpu | None) -> Stats | None:
        """As :meth:`read`, of a watch that was not taken."""
        if not watch.layout.program.address:
            return None
        return self._read([watch], _items([watch]), host, 0)[0]

    def _read(
        self, watches: list[Watch], items: array[int], host: HostCpu | None, deadline: int
    ) -> list[Stats | None]:
        found: list[Stats | None] = []
        programs = _programs(watches)
        while quick.library and len(found) < len(watches):
            for program in programs:
                program.prepare()
            done = len(found)
            at = items.buffer_info()[0] + done * _ITEM * items.itemsize
            left = len(watches) - done
            slots = ctypes.addressof(self._slots)
            threads = self._threads if left >= _MANY else 1
            try:
                quick.library.sweep(at, left, host, found, deadline, slots, threads)
            except FormatError:
                found.append(None)
            if deadline and time.monotonic_ns() >= deadline:
                break
        return found


def _items(watches: list[Watch]) -> array[int]:
    words = (
        (watch.layout.program.address, watch.fds.buffer_info()[0], id(watch.inodes))
        for watch in watches
    )
    return array("L", [word for item in words for word in item])


def _programs(watches: list[Watch]) -> set[Program]:
    return {watch.layout.program for watch in watches}
