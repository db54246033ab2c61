"""Threads where there may be no room for one, and locks that outlive a fork."""

from __future__ import annotations

import errno
import threading
from typing import Any

import pytest

from cgroupkit import threads
from cgroupkit.errors import FileError


def test_it_runs() -> None:
    ran = threading.Event()
    thread = threading.Thread(target=ran.set)
    threads.start(thread)
    thread.join()
    assert ran.is_set()
    with pytest.raises(RuntimeError, match="once"):
        threads.start(thread)


def test_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(FileError, match=r"EAGAIN .*raise pids\.max .*or RLIMIT_NPROC") as caught:
        threads.start(threading.Thread())
    assert caught.value.errno == errno.EAGAIN


def test_a_lock_that_was_held_at_the_fork_is_free(in_child: Any) -> None:
    lock = threads.Lock()
    with lock:
        assert not lock.acquire(timeout=0)
        assert in_child(lambda: lock.acquire(timeout=0)) is True
        assert not lock.acquire(timeout=0)
    assert lock.acquire(timeout=0)
