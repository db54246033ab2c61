"""Which disk is meant: "8:0", a path in /dev, or the mount point of what lies on it."""

from __future__ import annotations

import os
import re
import stat
import warnings
from typing import Final

import attrs

from cgroupkit.units import invalid

_NUMBER: Final = re.compile(r"(\d{1,4}):(\d{1,7})", re.ASCII)
_SYS: Final = "/sys/dev/block"


class PartitionWarning(UserWarning):
    """A partition was named where the kernel controls whole disks: its disk is taken."""


@attrs.frozen
class Disk:
    """One disk, as the kernel's I/O controllers know it."""

    number: str
    """``MAJOR:MINOR``."""
    name: str
    """As in /sys/block: ``sda``."""
    partition: str | None = None
    """The name of the partition that was asked for."""


def disk_of(value: object, option: str = "device") -> Disk:
    """The disk that *value* is or lies on: "8:0", "/dev/sda", a partition of it, or a mount point.

    The kernel's I/O controllers know whole disks only (block/blk-cgroup.c, blkg_conf_open_bdev), so
    a partition stands for its disk. Raises :class:`InvalidValueError` where there is no such disk.
    """
    number = _number(value, option)
    here = os.path.realpath(f"{_SYS}/{number}")
    if not os.path.isdir(here):
        raise invalid(option, value, f"there is no such disk here; there {_present()}")
    name = os.path.basename(here)
    if not os.path.exists(f"{here}/partition"):
        return Disk(number, name)
    whole = os.path.dirname(here)
    with open(f"{whole}/dev", encoding="ascii") as file:
        return Disk(file.read().strip(), os.path.basename(whole), partition=name)


def parse_number(value: object, option: str) -> str:
    """``MAJOR:MINOR`` of the disk; a number that this machine does not have is taken as it is.

    Warns with :class:`PartitionWarning` where a partition was named by itself.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = _number(value, option)
        if not os.path.isdir(f"{_SYS}/{number}"):
            return number
    disk = disk_of(value, option)
    if disk.partition and not os.path.ismount(str(value)):
        warnings.warn(
            f"{option}: {value} is a partition, and the kernel controls whole disks: "
            f"this is for all of {disk.name} ({disk.number})",
            PartitionWarning,
            stacklevel=2,
        )
    return disk.number


def name_of(number: str) -> str | None:
    """The disk's name as in /dev: "8:0" is ``sda``; None where this machine does not have it."""
    try:
        return os.path.basename(os.readlink(f"{_SYS}/{number}")).replace("!", "/")
    except OSError:
        return None


def scheduler(number: str) -> str:
    """The name of the disk's I/O scheduler; empty where it has none, or is unknown."""
    try:
        with open(f"{_SYS}/{number}/queue/scheduler", encoding="ascii") as file:
            return file.read().partition("[")[2].partition("]")[0]
    except OSError:
        return ""


def _number(value: object, option: str) -> str:
    accepted = 'give a disk as "MAJOR:MINOR", as a path such as "/dev/sda", or a mount point'
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise invalid(option, value, accepted)
    text = value.strip()
    match = _NUMBER.fullmatch(text)
    if match is not None:
        return f"{int(match[1])}:{int(match[2])}"
    if not text.startswith("/"):
        raise invalid(option, value, accepted)
    try:
        status = os.stat(text)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise invalid(option, value, f"{why}; disks there {_present()}") from None
    if stat.S_ISBLK(status.st_mode):
        return _text(status.st_rdev)
    if not os.path.ismount(text):
        raise invalid(option, value, f"it is neither a block device nor a mount point; {accepted}")
    if os.major(status.st_dev):
        return _text(status.st_dev)
    source = _source(text)  # btrfs and others have numbers of their own
    if source and os.path.exists(source) and stat.S_ISBLK(os.stat(source).st_mode):
        return _text(os.stat(source).st_rdev)
    raise invalid(option, value, f"no single disk is behind that mount ({source}); name the disk")


def _text(number: int) -> str:
    return f"{os.major(number)}:{os.minor(number)}"


def _source(mount: str) -> str | None:
    import psutil  # noqa: PLC0415

    found = {part.mountpoint: part.device for part in psutil.disk_partitions(all=True)}
    return found.get(os.path.normpath(mount))


def _present() -> str:
    """``are 8:0 (sda) and 8:16 (sdb)``: those that can do I/O."""
    found = []
    try:
        for name in sorted(os.listdir("/sys/block")):
            with open(f"/sys/block/{name}/size", encoding="ascii") as size:
                if int(size.read()) == 0:
                    continue
            with open(f"/sys/block/{name}/dev", encoding="ascii") as file:
                found.append(f"{file.read().strip()} ({name})")
    except (OSError, ValueError):
        pass
    return "are " + ", ".join(found) if found else "are none"
