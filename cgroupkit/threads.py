"""Starting threads where there may be no room for one."""

from __future__ import annotations

import errno
import threading

from cgroupkit.errors import FileError


def start(thread: threading.Thread) -> None:
    """Start *thread*. Raises :class:`FileError` with EAGAIN where the kernel refuses another one."""
    try:
        thread.start()
    except RuntimeError:
        if thread.ident is not None:
            raise
        raise FileError(
            errno.EAGAIN,
            "cannot start a thread: EAGAIN (Resource temporarily unavailable): raise pids.max of this "
            "cgroup (TasksMax= of a unit) or RLIMIT_NPROC (ulimit -u)",
        ) from None
