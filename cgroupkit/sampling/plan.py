"""Which files of a cgroup are to be read for the chosen fields, and how their text becomes values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.controllers.base import Controller, File, Joined, Source
from cgroupkit.controllers.flat import Flat
from cgroupkit.errors import UnsupportedError
from cgroupkit.hierarchy import Hierarchy
from cgroupkit.sampling.quick import LeafPlan, Program, decoded
from cgroupkit.stats import GROUPS, LEAVES, HostCpu, Stats, assemble, without_roots

SMALL, LARGE = 64, 4096
_MULTI = ("stat", "events", "pressure", "oom_control", "recursive")


@attrs.frozen(eq=False)
class Place:
    """One file: in which of the cgroup's branches, and its name there."""

    branch: int
    file: str

    def path(self, cgroup: Cgroup) -> str:
        return f"{cgroup.branches[self.branch].directory}/{self.file}"


class Plan:
    """What is to be read of every cgroup that lies in the same hierarchies."""

    def __init__(self, cgroup: Cgroup, leaves: Iterable[str]) -> None:
        self.places: list[Place] = []
        self.leaves: dict[str, tuple[Source[Any, Any], dict[str, int]]] = {}
        self._layouts: dict[tuple[int, ...], Layout] = {}
        # A cgroup of its own: what is looked up is kept in it.
        scratch = without_roots(Cgroup.at(cgroup.branches))
        known: dict[tuple[int, str], int] = {}
        for name in leaves:
            leaf = LEAVES[name]
            controller = leaf.find(scratch)
            source = controller and leaf.line.sources[controller.version]
            if controller and source:
                self.leaves[name] = source, self._locate(cgroup, controller, source, known)
        self.branches = tuple(sorted({place.branch for place in self.places}))

    def _locate(
        self,
        cgroup: Cgroup,
        controller: Controller,
        source: Source[Any, Any],
        known: dict[tuple[int, str], int],
    ) -> dict[str, int]:
        found = {}
        for file in source.files:
            try:
                directory = controller.path(file)[: -len(file) - 1]
            except UnsupportedError:
                continue
            branch = next(i for i, b in enumerate(cgroup.branches) if b.directory == directory)
            if (branch, file) not in known:
                known[branch, file] = len(self.places)
                self.places.append(Place(branch, file))
            found[file] = known[branch, file]
        return found

    def layout(self, present: tuple[int, ...]) -> Layout:
        """For cgroups that have those of the files alone, by their numbers."""
        if present not in self._layouts:
            self._layouts[present] = Layout(self, present)
        return self._layouts[present]


class Layout:
    """The files that a cgroup turned out to have, in the order in which they are read."""

    def __init__(self, plan: Plan, present: tuple[int, ...]) -> None:
        self.present = present
        self.places = [plan.places[number] for number in present]
        self.sizes = [LARGE if place.file.endswith(_MULTI) else SMALL for place in self.places]
        at = {number: index for index, number in enumerate(present)}
        found = (
            (name, source, {file: at[number] for file, number in numbers.items() if number in at})
            for name, (source, numbers) in plan.leaves.items()
        )
        self._leaves = [_leaf(name, source, where) for name, source, where in found if where]
        groups = {
            name: record
            for name, record in GROUPS.items()
            if any(leaf.name.startswith(f"{name}.") for leaf in self._leaves)
        }
        self.program = Program(len(self.places), self._leaves, groups, Stats)

    def stats(
        self, texts: Sequence[bytes], time_ns: int, inodes: tuple[int, ...], host: HostCpu | None
    ) -> Stats:
        """What build.c does, in Python."""
        found = ((leaf.name, leaf.parse(*[texts[i] for i in leaf.files])) for leaf in self._leaves)
        return assemble(found, time_ns=time_ns, inodes=inodes, host_cpu=host)


def _leaf(name: str, source: Source[Any, Any], where: Mapping[str, int]) -> LeafPlan:
    """What makes the leaf; the order of the files is the source's."""
    how = None
    if isinstance(source, File):
        how = source.kind.parse if isinstance(source.kind.parse, Flat) else source.kind
    elif isinstance(source, Joined) and isinstance(source.make, Flat):
        how = source.make
    files = tuple(file for file in source.files if file in where)
    return LeafPlan(name, tuple(where[file] for file in files), how, partial(_described, source, files))


def _described(source: Source[Any, Any], files: tuple[str, ...], *texts: bytes) -> Any:
    """As the description says, from texts that were read already."""
    try:
        return source.read(_Replay(dict(zip(files, texts, strict=True))))
    except UnsupportedError:
        return None


class _Replay(Controller, name="replay"):
    """Gives a source the text that was read already."""

    __slots__ = ("_texts",)

    def __init__(self, texts: dict[str, bytes]) -> None:
        self._texts = texts

    def path(self, file: str) -> str:
        return file

    def read(self, file: str) -> str:
        if file not in self._texts:
            raise UnsupportedError(f"this cgroup has no {file}")
        return decoded(self._texts[file])


def key_of(cgroup: Cgroup) -> tuple[tuple[Hierarchy, bool], ...]:
    """Cgroups with the same key have the same :class:`Plan`."""
    return tuple([(branch.hierarchy, branch.is_root) for branch in cgroup.branches])
