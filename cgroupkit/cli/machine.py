"""The machine that the cgroups share."""

from __future__ import annotations

import os

import attrs


def memory() -> int | None:
    """Its bytes of memory."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return int(file.readline().split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None


def cpus() -> int:
    """How many CPUs are online."""
    return os.cpu_count() or 1


@attrs.frozen(kw_only=True)
class Load:
    """How busy it is at one moment."""

    cpu_cores: float
    """CPUs in use since the last reading."""
    memory_used: int
    memory_total: int
    swap_used: int
    swap_total: int


class Machine:
    """Reads it again and again, in whichever thread: psutil.cpu_percent() counts for each by itself."""

    def __init__(self) -> None:
        self._busy, self._whole = _seconds()

    def load(self) -> Load:
        """Now; *cpu_cores* since the last call."""
        import psutil  # noqa: PLC0415

        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        busy, whole = _seconds()
        share = (busy - self._busy) / (whole - self._whole) if whole > self._whole else 0.0
        self._busy, self._whole = busy, whole
        return Load(
            cpu_cores=min(max(share, 0.0), 1.0) * cpus(),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            swap_used=swap.used,
            swap_total=swap.total,
        )


def _seconds() -> tuple[float, float]:
    """What all CPUs have worked, and what they have worked and idled."""
    import psutil  # noqa: PLC0415

    times = psutil.cpu_times()
    whole = sum(times) - times.guest - times.guest_nice  # part of user and nice
    return whole - times.idle - times.iowait, whole
