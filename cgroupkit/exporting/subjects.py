"""Which cgroups are told about: those given, all below a tree, or the containers that run."""

from __future__ import annotations

from collections.abc import Iterable

from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.containers import Container
from cgroupkit.containers.walking import at, walk
from cgroupkit.errors import InvalidValueError
from cgroupkit.sampling import Sampler


class Subjects(Closing):
    """The *sampler* of the cgroups. What may not be read of one of them must not cost the rest."""

    def __init__(
        self, cgroups: Iterable[Cgroup] | None, tree: str | Cgroup | None, fields: Iterable[str]
    ) -> None:
        if cgroups is not None and tree is not None:
            raise InvalidValueError("give cgroups or tree, not both")
        self._found: dict[Cgroup, Container] | None = None
        if tree is not None:
            self.sampler = Sampler.tree(tree, fields)
            return
        self.sampler = Sampler(cgroups or (), fields)
        if cgroups is None:
            self._found = {}

    def refresh(self, deadline: float) -> None:
        """Before a sweep: where no cgroups were given, the containers that there are now.

        Raises TimeoutError after *deadline*, of time.monotonic(), and then knows those of before.
        """
        if self._found is None:
            return
        containers = filter(None, (one.container() for one in walk(deadline=deadline)))
        found = {container.cgroup: container for container in containers}
        for cgroup in self._found.keys() - found.keys():
            self.sampler.discard(cgroup)
        for cgroup in found.keys() - self._found.keys():
            self.sampler.add(cgroup)
        self._found = found

    def container(self, cgroup: Cgroup) -> Container | None:
        """The container that *cgroup* is, if it is one."""
        return at(cgroup) if self._found is None else self._found.get(cgroup)

    def close(self) -> None:
        self.sampler.close()
