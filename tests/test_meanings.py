"""What an errno means on a file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from cgroupkit import meanings


@pytest.mark.parametrize(
    ("number", "path", "verb", "words"),
    [
        (errno.EBUSY, "/x/memory.limit_in_bytes", "write", "cannot be reclaimed"),
        (errno.EINVAL, "/x/memory.memsw.limit_in_bytes", "write", "at every moment"),
        (errno.EINVAL, "/x/cpu.cfs_quota_us", "write", "quota"),
        (errno.EBUSY, "/x/cgroup.subtree_control", "write", "vacate()"),
        (errno.EBUSY, "/x/cgroup.procs", "write", "vacate()"),
        (errno.ENOSPC, "/x/cgroup.procs", "write", "cpuset.mems"),
        (errno.ESRCH, "/x/cgroup.procs", "write", "no such process"),
        (errno.EROFS, "/x/anything", "write", "read-only"),
        (errno.EACCES, "/x/anything", "write", "run as root"),
        (errno.EPERM, "/x/anything", "read", "delegated to you"),
        (errno.ENODEV, "/x/anything", "read", "removed while it was in use"),
        (errno.EEXIST, "/x", "create", "Cgroup(path)"),
        (errno.EAGAIN, "/x", "create", "cgroup.max.descendants"),
        (errno.EBUSY, "/x", "remove", "recursive=True"),
        (errno.EIO, "/x/anything", "write", ""),
    ],
)
def test_it_says_what_to_do(number: int, path: str, verb: str, words: str) -> None:
    meaning = meanings.of(number, path, verb)
    assert words in meaning
    assert bool(words) == bool(meaning)


def test_a_files_own_meaning_is_for_writing() -> None:
    path = "/x/memory.limit_in_bytes"
    assert meanings.of(errno.EINVAL, path, "write") != meanings.of(errno.EINVAL, path, "read")


def test_a_missing_file_and_a_missing_cgroup_differ(tmp_path: Path) -> None:
    there = meanings.of(errno.ENOENT, f"{tmp_path}/memory.max", "write")
    gone = meanings.of(errno.ENOENT, f"{tmp_path}/gone/memory.max", "write")
    assert "does not have the file" in there
    assert "removed" in gone
    assert "removed" in meanings.of(errno.ENOENT, f"{tmp_path}/gone", "remove")
