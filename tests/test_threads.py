"""Starting threads where there may be no room for one."""

from __future__ import annotations

import errno
import threading

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
