"""The cgroups below a parent, as they come and go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from cgroupkit import files
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import AccessError
from cgroupkit.hierarchy import host
from cgroupkit.tree import VANISHED, Branch


def everywhere(cgroup: Cgroup) -> tuple[Branch, ...]:
    """Where *cgroup* is, and where it would be in the other hierarchies."""
    found = {branch.hierarchy: branch for branch in cgroup.branches}
    paths = {branch.path for branch in cgroup.branches}
    for hierarchy in host().hierarchies if len(paths) == 1 else ():
        branch = Branch.find(hierarchy, cgroup.name)
        if branch is not None:
            found.setdefault(hierarchy, branch)
    return tuple(sorted(found.values(), key=lambda branch: -branch.version))


class _Node:
    """A cgroup below the parent, or the parent itself."""

    __slots__ = ("cgroup", "changed", "children", "counts", "path", "seen_in", "unsettled")

    def __init__(self, path: str, cgroup: Cgroup | None, seen_in: int) -> None:
        self.path = path
        """From the parent on: empty for itself, else with a / before it."""
        self.cgroup = cgroup
        self.seen_in = seen_in
        """In which of the hierarchies that are looked at: a bit for each."""
        self.children: dict[str, _Node] = {}
        self.counts: tuple[int, ...] = ()
        """Of each hierarchy that is looked at: how many children were seen, -1 if it is not there."""
        self.changed = True
        self.unsettled = True
        """Whether it may be about to be made in further hierarchies."""


class Following:
    """Calls *add* and *discard* for the cgroups that came and went since the last refresh.

    *tops* is where the parent is or would be, *used* which of those are looked at. A directory of
    cgroups has one link more for each child (kernfs), so that one stat(2) tells whether a child came:
    one that went is known from its own files (:meth:`died`).
    """

    def __init__(
        self,
        tops: tuple[Branch, ...],
        used: tuple[int, ...],
        depth: int | None,
        add: Callable[[Cgroup], None],
        discard: Callable[[Cgroup], None],
    ) -> None:
        self._tops = tops
        self._used = [tops[index].directory.rstrip("/") for index in used or range(len(tops))]
        self._depth = depth
        self._add = add
        self._discard = discard
        self._top = _Node("", None, 0)
        self._parents: dict[Cgroup, _Node] = {}

    def refresh(self, deadline: int = 0) -> list[AccessError]:
        """Look what is there now; what may not be listed. Raises EMFILE, to be tried again.

        After *deadline*, of time.monotonic_ns(), the rest is left for the next time; 0 is none.
        """
        errors = []
        rows = [(self._top, 1)]
        while rows and not (deadline and time.monotonic_ns() >= deadline):
            node, level = rows.pop()
            counts = tuple([_count(directory + node.path) for directory in self._used])
            if node.changed or counts != node.counts or -2 in counts:
                try:
                    self._list(node)
                except AccessError as error:
                    errors.append(error)
                node.counts = counts
            if self._depth is None or level < self._depth:
                rows.extend([(child, level + 1) for child in node.children.values()])
        return errors

    def died(self, cgroup: Cgroup) -> None:
        """Look again where *cgroup* was: another may have been made meanwhile."""
        parent = self._parents.get(cgroup)
        if parent is not None:
            parent.changed = True

    def _list(self, node: _Node) -> None:
        found: dict[str, int] = {}
        for number, directory in enumerate(self._used):
            for name in _children(directory + node.path):
                found[name] = found.get(name, 0) | 1 << number
        for name in node.children.keys() - found:
            self._drop(node.children.pop(name))
        for name in sorted(found):
            child = node.children.get(name)
            if child is None or child.unsettled or child.seen_in != found[name]:
                self._settle(node, name, found[name])
        node.changed = any(child.unsettled for child in node.children.values())

    def _settle(self, node: _Node, name: str, seen_in: int) -> None:
        """Engines make one directory after the other: look twice for where it is."""
        path = f"{node.path}/{name}"
        cgroup = Cgroup.at(self._branches(path))
        child = node.children.get(name)
        if child is not None and child.cgroup == cgroup:
            child.unsettled = False
            child.seen_in = seen_in
            return
        if child is not None:
            self._drop(node.children.pop(name))
        if cgroup.branches:
            node.children[name] = _Node(path, cgroup, seen_in)
            self._parents[cgroup] = node
            self._add(cgroup)

    def _branches(self, path: str) -> tuple[Branch, ...]:
        """Where it is; the hierarchies share one name, of which there may be thousands."""
        names: dict[str, str] = {}
        found = []
        for top in self._tops:
            directory = top.directory.rstrip("/") + path
            name = names.setdefault(top.path, top.path.rstrip("/") + path)
            with suppress(OSError):
                os.stat(directory)
                found.append(Branch(top.hierarchy, name, directory))
        return tuple(found)

    def _drop(self, node: _Node) -> None:
        nodes = [node]
        while nodes:
            gone = nodes.pop()
            nodes.extend(gone.children.values())
            if gone.cgroup is not None:
                self._parents.pop(gone.cgroup, None)
                self._discard(gone.cgroup)


def _count(directory: str) -> int:
    """How many children; -1 where it is gone, -2 where links are not counted."""
    try:
        return max(os.stat(directory).st_nlink - 2, -2)
    except OSError:
        return -1


def _children(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in VANISHED:
            return []
        raise files.refused(error, directory, "list") from None
