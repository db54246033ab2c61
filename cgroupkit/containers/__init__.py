"""Which cgroup is this container? Found by path, for the engines that people use."""

from cgroupkit.containers.errors import AmbiguousContainerError, ContainerNotFoundError
from cgroupkit.containers.records import Container, Engine, Pod
from cgroupkit.containers.search import find
from cgroupkit.containers.walking import containers

__all__ = [
    "AmbiguousContainerError",
    "Container",
    "ContainerNotFoundError",
    "Engine",
    "Pod",
    "containers",
    "find",
]
