"""One tree of errors; each is also the standard-library kind that a caller would catch."""

from __future__ import annotations

import errno as _errno
import os
from typing import Any

EXHAUSTED = (_errno.EMFILE, _errno.ENFILE)
"""No descriptor is left: of this process, or of the machine."""


class CgroupKitError(Exception):
    """The root of all errors that cgroupkit raises on purpose."""


class InvalidValueError(CgroupKitError, ValueError):
    """A value that cannot be meant: the message names the option, the value and what is accepted."""


class UnsupportedError(CgroupKitError, NotImplementedError):
    """This kernel, this mount or this cgroup version does not have what was asked for."""


class FormatError(CgroupKitError, ValueError):
    """An interface file holds text that does not have the documented form."""


class DelegationError(CgroupKitError, PermissionError):
    """There is no place where this user may create cgroups; the message says how to get one."""


class FreezeTimeoutError(CgroupKitError, TimeoutError):
    """The kernel did not report the cgroup frozen in time; the freeze has been taken back."""


class KillTimeoutError(CgroupKitError, TimeoutError):
    """Processes outlived SIGKILL for the time given (uninterruptible sleep in the kernel)."""


class LaunchError(CgroupKitError, OSError):
    """The box could not be set up or the program not run; ``errno`` and the message say why."""

    def __str__(self) -> str:
        return str(self.strerror)


class ProgramNotFoundError(LaunchError, FileNotFoundError):
    """There is no such program (ENOENT)."""


class ProgramAccessError(LaunchError, PermissionError):
    """The program may not be executed (EACCES)."""


class FileError(CgroupKitError, OSError):
    """The kernel refused an operation on one interface file or cgroup directory.

    ``errno``, ``filename`` and ``value`` (what was to be written, or None) are kept apart from the
    message for programs.
    """

    def __init__(
        self, errno: int, message: str, filename: str | None = None, value: str | None = None
    ) -> None:
        super().__init__(errno, message, filename)
        self.value = value

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errno, self.strerror, self.filename, self.value)


class NotFoundError(FileError, FileNotFoundError):
    """The cgroup does not exist, or was removed while it was in use (ENOENT, ENODEV)."""


class ExistsError(FileError, FileExistsError):
    """A cgroup of that name exists already (EEXIST)."""


class AccessError(FileError, PermissionError):
    """No permission for that file or directory (EACCES, EPERM)."""


class ReadOnlyError(FileError):
    """The cgroup file system is mounted read-only (EROFS)."""


class BusyError(FileError):
    """The cgroup is in a state that forbids the operation (EBUSY)."""


class ProcessGoneError(FileError, ProcessLookupError):
    """There is no such process any more (ESRCH)."""


class RejectedError(FileError, ValueError):
    """The kernel refused the value itself (EINVAL, ERANGE, ENOSPC, ...)."""


class FeatureError(FileError, UnsupportedError):
    """The kernel has the file but not, or not here, the feature behind it (EOPNOTSUPP)."""


class TopologyError(BusyError):
    """v2's no-internal-processes rule: processes and controllers for children exclude each other."""


_KINDS: dict[int, type[FileError]] = {
    _errno.ENOENT: NotFoundError,
    _errno.ENODEV: NotFoundError,
    _errno.EEXIST: ExistsError,
    _errno.EACCES: AccessError,
    _errno.EPERM: AccessError,
    _errno.EROFS: ReadOnlyError,
    _errno.EBUSY: BusyError,
    _errno.ESRCH: ProcessGoneError,
    _errno.EINVAL: RejectedError,
    _errno.ERANGE: RejectedError,
    _errno.ENOSPC: RejectedError,
    _errno.E2BIG: RejectedError,
    _errno.EOPNOTSUPP: FeatureError,
}


def errno_name(errno: int) -> str:
    """``EBUSY (Device or resource busy)``."""
    return f"{_errno.errorcode.get(errno, errno)} ({os.strerror(errno)})"


def file_error(errno: int, message: str, filename: str, value: str | None = None) -> FileError:
    """The error of our tree that fits *errno*."""
    return _KINDS.get(errno, FileError)(errno, message, filename, value)
