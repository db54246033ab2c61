"""What the parts of a watch have in common: descriptors to poll, and a look at what they mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import ClassVar

from cgroupkit import files
from cgroupkit.errors import EXHAUSTED, FileError, file_error
from cgroupkit.events.kinds import Event
from cgroupkit.tree import Branch

Look = Iterator[Event | None]
"""What is found; None is where the look may be left, to be taken up later or never."""

_PAGE = 1 << 12


class Source:
    """One thing that is looked at when one of its descriptors says so, and from time to time."""

    always: ClassVar[bool] = False
    """Whether to look on every wakeup: its descriptor may not say so twice."""

    def __init__(self) -> None:
        self.told = False
        """Whether the kernel tells all that there is: no need to look unasked."""
        self.lingers = False
        """Whether there may be more to tell although the cgroup is gone."""
        self.masks: dict[int, int] = {}
        """Descriptor -> what to poll it for."""
        self.changed = True
        """Whether what is to be polled has changed."""
        self.again: float | None = None
        """time.monotonic() of the next look, where one is due before the usual interval."""
        self._owned: set[int] = set()
        self._dropped: list[int] = []

    def own(self, fd: int, mask: int = 0) -> int:
        """Close *fd* with the source; poll it for *mask*."""
        self._owned.add(fd)
        if mask:
            self.masks[fd] = mask
            self.changed = True
        return fd

    def drop(self, fd: int) -> None:
        """Poll *fd* no more; :meth:`sweep` closes it."""
        self._owned.discard(fd)
        self._dropped.append(fd)
        self.masks.pop(fd, None)
        self.changed = True

    def look(self) -> Look:
        """What has happened since the last look; :class:`NotFoundError` when there is no more."""
        raise NotImplementedError

    def last(self) -> Iterable[Event]:
        """What is to be said about a cgroup that is gone."""
        return ()

    def sweep(self) -> None:
        dropped, self._dropped = self._dropped, []
        for fd in dropped:
            with suppress(OSError):
                os.close(fd)

    def close(self) -> None:
        self._dropped += self._owned
        self._owned = set()
        self.masks.clear()
        self.sweep()


def open_file(path: str, flags: int = os.O_RDONLY) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise explained(error, path, "read" if flags == os.O_RDONLY else "open") from None


def explained(error: OSError, path: str, verb: str) -> FileError:
    if error.errno not in EXHAUSTED:
        return files.refused(error, path, verb)
    return file_error(
        error.errno,
        f"cannot {verb} {path}: EMFILE (too many open files): a watch keeps one open for each cgroup "
        "and kind of event; raise RLIMIT_NOFILE (`ulimit -n`), or ask for fewer kinds",
        path,
    )


def read_again(fd: int, path: str) -> str:
    """The text now; reading is also what makes poll(2) wait for the next change."""
    try:
        return os.pread(fd, _PAGE, 0).decode("ascii", "replace")
    except OSError as error:
        raise files.refused(error, path, "read") from None


class Presence:
    """Whether the directories of the beginning are still there, not just others of their names.

    The kernel tells nobody that a cgroup was removed: neither poll(2) nor inotify wakes up.
    """

    def __init__(self, branches: Iterable[Branch]) -> None:
        self._known = {b.directory: _identity(b.directory) for b in branches}

    @property
    def gone(self) -> bool:
        """Whether all are; never for the whole machine, which has none."""
        if not self._known:
            return False
        return not any(known and _identity(path) == known for path, known in self._known.items())


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
