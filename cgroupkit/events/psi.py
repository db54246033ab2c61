"""Triggers on pressure stall information (Documentation/accounting/psi.rst)."""

from __future__ import annotations

import errno
import os
import re
import select
from decimal import Decimal
from typing import Literal

from cgroupkit import files, members
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import FeatureError, FileError, NotFoundError, UnsupportedError, file_error
from cgroupkit.events.kinds import Event, EventKind
from cgroupkit.events.sources import Look, Source, open_file
from cgroupkit.tree import Branch
from cgroupkit.units import invalid

Resource = Literal["cpu", "memory", "io", "irq"]
RESOURCES = ("cpu", "memory", "io", "irq")
_LONGEST = 10_000_000
_COARSE = 2_000_000
_SHORTEST = 500_000
_CAP_SYS_RESOURCE = 24
_TIME = r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*(us|ms|s)\s*"
_TRIGGER = re.compile(f"{_TIME}/{_TIME}", re.ASCII)
_US = {"us": 1, "ms": 1000, "s": 1_000_000}
_ENABLE = "boot with psi=1 (the kernel has to be built with CONFIG_PSI)"


def parse_trigger(text: str, option: str) -> tuple[int, int]:
    """Stall and window in microseconds, of text such as ``150ms/1s`` (units us, ms, s)."""
    accepted = (
        'give the stall time and the window in which it adds up, such as "150ms/2s" (units us, ms, s): '
        "0 < stall <= window <= 10s"
    )
    match = _TRIGGER.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise invalid(option, text, accepted)
    stall, window = Decimal(match[1]) * _US[match[2]], Decimal(match[3]) * _US[match[4]]
    if stall % 1 or window % 1 or not 0 < stall <= window <= _LONGEST:
        raise invalid(option, text, accepted)
    return int(stall), int(window)


class Trigger(Source):
    """One trigger; *option* is ``some`` or ``full``.

    poll(2) takes a trigger's event away, also a poll of an epoll that the trigger is in. So there
    are two: one to wake up by, which may be polled by anybody, and one that only :meth:`look` asks.
    """

    always = True

    def __init__(self, cgroup: Cgroup | None, resource: str, option: str, text: str) -> None:
        super().__init__()
        stall, window = parse_trigger(text, option)
        if resource not in RESOURCES:
            raise invalid("resource", resource, f"give one of {', '.join(RESOURCES)}")
        if resource == "irq" and option == "some":
            raise invalid(option, text, "interrupts have only full pressure; give full=...")
        self._cgroup = cgroup
        self._detail = f"{resource} {option} {text}"
        self._path = _path(branch_of(cgroup), resource)
        try:
            # The kernel asks the younger one first: when it wakes us, the other has its event.
            self.own(self._arm(option, text, stall, window), select.EPOLLPRI | select.EPOLLERR)
            asked = self.own(self._arm(option, text, stall, window))
        except BaseException:
            self.close()
            raise
        self._poll = select.poll()
        self._poll.register(asked, select.POLLPRI)

    def _arm(self, option: str, text: str, stall: int, window: int) -> int:
        fd = _open(self._path)
        try:
            # The kernel overwrites the last byte.
            os.write(fd, f"{option} {stall} {window}\0".encode())
        except OSError as error:
            os.close(fd)
            raise _refused(error, self._path, option, text, window) from None
        except BaseException:
            os.close(fd)
            raise
        return fd

    def look(self) -> Look:
        for _, mask in self._poll.poll(0):
            if mask & select.POLLERR:
                raise NotFoundError(errno.ENODEV, f"{self._path} is gone", self._path)
            yield Event(kind=EventKind.PRESSURE, cgroup=self._cgroup, detail=self._detail)


def branch_of(cgroup: Cgroup | None) -> Branch | None:
    """Where pressure of *cgroup* is accounted for; None is the whole machine."""
    if cgroup is None:
        return None
    first = members.effective(cgroup.branches)[0]
    if first.version == 1:
        raise UnsupportedError(
            f"v1 does not account for pressure, and {cgroup.name} does not exist on v2; watch the "
            "machine with pressure(None, ...), or memory with memory_level()"
        )
    return first


def _path(branch: Branch | None, resource: str) -> str:
    if branch is None:
        return f"/proc/pressure/{resource}"
    return f"{branch.directory}/{resource}.pressure"


def _open(path: str) -> int:
    try:
        return open_file(path, os.O_RDWR | os.O_NONBLOCK)
    except NotFoundError as error:
        reason = _absence(path)
        if not reason:
            raise
        raise UnsupportedError(f"{path} does not exist: {reason}") from error


def _absence(path: str) -> str:
    """Why there is no such file, where it is not that the cgroup is gone."""
    directory, name = os.path.split(path)
    if directory != "/proc/pressure" and not os.path.isdir(directory):
        return ""
    if not os.path.exists("/proc/pressure/cpu"):
        return f"PSI is off; {_ENABLE}"
    if name.startswith("irq"):
        return "pressure by interrupts takes Linux 6.1 with CONFIG_IRQ_TIME_ACCOUNTING"
    try:
        if files.read(f"{directory}/cgroup.pressure").strip() == "0":
            return "cgroup.pressure is 0 here; write 1 to it"
    except FileError:
        pass
    return "this kernel does not account for pressure here (cgroups: Linux 4.20, not the root's)"


def _refused(error: OSError, path: str, option: str, text: str, window: int) -> FileError:
    what = f"{option}={text!r} was refused by {path}"
    number = error.errno or 0
    if number == errno.EOPNOTSUPP:
        return FeatureError(number, f"{what}: EOPNOTSUPP: PSI is off; {_ENABLE}", path, text)
    if number != errno.EINVAL:
        return files.refused(error, path, "write", text)
    if window < _SHORTEST and _release() < (6, 5):
        why = "before Linux 6.5 the window is at least 500ms"
    elif window % _COARSE and not _may():
        why = (
            "without CAP_SYS_RESOURCE (which root in a container often lacks) the window is a multiple "
            "of 2s, since Linux 6.4"
        )
    else:
        why = "this kernel does not take this trigger here; try a longer window"
    return file_error(number, f"{what}: EINVAL: {why}", path, text)


def _release() -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))


def _may() -> bool:
    """Whether we have CAP_SYS_RESOURCE."""
    lines = files.read("/proc/self/status").splitlines()
    bits = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(bits, 16) >> _CAP_SYS_RESOURCE & 1)
