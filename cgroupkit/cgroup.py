"""Cgroup: find, create, look inside, move processes, freeze, kill, remove."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Self, TypeVar, Unpack, overload

from cgroupkit import delegation, members, names, tree
from cgroupkit.controllers import (
    Controller,
    Core,
    Cpu,
    CpuAcct,
    Cpuset,
    Devices,
    Dmem,
    Freezer,
    Hugetlb,
    Io,
    Memory,
    Misc,
    NetCls,
    NetPrio,
    PerfEvent,
    Pids,
    Rdma,
)
from cgroupkit.errors import InvalidValueError, NotFoundError, UnsupportedError
from cgroupkit.hierarchy import BY_DIRECTORY, host, key_of, paths_of
from cgroupkit.options import Options
from cgroupkit.persist import persist
from cgroupkit.plan import apply
from cgroupkit.resources import Resources
from cgroupkit.tree import Branch

if TYPE_CHECKING:
    import psutil

    from cgroupkit.events import EventKind, Watch
    from cgroupkit.events.psi import Resource
    from cgroupkit.stats import Stats

C = TypeVar("C", bound=Controller)


class _Attached(Generic[C]):
    """``cgroup.memory``: the controller, made when first asked for."""

    def __init__(self, controller: type[C]) -> None:
        self.controller = controller

    @overload
    def __get__(self, cgroup: None, owner: type) -> Self: ...
    @overload
    def __get__(self, cgroup: Cgroup, owner: type) -> C: ...
    def __get__(self, cgroup: Cgroup | None, owner: type) -> C | Self:
        if cgroup is None:
            return self
        name = self.controller.name
        branch = cgroup.branches[0] if name == "core" else cgroup.branch(name)
        found = self.controller(branch.hierarchy.version, branch.directory, cgroup.controller)
        cgroup.__dict__[name] = found
        return found


class Cgroup:
    """One cgroup: one directory in v2, or one in each hierarchy of v1 and hybrid machines.

    ``Cgroup("/a/b")`` opens an existing one by its path, counted from the hierarchy's root as in
    /proc/self/cgroup; a relative path counts from the place where this process may create cgroups
    (docs/cgroups.md). Raises :class:`NotFoundError` where no hierarchy has it.
    """

    cpu = _Attached(Cpu)
    cpuacct = _Attached(CpuAcct)
    cpuset = _Attached(Cpuset)
    memory = _Attached(Memory)
    io = _Attached(Io)
    pids = _Attached(Pids)
    freezer = _Attached(Freezer)
    devices = _Attached(Devices)
    hugetlb = _Attached(Hugetlb)
    net_cls = _Attached(NetCls)
    net_prio = _Attached(NetPrio)
    perf_event = _Attached(PerfEvent)
    rdma = _Attached(Rdma)
    misc = _Attached(Misc)
    dmem = _Attached(Dmem)
    core = _Attached(Core)

    def __init__(self, path: str | os.PathLike[str], *, parent: str | None = None) -> None:
        self.branches = tuple(b for b in _locate(path, parent) if os.path.isdir(b.directory))
        """Where it is in each hierarchy, v2 first."""
        if not self.branches:
            raise NotFoundError(
                2,
                f"there is no cgroup {os.fspath(path)!r}; `cgroupkit ls` lists what there is",
                os.fspath(path),
            )

    @classmethod
    def at(cls, branches: tuple[Branch, ...]) -> Self:
        """The cgroup that lies in *branches*, unchecked."""
        self = cls.__new__(cls)
        self.branches = branches
        return self

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        parent: str | None = None,
        exist_ok: bool = False,
        named: Iterable[str] = (),
        **resources: Unpack[Options],
    ) -> Self:
        """Create a cgroup, and its parents where they are missing, with *resources* as limits.

        On v2 the controllers are enabled down the path; v1's cpuset gets its parent's CPUs and
        nodes. If anything fails, what was made is removed again. The options are those of
        :class:`Resources`. Raises :class:`ExistsError` unless *exist_ok*.

        v1's named hierarchies, which belong to somebody (``name=systemd`` to systemd), are left
        alone but for those in *named*: ``named=["name=jobs"]``.
        """
        wanted = Resources.of(resources)
        self = cls.at(_locate(path, parent, tuple(named)))
        if all(branch.is_root for branch in self.branches):
            raise InvalidValueError(f"path={os.fspath(path)!r} is not valid: it is the root cgroup")
        made = tree.make(self.branches, exist_ok=exist_ok)
        try:
            apply(self, wanted, fresh={branch.directory for branch in self.branches} <= set(made))
        except BaseException:
            tree.unmake(made)
            raise
        return self

    @classmethod
    def of(cls, pid: int | None = None) -> Self:
        """The cgroup that process *pid* is in; by default our own.

        On v1 its paths may differ from hierarchy to hierarchy. Raises :class:`ProcessGoneError`,
        and :class:`NotFoundError` where its cgroup was removed or lies outside of our mounts.
        """
        paths = paths_of("self" if pid is None else members.checked(pid))
        branches = tuple(
            branch
            for hierarchy in host().hierarchies
            if (path := paths.get(key_of(hierarchy)))
            and (branch := Branch.find(hierarchy, path))
            and os.path.isdir(branch.directory)
        )
        if not branches:
            shown = ", ".join(sorted(set(paths.values()))) or "none at all"
            raise NotFoundError(
                2,
                f"the cgroup of process {pid or os.getpid()} ({shown}) was removed, or lies outside "
                "of what is mounted here",
                f"/proc/{pid or 'self'}/cgroup",
            )
        return cls.at(branches)

    @classmethod
    def of_container(cls, name: str) -> Cgroup:
        """The cgroup of a running container, by its id, the beginning of one, or its name.

        Of Docker, Podman, containerd, CRI-O, Kubernetes, LXC and systemd-nspawn; there is more in
        :mod:`cgroupkit.containers`. Raises :class:`ContainerNotFoundError` (a :class:`NotFoundError`)
        and :class:`AmbiguousContainerError`, which list what there is.
        """
        from cgroupkit.containers import find  # noqa: PLC0415

        return find(name).cgroup

    # What and where it is

    @property
    def name(self) -> str:
        """The path as in /proc/PID/cgroup; the deepest one where v1 hierarchies differ."""
        paths = dict.fromkeys(branch.path for branch in self.branches)
        return max(paths, key=lambda path: len(names.components(path)))

    def path(self, controller: str = "") -> str:
        """The directory in *controller*'s hierarchy; by default v2's, else the first one.

        Raises :class:`UnsupportedError` where the controller, or this cgroup in it, is absent.
        """
        branch = self.branch(controller) if controller else self.branches[0]
        return branch.directory

    def branch(self, controller: str) -> Branch:
        """Where this cgroup is in *controller*'s hierarchy, or in v1's named one ``name=NAME``."""
        controller = "io" if controller == "blkio" else controller
        for branch in self.branches:
            if branch.hierarchy.has(controller):
                return branch
        hierarchy = host().hierarchy_of(controller)
        if controller in BY_DIRECTORY and self.branches[0].version == hierarchy.version == 2:
            return self.branches[0]
        raise UnsupportedError(
            f"cgroup {self.name} does not exist in the {controller} hierarchy ({hierarchy.mount}); "
            "create it there too: Cgroup.create(path, exist_ok=True)"
        )

    def controller(self, name: str) -> Controller:
        """The controller called *name*, as the attribute of that name."""
        found: Controller = getattr(self, name)
        return found

    def __repr__(self) -> str:
        return f"<Cgroup {self.name}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cgroup):
            return NotImplemented
        return self._directories == other._directories

    def __hash__(self) -> int:
        return hash(self._directories)

    @cached_property
    def _directories(self) -> frozenset[str]:
        return frozenset(b.directory for b in self.branches)

    def exists(self) -> bool:
        """Whether any of its directories is still there."""
        return any(os.path.isdir(b.directory) for b in self.branches)

    # Below it

    def children(self) -> list[Cgroup]:
        """The cgroups directly below, by name."""
        inside = members.effective(self.branches)
        return [Cgroup.at(tree.child(inside, name)) for name in tree.names(inside)]

    def walk(self) -> Iterator[Cgroup]:
        """This cgroup and all below it, parents first."""
        yield self
        for child in self.children():
            yield from child.walk()

    # Processes

    @property
    def procs(self) -> list[int]:
        """The process numbers inside, sorted; not those of child cgroups.

        Where the paths differ between v1 hierarchies, the processes that are in all of them.
        """
        return members.procs(self.branches)

    @property
    def threads(self) -> list[int]:
        """The thread numbers inside, sorted."""
        return members.procs(self.branches, threads=True)

    def processes(self) -> list[psutil.Process]:
        """The processes inside; one that ends meanwhile is left out."""
        import psutil  # noqa: PLC0415

        found = []
        for pid in self.procs:
            try:
                found.append(psutil.Process(pid))
            except psutil.NoSuchProcess:
                continue
        return found

    def attach(self, pid: int, *, thread: bool = False) -> None:
        """Move process *pid* (with all its threads), or one thread, into this cgroup.

        In every hierarchy or in none: if one refuses, the others are taken back. Raises
        :class:`ProcessGoneError`, :class:`AccessError`, :class:`BusyError`.
        """
        members.attach(self.branches, pid, thread=thread)

    def vacate(self, leaf: str = "leaf") -> Cgroup:
        """v2: move the processes inside to a new child *leaf*, so that children can have limits.

        The kernel allows either processes in a cgroup or controllers enabled for its children
        (cgroup-v2.rst, "No Internal Process Constraint"). Returns the child.
        """
        return Cgroup.at(members.vacate(self.branches, leaf))

    @property
    def populated(self) -> bool:
        """Whether any process is inside, or in a cgroup below."""
        return members.populated(self.branches)

    @property
    def frozen(self) -> bool:
        """Whether every process inside is frozen, by this cgroup's setting or an ancestor's."""
        return members.frozen(self.branches)

    def freeze(self, timeout: float = 5) -> None:
        """Stop every process of the subtree where it is, and wait until all are.

        After *timeout* seconds the freeze is taken back and :class:`FreezeTimeoutError` raised.
        """
        members.freeze(self.branches, timeout)

    def thaw(self) -> None:
        """Let the processes run again."""
        members.thaw(self.branches)

    def kill(self, timeout: float = 10) -> None:
        """SIGKILL every process of the subtree, whatever it does, and wait until it is empty.

        cgroup.kill where the kernel has it (5.14); else freeze, kill and thaw until none is left.
        Raises :class:`KillTimeoutError` after *timeout* seconds.
        """
        members.kill(self.branches, timeout)

    def remove(self, *, recursive: bool = False) -> None:
        """Remove the cgroup; with *recursive* all below it first.

        :class:`BusyError` where processes are inside: :meth:`kill` them or move them first.
        """
        tree.remove(self.branches, recursive=recursive)

    # Limits and accounting

    def update(self, *, check: bool | None = None, **resources: Unpack[Options]) -> None:
        """Change limits as ``docker update`` does: all of *resources* or none.

        The options are those of :class:`Resources`. Lowering memory below what is in use is refused
        with :class:`BusyError` before anything is written, where the kernel would kill (v2), unless
        *check* is False (None: what ``memory_check_before_update`` says, else True). If the kernel
        refuses one write, the earlier ones are undone. Where the cgroup is a unit of systemd's, it is
        told too, so that a daemon-reload keeps the change.
        """
        wanted = Resources.of(resources)
        apply(self, wanted, check=check)
        persist(self, wanted)

    def stats(self) -> Stats:
        """What is known of this cgroup at this moment."""
        from cgroupkit.stats import snapshot  # noqa: PLC0415

        return snapshot(self)

    def events(self, *kinds: EventKind | str, recursive: bool = True) -> Watch:
        """What happens here from now on: OOM kills, limits hit, emptiness, freezing, removal.

        ``for event in cgroup.events("oom_kill"): ...``, or ``async for``; see
        :class:`cgroupkit.events.Watch`. Without *kinds*, all that this kernel tells of the cgroup.
        """
        from cgroupkit.events import watch  # noqa: PLC0415

        return watch(self, *kinds, recursive=recursive)

    def on_pressure(
        self, resource: Resource, *, some: str | None = None, full: str | None = None
    ) -> Watch:
        """Tell when tasks waited too long for *resource*: ``on_pressure("memory", some="150ms/1s")``.

        See :meth:`cgroupkit.events.Watch.add_pressure`.
        """
        from cgroupkit.events import pressure  # noqa: PLC0415

        return pressure(self, resource, some=some, full=full)


def _locate(
    path: str | os.PathLike[str], parent: str | None, named: tuple[str, ...] | None = None
) -> tuple[Branch, ...]:
    """Where *path* is, or would be, in each hierarchy; of v1's *named* ones None means all."""
    parts = names.components(path)
    alone = [h for h in host().hierarchies if h.name and not h.controllers]
    if named is not None:
        alone = [host().hierarchy_of(name) for name in named]
    if os.fspath(path).startswith("/"):
        tops = {h: "/" for h in host().hierarchies if h.version == 2 or h.controllers}
    else:
        tops = dict(delegation.place(parent).paths)
    usual = max(tops.values(), key=len, default="/")
    tops = {**dict.fromkeys(alone, usual), **tops}
    found = (
        Branch.find(hierarchy, "/".join([top.rstrip("/"), *parts]) or "/")
        for hierarchy, top in sorted(tops.items(), key=lambda item: -item[0].version)
    )
    branches = tuple(branch for branch in found if branch)
    if not branches:
        raise NotFoundError(
            2,
            f"cgroup {os.fspath(path)!r} lies outside of what is mounted here; "
            "`cgroupkit doctor` shows the mounts",
            os.fspath(path),
        )
    return branches
