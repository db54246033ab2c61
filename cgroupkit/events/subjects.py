"""One cgroup, or the machine, and all that is watched of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from cgroupkit import members
from cgroupkit.cgroup import Cgroup
from cgroupkit.errors import EXHAUSTED, FileError, NotFoundError, UnsupportedError, file_error
from cgroupkit.events import counts, psi
from cgroupkit.events.eventfd import Signal
from cgroupkit.events.kinds import WATCHABLE, Event, EventKind, parse_kinds
from cgroupkit.events.oom import OomV1
from cgroupkit.events.sources import Look, Presence, Source, explained
from cgroupkit.events.states import State
from cgroupkit.units import invalid

Kinds = frozenset[EventKind]
_STARVED = 0.5
"""Seconds until a source is asked again that lacked a descriptor."""


class Subject:
    """What is watched of one cgroup, until it is removed."""

    def __init__(
        self,
        cgroup: Cgroup | None,
        presence: Presence,
        sources: list[Source],
        kinds: Kinds = frozenset(),
    ) -> None:
        self._cgroup = cgroup
        self._presence = presence
        self.sources = sources
        """Those that can still tell something."""
        self._silent: list[Source] = []
        self._kinds = kinds
        self.fds: set[int] = set()
        """The descriptors that the watch polls."""
        self.changed = True
        """Whether another source has fallen silent."""
        self.done = False
        """Whether the cgroup is gone."""

    @property
    def again(self) -> float | None:
        """time.monotonic() of a look that is due before the usual interval."""
        return min((s.again for s in self.sources if s.again is not None), default=None)

    @property
    def always(self) -> bool:
        return any(source.always for source in self.sources)

    def look(self, *, unasked: bool = False) -> Look:
        """What has happened; if *unasked*, only by what the kernel does not tell."""
        for source in list(self.sources):
            if unasked and source.told:
                continue
            source.again = None
            try:
                yield from source.look()
            except NotFoundError:  # removed, or its controller was disabled
                self.sources.remove(source)
                self._silent.append(source)
                self.changed = True
            except FileError as error:
                if error.errno not in EXHAUSTED:
                    raise
                source.again = time.monotonic() + _STARVED
            yield None
        if self.done or not self._presence.gone or any(source.lingers for source in self.sources):
            return
        for source in (*self._silent, *self.sources):
            yield from source.last()
        if EventKind.REMOVED in self._kinds and self._cgroup is not None:
            yield Event(kind=EventKind.REMOVED, cgroup=self._cgroup)
        self.done = True

    def masks(self) -> dict[int, int] | None:
        """Descriptor -> what to poll it for; None if it is as it was when last asked."""
        if not self.changed and not any(source.changed for source in self.sources):
            return None
        self.changed = False
        for source in self.sources:
            source.changed = False
        return {fd: mask for source in self.sources for fd, mask in source.masks.items()}

    def sweep(self) -> None:
        """Close what is polled no more."""
        for source in self.sources:
            source.sweep()

    def close(self) -> None:
        for source in (*self.sources, *self._silent):
            source.close()
        self.sources, self._silent = [], []


def of_cgroup(cgroup: Cgroup, words: tuple[EventKind | str, ...], recursive: bool) -> Subject:
    """*words* or, if there are none, all that can be known of *cgroup* here."""
    _check(cgroup)
    kinds = parse_kinds(words) or WATCHABLE
    presence = Presence(members.effective(cgroup.branches))
    if presence.gone:
        missing = cgroup.branches[0].directory
        raise file_error(2, f"cannot watch {missing}: the cgroup was removed", missing)
    sources: list[Source] = []
    try:
        for make in _makers(cgroup, kinds, recursive, strict=bool(words)):
            try:
                sources.append(make())
            except UnsupportedError:
                if words:
                    raise
        if cgroup.branches[0].is_root and kinds == {EventKind.REMOVED}:
            raise UnsupportedError("the root cgroup is never removed: there is nothing to wait for")
    except BaseException as error:
        for source in sources:
            source.close()
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            raise explained(error, cgroup.branches[0].directory, "watch") from None
        raise
    return Subject(cgroup, presence, sources, kinds)


def _check(cgroup: object) -> None:
    if not isinstance(cgroup, Cgroup):
        raise invalid("cgroup", cgroup, "give a Cgroup, such as Cgroup(path)")


def _makers(
    cgroup: Cgroup, kinds: Kinds, recursive: bool, *, strict: bool
) -> Iterator[Callable[[], Source]]:
    """What makes the sources of *kinds*."""
    kinds = _of_its_own(cgroup, kinds, strict)
    for on, off in ((EventKind.POPULATED, EventKind.EMPTY), (EventKind.FROZEN, EventKind.THAWED)):
        if kinds & {on, off}:
            yield partial(State, cgroup, on, kinds)
    if EventKind.PIDS_MAX in kinds:
        yield partial(counts.pids, cgroup, recursive)
    of_memory = kinds & {*counts.MEMORY}
    if not of_memory:
        return
    version = 2
    with suppress(UnsupportedError):
        version = cgroup.branch("memory").version
    if version == 1:
        if EventKind.MEMORY_HIGH in kinds and strict:
            raise UnsupportedError(
                "v1 has no memory.high, and does not tell when memory.soft_limit is exceeded; in a "
                "program, use cgroupkit.events.memory_usage(cgroup, threshold)"
            )
        if EventKind.MEMORY_MAX in kinds:
            yield partial(counts.failures, cgroup, recursive)
        of_memory -= {EventKind.MEMORY_HIGH, EventKind.MEMORY_MAX}
        if of_memory:
            yield partial(OomV1, cgroup, of_memory, recursive)
    elif of_memory:
        yield partial(counts.memory, cgroup, of_memory, recursive)


def _of_its_own(cgroup: Cgroup, kinds: Kinds, strict: bool) -> Kinds:
    """*kinds* without those of hierarchies in whose root alone *cgroup* is: they are everybody's."""
    roots = {*cgroup.branches} - {*members.effective(cgroup.branches)}
    for controller, some in {"pids": {EventKind.PIDS_MAX}, "memory": {*counts.MEMORY}}.items():
        if kinds & some and any(root.hierarchy.has(controller) for root in roots):
            if strict:
                raise UnsupportedError(
                    f"in the {controller} hierarchy {cgroup.name} is the root cgroup, which tells of "
                    'the whole machine; watch Cgroup("/") for that'
                )
            kinds -= some
    return kinds


def of_trigger(cgroup: Cgroup | None, resource: str, wanted: dict[str, str | None]) -> Subject:
    if cgroup is not None:
        _check(cgroup)
    branch = psi.branch_of(cgroup)
    presence = Presence((branch,) if branch else ())
    sources: list[Source] = []
    try:
        for option, text in wanted.items():
            if text is not None:
                sources.append(psi.Trigger(cgroup, resource, option, text))
    except BaseException:
        for source in sources:
            source.close()
        raise
    return Subject(cgroup, presence, sources)


def of_signal(cgroup: Cgroup, make: Callable[[], Signal]) -> Subject:
    _check(cgroup)
    return Subject(cgroup, Presence((cgroup.branch("memory"),)), [make()])
