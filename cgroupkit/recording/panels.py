"""The panels of a picture: memory, CPU, I/O and pressure.

Each is drawn by a function, which gives what is to be put beside it, or why there is nothing to draw.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cgroupkit.recording import curves
from cgroupkit.recording.curves import Array
from cgroupkit.recording.panel import DASHED, Drawn, Limit, View, byte_unit, limits, line, peak, size
from cgroupkit.recording.style import BLUE, GREEN, GREY, INK, LIGHT, ORANGE, PURPLE, RED, SKY, Label

LEAST = 0.01
"""What share of the whole has to be seen of something for a word on it."""


def memory(axes: Axes, view: View) -> Drawn | str:
    recording = view.recording
    current = curves.series(recording, "memory.current")
    if current is None:
        return "memory (not accounted for here)"
    current = np.nan_to_num(current)
    unit, scale = byte_unit(float(np.max(current)))
    axes.set_ylabel(f"Memory ({unit})")
    parts = {name: curves.series(recording, f"memory.stat.{name}") for name in ("anon", "file")}
    swap = curves.series(recording, "memory.swap_current")
    known = [np.nan_to_num(part) for part in (*parts.values(), swap) if part is not None]
    kept = curves.extremes(view.when, view.points, current, *known)
    x, whole = view.x[kept], current[kept] / scale
    handles: list[Any] = []
    below = np.zeros(len(kept))
    colors = {"anon": SKY, "file": ORANGE}
    names = {"anon": "anonymous", "file": "page cache"}
    for name, part in parts.items():
        if part is not None:
            above = np.minimum(below + np.nan_to_num(part)[kept] / scale, whole)
            axes.fill_between(x, below, above, color=colors[name], alpha=0.55, lw=0)
            if np.max(above - below) > LEAST * np.max(whole):
                handles.append(Patch(color=colors[name], alpha=0.55, lw=0, label=names[name]))
            below = above
    axes.fill_between(x, below, whole, color=LIGHT if handles else SKY, alpha=0.55, lw=0)
    if handles and np.max(whole - below) > LEAST * np.max(whole):
        handles.append(Patch(color=LIGHT, alpha=0.55, lw=0, label="kernel, other"))
    axes.plot(x, whole, color=BLUE)
    handles.insert(0, Line2D([], [], color=BLUE, label="memory in use"))
    top = float(np.max(whole))
    if swap is not None and np.nanmax(swap) > 0:
        axes.plot(x, np.nan_to_num(swap)[kept] / scale, color=PURPLE)
        handles.append(Line2D([], [], color=PURPLE, label="swap in use"))
        top = max(top, float(np.nanmax(swap)) / scale)
    found = [
        Limit(f"memory.{name}", size(recording.last(f"memory.{name}")), values, color, style)
        for name, color, style in (("max", INK, DASHED), ("high", GREY, (0, (5, 2, 1, 2))))
        if (values := view.limit(f"memory.{name}", scale)) is not None
    ]
    beside = limits(axes, view, found, top or 1.0)
    return Drawn(
        [*handles, *beside.handles, *_oom_kills(axes, view)],
        [_peak(axes, view, current, scale), *beside.labels],
    )


def _peak(axes: Axes, view: View, current: Array, scale: float) -> Label:
    place = int(np.argmax(current))
    value = float(current[place]) / scale
    axes.plot(
        [view.x[place]], [value], "o", color=BLUE, ms=4, mec="white", mew=0.8, zorder=5, clip_on=False
    )
    return Label(value, f"peak {size(peak(view.recording))}", BLUE)


def _oom_kills(axes: Axes, view: View) -> list[Any]:
    kills = view.recording.oom_kills()
    if not kills:
        return []
    pixel = view.x[-1] / view.points
    places = sorted({round(view.place(t) / pixel): view.place(t) for t, _ in kills}.values())
    whole = axes.get_xaxis_transform()
    width = 1.3 if len(places) < 30 else 0.6
    axes.vlines(places, 0, 1, color=RED, lw=width, zorder=4, transform=whole)
    axes.plot(
        places, [1.0] * len(places), "v", color=RED, ms=6, mec="white", mew=0.5, zorder=6,
        transform=whole, clip_on=False,
    )  # fmt: skip
    count = sum(count for _, count in kills)
    text = "OOM kill" if count == 1 else f"OOM kills: {count}"
    return [Line2D([], [], color=RED, marker="v", ms=5, lw=1.3, label=text)]


# CPU


def cpu(axes: Axes, view: View) -> Drawn | str:
    recording = view.recording
    usage = curves.counter(recording, "cpu.usage_usec")
    if usage is None:
        return "CPU (not accounted for here)"
    axes.set_ylabel("CPU (cores)")
    used = view.rate(usage, 1e6)
    handles: list[Any] = [Line2D([], [], color=BLUE, label="CPU time used")]
    spans = _joined(recording.throttled(), float(view.when[-1]) / view.points)
    if spans:
        places = [(view.place(begin), (end - begin) / view.unit) for begin, end in spans]
        shade: dict[str, Any] = {"color": ORANGE, "alpha": 0.28, "lw": 0}
        axes.broken_barh(places, (0, 1), transform=axes.get_xaxis_transform(), **shade)
        handles.append(Patch(label="throttled", **shade))
    line(axes, used, BLUE)
    found = []
    quota = view.limit("cpu_max.quota", 1.0)
    if quota is not None:
        period = curves.series(recording, "cpu_max.period")
        cores = quota / (100_000 if period is None else period)
        found.append(Limit("cpu.max", f"{cores[-1]:.3g}", cores, INK, DASHED))
    beside = limits(axes, view, found, max(used.top, 0.05))
    return Drawn([*handles, *beside.handles], beside.labels)


def _joined(spans: list[tuple[float, float]], least: float) -> list[tuple[float, float]]:
    """Without gaps shorter than *least*, which cannot be seen."""
    found: list[tuple[float, float]] = []
    for begin, end in spans:
        if found and begin - found[-1][1] < least:
            begin = found.pop()[0]  # noqa: PLW2901
        found.append((begin, end))
    return found


# I/O


def disk(axes: Axes, view: View) -> Drawn | str:
    amounts = [curves.disks(view.recording, kind) for kind in ("rbytes", "wbytes")]
    if amounts[0] is None or amounts[1] is None:
        return "I/O (not accounted for here)"
    totals = [float(amount[-1]) for amount in amounts if amount is not None]
    if not any(totals):
        return "I/O (none counted)"
    top = max(view.rate(amount, 1.0).top for amount in amounts if amount is not None)
    unit, scale = byte_unit(top)
    axes.set_ylabel(f"I/O ({unit}/s)")
    handles = []
    for amount, total, color, word in zip(
        amounts, totals, (BLUE, ORANGE), ("read", "written"), strict=True
    ):
        if amount is not None and total:
            line(axes, view.rate(amount, scale), color, filled=0.18)
            handles.append(Line2D([], [], color=color, label=f"{word}: {size(total)}"))
    axes.set_ylim(0, 1.08 * top / scale)
    return Drawn(handles, [])


# Pressure

_RESOURCES = (("cpu", "CPU", BLUE), ("memory", "memory", RED), ("io", "I/O", GREEN))


def pressure(axes: Axes, view: View) -> Drawn | str:
    found: dict[str, list[Array]] = {}
    known = False
    for name, _, _ in _RESOURCES:
        totals = [
            curves.counter(view.recording, f"pressure.{name}.{kind}.total") for kind in ("some", "full")
        ]
        known = known or totals[0] is not None
        if totals[0] is not None and totals[0][-1] > 0:
            found[name] = [total for total in totals if total is not None]
    if not found:
        return "pressure (none)" if known else "pressure (not accounted for here)"
    axes.set_ylabel("Pressure (% of time)")
    handles: list[Any] = []
    top = 1.0
    for name, word, color in _RESOURCES:
        for number, total in enumerate(found.get(name, ())):
            curve = view.rate(total, 1e4)
            curve = attrs.evolve(curve, value=np.minimum(curve.value, 100))
            if number == 0:
                line(axes, curve, color)
                handles.append(Line2D([], [], color=color, label=word))
            elif total[-1] > 0 and view.banded:
                axes.plot(curve.when, curve.value, color=color, linestyle=DASHED, lw=0.9)
            elif total[-1] > 0:
                axes.fill_between(curve.when, 0, curve.value, color=color, alpha=0.22, lw=0)
            top = max(top, min(curve.top, 100.0))
    axes.set_ylim(0, 1.08 * top)
    handles.append(Line2D([], [], color=GREY, label="some tasks waited"))
    all_of_them = "all tasks waited"
    if view.banded:
        handles.append(Line2D([], [], color=GREY, linestyle=DASHED, lw=0.9, label=all_of_them))
    else:
        handles.append(Patch(color=GREY, alpha=0.3, lw=0, label=all_of_them))
    return Drawn(handles, [])


PANELS = (memory, cpu, disk, pressure)
