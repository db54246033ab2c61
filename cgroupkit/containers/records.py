"""Container and Pod: what is known of one container."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Literal, Unpack

import attrs

from cgroupkit import members
from cgroupkit.cgroup import Cgroup
from cgroupkit.containers.errors import ContainerNotFoundError
from cgroupkit.errors import NotFoundError
from cgroupkit.options import Options
from cgroupkit.resources import Resources

Engine = Literal["docker", "podman", "containerd", "crio", "lxc", "nspawn", "unknown"]
Qos = Literal["guaranteed", "burstable", "besteffort"]


@attrs.frozen(kw_only=True, slots=False)
class Pod:
    """The Kubernetes pod of a container."""

    uid: str
    qos: Qos

    @cached_property
    def _full_name(self) -> tuple[str, str] | None:
        from cgroupkit.containers import kubernetes  # noqa: PLC0415

        return kubernetes.full_name(self.uid)

    @property
    def namespace(self) -> str | None:
        """As /var/log/pods has it; None where that cannot be read."""
        return self._full_name[0] if self._full_name else None

    @property
    def name(self) -> str | None:
        """As /var/log/pods has it; None where that cannot be read."""
        return self._full_name[1] if self._full_name else None


def _inode(cgroup: Cgroup) -> int | None:
    try:
        return os.stat(cgroup.branches[0].directory).st_ino
    except OSError:
        return None


@attrs.frozen(kw_only=True, slots=False)
class Container:
    """One running container: who runs it, and which cgroup holds all of its processes."""

    engine: Engine
    id: str
    """In full: 64 hexadecimal digits; the name for LXC, systemd-nspawn and containerd's ctr."""
    cgroup: Cgroup
    """The outermost one that is the container's own, which has its limits."""
    pod: Pod | None = None
    inode: int | None = attrs.field(init=False, repr=False, eq=False)
    """Of the cgroup's directory: tells it from a later one of the same name."""

    @inode.default
    def _own_inode(self) -> int | None:
        return _inode(self.cgroup)

    @cached_property
    def name(self) -> str | None:
        """What the engine calls it (in a pod: the container's name there), read when first asked for.

        None where it has none or the engine's state cannot be read.
        """
        from cgroupkit.containers import naming  # noqa: PLC0415

        return naming.name_of(self)

    @cached_property
    def image(self) -> str | None:
        """The image's name as the engine was given it, read when first asked for.

        None where there is none or the engine's state cannot be read.
        """
        from cgroupkit.containers import images  # noqa: PLC0415

        return images.image_of(self)

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes inside at this moment, also those in cgroups below; sorted."""
        return tuple(sorted(members.everyone(self.cgroup.branches)))

    def __str__(self) -> str:
        id = self.id[:12] if self.id != self.name else None
        return " ".join(filter(None, [id, self.name, f"({self.engine})"]))

    def update(self, *, check: bool | None = None, **resources: Unpack[Options]) -> None:
        """Change limits as ``docker update`` does, by Docker's rules for containers.

        As :meth:`Cgroup.update`, and what Docker refuses is an :class:`InvalidValueError` too. Raises
        :class:`ContainerNotFoundError` where the container ended, before or meanwhile.
        """
        from cgroupkit.containers import rules  # noqa: PLC0415

        wanted = Resources.of(resources)
        rules.check(wanted, self.cgroup)
        if _inode(self.cgroup) != self.inode:
            raise ContainerNotFoundError(2, f"container {self} has ended", self.id)
        try:
            self.cgroup.update(check=check, **resources)
        except NotFoundError:
            if _inode(self.cgroup) == self.inode:
                raise
            words = f"container {self} ended while its limits were changed"
            raise ContainerNotFoundError(2, words, self.id) from None
