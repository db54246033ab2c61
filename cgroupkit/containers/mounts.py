"""What the files that an engine mounts into a container tell of the engine's own directories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import attrs


@attrs.frozen
class Mount:
    """A line of mountinfo (proc_pid_mountinfo(5))."""

    device: str
    root: str
    """What of the file system is mounted: a path in it."""
    at: str
    options: tuple[str, ...]
    """The file system's own."""


def mounts_of(pid: int | str) -> Iterator[Mount]:
    """The mounts that *pid* sees; none where that cannot be read."""
    try:
        with open(f"/proc/{pid}/mountinfo", "rb") as file:
            text = file.read().decode("utf-8", "surrogateescape")
    except OSError:
        return
    for line in text.split("\n"):
        before, dash, after = line.partition(" - ")
        fields, last = before.split(" "), after.split(" ")
        if dash and len(fields) > 5 and len(last) > 2:
            root, at, options = map(_unescape, (fields[3], fields[4], last[2]))
            yield Mount(fields[2], root, at, tuple(options.split(",")))


@lru_cache(maxsize=256)
def here(device: str, path: str) -> str | None:
    """Where we see *path* of the file system on *device*; kept, for machines with many mounts."""
    longest: tuple[int, str] | None = None
    for mount in mounts_of("self"):
        top = mount.root.rstrip("/")
        if mount.device == device and f"{path}/".startswith(f"{top}/"):
            longest = max(longest or (-1, ""), (len(top), mount.at.rstrip("/") + path[len(top) :]))
    return longest[1] if longest else None


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field)
