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


def load() -> Load:
    """Read it now; the first one's *cpu_cores* means nothing."""
    import psutil  # noqa: PLC0415

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return Load(
        cpu_cores=psutil.cpu_percent() * cpus() / 100,
        memory_used=memory.total - memory.available,
        memory_total=memory.total,
        swap_used=swap.used,
        swap_total=swap.total,
    )
