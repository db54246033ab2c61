"""The Linux kernel's resource control: cgroups v1 and v2, typed, and a sandbox launcher."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgroupkit.cgroup import Cgroup
    from cgroupkit.hierarchy import host
    from cgroupkit.resources import Resources
    from cgroupkit.sampling import Sampler
    from cgroupkit.sandbox import Done, RunError, Sandbox, Verdict
    from cgroupkit.stats import Stats

__all__ = ["Cgroup", "Done", "Resources", "RunError", "Sampler", "Sandbox", "Stats", "Verdict", "host"]

_HOMES = {
    "Cgroup": "cgroupkit.cgroup",
    "Done": "cgroupkit.sandbox",
    "Resources": "cgroupkit.resources",
    "RunError": "cgroupkit.sandbox",
    "Sampler": "cgroupkit.sampling",
    "Sandbox": "cgroupkit.sandbox",
    "Stats": "cgroupkit.stats",
    "Verdict": "cgroupkit.sandbox",
    "host": "cgroupkit.hierarchy",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: a program pays for the parts that it needs."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
