"""Run commands inside limits and namespaces, and end them for certain."""

from cgroupkit.sandbox.box import Sandbox
from cgroupkit.sandbox.outcome import Done, RunError, Verdict

__all__ = ["Done", "RunError", "Sandbox", "Verdict"]
