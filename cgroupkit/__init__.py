"""The Linux kernel's resource control: cgroups v1 and v2, typed, and a sandbox launcher."""

from cgroupkit.cgroup import Cgroup
from cgroupkit.hierarchy import host
from cgroupkit.resources import Resources
from cgroupkit.sandbox import Done, RunError, Sandbox, Verdict
from cgroupkit.stats import Stats

__all__ = ["Cgroup", "Done", "Resources", "RunError", "Sandbox", "Stats", "Verdict", "host"]
