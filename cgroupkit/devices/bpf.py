"""bpf(2) for device programs of cgroups: load, attach, replace, look at. No library is needed."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import attrs

from cgroupkit import files
from cgroupkit.errors import FeatureError, UnsupportedError, errno_name, file_error

NAME: Final = "cgroupkit_dev"
"""How ours are told from those of others; the kernel keeps fifteen characters."""
LIMIT: Final = 64
"""Programs that the kernel attaches to one cgroup at most (BPF_CGROUP_MAX_PROGS)."""

_NUMBERS: Final = {
    "x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351,
    "i386": 357, "i686": 357, "armv7l": 386, "armv6l": 386,
}  # fmt: skip
_NUMBERS_32: Final = {"x86_64": 357, "aarch64": 386, "armv8l": 386}
"""Of a 32-bit process; the machine may still go by its 64-bit name."""
_LOAD, _ATTACH, _DETACH, _FD_BY_ID, _INFO, _QUERY = 5, 8, 9, 13, 15, 16
_WORDS: Final = {
    _LOAD: "BPF_PROG_LOAD", _ATTACH: "BPF_PROG_ATTACH", _DETACH: "BPF_PROG_DETACH",
    _FD_BY_ID: "BPF_PROG_GET_FD_BY_ID", _INFO: "BPF_OBJ_GET_INFO_BY_FD", _QUERY: "BPF_PROG_QUERY",
}  # fmt: skip
_CGROUP_DEVICE_PROGRAM, _CGROUP_DEVICE = 15, 6
_ALLOW_MULTI, _REPLACE = 2, 4
_ATTR_SIZE: Final = 128
_TRIES: Final = 10
_MEANINGS: Final = {
    errno.EPERM: (
        "it takes CAP_SYS_ADMIN, or CAP_BPF with CAP_NET_ADMIN; before Linux 5.11 also RLIMIT_MEMLOCK"
    ),
    errno.EBADF: "that is no cgroup of v2",
    errno.ENOENT: "the program, or the cgroup, is gone",
}
_LONG: Final = "the list is too long for the kernel's verifier, which takes some two thousand rules"
_MEANINGS_OF: Final = {
    (_ATTACH, errno.EPERM): (
        "a program that lets none beside it (without BPF_F_ALLOW_MULTI) is attached here or above; it "
        "has to go first, or whoever attached it to allow others"
    ),
    (_FD_BY_ID, errno.EPERM): "it takes CAP_SYS_ADMIN",
    (_ATTACH, errno.E2BIG): f"a cgroup takes {LIMIT} programs at most",
    (_LOAD, errno.E2BIG): _LONG,
    (_LOAD, errno.EFAULT): _LONG,
}
_NO_PROGRAMS: Final = "the kernel has no device programs: they came with Linux 4.15 (CONFIG_CGROUP_BPF)"


@attrs.frozen
class Program:
    """A device program that is attached to a cgroup."""

    id: int
    name: str
    code: bytes = attrs.field(repr=False)
    """Its instructions, as the kernel shows them; empty to those who may not see them."""

    @property
    def ours(self) -> bool:
        return self.name == NAME


def _call(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    numbers = _NUMBERS if sys.maxsize > 2**32 else {**_NUMBERS, **_NUMBERS_32}
    number = numbers.get(platform.machine())
    if number is None or not sys.platform.startswith("linux"):
        raise UnsupportedError(f"the number of bpf(2) on {platform.machine()} is not known here")
    result: int = _libc().syscall(number, command, attr, _ATTR_SIZE)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _attr(layout: str, *values: int | bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(struct.pack("=" + layout, *values), _ATTR_SIZE)


def _refused(command: int, error: OSError, directory: str, said: str = "") -> Exception:
    code = error.errno or 0
    meaning = _MEANINGS_OF.get((command, code)) or _MEANINGS.get(code, "")
    if code == errno.ENOENT and not os.path.isdir(directory):
        meaning = "the cgroup was removed while it was in use"
    if code == errno.ENOSYS:
        return UnsupportedError("this kernel has no bpf(2): CONFIG_BPF_SYSCALL is off")
    words = f"cannot do {_WORDS[command]} for {directory}: {errno_name(code)}"
    if code == errno.EINVAL and command in (_LOAD, _QUERY) and not said:
        return FeatureError(code, f"{words}: {_NO_PROGRAMS}", directory)
    more = "; ".join(filter(None, (meaning, said)))
    return file_error(code, f"{words}: {more}" if more else words, directory)


def _load(code: bytes, directory: str) -> int:
    """A descriptor of the program; the verifier's words are in the error."""
    instructions = ctypes.create_string_buffer(code, len(code))
    license_text = ctypes.create_string_buffer(b"MIT")
    log = ctypes.create_string_buffer(1 << 16)

    def load(level: int) -> int:
        attr = _attr(
            "IIQQIIQII16s",
            _CGROUP_DEVICE_PROGRAM,
            len(code) // 8,
            ctypes.addressof(instructions),
            ctypes.addressof(license_text),
            level,
            len(log) if level else 0,
            ctypes.addressof(log) if level else 0,
            0,
            0,
            NAME.encode(),
        )
        for _ in range(_TRIES - 1):
            with suppress(BlockingIOError):  # the verifier was interrupted by a signal
                return _call(_LOAD, attr)
        return _call(_LOAD, attr)

    try:
        return _not_zero(load(0))
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise _refused(_LOAD, error, directory) from None
        with suppress(OSError):
            os.close(load(1))
        said = log.value.decode("utf-8", "replace").strip().replace("\n", " / ")
        raise _refused(_LOAD, error, directory, said[-500:]) from None


def _not_zero(fd: int) -> int:
    """bpf(2) takes descriptor 0 for none."""
    if fd:
        return fd
    import fcntl  # noqa: PLC0415

    other = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return other


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    try:
        fd = _not_zero(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise files.refused(error, directory, "open") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _ids(cgroup: int, directory: str) -> list[int]:
    room = LIMIT
    while True:
        ids = (ctypes.c_uint32 * room)()
        attr = _attr("IIIIQI", cgroup, _CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), room)
        try:
            _call(_QUERY, attr)
        except OSError as error:
            if error.errno == errno.ENOSPC and room < 1 << 16:
                room *= 2
                continue
            raise _refused(_QUERY, error, directory) from None
        (count,) = struct.unpack_from("=I", attr, 24)
        return list(ids[:count])


def _open_program(number: int, directory: str) -> int | None:
    """A descriptor of the program with that id; None where it is gone meanwhile."""
    try:
        return _not_zero(_call(_FD_BY_ID, _attr("I", number)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise _refused(_FD_BY_ID, error, directory) from None


def _describe(fd: int, directory: str) -> Program:
    """Asked twice: for the length, and for the instructions."""
    size = 0
    for _ in range(2):
        code = ctypes.create_string_buffer(max(size, 1))
        place = ctypes.addressof(code) if size else 0
        info = ctypes.create_string_buffer(struct.pack("=16xIIQQ", 0, size, 0, place), 232)
        attr = _attr("IIQ", fd, len(info), ctypes.addressof(info))
        try:
            _call(_INFO, attr)
        except OSError as error:
            raise _refused(_INFO, error, directory) from None
        shown, size = size, struct.unpack_from("=I", info, 20)[0]
    (number,), (name,) = struct.unpack_from("=I", info, 4), struct.unpack_from("=16s", info, 64)
    visible = struct.unpack_from("=Q", info, 32)[0] and shown == size
    text = name.partition(b"\0")[0].decode("ascii", "replace")
    return Program(number, text, code.raw[:size] if visible else b"")


def attached(directory: str) -> list[Program]:
    """The device programs attached to the v2 cgroup at *directory*, in the order they run."""
    with _opened(directory) as cgroup:
        return list(_attached(cgroup, directory))


def _attached(cgroup: int, directory: str) -> Iterator[Program]:
    for number in _ids(cgroup, directory):
        fd = _open_program(number, directory)
        if fd is not None:
            try:
                yield _describe(fd, directory)
            finally:
                os.close(fd)


def put(directory: str, code: bytes | None) -> None:
    """Make *code* the program of ours at *directory*, or have none there.

    What was there is replaced in one step where the kernel can (5.6), else the new one is attached
    before the old one goes: all that are attached have to allow, so nothing is open in between.
    Of several that are put at the same time one stays. Programs of others stay.
    """
    with _opened(directory) as cgroup:
        new = None if code is None else _load(code, directory)
        try:
            for _ in range(_TRIES):
                if _put(cgroup, new, directory):
                    return
            raise file_error(
                errno.EAGAIN, f"others keep changing the device programs of {directory}", directory
            )
        finally:
            if new is not None:
                os.close(new)


def _ours(cgroup: int, directory: str) -> list[int]:
    return [program.id for program in _attached(cgroup, directory) if program.ours]


def _put(cgroup: int, new: int | None, directory: str) -> bool:
    """One attempt; False where somebody else was faster."""
    ours = _ours(cgroup, directory)
    if new is not None:
        if not _attach(cgroup, new, ours[0] if len(ours) == 1 else None, directory):
            return False
        # Others may attach theirs or replace it meanwhile. All leave the last one, so one stays.
        ours = _ours(cgroup, directory)[:-1]
    for number in ours:
        _detach(cgroup, number, directory)
    return True


def _attach(cgroup: int, new: int, old: int | None, directory: str) -> bool:
    """Attach *new*, in the place of *old* if there is one; False where that is gone."""
    if old is not None:
        fd = _open_program(old, directory)
        if fd is None:
            return False
        try:
            flags = _ALLOW_MULTI | _REPLACE
            _call(_ATTACH, _attr("IIIII", cgroup, new, _CGROUP_DEVICE, flags, fd))
            return True
        except OSError as error:
            if error.errno == errno.ENOENT and os.path.isdir(directory):
                return False
            if error.errno != errno.EINVAL:  # which kernels before 5.6 say to BPF_F_REPLACE
                raise _refused(_ATTACH, error, directory) from None
        finally:
            os.close(fd)
    try:
        _call(_ATTACH, _attr("IIII", cgroup, new, _CGROUP_DEVICE, _ALLOW_MULTI))
    except OSError as error:
        raise _refused(_ATTACH, error, directory) from None
    return True


def _detach(cgroup: int, number: int, directory: str) -> None:
    fd = _open_program(number, directory)
    if fd is None:
        return
    try:
        _call(_DETACH, _attr("III", cgroup, fd, _CGROUP_DEVICE))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise _refused(_DETACH, error, directory) from None
    finally:
        os.close(fd)
