"""What all panels of a picture share: the view, limits, units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from cgroupkit.recording import curves
from cgroupkit.recording.curves import Array, Curve
from cgroupkit.recording.loading import Recording
from cgroupkit.recording.style import Label
from cgroupkit.units import format_bytes

FAR = 3.0
"""How many times as high as the data a limit may be and still be drawn: above, it is only named."""

DASHED = (0, (5, 3))


@attrs.frozen(kw_only=True, eq=False)
class View:
    """What all panels share."""

    recording: Recording
    when: Array
    """Seconds."""
    unit: float
    """Seconds of one unit of the time axis."""
    window: float
    """Seconds over which rates are averaged."""
    points: int
    """How many a curve may have."""

    @property
    def x(self) -> Array:
        found: Array = self.when / self.unit
        return found

    def place(self, time: float) -> float:
        """Where a time of the recording is on the time axis."""
        return (time - self.recording.times[0]) / self.unit

    def rate(self, amount: Array, scale: float) -> Curve:
        values = curves.rate(self.when, amount, self.window) / scale
        return curves.thinned(self.x, values, self.points, banded=self.banded)

    @property
    def banded(self) -> bool:
        """Whether a point of a curve stands for more than a rate is averaged over anyway."""
        return float(self.when[-1]) / self.points > self.window

    def limit(self, name: str, scale: float) -> Array | None:
        found = curves.series(self.recording, name)
        return None if found is None else found / scale


@attrs.frozen
class Drawn:
    """What is to be put beside and above a panel."""

    handles: Sequence[Any]
    labels: Sequence[Label]


def line(axes: Axes, curve: Curve, color: str, *, filled: float = 0.0) -> None:
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.when, curve.low, curve.high, color=color, alpha=0.25, lw=0)
    if filled:
        axes.fill_between(curve.when, 0, curve.value, color=color, alpha=filled, lw=0)
    axes.plot(curve.when, curve.value, color=color)


@attrs.frozen(eq=False)
class Limit:
    """A limit over time, in the panel's unit; NaN is none."""

    name: str
    text: str
    """What it is in the end."""
    values: Array
    color: str
    style: Any


def limits(axes: Axes, view: View, found: Sequence[Limit], top: float) -> Drawn:
    """Lines for limits near the data, whose highest is *top*, and words beside. Sets the range."""
    handles, labels, drawn = [], [], [top]
    for limit in found:
        near = limit.values <= FAR * top
        named = not np.isnan(limit.values[-1])
        if np.any(near):
            x, shown = curves.steps(view.x, np.where(near, limit.values, np.nan))
            axes.step(x, shown, where="post", color=limit.color, linestyle=limit.style, lw=1.1)
            drawn.append(float(np.nanmax(shown)))
            if not near[-1] or not named:
                handles.append(
                    Line2D([], [], color=limit.color, linestyle=limit.style, label=limit.name)
                )
        if named:
            words = f"{limit.name} {limit.text}"
            place = limit.values[-1] if near[-1] else np.inf
            labels.append(Label(place, words if near[-1] else f"{words} ↑", limit.color))
    axes.set_ylim(0, 1.08 * max(drawn))
    return Drawn(handles, labels)


_UNITS = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}


def byte_unit(top: float) -> tuple[str, float]:
    """The largest unit of which there are at least two."""
    return max(((n, s) for n, s in _UNITS.items() if top >= 2 * s or s == 1), key=lambda unit: unit[1])


def size(number: float | None) -> str:
    return "" if number is None else spaced(format_bytes(round(number)))


def spaced(text: str) -> str:
    """``64MiB`` as ``64 MiB``."""
    digits = text.rstrip("BKMGTPEi")
    return f"{digits} {text[len(digits) :]}"


def peak(recording: Recording) -> int | None:
    """The most memory in use: the kernel's own figure, if it is of this time, or the samples'."""
    sampled = max(
        (v for v in recording.changes("memory.current").values if v is not None), default=None
    )
    known = [value for value in recording.changes("memory.peak").values if value is not None]
    if sampled is not None and known and (known[-1] > known[0] or known[0] == 0):
        return max(known[-1], sampled)
    return sampled
