"""Samples as curves: rates out of counters, and long recordings made short for drawing."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from cgroupkit.recording.loading import Recording
from cgroupkit.recording.values import DISK

Array = NDArray[np.float64]

TICK = 0.01
"""Seconds: the longest that a kernel takes to bring the CPU time of a running task up to date."""


def times(recording: Recording) -> Array:
    return np.asarray(recording.times, dtype=float) - recording.times[0]


def series(recording: Recording, name: str) -> Array | None:
    """One value a sample, NaN where it is None; nothing if it is never known."""
    changes = recording.changes(name)
    whole = len(recording.times)
    if all(value is None for value in changes.values):
        return None
    found = np.full(whole, np.nan)
    values = np.array(changes.values, dtype=float)
    found[changes.numbers[0] :] = np.repeat(values, changes.lengths(whole))
    return found


def counter(recording: Recording, name: str, *, from_zero: bool = False) -> Array | None:
    """How much was added since the start, though it be set back meanwhile.

    With *from_zero* it began at 0 when it was not known yet, as a disk's does.
    """
    found = series(recording, name)
    if found is None:
        return None
    first = np.flatnonzero(~np.isnan(found))[0]
    found[:first] = 0 if from_zero else found[first]
    return np.concatenate([[0.0], np.cumsum(np.maximum(np.nan_to_num(np.diff(found)), 0))])


def disks(recording: Recording, kind: str) -> Array | None:
    """Of all disks together; *kind* is one of DISK. Nothing if I/O is not accounted for."""
    assert kind in DISK
    if recording.last("io.disks") is None:
        return None
    names = [n for n in recording.names if n.startswith("io.") and n.endswith(f".{kind}")]
    found = (counter(recording, name, from_zero=True) for name in names)
    return sum((each for each in found if each is not None), np.zeros(len(recording.times)))


def window(recording: Recording) -> float:
    """Over how many seconds rates are to be averaged.

    CPU time is brought up to date once a tick, so that it comes in lumps: at least ten of these, as
    long as they are seen to be. A CPU limit lets run and stops once a period: whole periods, if it did.
    """
    when = times(recording)
    step = float(np.median(np.diff(when)))
    usage = counter(recording, "cpu.usage_usec")
    lump = step
    if usage is not None:
        raised = np.diff(when[1:][np.diff(usage) > 0])
        lump = float(np.percentile(raised, 25)) if len(raised) else step
    found = max(2 * step, 10 * min(lump, TICK))
    if recording.throttled():
        found = max(found, (recording.last("cpu_max.period") or 0) / 1e6)
    return min(found, float(when[-1]) / 4)


def rate(when: Array, amount: Array, seconds: float) -> Array:
    """What was added a second, around each moment, averaged twice so that no corners are left."""
    return _mean(when, _slope(when, amount, seconds), seconds / 2)


def _slope(when: Array, amount: Array, seconds: float) -> Array:
    low = np.maximum(when - seconds / 2, when[0])
    high = np.minimum(when + seconds / 2, when[-1])
    grown = np.interp(high, when, amount) - np.interp(low, when, amount)
    found: Array = grown / (high - low)
    return found


def _mean(when: Array, values: Array, seconds: float) -> Array:
    area = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(when))])
    return _slope(when, area, seconds)


def steps(when: Array, values: Array) -> tuple[Array, Array]:
    """Where a value changes, and the end."""
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    kept = np.concatenate([[0], np.flatnonzero(~same) + 1, [len(when) - 1]])
    return when[kept], values[kept]


@attrs.frozen(eq=False)
class Curve:
    """Points to draw; *low* and *high* are the range about each if it stands for many."""

    when: Array
    value: Array
    low: Array | None = None
    high: Array | None = None

    @property
    def top(self) -> float:
        return float(np.max(self.value if self.high is None else self.high))


def thinned(when: Array, values: Array, points: int, *, banded: bool) -> Curve:
    """The mean of each of so many stretches, and its range; as it is if there are not many more."""
    if len(when) <= 3 * points:
        return Curve(when, values)
    starts = _starts(when, points)
    counts = np.diff([*starts, len(when)])
    return Curve(
        np.add.reduceat(when, starts) / counts,
        np.add.reduceat(values, starts) / counts,
        np.minimum.reduceat(values, starts) if banded else None,
        np.maximum.reduceat(values, starts) if banded else None,
    )


def extremes(when: Array, points: int, *columns: Array) -> NDArray[np.intp]:
    """Which samples to draw so that no highest and no lowest value of a stretch is lost."""
    if len(when) <= 3 * points:
        return np.arange(len(when))
    starts = _starts(when, points)
    ends = [*starts[1:], len(when)]
    kept: set[Any] = {0, len(when) - 1}
    for column in columns:
        for start, end in zip(starts, ends, strict=True):
            part = column[start:end]
            kept |= {start + int(np.argmin(part)), start + int(np.argmax(part))}
    return np.array(sorted(kept), dtype=np.intp)


def _starts(when: Array, points: int) -> NDArray[np.intp]:
    """Where each stretch of the same length begins, as far as there are samples in it."""
    found = np.searchsorted(when, np.linspace(when[0], when[-1], points, endpoint=False))
    return np.unique(found)
