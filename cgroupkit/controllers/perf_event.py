"""perf_event: a cgroup as the target of perf_event_open(2). It has no files, on v1 nor v2."""

from __future__ import annotations

import os

from cgroupkit import files
from cgroupkit.controllers.base import Controller


class PerfEvent(Controller, name="perf_event"):
    """perf_event_open(2), PERF_FLAG_PID_CGROUP: count the events of all tasks in a cgroup."""

    __slots__ = ()

    def open(self) -> int:
        """A descriptor of the cgroup, to be given as *pid* with PERF_FLAG_PID_CGROUP; close it."""
        try:
            return os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise files.refused(error, self.directory, "open") from None
