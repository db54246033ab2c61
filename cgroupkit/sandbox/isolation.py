"""What a box is walled off from: names of namespaces and presets, as launcher options."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from cgroupkit.hierarchy import cgroup_mounts
from cgroupkit.resources import unknown_option
from cgroupkit.units import invalid

NAMESPACES = ("pid", "ipc", "uts", "mnt", "net", "user", "cgroup", "time")
"""As in namespaces(7); mnt is a private copy of the mounts, pid has an init that reaps."""

Isolate = str | Iterable[str]


@attrs.frozen(kw_only=True)
class Isolation:
    """What the launcher is to do besides joining the cgroups."""

    namespaces: frozenset[str] = frozenset()
    no_new_privs: bool = False
    new_session: bool = False
    """Away from the caller's process group and terminal, which reach across a pid namespace."""
    drop_caps: bool = False
    no_user_namespaces: bool = False
    hide_machine: bool = False
    """Cgroups hidden; settings of the machine read-only."""

    def options(self, hostname: str | None) -> list[str]:
        """As launcher options."""
        found = []
        if self.namespaces:
            found.append(f"--ns={','.join(n for n in NAMESPACES if n in self.namespaces)}")
        if {"pid", "mnt"} <= self.namespaces:
            found.append("--proc")
        if self.hide_machine:
            found += [f"--ro={path}" for path in _MACHINE_SETTINGS]
            found += [f"--hide={mount}" for mount in _outermost(cgroup_mounts())]
        if hostname is not None:
            found.append(f"--hostname={hostname}")
        if self.new_session:
            found.append("--new-session")
        if self.no_user_namespaces:
            found.append("--no-user-namespaces")
        if self.drop_caps:
            found.append("--drop-caps")
        if self.no_new_privs:
            found.append("--no-new-privs")
        return found


#: Files by which root, even without capabilities, could reach the whole machine.
_MACHINE_SETTINGS = (
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/mtrr",
    "/proc/acpi",
    "/sys",
)

PRESETS = {
    "process": Isolation(
        namespaces=frozenset({"pid", "ipc", "uts", "cgroup", "mnt"}),
        no_new_privs=True,
        new_session=True,
    ),
    "strict": Isolation(
        namespaces=frozenset(NAMESPACES),
        no_new_privs=True,
        new_session=True,
        drop_caps=True,
        no_user_namespaces=True,
        hide_machine=True,
    ),
}


def isolation(isolate: Isolate) -> Isolation:
    """From a preset's name, names of namespaces, or "a,b"."""
    names = isolate.split(",") if isinstance(isolate, str) else isolate
    if isinstance(names, (bytes, int)) or not isinstance(names, Iterable):
        raise invalid("isolate", isolate, "give names of namespaces or a preset")
    wanted = [name.strip() if isinstance(name, str) else name for name in names]
    wanted = [name for name in wanted if name]
    if len(wanted) == 1 and wanted[0] in PRESETS:
        return PRESETS[wanted[0]]
    for name in wanted:
        if name in PRESETS:
            raise invalid("isolate", isolate, f"the preset {name!r} stands alone")
        if name not in NAMESPACES:
            raise unknown_option(name, (*NAMESPACES, *PRESETS), "isolate=")
    return Isolation(namespaces=frozenset(wanted))


def _outermost(mounts: Iterable[str]) -> list[str]:
    """Directories that hide all of *mounts* when they are covered."""
    return sorted({"/sys/fs/cgroup" if m.startswith("/sys/fs/cgroup/") else m for m in mounts})
