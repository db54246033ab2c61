"""The cgroups below a parent, as they come and go."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress

from cgroupkit import files
from cgroupkit.cgroup import Cgroup
from cgroupkit.tree import Branch


class _Node:
    """A cgroup below the parent, or the parent itself."""

    __slots__ = ("cgroup", "changed", "children", "counts", "unsettled")

    def __init__(self, cgroup: Cgroup) -> None:
        self.cgroup = cgroup
        self.children: dict[str, _Node] = {}
        self.counts: tuple[int, ...] = ()
        """Of each hierarchy that is looked at: how many children were seen, -1 if it is not there."""
        self.changed = True
        self.unsettled = True
        """Whether it may be about to be made in further hierarchies."""


class Following:
    """Calls *add* and *discard* for the cgroups that came and went since the last refresh.

    A directory of cgroups has one link more for each child (kernfs), so that one stat(2) tells
    whether a child came: one that went is known from its own files (:meth:`died`).
    """

    def __init__(
        self,
        top: Cgroup,
        branches: tuple[int, ...],
        depth: int | None,
        add: Callable[[Cgroup], None],
        discard: Callable[[Cgroup], None],
        *,
        strict: bool = True,
    ) -> None:
        self._top = _Node(top)
        used = {top.branches[index].hierarchy for index in branches}
        self._hierarchies = used or {branch.hierarchy for branch in top.branches}
        self._depth = depth
        self._strict = strict
        self._add = add
        self._discard = discard
        self._parents: dict[Cgroup, _Node] = {}

    def refresh(self, deadline: float | None = None) -> None:
        """After *deadline*, of time.monotonic(), the rest is left for the next time."""
        waiting = [(self._top, 1)]
        while waiting and (deadline is None or time.monotonic() < deadline):
            node, level = waiting.pop()
            self._look(node)
            if self._depth is None or level < self._depth:
                waiting += [(child, level + 1) for child in reversed(node.children.values())]

    def died(self, cgroup: Cgroup) -> None:
        """Look again where *cgroup* was: another may have been made meanwhile."""
        parent = self._parents.get(cgroup)
        if parent is not None:
            parent.changed = True

    def _look(self, node: _Node) -> None:
        branches = [b for b in node.cgroup.branches if b.hierarchy in self._hierarchies]
        counts = tuple([_count(branch.directory) for branch in branches])
        if node.changed or counts != node.counts or -2 in counts:
            node.changed = False
            self._list(node, branches)
            node.counts = counts

    def _list(self, node: _Node, branches: list[Branch]) -> None:
        names: set[str] = set()
        for branch in branches:
            names.update(_children(branch.directory, strict=self._strict))
        for name in node.children.keys() - names:
            self._drop(node.children.pop(name))
        for name in sorted(names):
            child = node.children.get(name)
            if child is None or child.unsettled or not child.cgroup.exists():
                self._settle(node, name, child)
        node.changed = any(child.unsettled for child in node.children.values())

    def _settle(self, node: _Node, name: str, child: _Node | None) -> None:
        """Engines make one directory after the other: look twice for where it is."""
        cgroup = Cgroup.at(_branches(node.cgroup, name))
        if not cgroup.branches:
            return
        if child is not None and child.cgroup == cgroup:
            child.unsettled = False
            return
        if child is not None:
            self._drop(child)
        node.children[name] = _Node(cgroup)
        self._parents[cgroup] = node
        self._add(cgroup)

    def _drop(self, node: _Node) -> None:
        waiting = [node]
        while waiting:
            gone = waiting.pop()
            waiting += gone.children.values()
            self._parents.pop(gone.cgroup, None)
            self._discard(gone.cgroup)


def _count(directory: str) -> int:
    """How many children; -1 where it is gone, -2 where links are not counted."""
    try:
        return max(os.stat(directory).st_nlink - 2, -2)
    except OSError:
        return -1


def _children(directory: str, *, strict: bool) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        if error.errno == errno.EACCES and not strict:
            return []
        raise files.refused(error, directory, "list") from None


def _branches(parent: Cgroup, name: str) -> tuple[Branch, ...]:
    """As tree.child; the hierarchies share one path, of which there may be thousands."""
    paths: dict[str, str] = {}
    found = []
    for branch in parent.branches:
        directory = f"{branch.directory}/{name}"
        path = paths.setdefault(branch.path, f"{branch.path.rstrip('/')}/{name}")
        with suppress(OSError):
            os.stat(directory)
            found.append(Branch(branch.hierarchy, path, directory))
    return tuple(found)
