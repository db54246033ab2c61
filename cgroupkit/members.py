"""The processes of a cgroup: who is inside, moving them in, stopping and killing all of them."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from cgroupkit import files, names, tree
from cgroupkit.errors import (
    BusyError,
    CgroupKitError,
    FileError,
    FreezeTimeoutError,
    InvalidValueError,
    KillTimeoutError,
    NotFoundError,
    UnsupportedError,
    file_error,
)
from cgroupkit.hierarchy import host, key_of, paths_of
from cgroupkit.tree import Branch
from cgroupkit.units import invalid
from cgroupkit.waiting import turns

Branches = tuple[Branch, ...]

_AGAIN = 0.2
"""Seconds after which who is left is killed once more."""


def effective(branches: Branches) -> Branches:
    """Without the roots, where everybody is, unless it is the root that is meant."""
    return tuple(b for b in branches if not b.is_root) or branches


def procs(branches: Branches, *, threads: bool = False) -> list[int]:
    """Everybody inside: of one logical path whoever is in any hierarchy, else who is in all."""
    inside = effective(branches)
    found = [_read_ids(branch, threads) for branch in inside]
    together = set.union(*found) if same_path(inside) else set.intersection(*found)
    return sorted(together - {0})  # v2 lists a process of another pid namespace as 0


def same_path(branches: Branches) -> bool:
    """Whether they are one logical path."""
    return len({branch.path for branch in branches}) == 1


def _read_ids(branch: Branch, threads: bool) -> set[int]:
    file = "cgroup.procs" if not threads else "tasks" if branch.version == 1 else "cgroup.threads"
    return set(map(int, files.read(f"{branch.directory}/{file}").split()))


def checked(pid: int) -> int:
    """*pid*, if it can be one."""
    if isinstance(pid, bool) or not isinstance(pid, int) or pid <= 0:
        raise invalid("pid", pid, "give a process number above 0")
    return pid


def attach(branches: Branches, pid: int, *, thread: bool = False) -> None:
    before = paths_of(checked(pid))
    done: list[Branch] = []
    try:
        for branch in branches:
            _move(branch, pid, thread)
            done.append(branch)
    except CgroupKitError:
        for branch in reversed(done):
            old = Branch.find(branch.hierarchy, before.get(key_of(branch.hierarchy), "/"))
            try:
                if old:
                    _move(old, pid, thread)
            except CgroupKitError:
                continue  # it has ended, or its old cgroup was removed
        raise


def _move(branch: Branch, pid: int, thread: bool) -> None:
    file = "cgroup.procs" if not thread else "tasks" if branch.version == 1 else "cgroup.threads"
    files.write(f"{branch.directory}/{file}", str(pid))


def vacate(branches: Branches, leaf: str) -> Branches:
    unified = tuple(b for b in branches if b.version == 2)
    if not unified:
        raise UnsupportedError("vacate() is for v2; v1 has no rule against inner processes")
    if not os.path.exists(f"{unified[0].directory}/cgroup.type"):
        raise UnsupportedError("the root cgroup is exempt from the rule: there is nothing to vacate")
    if len(names.components(leaf)) != 1 or "/" in leaf:
        raise InvalidValueError(f"leaf={leaf!r} is not valid: give one name, without a slash")
    below = tuple(
        Branch(b.hierarchy, f"{b.path.rstrip('/')}/{leaf}", f"{b.directory}/{leaf}") for b in unified
    )
    (target,) = below
    try:
        os.mkdir(target.directory)
    except OSError as error:
        if not os.path.isdir(target.directory):
            raise files.refused(error, target.directory, "create") from None
    for _ in range(1000):  # a fork may race with the listing: until it is empty
        inside = procs(unified)
        if not inside:
            break
        for pid in inside:
            try:
                _move(target, pid, False)
            except ProcessLookupError:
                continue
    tree.enable(unified[0].directory)
    return below


# Freezing: v1's freezer controller where it is mounted, else v2's cgroup.freeze.


def freezer_of(branches: Branches) -> Branch:
    """Where the cgroup can be frozen; raises :class:`UnsupportedError` where it cannot."""
    inside = effective(branches)
    for branch in inside:
        if "freezer" in branch.hierarchy.controllers and not branch.is_root:
            return branch
    for branch in inside:
        gone = not os.path.isdir(branch.directory)  # the caller finds out on the file
        if branch.version == 2 and (gone or os.path.exists(f"{branch.directory}/cgroup.freeze")):
            return branch
    if all(b.is_root for b in branches):
        raise UnsupportedError("the root cgroup cannot be frozen")
    if any("freezer" in b.hierarchy.controllers for b in branches):
        raise UnsupportedError(
            "in the freezer hierarchy this is the root cgroup, which cannot be frozen"
        )
    raise host().absent("freezer")


def frozen(branches: Branches) -> bool:
    branch = freezer_of(branches)
    if branch.version == 2:
        return _event(branch, "frozen")
    if files.read(f"{branch.directory}/freezer.state").strip() == "FROZEN":
        return True
    first = branches[0]  # on a hybrid machine somebody may have used v2's cgroup.freeze
    return first.version == 2 and not first.is_root and _event(first, "frozen")


def _event(branch: Branch, key: str) -> bool:
    return dict(files.flat_keyed(files.read(f"{branch.directory}/cgroup.events")))[key] == "1"


def _set_frozen(branch: Branch, on: bool) -> None:
    if branch.version == 1:
        files.write(f"{branch.directory}/freezer.state", "FROZEN" if on else "THAWED")
    else:
        files.write(f"{branch.directory}/cgroup.freeze", "1" if on else "0")


def freeze(branches: Branches, timeout: float) -> None:
    branch = freezer_of(branches)
    _refuse_self((branch,), "freeze")
    deadline = time.monotonic() + timeout
    try:
        _set_frozen(branch, True)
        for _ in turns(deadline):
            if frozen((branch,)):
                return
            if branch.version == 1:
                _set_frozen(branch, True)  # FREEZING may stay until it is asked for again
    except NotFoundError:
        raise
    except BaseException:
        with suppress(CgroupKitError):
            _set_frozen(branch, False)
        raise
    _set_frozen(branch, False)
    raise FreezeTimeoutError(
        f"{branch.directory} was not frozen within {timeout} s and has been thawed: a process "
        "inside is in an uninterruptible wait, or new ones are forked all the time"
    )


def thaw(branches: Branches) -> None:
    _set_frozen(freezer_of(branches), False)


# Killing


def populated(branches: Branches) -> bool:
    inside = effective(branches)
    if len(inside) == 1 and inside[0].version == 2 and not inside[0].is_root:
        return _event(inside[0], "populated")
    return any(inhabited(inside)) if same_path(inside) else bool(everyone(inside))


def inhabited(branches: Branches) -> Iterator[bool]:
    """Whether anybody is inside, of each directory of one logical path and each one below."""
    for branch in branches:
        for directory, _ in tree.walk(branch.directory):
            yield bool(set(_members(directory).split()) - {"0"})


def everyone(branches: Branches) -> set[int]:
    """The processes of the whole subtree: as :func:`procs`, with those below."""
    found = [set(_below(branch.directory)) for branch in branches]
    together = set.union(*found) if same_path(branches) else set.intersection(*found)
    return together - {0}


def _below(directory: str) -> Iterator[int]:
    """The processes of one directory and all below."""
    for here, _ in tree.walk(directory):
        yield from map(int, _members(here).split())


def _members(directory: str) -> str:
    """The processes; of a threaded cgroup the threads, which stand for their processes.

    A directory that vanishes has none.
    """
    try:
        return files.read(f"{directory}/cgroup.procs")
    except FileError as error:
        if error.errno in tree.VANISHED:
            return ""
        if error.errno != errno.EOPNOTSUPP:
            raise
    try:
        return files.read(f"{directory}/cgroup.threads")
    except NotFoundError:
        return ""


def kill(branches: Branches, timeout: float) -> None:
    inside = effective(branches)
    if all(b.is_root for b in inside):
        raise InvalidValueError("refusing to kill every process of the root cgroup")
    _refuse_self(inside, "kill")
    deadline = time.monotonic() + timeout
    freezer = next((b for b in inside if "freezer" in b.hierarchy.controllers), None)
    if freezer and _parent_frozen(freezer):
        raise BusyError(
            errno.EBUSY,
            f"cannot kill the processes of {freezer.directory}: a cgroup above it is frozen, and v1 "
            "delivers no signal to a frozen process; thaw that one first",
            freezer.directory,
        )
    if same_path(inside) and inside[0].version == 2 and not _kill_v2(inside[0], freezer, deadline):
        freezer = freezer or inside[0]
    left: set[int] = set()
    for _ in turns(deadline):
        left = _kill_listed(inside, freezer)
        if not left:
            return
    raise KillTimeoutError(
        f"{len(left)} processes of {inside[0].directory} outlived SIGKILL for {timeout} s (first: "
        f"{min(left)}); they wait in the kernel (state D in `ps`) and will end when that wait does"
    )


def _kill_v2(branch: Branch, freezer: Branch | None, deadline: float) -> bool:
    """cgroup.kill takes the whole subtree at once, forks included; then wait for its last event.

    It is done again as long as there is somebody, who may have come in since. False where the kernel
    does not have it (before 5.14) or the cgroup is threaded.
    """
    while True:
        try:
            files.write(f"{branch.directory}/cgroup.kill", "1")
        except FileError:
            return False
        if freezer:
            _thaw_all(freezer)
        now = time.monotonic()
        if _wait_empty(branch, min(now + _AGAIN, deadline)) or now >= deadline:
            return True


def _wait_empty(branch: Branch, deadline: float) -> bool:
    """Wait for ``populated 0`` in cgroup.events, which can be polled."""
    try:
        fd = os.open(f"{branch.directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        while b"populated 0" not in os.pread(fd, 4096, 0):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poller.poll(min(left, 0.5) * 1000)
        return True
    except OSError:
        return True  # ENODEV: removed meanwhile
    finally:
        os.close(fd)


def _kill_listed(branches: Branches, freezer: Branch | None) -> set[int]:
    """SIGKILL whoever is listed in the subtree; frozen meanwhile, so that none can fork."""
    found = everyone(branches)
    if not found:
        return found
    if freezer:
        with suppress(NotFoundError):  # v2 before 5.2 has no cgroup.freeze
            _set_frozen(freezer, True)
        found = everyone(branches)
    try:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:
                raise file_error(
                    errno.EPERM,
                    f"cannot kill process {pid}: it belongs to another user; run as root",
                    f"/proc/{pid}",
                ) from None
    finally:
        if freezer:
            _thaw_all(freezer)
    return found


def _parent_frozen(freezer: Branch) -> bool:
    try:
        return files.read(f"{freezer.directory}/freezer.parent_freezing").strip() == "1"
    except NotFoundError:
        return False


def _thaw_all(freezer: Branch) -> None:
    """v1 delivers no signal to a frozen process, and a child may be frozen on its own account."""
    if freezer.version == 2:
        with suppress(NotFoundError):
            _set_frozen(freezer, False)
        return
    for directory, _ in tree.walk(freezer.directory):
        try:
            files.write(f"{directory}/freezer.state", "THAWED")
        except NotFoundError:
            continue


def _refuse_self(branches: Branches, verb: str) -> None:
    """Freezing or killing the caller would never return."""
    own = paths_of()
    below = [
        (own.get(key_of(b.hierarchy), "/") + "/").startswith(b.path.rstrip("/") + "/")
        for b in branches
        if not b.is_root
    ]
    if any(below) if same_path(branches) else all(below):
        raise InvalidValueError(
            f"refusing to {verb} {branches[0].directory}: the calling process is inside; "
            "move it out first"
        )
