"""A recording as it is read from its file."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs

from cgroupkit.errors import InvalidValueError
from cgroupkit.recording import values
from cgroupkit.recording.lines import FORMAT, VERSION, Path

LONGEST = 1 << 24
"""Bytes of a header: what goes on for longer is none."""


@attrs.frozen(kw_only=True)
class Header:
    """What was recorded, where and when."""

    argv: tuple[str, ...] | None
    """The command; None where that is not known, as of a cgroup that ran already."""
    cgroup: str
    hz: int
    """Samples a second that were asked for."""
    started: str
    """Wall-clock time, ISO 8601, UTC."""
    kernel: str
    cpus: int | None


@attrs.frozen(kw_only=True)
class End:
    """How it ended; verdict, returncode, reason and usage are None where no run was told of."""

    samples: int
    missed: int
    """Samples that there was no time for."""
    rate: float
    """Samples a second that were achieved."""
    error: str | None
    """What ended the recording before its time."""
    argv: tuple[str, ...] | None = None
    verdict: str | None = None
    returncode: int | None = None
    reason: str | None = None
    usage: Mapping[str, Any] | None = None


@attrs.define
class Changes:
    """A value over time: *values*, each from the sample *numbers* on."""

    numbers: array[int] = attrs.field(factory=lambda: array("Q"))
    values: list[int | None] = attrs.field(factory=list)

    def lengths(self, samples: int) -> list[int]:
        """For how many samples each value held, of so many."""
        return [after - number for number, after in pairwise([*self.numbers, samples])]


@attrs.frozen(kw_only=True)
class Recording:
    """A cgroup over time. ``recording["memory.current"]`` has one value for each of *times*."""

    header: Header
    times: Sequence[float]
    """Seconds since the start, of each sample."""
    end: End | None
    """None if the recorder was killed."""
    _changes: Mapping[str, Changes] = attrs.field(repr=False)

    @property
    def argv(self) -> tuple[str, ...] | None:
        """The command; None where none was told of."""
        return self.header.argv or (self.end.argv if self.end else None)

    @property
    def duration(self) -> float:
        """Seconds from the first sample to the last."""
        return self.times[-1] - self.times[0] if self.times else 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that is known: paths in :class:`Stats`, and disks as ``io.8:0.rbytes``."""
        return tuple(self._changes)

    def __getitem__(self, name: str) -> list[int | None]:
        """One value a sample; None where there is no limit, or it is not known (yet).

        Raises KeyError for a name that no recording has, with the nearest right one.
        """
        if name not in self._changes:
            values.check(name)
        changes = self.changes(name)
        series: list[int | None] = [None] * (changes.numbers[0] if changes.numbers else len(self.times))
        for value, count in zip(changes.values, changes.lengths(len(self.times)), strict=True):
            series.extend([value] * count)
        return series

    def changes(self, name: str) -> Changes:
        """The same in short: from which sample on it was what. Empty if nothing is known."""
        return self._changes.get(name, Changes())

    def last(self, name: str) -> int | None:
        """The value of the last sample."""
        return self.changes(name).values[-1] if name in self._changes else None

    def grown(self, name: str) -> Iterator[tuple[int, int]]:
        """Where a counter was raised: the sample's number, and by how much."""
        changes = self.changes(name)
        before: int | None = None
        for number, value in zip(changes.numbers, changes.values, strict=True):
            if before is not None and value is not None and value > before:
                yield number, value - before
            before = value

    def oom_kills(self) -> list[tuple[float, int]]:
        """When the OOM killer came, by the first sample that shows it, and how many it killed."""
        return [(self.times[number], count) for number, count in self.grown("memory.events.oom_kill")]

    def throttled(self) -> list[tuple[float, float]]:
        """From when to when the CPU limit held it back, as far as samples tell; in order, apart."""
        period = (self.last("cpu_max.period") or 100_000) / 1e6
        # The kernel adds the time that it held a CPU back when that may run again.
        held = {number: usec / 1e6 for number, usec in self.grown("cpu.throttled_usec")}
        found: list[tuple[float, float]] = []
        for number in sorted(held.keys() | {number for number, _ in self.grown("cpu.nr_throttled")}):
            end = self.times[number]
            begin = min(self.times[number - 1], end - min(held.get(number, 0.0), period))
            while found and begin - found[-1][1] <= 2 * period:  # within a period it runs, too
                begin = min(begin, found.pop()[0])
            found.append((max(begin, self.times[0]), end))
        return found


def load(path: Path) -> Recording:
    """Read a recording, of a run that was killed, or still goes on, too.

    Raises :class:`InvalidValueError` where *path* cannot be read, is not a recording, or is broken in
    the middle. A last line that is not whole is left out.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            return _read(file, name)
    except OSError as error:
        raise InvalidValueError(f"{name}: cannot read it: {error.strerror}") from None


def _read(file: Any, name: str) -> Recording:
    header = _header(file.readline(LONGEST), name)
    times = array("d")
    changes: dict[str, Changes] = {}
    end = None
    for number, line in enumerate(file, 2):
        if not line.endswith(b"\n"):  # it is being written, or was
            break
        try:
            row = json.loads(line)
            if "end" in row:
                end = _end(row["end"])
                continue
            times.append(_time(row.pop("t"), times))
            for key, value in row.items():
                if value is not None and not isinstance(value, int):
                    raise TypeError(key)
                changed = changes.get(key) or changes.setdefault(key, Changes())
                changed.numbers.append(len(times) - 1)
                changed.values.append(value)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            if not file.read(1):
                break
            raise InvalidValueError(f"{name}: line {number} is broken: record it anew") from None
    return Recording(header=header, times=times, end=end, changes=changes)


def _time(seconds: Any, before: Sequence[float]) -> float:
    """Time does not go back, and no recording takes thirty years."""
    if not (before[-1] if before else 0) <= seconds < 1e9:
        raise ValueError(seconds)
    return float(seconds)


def _header(line: bytes, name: str) -> Header:
    try:
        about = json.loads(line)
        if about.pop("format") != FORMAT:
            raise ValueError(name)
        version = about.pop("version")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise InvalidValueError(
            f"{name} is not a recording: `cgroupkit record FILE -- COMMAND` makes one"
        ) from None
    if version != VERSION:
        raise InvalidValueError(
            f"{name} is a recording of version {version!r}; this cgroupkit reads {VERSION}: update it"
        )
    try:
        argv = about["argv"]
        return Header(
            argv=None if argv is None else tuple(map(str, argv)),
            cgroup=str(about["cgroup"]),
            hz=int(about["hz"]),
            started=str(about["started"]),
            kernel=str(about["host"]["kernel"]),
            cpus=about["host"]["cpus"],
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        raise InvalidValueError(f"{name}: its header is broken: record it anew") from None


def _end(about: dict[str, Any]) -> End:
    argv = about.get("argv")
    known = {field.name: about[field.name] for field in attrs.fields(End) if field.name in about}
    return End(**{**known, "argv": None if argv is None else tuple(argv)})
