"""What `cgroupkit doctor` finds out: facts, and what is missing with its remedy."""

from __future__ import annotations

import os
from typing import Any

import attrs

from cgroupkit import delegation
from cgroupkit.delegation import Place
from cgroupkit.errors import CgroupKitError
from cgroupkit.hierarchy import Hierarchy, Host, host
from cgroupkit.sandbox.isolation import NAMESPACES
from cgroupkit.sandbox.launch import launcher_path

LIMITS = ("cpu", "memory", "pids", "cpuset", "io")
"""The controllers of the options of `run` and `update`."""

_CAP_SYS_ADMIN = 21


@attrs.frozen
class Lack:
    """Something that cannot be done here."""

    what: str
    reason: str
    remedy: str = ""
    vital: bool = False
    """Without it nothing works."""


@attrs.frozen(kw_only=True)
class Findings:
    host: Host
    user: str
    place: Place | None
    limits: tuple[str, ...]
    """The controllers by which this user may limit."""
    namespaces: tuple[str, ...]
    pressure: tuple[str, ...]
    """The resources that the kernel has PSI for."""
    launcher: str | None
    lacks: tuple[Lack, ...]

    @property
    def able(self) -> bool:
        """Whether this user may create cgroups."""
        return not any(lack.vital for lack in self.lacks)


def examine() -> Findings:
    here = host()
    lacks: list[Lack] = []
    place = _place(here, lacks)
    limits = _limits(here, place, lacks) if place else ()
    return Findings(
        host=here,
        user=_user(),
        place=place,
        limits=limits,
        namespaces=_namespaces(lacks),
        pressure=_pressure(here, lacks),
        launcher=_launcher(lacks),
        lacks=tuple(lacks),
    )


def _user() -> str:
    import pwd  # noqa: PLC0415

    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _place(here: Host, lacks: list[Lack]) -> Place | None:
    if not here.hierarchies:
        lacks.append(_nothing_mounted(here))
        return None
    try:
        place = delegation.place(start=False)
    except CgroupKitError as error:
        reason = str(error).removeprefix("this user may not create cgroups: ")
        reason = reason.replace("delegated to it", "delegated to you")
        lacks.append(Lack("create cgroups", reason, vital=True))
        return None
    if place.started:
        refused = [lack for h, path in place.paths.items() if (lack := _refused(h, path))]
        if len(refused) == len(place.paths):
            lacks.append(refused[0])
            return None
    return place


def _nothing_mounted(here: Host) -> Lack:
    remedy = here.controllers["cpu"].remedy
    return Lack("create cgroups", "no cgroup file system is mounted", remedy, vital=True)


def _refused(hierarchy: Hierarchy, path: str) -> Lack | None:
    """Why this user cannot make cgroups in *path*."""
    directory = nearest(hierarchy, path)
    if hierarchy.read_only:
        remedy = f"mount -o remount,rw {hierarchy.mount} (in a container: mount it writable)"
        return Lack("create cgroups", f"{hierarchy.mount} is mounted read-only", remedy, vital=True)
    if not os.access(directory, os.W_OK):
        remedy = "run as root, or have an administrator delegate a cgroup to you"
        return Lack("create cgroups", f"{directory} is not writable for you", remedy, vital=True)
    return None


def nearest(hierarchy: Hierarchy, path: str) -> str:
    """The directory of *path*, or of its nearest ancestor that exists."""
    directory = hierarchy.directory(path) or hierarchy.mount
    while directory != hierarchy.mount and not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory


def _limits(here: Host, place: Place, lacks: list[Lack]) -> tuple[str, ...]:
    """The controllers that can be used in *place*; for those of LIMITS that cannot, a lack each."""
    able = []
    for name, info in here.controllers.items():
        hierarchy = next((h for h in here.hierarchies if name in h.controllers), None)
        if hierarchy is None:
            if name in LIMITS and not info.available:
                lacks.append(Lack(f"limit {name}", info.reason, info.remedy))
            continue
        lack = _not_here(name, hierarchy, place)
        if lack is None:
            able.append(name)
        elif name in LIMITS:
            lacks.append(lack)
    return tuple(able)


def _not_here(name: str, hierarchy: Hierarchy, place: Place) -> Lack | None:
    what = f"limit {name}"
    path = place.paths.get(hierarchy)
    if path is None:
        reason = f"you may not create cgroups in {hierarchy.mount}"
        return Lack(what, reason, "run as root, or have a directory there delegated to you")
    if place.started and (refused := _refused(hierarchy, path)):
        return attrs.evolve(refused, what=what, vital=False)
    directory = nearest(hierarchy, path)
    if hierarchy.version == 1 or name in _words(f"{directory}/cgroup.controllers"):
        return None
    return Lack(what, f"{name} is not enabled for {directory}", _enabling(name, hierarchy, directory))


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _enabling(name: str, hierarchy: Hierarchy, directory: str) -> str:
    """How an administrator enables controller *name* for *directory*."""
    if f"/user@{os.geteuid()}.service" in directory:
        return (
            "as root: mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate="
            "cpu cpuset io memory pids\\n' > /etc/systemd/system/user@.service.d/delegate.conf && "
            "systemctl daemon-reload; then log in again"
        )
    ways = []
    while directory != hierarchy.mount:
        directory = os.path.dirname(directory)
        if name not in _words(f"{directory}/cgroup.subtree_control"):
            ways.append(f"echo +{name} > {directory}/cgroup.subtree_control")
        if name in _words(f"{directory}/cgroup.controllers"):
            break
    return "as root: " + " && ".join(reversed(ways)) if ways else ""


def _namespaces(lacks: list[Lack]) -> tuple[str, ...]:
    have = tuple(name for name in NAMESPACES if os.path.exists(f"/proc/self/ns/{name}"))
    if _may_administer():
        return have
    obstacle = _user_namespaces_off()
    if obstacle is None:
        return have
    lacks.append(Lack("use --isolate", *obstacle))
    return ()


def _may_administer() -> bool:
    """Whether we have CAP_SYS_ADMIN, without which namespaces need a user namespace."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            mask = next(line.split()[1] for line in file if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return False
    return bool(int(mask, 16) >> _CAP_SYS_ADMIN & 1)


def _user_namespaces_off() -> tuple[str, str] | None:
    """Why an ordinary user has none, and the setting that gives them."""
    if not os.path.exists("/proc/self/ns/user"):
        return "this kernel has no user namespaces", "use a kernel with CONFIG_USER_NS"
    for file, off, setting in (
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1",
         "kernel.apparmor_restrict_unprivileged_userns=0"),
    ):  # fmt: skip
        if _words(f"/proc/sys/{file}") == [off]:
            return f"user namespaces are switched off ({file} is {off})", f"as root: sysctl {setting}"
    return None


def _pressure(here: Host, lacks: list[Lack]) -> tuple[str, ...]:
    have = tuple(name for name in ("cpu", "memory", "io", "irq") if _readable(f"/proc/pressure/{name}"))
    if not have:
        remedy = "boot with psi=1, or use a kernel with CONFIG_PSI"
        lacks.append(Lack("read pressure (PSI)", "the kernel does not account for it", remedy))
    elif here.unified is None:
        reason = "only v2 has it for each cgroup; /proc/pressure has the machine's"
        remedy = "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
        lacks.append(Lack("read the pressure (PSI) of one cgroup", reason, remedy))
    return have


def _readable(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return bool(file.read(1))
    except OSError:
        return False


def _launcher(lacks: list[Lack]) -> str | None:
    try:
        return launcher_path()
    except CgroupKitError as error:
        lacks.append(Lack("run commands in a box", str(error)))
        return None


def as_json(found: Findings, abandoned: list[str]) -> dict[str, Any]:
    here, place = found.host, found.place
    return {
        "mode": here.mode,
        "kernel": os.uname().release,
        "user": found.user,
        "hierarchies": [attrs.asdict(h) for h in here.hierarchies],
        "controllers": {name: attrs.asdict(info) for name, info in here.controllers.items()},
        "pressure": found.pressure,
        "place": place
        and {
            "why": place.why,
            "exists": place.started and all(_there(h, p) for h, p in place.paths.items()),
            "paths": {h.mount: path for h, path in place.paths.items()},
        },
        "limits": found.limits,
        "namespaces": found.namespaces,
        "launcher": found.launcher,
        "abandoned": abandoned,
        "able": found.able,
        "lacks": found.lacks,
    }


def _there(hierarchy: Hierarchy, path: str) -> bool:
    directory = hierarchy.directory(path)
    return directory is not None and os.path.isdir(directory)
