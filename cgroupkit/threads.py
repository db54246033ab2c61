"""Threads where there may be no room for one, and locks that outlive a fork."""

from __future__ import annotations

import errno
import os
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


class Lock:
    """A lock that is free in a fork: who held it then may be a thread that is not there any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def acquire(self, timeout: float = -1) -> bool:
        """Whether it was had within *timeout* seconds; -1 waits for as long as it takes."""
        if self._pid != os.getpid():
            self._lock, self._pid = threading.Lock(), os.getpid()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
