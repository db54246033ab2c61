"""The form in which controllers are described: one line an attribute, v1 and v2 side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, Never, Self, TypeVar, overload

import attrs

from cgroupkit import files
from cgroupkit.controllers.kinds import Kind
from cgroupkit.errors import FormatError, NotFoundError, UnsupportedError

_DELEGATED = ("cpu", "cpuset", "io", "memory", "pids")
"""What systemd's Delegate= knows (systemd.resource-control(5))."""

T = TypeVar("T")
W = TypeVar("W")


@attrs.frozen
class Step:
    """One write to one interface file, and what would put back what it overwrites."""

    controller: Controller
    file: str
    text: str
    unset: str = ""
    """For a file with a line a key: what to write for a key that had no line."""
    disturbs: tuple[str, ...] = ()
    """Other files that the kernel changes by itself along with this one."""

    @property
    def path(self) -> str:
        return self.controller.path(self.file)

    def take(self) -> None:
        self.controller.write(self.file, self.text)

    def before(self) -> list[Step]:
        """The steps that would put back what is there now, in their order."""
        texts = self.controller.read(self.file).splitlines()
        if self.unset:
            key = self.text.split()[0]
            here = next((line.strip() for line in texts if line.split()[:1] == [key]), self.unset)
        else:
            here = "\n".join(texts) or "\n"
        disturbed = [
            Step(self.controller, file, line)
            for file in self.disturbs
            for line in self.controller.read(file).splitlines()
        ]
        return [attrs.evolve(self, text=here), *disturbed]


class Controller:
    """One controller of one cgroup: what can be set and read, found by v2's kernel names."""

    name: ClassVar[str]
    __slots__ = ("_find", "directory", "version")

    def __init__(self, version: int, directory: str, find: Callable[[str], Controller]) -> None:
        self.version = version
        self.directory = directory
        """The cgroup's directory in this controller's hierarchy."""
        self._find = find

    def __init_subclass__(cls, *, name: str = "") -> None:
        cls.name = name or cls.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} v{self.version} {self.directory}>"

    def path(self, file: str) -> str:
        """Where *file* is; v1 keeps CPU time in another hierarchy, cpuacct."""
        home = self._find("cpuacct") if file.startswith("cpuacct.") else self
        return f"{home.directory}/{file}"

    def read(self, file: str) -> str:
        """The text of *file*; :class:`UnsupportedError` where this kernel does not have it."""
        try:
            return files.read(self.path(file))
        except NotFoundError as error:
            raise self._missing(file, error) from None

    def write(self, file: str, text: str) -> None:
        """Write *text* to *file* as it is."""
        try:
            files.write(self.path(file), text)
        except NotFoundError as error:
            raise self._missing(file, error) from None

    def has(self, file: str) -> bool:
        """Whether this kernel has *file* in this cgroup."""
        return os.path.exists(self.path(file))

    def parts(self) -> Iterator[Controller]:
        """Itself, or what it consists of, each with the attributes described here."""
        yield self

    def _to_be_given(self) -> str:
        if self.name in _DELEGATED:
            return f"systemd: Delegate={self.name}"
        return "systemd does not delegate it: as root use a cgroup below the root, such as /jobs"

    def _missing(self, file: str, error: NotFoundError) -> Exception:
        path = self.path(file)
        if os.path.exists(path) or not os.path.isdir(self.directory):
            return error
        if self.version == 2 and not os.path.exists(f"{self.directory}/cgroup.events"):
            return UnsupportedError(f"the root cgroup has no {file} ({path})")
        if self.version == 2 and not file.startswith(("cgroup.", "irq.")):
            enabled = files.read(f"{self.directory}/cgroup.controllers").split()
            if self.name not in enabled:
                above = os.path.dirname(self.directory)
                remedy = (
                    f"write +{self.name} to {above}/cgroup.subtree_control (Cgroup.create does it for "
                    "new cgroups)"
                    if self.name in files.read(f"{above}/cgroup.controllers").split()
                    else f"{above} has not been given it either ({self._to_be_given()})"
                )
                return UnsupportedError(
                    f"{path} does not exist because {self.name} is not enabled for this cgroup: "
                    + remedy
                )
        since = next((line.since for line in described(type(self)) if file in line.files), "")
        came = f"; it came with Linux {since}" if since else ""
        return UnsupportedError(
            f"{path} does not exist: Linux {os.uname().release} does not have it{came}"
        )


class Source(Generic[T, W]):
    """Where one version of cgroups keeps a value. A subclass serves what is not one plain file."""

    files: tuple[str, ...]

    def read(self, controller: Controller) -> T:
        raise NotImplementedError

    def steps(self, controller: Controller, value: W, option: str) -> list[Step]:
        """The writes that set *value*, in order."""
        raise NotImplementedError


class File(Source[T, W]):
    """One file with one kind of value."""

    def __init__(self, name: str, kind: Kind[T, W], version: int = 1) -> None:
        self.files = (name,)
        self.kind = kind
        self._print = kind.print_v1 if version == 1 and kind.print_v1 else kind.print

    def read(self, controller: Controller) -> T:
        return parsed(self.kind.parse, controller.read(self.files[0]), controller, self.files[0])

    def steps(self, controller: Controller, value: W, option: str) -> list[Step]:
        return [Step(controller, self.files[0], self._print(value, option))]


class Joined(Source[T, Any]):
    """A reading made of several files; those from *optional* on may be absent and are then ``""``."""

    def __init__(self, *names: str, make: Callable[..., T], optional: int = 1) -> None:
        self.files = names
        self.make = make
        self._optional = optional

    def read(self, controller: Controller) -> T:
        texts = [controller.read(name) for name in self.files[: self._optional]]
        for name in self.files[self._optional :]:
            try:
                texts.append(controller.read(name))
            except UnsupportedError:
                texts.append("")
        return parsed(lambda parts: self.make(*parts), texts, controller, self.files[0])


def parsed(parse: Callable[[Any], T], text: Any, controller: Controller, file: str) -> T:
    try:
        return parse(text)
    except (ValueError, IndexError, KeyError) as error:
        raise FormatError(
            f"{controller.path(file)} holds {text!r}, which is not in the documented format ({error})"
        ) from None


class Reading(Generic[T]):
    """An attribute that can be read."""

    access = "ro"

    def __init__(
        self,
        kind: Kind[T, Any],
        *,
        v2: str | Source[T, Any] | None = None,
        v1: str | Source[T, Any] | None = None,
        since: str = "",
        instead: str = "",
        doc: str = "",
    ) -> None:
        self.kind = kind
        self.since = since
        self.instead = instead
        self.__doc__ = doc
        self.sources: tuple[Source[T, Any] | None, ...] = (
            None,
            File(v1, kind, 1) if isinstance(v1, str) else v1,
            File(v2, kind, 2) if isinstance(v2, str) else v2,
        )

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(name for source in self.sources if source for name in source.files)

    def __set_name__(self, owner: type[Controller], name: str) -> None:
        self.owner = owner
        self.name = name

    @property
    def option(self) -> str:
        """How messages call it: ``memory.max``."""
        return f"{self.owner.name}.{self.name}"

    @overload
    def __get__(self, controller: None, owner: type) -> Self: ...
    @overload
    def __get__(self, controller: Controller, owner: type) -> T: ...
    def __get__(self, controller: Controller | None, owner: type) -> T | Self:
        if controller is None:
            return self
        return self.source(controller).read(controller)

    def __set__(self, controller: Controller, value: Never) -> None:
        raise AttributeError(f"{self.option} can only be read")

    def source(self, controller: Controller) -> Source[T, Any]:
        """Where *controller*'s version keeps this; :class:`UnsupportedError` if nowhere."""
        source = self.sources[controller.version]
        if source is None:
            hint = f"; {self.instead}" if self.instead else ""
            raise UnsupportedError(
                f"cgroup v{controller.version} has no {self.option}, "
                f"v{3 - controller.version} does{hint}"
            )
        return source


class Setting(Reading[T], Generic[T, W]):
    """An attribute that can be read and set."""

    access = "rw"

    def __init__(
        self,
        kind: Kind[T, W],
        *,
        v2: str | Source[T, W] | None = None,
        v1: str | Source[T, W] | None = None,
        since: str = "",
        instead: str = "",
        doc: str = "",
    ) -> None:
        super().__init__(kind, v2=v2, v1=v1, since=since, instead=instead, doc=doc)

    def __set__(self, controller: Controller, value: W) -> None:
        for step in self.steps(controller, value):
            step.take()

    def steps(self, controller: Controller, value: W, option: str = "") -> list[Step]:
        """The writes that would set *value*; *option* is named where the value is invalid."""
        return self.source(controller).steps(controller, value, option or self.option)


def described(controller: type[Controller]) -> Iterator[Reading[Any]]:
    """All attributes that *controller* describes, in the order of the file."""
    for cls in reversed(controller.__mro__):
        yield from (line for line in vars(cls).values() if isinstance(line, Reading))


def peek(controller: Controller | None, line: Reading[T]) -> T | None:
    """The attribute's value, or None where this machine does not know it."""
    if controller is None or line.sources[controller.version] is None:
        return None
    try:
        return line.source(controller).read(controller)
    except UnsupportedError:
        return None
