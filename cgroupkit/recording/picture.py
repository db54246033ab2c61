"""A recording as the bytes of a PNG or SVG: where everything goes. Needs matplotlib."""

from __future__ import annotations

import io
import re
import shlex

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import AutoMinorLocator, MaxNLocator

from cgroupkit.recording import curves
from cgroupkit.recording.loading import Recording
from cgroupkit.recording.panel import Drawn, View, peak, size
from cgroupkit.recording.panels import PANELS
from cgroupkit.recording.style import GREY, LARGE, NORMAL, RC, SMALL, printable, put_labels

# Pixels of a picture 1200 wide; a larger one is the same, larger.
WIDTH, DPI = 1200, 100
LEFT, RIGHT, TOP, BOTTOM, NOTE = 70, 150, 58, 54, 15
LEGEND, PANEL = 30, 163
"""The line above each panel, and a panel."""


def picture(
    recording: Recording, kind: str, pixels: tuple[int, int] | None, title: str | None
) -> bytes:
    with style.context(["default", RC]):  # whatever the user's own settings are
        figure = _figure(recording, pixels, title)
        data = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(data, format=kind, dpi=figure.dpi, metadata=metadata)
    if kind == "png":
        return data.getvalue()
    size = 'width="{:.0f}" height="{:.0f}"'.format(*figure.bbox.size)
    return re.sub(rb'width="[0-9.]+pt" height="[0-9.]+pt"', size.encode(), data.getvalue(), count=1)


def _figure(recording: Recording, pixels: tuple[int, int] | None, title: str | None) -> Figure:
    figure = Figure()
    FigureCanvasAgg(figure)
    when = curves.times(recording)
    word, unit = _time_unit(float(when[-1]))
    view = View(
        recording=recording,
        when=when,
        unit=unit,
        window=curves.window(recording),
        points=(WIDTH - LEFT - RIGHT) // 2,
    )
    drawn: list[tuple[Axes, Drawn]] = []
    missing = []
    for panel in PANELS:
        axes = figure.add_axes((0, 0, 1, 1), label=panel.__name__)
        found = panel(axes, view)
        if isinstance(found, str):
            missing.append(found)
            axes.remove()
        else:
            drawn.append((axes, found))
    notes = _notes(recording, view, missing)
    height = _arrange(figure, [axes for axes, _ in drawn], BOTTOM + NOTE * len(notes), pixels)
    for axes, found in drawn:
        _finish(axes, found, float(view.x[-1]), axes is drawn[-1][0])
        axes.set_xlabel(f"time ({word})" if axes is drawn[-1][0] else "")
    _words(figure, height, recording, title, notes)
    return figure


def _time_unit(seconds: float) -> tuple[str, float]:
    if seconds < 0.5:
        return "ms", 1e-3
    if seconds <= 300:
        return "s", 1.0
    return ("min", 60.0) if seconds <= 4 * 3600 else ("h", 3600.0)


def _arrange(figure: Figure, panels: list[Axes], below: float, pixels: tuple[int, int] | None) -> float:
    """Give figure and panels their places; how high the figure is, in pixels of one 1200 wide."""
    count = max(len(panels), 1)
    natural = TOP + below + count * (LEGEND + PANEL)
    wide, high = pixels or (WIDTH, natural)
    scale = min(wide / WIDTH, high / natural)
    scale = max(scale, 0.6)
    figure.dpi = DPI * scale
    figure.set_size_inches(wide / figure.dpi, high / figure.dpi)
    width, height = wide / scale, high / scale
    each = (height - TOP - below) / count
    for number, axes in enumerate(panels):
        bottom = height - TOP - (number + 1) * each
        axes.set_position(
            (
                LEFT / width,
                bottom / height,
                (width - LEFT - RIGHT) / width,
                (each - LEGEND) / height,
            )
        )
    return height


def _finish(axes: Axes, found: Drawn, end: float, last: bool) -> None:
    axes.set_xlim(0, end)
    axes.margins(x=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_minor_locator(AutoMinorLocator())
    axes.tick_params(axis="x", which="both", labelbottom=last)
    axes.tick_params(axis="x", which="minor", length=2)
    wide, high = (side / axes.figure.dpi * DPI for side in axes.bbox.size)
    axes.yaxis.set_label_coords(-46 / wide, 0.5)
    axes.legend(
        handles=list(found.handles),
        loc="lower left",
        bbox_to_anchor=(-8 / wide, 1),
        borderaxespad=0.75,
        borderpad=0,
        ncols=len(found.handles),
    )
    put_labels(axes, found.labels, gap=15 / wide, line=13 / high)


def _words(
    figure: Figure, height: float, recording: Recording, title: str | None, notes: list[str]
) -> None:
    width = figure.get_figwidth() * DPI
    left = 14 / width
    head = printable(title if title is not None else _command(recording))
    text = figure.text(left, 1 - 26 / height, head, fontsize=LARGE, weight="bold", parse_math=False)
    _shorten(text, (width - 28) / width)
    text = figure.text(
        left, 1 - 48 / height, printable(_outcome(recording)), fontsize=NORMAL, parse_math=False
    )
    _shorten(text, (width - 28) / width)
    for number, note in enumerate(reversed(notes)):
        y = (12 + NOTE * number) / height
        text = figure.text(left, y, printable(note), fontsize=SMALL, color=GREY, parse_math=False)
        _shorten(text, (width - 28) / width)


def _shorten(text: Text, share: float) -> None:
    """Cut off what is wider than this share of the figure."""
    figure = text.get_figure()
    assert figure
    whole = text.get_text()
    low, high = 0, len(whole)
    room = share * figure.bbox.width
    if text.get_window_extent().width <= room:
        return
    while low < high:
        middle = (low + high + 1) // 2
        text.set_text(whole[:middle].rstrip() + " …")
        if text.get_window_extent().width <= room:
            low = middle
        else:
            high = middle - 1
    text.set_text(whole[:low].rstrip() + " …")


def _command(recording: Recording) -> str:
    return shlex.join(recording.argv)[:1000] if recording.argv else recording.header.cgroup


_VERDICTS = {"ok": "ended well", "oom": "killed: out of memory", "timeout": "killed: out of time"}


def _outcome(recording: Recording) -> str:
    end = recording.end
    if end is None:
        parts = ["the end was not recorded"]
    else:
        parts = [_VERDICTS.get(end.verdict or "", end.reason or "")]
    parts.append(duration(recording.duration))
    most = peak(recording)
    if most is not None:
        parts.append(f"memory peak {size(most)}")
    used = curves.counter(recording, "cpu.usage_usec")
    if used is not None:
        parts.append(f"CPU time {duration(float(used[-1]) / 1e6)}")
    return "  ·  ".join(filter(None, parts))


def duration(seconds: float) -> str:
    if seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min", f"{rest} s"]
    return " ".join(part for part in parts if part and not part.startswith("0 "))


def _notes(recording: Recording, view: View, missing: list[str]) -> list[str]:
    header, end = recording.header, recording.end
    span = f"{view.window * 1000:.0f} ms" if view.window < 1 else f"{view.window:.3g} s"
    parts = [f"Rates are averages over {span}"]
    if view.banded:
        parts[0] += ", light bands their range"
    parts.append(f"{len(recording.times)} samples at {header.hz} Hz")
    if end and end.missed:
        parts[-1] += f", {end.missed} missed"
    cpus = "" if header.cpus is None else f", {header.cpus} CPUs"
    parts.append(f"Linux {header.kernel.partition('-')[0]}{cpus}")
    notes = ["  ·  ".join(parts)]
    if end and end.error:
        notes.insert(0, f"The recording ended early: {end.error}")
    if missing:
        notes.insert(0, f"Not shown: {', '.join(missing)}")
    return notes
