"""What a box is walled off from: names of namespaces and presets, as launcher options."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from cgroupkit.hierarchy import host
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
    drop_caps: bool = False
    hide_cgroups: bool = False

    def options(self, hostname: str | None) -> list[str]:
        """As launcher options."""
        found = []
        if self.namespaces:
            found.append(f"--ns={','.join(n for n in NAMESPACES if n in self.namespaces)}")
        if {"pid", "mnt"} <= self.namespaces:
            found.append("--proc")
        if self.hide_cgroups:
            found += [f"--hide={mount}" for mount in _cgroup_mounts()]
            found += [f"--ro={path}" for path in _MACHINE_SETTINGS]
        if hostname is not None:
            found.append(f"--hostname={hostname}")
        if self.drop_caps:
            found.append("--drop-caps")
        if self.no_new_privs:
            found.append("--no-new-privs")
        return found


#: Files by which root, even without capabilities, could reach the whole machine.
_MACHINE_SETTINGS = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")

PRESETS = {
    "process": Isolation(
        namespaces=frozenset({"pid", "ipc", "uts", "cgroup", "mnt"}), no_new_privs=True
    ),
    "strict": Isolation(
        namespaces=frozenset(NAMESPACES), no_new_privs=True, drop_caps=True, hide_cgroups=True
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
            raise unknown_option(f"isolate={name}", [f"isolate={n}" for n in (*NAMESPACES, *PRESETS)])
    return Isolation(namespaces=frozenset(wanted))


def _cgroup_mounts() -> list[str]:
    """The directories that hide every cgroup mount when covered: the outermost ones."""
    mounts = sorted({h.mount for h in host().hierarchies})
    outer = {m.rsplit("/", 1)[0] if m.startswith("/sys/fs/cgroup/") else m for m in mounts}
    return sorted(outer)
