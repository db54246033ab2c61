"""Read and write one interface file, and parse the text formats that the kernel documents.

Documentation/admin-guide/cgroup-v2.rst, "Format": single value, newline separated, space
separated, flat keyed and nested keyed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from cgroupkit import meanings
from cgroupkit.errors import FileError, errno_name, file_error

_CHUNK = 1 << 16


def read(path: str) -> str:
    """The whole text of one interface file. Raises the fitting :class:`FileError`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(fd, _CHUNK)
            if data:
                while more := os.read(fd, _CHUNK):
                    data += more
        finally:
            os.close(fd)
    except OSError as error:
        raise refused(error, path, "read") from None
    return data.decode("utf-8", "surrogateescape")


def write(path: str, text: str) -> None:
    """Write *text* with one write(2). Raises the fitting :class:`FileError`."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode("utf-8", "surrogateescape"))
        finally:
            os.close(fd)
    except OSError as error:
        raise refused(error, path, "write", text) from None


def refused(error: OSError, path: str, verb: str, value: str | None = None) -> FileError:
    """Our error for *error*: what was tried, on which file, with which value, and what it means."""
    errno = error.errno or 0
    what = f"cannot {verb} {path}" if value is None else f"cannot write {value!r} to {path}"
    meaning = meanings.of(errno, path, verb)
    message = f"{what}: {errno_name(errno)}" + (f": {meaning}" if meaning else "")
    return file_error(errno, message, path, value)


def flat_keyed(text: str) -> Iterator[tuple[str, str]]:
    """``key value`` lines; a line without a value is passed over."""
    for line in text.splitlines():
        key, blank, value = line.partition(" ")
        if blank:
            yield key, value


def nested_keyed(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """``key sub=value sub=value`` lines; a key may have no pairs at all (io.stat).

    Kernels 5.15 to 5.17 print such a key without a newline, so a key may stand anywhere in a line.
    """
    for line in text.splitlines():
        key, pairs = "", dict[str, str]()
        for word in line.split():
            name, equals, value = word.partition("=")
            if equals:
                pairs[name] = value
                continue
            if key:
                yield key, pairs
            key, pairs = word, {}
        if key:
            yield key, pairs
