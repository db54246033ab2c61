"""What can go wrong when a container is looked for."""

from __future__ import annotations

from cgroupkit.errors import InvalidValueError, NotFoundError


class ContainerNotFoundError(NotFoundError):
    """No running container has that id, beginning of an id, or name; the message lists what runs."""


class AmbiguousContainerError(InvalidValueError):
    """Several containers fit; the message lists them."""
