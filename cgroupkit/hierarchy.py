"""What is mounted on this machine and which controller lives where: :func:`host`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Literal

import attrs

from cgroupkit.errors import ProcessGoneError, UnsupportedError
from cgroupkit.files import refused

Mode = Literal["v1", "v2", "hybrid", "none"]

#: v2 calls v1's blkio controller io; everywhere in cgroupkit it is "io".
V1_NAMES: Mapping[str, str] = {"io": "blkio"}
_V2_NAMES: Mapping[str, str] = {"blkio": "io"}

#: Controllers that v2 has in every cgroup, without enabling and without their v1 files.
_IMPLICIT_V2 = ("freezer", "cpuacct", "devices", "perf_event")
#: Those of them that work on the directory itself, through a system call.
BY_DIRECTORY = ("devices", "perf_event")
_V1_ONLY = {
    "net_cls": "match the cgroup with nftables' `socket cgroupv2` (Linux 5.13), or mark its sockets "
    "by a BPF program (cgroup/sock_create)",
    "net_prio": "set the priority with nftables' `socket cgroupv2` and `meta priority set`, or by a "
    "BPF program (cgroup/sock_create)",
}
KNOWN = (
    "cpu", "cpuacct", "cpuset", "memory", "io", "pids", "freezer", "devices", "hugetlb",
    "net_cls", "net_prio", "perf_event", "rdma", "misc", "dmem",
)  # fmt: skip


@attrs.frozen(eq=False)
class Hierarchy:
    """One mounted cgroup tree."""

    version: Literal[1, 2]
    mount: str
    """Where it is mounted."""
    root: str
    """The cgroup that is mounted there, as /proc/self/cgroup would call it; ``/`` when whole."""
    controllers: tuple[str, ...]
    name: str | None = None
    """The name of a named v1 hierarchy (``systemd`` for ``name=systemd``)."""
    read_only: bool = False

    def directory(self, path: str) -> str | None:
        """The directory of the cgroup *path*, or None where the mount does not show it."""
        if self.root != "/":
            if path != self.root and not path.startswith(self.root + "/"):
                return None
            path = path[len(self.root) :]
        if f"{path}/".startswith("/../"):
            return None
        return self.mount if path in ("", "/") else self.mount + path

    def has(self, controller: str) -> bool:
        """Whether *controller* is here, or it is the named hierarchy ``name=NAME``."""
        return controller in self.controllers or f"name={self.name}" == controller

    def path(self, *names: str) -> str:
        """The cgroup path of *names* below the top of what is mounted."""
        return "/".join([self.root.rstrip("/"), *filter(None, names)]) or "/"

    def __str__(self) -> str:
        what = f"name={self.name}" if self.name else ",".join(self.controllers) or "no controllers"
        return f"v{self.version} ({what}) at {self.mount}"


@attrs.frozen
class ControllerInfo:
    """Where one controller is on this machine, or why it is absent."""

    name: str
    version: Literal[1, 2] | None = None
    mount: str | None = None
    reason: str = ""
    """Why it is absent; empty when it is there."""
    remedy: str = ""
    """The command or setting that would give it."""

    @property
    def available(self) -> bool:
        return self.version is not None


@attrs.frozen(eq=False)
class Host:
    """The cgroup mounts of this process's mount namespace, read once."""

    hierarchies: tuple[Hierarchy, ...]
    controllers: Mapping[str, ControllerInfo]
    """By v2 name (``io`` for blkio), each known controller, present or absent."""

    @property
    def mode(self) -> Mode:
        """``v1``, ``v2``, ``hybrid`` (both are mounted), or ``none``."""
        versions = {hierarchy.version for hierarchy in self.hierarchies}
        if len(versions) == 2:
            return "hybrid"
        return "v2" if 2 in versions else "v1" if 1 in versions else "none"

    @property
    def unified(self) -> Hierarchy | None:
        """The v2 hierarchy, if it is mounted."""
        return next((h for h in self.hierarchies if h.version == 2), None)

    def hierarchy_of(self, controller: str) -> Hierarchy:
        """The hierarchy that has *controller*; :class:`UnsupportedError` says why there is none."""
        for hierarchy in self.hierarchies:
            if hierarchy.has(controller):
                return hierarchy
        if controller in BY_DIRECTORY and self.unified and self.controllers[controller].version == 2:
            return self.unified
        raise self.absent(controller)

    def absent(self, controller: str) -> UnsupportedError:
        """The error that explains why *controller* cannot be had here."""
        info = self.controllers.get(controller)
        if info is None and controller.startswith("name="):
            named = ", ".join(f"name={h.name}" for h in self.hierarchies if h.name) or "none"
            return UnsupportedError(
                f"no hierarchy {controller} is mounted (named ones here: {named}); mount it with "
                f"mount -t cgroup -o none,{controller} none DIRECTORY"
            )
        if info is None:
            known = ", ".join(KNOWN)
            return UnsupportedError(f"there is no controller {controller!r}; the kernel has {known}")
        if info.version == 2:
            return UnsupportedError(
                f"{controller} has no files on v2, where it is part of every cgroup"
            )
        remedy = f"; {info.remedy}" if info.remedy else ""
        return UnsupportedError(f"the {controller} controller is not available: {info.reason}{remedy}")


_cached: Host | None = None


def host(*, refresh: bool = False) -> Host:
    """What this machine mounts. Read once a process; ``refresh=True`` reads it again.

    Sources: /proc/self/mountinfo, /proc/cgroups and the top cgroup.controllers.
    """
    global _cached  # noqa: PLW0603
    if _cached is None or refresh:
        _cached = read_host()
    return _cached


def read_host(proc: str = "/proc") -> Host:
    """Read the mounts as *proc* shows them (another directory serves tests of the parser)."""
    table = parse_proc_cgroups(_text(f"{proc}/cgroups"))
    hierarchies = parse_mountinfo(_text(f"{proc}/self/mountinfo"), table)
    hierarchies = tuple(
        attrs.evolve(h, controllers=tuple(_text(f"{h.mount}/cgroup.controllers").split()))
        if h.version == 2
        else h
        for h in hierarchies
    )
    return Host(hierarchies, {name: _controller_info(name, hierarchies, table) for name in KNOWN})


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return file.read()
    except OSError:
        return ""


def parse_proc_cgroups(text: str) -> dict[str, bool]:
    """/proc/cgroups: controller (v2 name) -> enabled at boot."""
    table = {}
    for line in text.splitlines():
        name, *rest = line.split()[:4] or [""]
        if len(rest) == 3 and not name.startswith("#"):
            table[_V2_NAMES.get(name, name)] = rest[2] == "1"
    return table


def parse_mountinfo(text: str, known: Iterable[str] = ()) -> tuple[Hierarchy, ...]:
    """The cgroup mounts of a mountinfo text (proc_pid_mountinfo(5)).

    A hierarchy mounted more than once is taken where most can be done: whole before part,
    writable before read-only, first before later.
    """
    names = {*KNOWN, *known}
    best: dict[object, Hierarchy] = {}
    for line in text.split("\n"):
        fields = line.split(" ")
        try:
            dash = fields.index("-", 6)
            kind, options = fields[dash + 1], fields[dash + 3].split(",")
        except (ValueError, IndexError):
            continue
        if kind not in ("cgroup", "cgroup2"):
            continue
        found = Hierarchy(
            version=2 if kind == "cgroup2" else 1,
            mount=_unescape(fields[4]),
            root=_unescape(fields[3]),
            controllers=tuple(
                _V2_NAMES.get(o, o)
                for o in options
                if kind == "cgroup" and _V2_NAMES.get(o, o) in names
            ),
            name=next((o[5:] for o in options if o.startswith("name=")), None),
            read_only="ro" in fields[5].split(",") or "ro" in options,
        )
        key = (found.version, found.controllers, found.name)
        rank = (found.root == "/", not found.read_only)
        if key not in best or rank > (best[key].root == "/", not best[key].read_only):
            best[key] = found
    return tuple(sorted(best.values(), key=lambda h: -h.version))


def cgroup_mounts() -> list[str]:
    """Every mount point of a cgroup file system at this moment, also the second one of a kind."""
    lines = (line.split(" ") for line in _text("/proc/self/mountinfo").split("\n"))
    return [
        _unescape(fields[4])
        for fields in lines
        if "-" in fields[6:] and fields[fields.index("-", 6) + 1] in ("cgroup", "cgroup2")
    ]


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field)


def _controller_info(
    name: str, hierarchies: tuple[Hierarchy, ...], table: Mapping[str, bool]
) -> ControllerInfo:
    for hierarchy in hierarchies:
        if name in hierarchy.controllers:
            return ControllerInfo(name, hierarchy.version, hierarchy.mount)
    unified = next((h for h in hierarchies if h.version == 2), None)
    if unified and name in _IMPLICIT_V2 and (name != "perf_event" or name in table):
        return ControllerInfo(name, 2, unified.mount)
    kernel_name = V1_NAMES.get(name, name)
    if table.get(name) is False:
        return ControllerInfo(
            name,
            reason="it was disabled at boot",
            remedy=f"boot without cgroup_disable={kernel_name} (for memory: cgroup_enable=memory)",
        )
    if not hierarchies:
        return ControllerInfo(
            name,
            reason="no cgroup file system is mounted",
            remedy="mount -t cgroup2 none /sys/fs/cgroup",
        )
    if name in _V1_ONLY and not any(h.version == 1 for h in hierarchies):
        return ControllerInfo(
            name,
            reason="it exists on v1 only",
            remedy=_V1_ONLY[name],
        )
    inner = unified is not None and os.path.exists(f"{unified.mount}/cgroup.type")
    if name not in table:
        # Since 6.13 /proc/cgroups leaves out what has no v1 part.
        elsewhere = ", or the parent of this cgroup namespace's root does not enable it"
        return ControllerInfo(
            name,
            reason="this kernel was built without it" + (elsewhere if inner else ""),
            remedy="use a kernel that has it (or, since 6.13, has its v1 part)",
        )
    if inner and name not in _V1_ONLY:
        return ControllerInfo(
            name,
            reason="the parent of this cgroup namespace's root does not enable it",
            remedy="start the container or unit with it (systemd: Delegate=yes)",
        )
    return ControllerInfo(
        name,
        reason="its hierarchy is not mounted",
        remedy=f"mkdir -p /sys/fs/cgroup/{kernel_name} && "
        f"mount -t cgroup -o {kernel_name} none /sys/fs/cgroup/{kernel_name}",
    )


def paths_of(pid: int | Literal["self"] = "self") -> dict[str, str]:
    """/proc/PID/cgroup: the path in each hierarchy, by each of its controllers' names.

    v2 has the key ``""``, a named hierarchy ``name=x``. A path may end in `` (deleted)``.
    """
    file = f"/proc/{pid}/cgroup"
    try:
        with open(file, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            text = lines.read()
    except OSError as error:
        raise _no_process(pid, file, error) from None
    paths = {}
    for line in text.split("\n")[:-1]:  # other line ends may be part of a name
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[_V2_NAMES.get(controller, controller)] = path
    return paths


def _no_process(pid: int | str, file: str, error: OSError) -> Exception:
    if isinstance(error, (FileNotFoundError, ProcessLookupError)):
        return ProcessGoneError(3, f"there is no process {pid}; it may have ended", file)
    return refused(error, file, "read")


def key_of(hierarchy: Hierarchy) -> str:
    """The key of *hierarchy* in :func:`paths_of`."""
    if hierarchy.version == 2:
        return ""
    return hierarchy.controllers[0] if hierarchy.controllers else f"name={hierarchy.name}"
