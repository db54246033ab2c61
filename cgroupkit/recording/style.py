"""How a picture looks: colours that the colour-blind can tell apart, fonts, labels beside a panel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import attrs
from matplotlib import font_manager, ft2font
from matplotlib.axes import Axes

# Okabe and Ito, 2008
BLUE, SKY, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK, GREY, LIGHT = "#222222", "#6b6b6b", "#b8b8b8"

FONT = "DejaVu Sans"
SMALL, NORMAL, LARGE = 8.0, 9.0, 11.0
"""Points."""

RC: dict[str, Any] = {
    "font.family": [FONT],
    "font.size": NORMAL,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-6, 7),
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.4,
    "legend.handletextpad": 0.5,
    "lines.linewidth": 1.2,
    "svg.fonttype": "path",
    "svg.hashsalt": "cgroupkit",
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
}


@cache
def _font() -> ft2font.FT2Font:
    return font_manager.get_font(font_manager.findfont(FONT))


def printable(text: str) -> str:
    """*text* in one line; what the font does not have as ``?``."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() and _font().get_char_index(ord(c)) else "?" for c in line)


@attrs.frozen
class Label:
    """A word to the right of a panel, at the height of a value."""

    value: float
    text: str
    color: str


def put_labels(axes: Axes, labels: Sequence[Label], *, gap: float, line: float) -> None:
    """Beside *axes*, moved apart so that none covers another.

    *gap* and *line* are shares of the width and height of *axes*.
    """
    low, high = axes.get_ylim()
    ordered = sorted(labels, key=lambda label: label.value)
    wanted = [min((label.value - low) / (high - low), 1.0) for label in ordered]
    for label, true, place in zip(ordered, wanted, _apart(wanted, line), strict=True):
        axes.annotate(
            label.text,
            (1, true),
            (1 + gap, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=label.color,
            fontsize=SMALL,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": label.color, "lw": 0.6, "shrinkA": 1, "shrinkB": 0},
        )


def _apart(wanted: Sequence[float], least: float) -> list[float]:
    """Each at least *least* above the one before, and as near to where it is wanted as may be."""
    groups: list[tuple[float, int]] = []  # the middle, and how many
    for place in wanted:
        middle, count = place, 1
        while groups and middle - groups[-1][0] < least * (count + groups[-1][1]) / 2:
            before, many = groups.pop()
            middle = (before * many + middle * count) / (many + count)
            count += many
        groups.append((middle, count))
    return [
        middle + (number - (count - 1) / 2) * least
        for middle, count in groups
        for number in range(count)
    ]
