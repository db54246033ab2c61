"""The file of a recording: JSON objects, one a line, a header first."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cgroupkit.closing import Closing
from cgroupkit.errors import InvalidValueError

VERSION = 1
FORMAT = "cgroupkit recording"
_encode = json.JSONEncoder(default=str).encode
_BEGINNING = f'{{"format": "{FORMAT}"'.encode()

Path = str | os.PathLike[str]


class Lines(Closing):
    """A new recording's file: what is written is in it at once, and never half a line."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`InvalidValueError` where *path* cannot be written or holds something else."""
        self._path = os.fspath(path)
        self._fd = _opened(self._path)
        self._size = 0

    def header(self, about: Mapping[str, Any]) -> None:
        """Overwrite what is there. Raises :class:`InvalidValueError` where that cannot be."""
        try:
            os.ftruncate(self._fd, 0)
            self.write({"format": FORMAT, "version": VERSION, **about})
        except OSError as error:
            raise InvalidValueError(f"{self._path}: cannot write it: {error.strerror}") from None

    def write(self, line: Mapping[str, Any]) -> None:
        """Raises OSError if the disk is full, say; then the file ends with the line before."""
        rest = data = _encode(line).encode() + b"\n"
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
                os.lseek(self._fd, self._size, os.SEEK_SET)
            raise
        self._size += len(data)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _lock(fd: int, path: str) -> None:
    """Until it is closed: two recordings in one file would destroy each other."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InvalidValueError(f"{path} is being recorded right now: name another file") from None
    except OSError:
        return  # not every file system knows locks


def _opened(path: str) -> int:
    """For writing; nothing is changed yet. Only a recording, or what is empty, is overwritten."""
    try:
        # A FIFO would be waited for, and a device might do anything.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise InvalidValueError(f"{path}: cannot write it: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidValueError(f"{path} is not a regular file: name a new one")
        _lock(fd, path)
        start = os.pread(fd, len(_BEGINNING), 0)
        if start not in (b"", _BEGINNING):
            raise InvalidValueError(
                f"{path} is not overwritten: it exists and is not a recording; name another file, or "
                "remove this one first"
            )
    except BaseException:
        os.close(fd)
        raise
    return fd
