"""Pictures: what happened is marked where it happened, and nothing covers anything."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from cgroupkit.cli import main
from cgroupkit.errors import InvalidValueError
from cgroupkit.recording import Recording, draw, load

pytest.importorskip(
    "matplotlib",
    reason="matplotlib is not installed: pictures are the same on every kernel, and tested natively",
)

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from cgroupkit.recording import curves, picture, style

PATIENCE = 120
MIB = 1 << 20
HEADER = {
    "format": "cgroupkit recording",
    "version": 1,
    "argv": ["python3", "job.py", "$x^2$", "größe", "漢\n\t字"],
    "cgroup": "/x",
    "hz": 100,
    "started": "2026-01-01T00:00:00+00:00",
    "host": {"kernel": "6.12", "cpus": 2},
}
END = {"samples": 3, "missed": 4, "rate": 99.5, "error": None, "verdict": "oom", "returncode": -9}

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def no_warning_is_given() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # what earlier tests have left
        yield


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """recorded(rows): the path of a recording of these rows."""

    def write(rows: Iterable[Row], *, end: Row | None = END, **header: Any) -> Path:
        path = tmp_path / "run.jsonl"
        with path.open("w") as file:
            for line in ({**HEADER, **header}, *rows, *([{"end": end}] if end else [])):
                file.write(json.dumps(line) + "\n")
        return path

    return write


def everything(seconds: float = 5.0, hz: int = 100) -> Iterator[Row]:
    """A run in which all is known, is limited, and goes wrong: twice, at 2 and at 4 seconds."""
    for number in range(int(seconds * hz)):
        t = number / hz
        held = throttled = 0
        if t >= 1:
            throttled = int(min(t - 1, 0.5) * 10)
            held = throttled * 30_000
        yield {
            "t": t,
            "cpu.usage_usec": int(t * 500_000),
            "cpu.nr_throttled": throttled,
            "cpu.throttled_usec": held,
            "cpu_max.quota": 50_000,
            "cpu_max.period": 100_000,
            "memory.current": int((t % 2) * 31.9 * MIB),
            "memory.stat.anon": int((t % 2) * 20 * MIB),
            "memory.stat.file": int((t % 2) * 5 * MIB),
            "memory.max": 64 * MIB,
            "memory.high": 63 * MIB,
            "memory.swap_current": MIB if t > 1 else 0,
            "memory.events.oom_kill": int(t // 2),
            "io.disks": 1,
            "io.8:0.rbytes": number * MIB,
            "io.8:0.wbytes": number * 4096,
            "pressure.cpu.some.total": int(t * 300_000),
            "pressure.cpu.full.total": int(t * 200_000),
            "pressure.memory.some.total": 0,
            "pressure.io.some.total": int(t * 10_000),
        }


def figure_of(recording: Recording, pixels: tuple[int, int] | None = None) -> Figure:
    with style_of_pictures():
        figure = picture._figure(recording, pixels, None)
        figure.canvas.draw()
    return figure


def style_of_pictures() -> Any:
    return matplotlib.style.context(["default", style.RC])


def legend(figure: Figure, panel: int) -> list[str]:
    found = figure.axes[panel].get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def beside(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.texts)


def size_of(png: Path) -> tuple[int, int]:
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


# What is in it


def test_all_that_happened_is_there(recorded: Any) -> None:
    figure = figure_of(load(recorded(everything())))
    memory, cpu, _, pressure = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "Memory (MiB)", "CPU (cores)", "I/O (MiB/s)", "Pressure (% of time)",
    ]  # fmt: skip
    assert legend(figure, 0) == [
        "memory in use", "anonymous", "page cache", "kernel, other", "swap in use", "OOM kills: 2",
    ]  # fmt: skip
    (kills,) = [found for found in memory.collections if isinstance(found, LineCollection)]
    assert [segment[0][0] for segment in kills.get_segments()] == [2.0, 4.0]
    assert sorted(beside(figure, 0)) == ["memory.high 63 MiB", "memory.max 64 MiB", "peak 63.48 MiB"]
    assert legend(figure, 1) == ["CPU time used", "throttled"]
    assert beside(figure, 1) == ["cpu.max 0.5"]
    (shade,) = cpu.collections
    xs = shade.get_paths()[0].vertices[:, 0]
    assert (xs.min(), xs.max()) == pytest.approx((1.06, 1.5), abs=0.06)
    assert legend(figure, 2) == ["read: 499 MiB", "written: 1.949 MiB"]
    assert legend(figure, 3) == ["CPU", "I/O", "some tasks waited", "all tasks waited"]
    assert 25 < pressure.get_ylim()[1] < 40
    assert "killed: out of memory · 4.99 s · memory peak 63.48 MiB" in words(figure).replace("  ", " ")
    assert "500 samples at 100 Hz, 4 missed" in words(figure)


def test_what_is_not_known_is_said_and_not_drawn(recorded: Any) -> None:
    rows = [{"t": n / 10, "memory.current": 5 * MIB, "io.disks": 0} for n in range(10)]
    figure = figure_of(load(recorded(rows, end=None, argv=None)))
    assert [axes.get_ylabel() for axes in figure.axes] == ["Memory (MiB)"]
    assert "Not shown: CPU (not accounted for here), I/O (none counted), pressure (not acc" in words(
        figure
    )
    assert words(figure).startswith("/x\nthe end was not recorded")
    nothing = figure_of(load(recorded([{"t": 0}, {"t": 1}])))
    assert nothing.axes == []
    assert "memory (not accounted for here)" in words(nothing)


def test_a_limit_far_above_is_named_only(recorded: Any) -> None:
    rows = [
        {"t": n / 10, "memory.current": 5 * MIB, "memory.max": 1 << 40, "memory.high": None}
        for n in range(10)
    ]
    figure = figure_of(load(recorded(rows)))
    assert "memory.max 1 TiB ↑" in beside(figure, 0)
    assert figure.axes[0].get_ylim()[1] < 6


def test_a_limit_that_is_changed_is_a_step(recorded: Any) -> None:
    rows = [
        {"t": n / 10, "memory.current": 5 * MIB, "memory.max": (6 if n < 5 else 8) * MIB}
        for n in range(10)
    ]
    figure = figure_of(load(recorded(rows)))
    (step,) = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert list(step.get_xdata()) == [0, 0.5, 0.9]
    assert list(step.get_ydata()) == [6, 8, 8]


def test_marks_that_cannot_be_told_apart_are_one(recorded: Any) -> None:
    rows = [
        {"t": n * 10, "memory.current": MIB, "memory.events.oom_kill": n, "cpu.usage_usec": n}
        | {"cpu.nr_throttled": n // 2, "cpu_max.period": 1000}
        for n in range(8000)
    ]
    recording = load(recorded(rows))
    assert (len(recording.oom_kills()), len(recording.throttled())) == (7999, 3999)
    figure = figure_of(recording)
    (kills,) = [found for found in figure.axes[0].collections if isinstance(found, LineCollection)]
    assert 300 < len(kills.get_segments()) < 600
    shade = figure.axes[1].collections[0]
    assert len(shade.get_paths()) < 600
    assert legend(figure, 0)[-1] == "OOM kills: 7999"


@pytest.mark.parametrize("pixels", [None, (600, 400), (2400, 1800), (700, 2000), (2000, 500)])
@pytest.mark.parametrize("seconds", [0.2, 5.0])
def test_no_words_are_covered(recorded: Any, pixels: Any, seconds: float) -> None:
    figure = figure_of(load(recorded(everything(seconds))), pixels)
    assert len(figure.axes) == 4
    texts = [*figure.texts]
    for axes in figure.axes:
        found = axes.get_legend()
        assert found is not None
        texts += [*axes.texts, *found.get_texts(), axes.yaxis.label, axes.xaxis.label]
        for shown in (axes.yaxis, axes.xaxis):
            texts += [t.label1 for t in shown._update_ticks() if t.label1.get_visible()]
        assert not found.get_window_extent().overlaps(axes.get_window_extent())
    boxes = []
    for text in texts:
        if text.get_text():
            # An annotation's own box has its line, too.
            extent = super(Annotation, text).get_window_extent if isinstance(text, Annotation) else None
            boxes.append((text.get_text(), extent() if extent else text.get_window_extent()))
    for (first, a), (second, b) in combinations(boxes, 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), (first, second)
    for name, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0, name
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, name


# Curves


def test_labels_are_moved_apart_and_no_further() -> None:
    assert style._apart([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]
    moved = style._apart([0.5, 0.5, 0.51, 0.9], 0.1)
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(moved))
    assert sum(moved[:3]) / 3 == pytest.approx(1.51 / 3)
    assert moved[3] == 0.9


@pytest.mark.parametrize("hz", [100, 1000])
def test_cpu_time_that_comes_in_ticks_is_no_comb(recorded: Any, hz: int) -> None:
    rows = [
        {"t": n / hz, "cpu.usage_usec": int(0.7 * n * 1_000_000 / hz) // 4000 * 4000}
        for n in range(2 * hz)
    ]
    recording = load(recorded(rows, hz=hz))
    seconds = curves.window(recording)
    assert seconds <= 0.1
    usage = curves.counter(recording, "cpu.usage_usec")
    assert usage is not None
    found = curves.rate(curves.times(recording), usage / 1e6, seconds)
    assert np.all(np.abs(found - 0.7) < 0.07)


def test_a_burst_keeps_what_it_used(recorded: Any) -> None:
    rows = [{"t": n / 100, "cpu.usage_usec": min(max(n - 200, 0), 50) * 10_000} for n in range(600)]
    recording = load(recorded(rows))
    when, usage = curves.times(recording), curves.counter(recording, "cpu.usage_usec")
    assert usage is not None
    found = curves.rate(when, usage / 1e6, curves.window(recording))
    assert np.sum((found[1:] + found[:-1]) / 2 * np.diff(when)) == pytest.approx(0.5, rel=0.01)
    assert found.max() == pytest.approx(1, rel=0.01)
    assert np.all(found[:180] == 0) and np.all(found[270:] < 1e-9)


def test_the_window_is_whole_periods_of_what_was_throttled(recorded: Any) -> None:
    assert curves.window(load(recorded(everything()))) == pytest.approx(0.1)
    rows = [{**row, "cpu_max.period": 400_000} for row in everything()]
    assert curves.window(load(recorded(rows))) == pytest.approx(0.4)


def test_a_counter_that_was_set_back(recorded: Any) -> None:
    rows = [{"t": n, "cpu.usage_usec": value} for n, value in enumerate([5, 8, 0, 4])]
    usage = curves.counter(load(recorded(rows)), "cpu.usage_usec")
    assert usage is not None
    assert list(usage) == [0, 3, 3, 7]


def test_a_disk_that_is_used_later_began_at_nothing(recorded: Any) -> None:
    rows = [
        {"t": 0, "io.disks": 0},
        {"t": 1, "io.disks": 1, "io.8:0.rbytes": 100},
        {"t": 2, "io.disks": 2, "io.8:0.rbytes": 150, "io.9:0.rbytes": 7, "io.9:0.rios": 999},
    ]
    amount = curves.disks(load(recorded(rows)), "rbytes")
    assert amount is not None
    assert list(amount) == [0, 100, 157]


def test_long_recordings_keep_their_extremes() -> None:
    when = np.arange(200_000) / 100
    values = np.sin(when / 50)
    values[123_456], values[77_777] = 9, -9
    kept = curves.extremes(when, 400, values)
    assert len(kept) <= 802
    assert {0, 77_777, 123_456, len(when) - 1} <= set(kept)
    curve = curves.thinned(when, values, 400, banded=True)
    assert curve.low is not None and curve.high is not None
    assert (len(curve.when), curve.low.min(), curve.high.max(), curve.top) == (400, -9, 9, 9)
    assert np.mean(curve.value) == pytest.approx(np.mean(values), abs=1e-3)


def test_two_hours(recorded: Any, tmp_path: Path) -> None:
    rows = ({**row, "t": row["t"] * 144} for row in everything(50.0))
    recording = load(recorded(rows))
    assert recording.duration > 7000
    figure = figure_of(recording)
    assert figure.axes[-1].get_xlabel() == "time (min)"
    assert figure.axes[0].get_xlim() == pytest.approx((0, recording.duration / 60))
    draw(recording, tmp_path / "long.svg")
    assert (tmp_path / "long.svg").stat().st_size < 1_500_000


# The files


def test_an_svg_is_the_same_each_time(recorded: Any, tmp_path: Path) -> None:
    recording = load(recorded(everything()))
    found = []
    for name in ("a.svg", "b.SVG"):
        draw(recording, tmp_path / name)
        found.append((tmp_path / name).read_bytes())
    assert found[0] == found[1]
    assert b"<dc:date>" not in found[0]
    assert found[0].startswith(b"<?xml")


def test_the_size_is_what_was_asked_for(recorded: Any, tmp_path: Path) -> None:
    recording = load(recorded(everything(0.2)))
    for pixels in ((1200, 900), (601, 403), (1999, 777)):
        draw(recording, tmp_path / "x.png", size=pixels)
        assert size_of(tmp_path / "x.png") == pixels
    draw(recording, tmp_path / "x.png")
    width, four_panels = size_of(tmp_path / "x.png")
    assert width == 1200
    draw(load(recorded([{"t": 0, "memory.current": 1}, {"t": 1}])), tmp_path / "x.png")
    assert size_of(tmp_path / "x.png")[1] < four_panels / 2


def test_the_users_own_settings_neither_matter_nor_change(recorded: Any, tmp_path: Path) -> None:
    recording = load(recorded(everything(0.5)))
    draw(recording, tmp_path / "a.svg")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "text.parse_math": False}):
        before = dict(matplotlib.rcParams)
        draw(recording, tmp_path / "b.svg")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_very_long_command(recorded: Any, tmp_path: Path) -> None:
    recording = load(recorded(everything(0.2), argv=["sh", "-c", "x" * 100_000]))
    figure = figure_of(recording)
    title = figure.texts[0]
    assert title.get_text().endswith(" …")
    assert title.get_window_extent().x1 <= figure.bbox.x1


# The command


def plot(capsys: pytest.CaptureFixture[str], *given: object) -> tuple[int, str, str]:
    status = main(["plot", *map(str, given)])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_picture_lies_beside_the_recording(
    recorded: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = recorded(everything(0.2))
    assert plot(capsys, path) == (0, f"{tmp_path}/run.png\n", "")
    assert size_of(tmp_path / "run.png")[0] == 1200
    out = tmp_path / "other.svg"
    assert plot(capsys, path, "-o", out, "--size", "800x600", "--title", "$One")[:2] == (0, f"{out}\n")
    assert re.search(r'<svg [^>]*width="800" height="600" viewBox=', out.read_text())


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["absent.jsonl"], "absent.jsonl: cannot read it: No such file"),
        (["FILE", "-o", "x.pdf"], "x.pdf: a picture's name ends with .png or .svg"),
        (["FILE", "-o", "x"], "ends with .png or .svg"),
        (["FILE", "-o", "/nonexistent/x.png"], "/nonexistent/x.png: cannot write it: No such file"),
        (["FILE", "--size", "big"], "--size 'big' is not valid: give WIDTHxHEIGHT in pixels"),
        (["FILE", "--size", "10x10"], "600x400 to 10000x10000"),
        (["FILE", "--size", "1200x900000"], "600x400 to 10000x10000"),
        (["picture.png"], "picture.png: cannot read it: No such file"),
        ([__file__], "is not a recording: `cgroupkit record FILE -- COMMAND` makes one"),
        (["SAME", "-o", "SAME"], "is the recording itself"),
    ],
)
def test_what_cannot_be_drawn(
    recorded: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    part: str,
) -> None:
    path = recorded(everything(0.1))
    same = tmp_path / "same.png"
    same.write_bytes(path.read_bytes())
    names = {"FILE": path, "SAME": same}
    before = sorted(os.listdir(tmp_path))
    status, out, err = plot(capsys, *(names.get(word, word) for word in words))
    assert (status, out) == (2, "")
    assert part in err
    assert err.startswith("cgroupkit: ") and err.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_the_picture_before_stays_where_there_is_no_room(
    recorded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recording = load(recorded(everything(0.1)))
    picture = tmp_path / "picture.svg"
    draw(recording, picture)
    before, files = picture.read_bytes(), os.listdir(tmp_path)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InvalidValueError, match="cannot write it: No space left on device"):
        draw(recording, picture, title="another")
    assert picture.read_bytes() == before
    assert os.listdir(tmp_path) == files


@pytest.mark.parametrize(
    "rows", [[], [{"t": 0.0, "memory.current": 5}], [{"t": 1.0, "memory.current": 5}, {"t": 1.0}]]
)
def test_an_empty_recording(recorded: Any, rows: list[Row], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = plot(capsys, recorded(rows, end=None))
    assert (status, out) == (2, "")
    assert f"there is nothing to draw: the recording has {len(rows)} of at least 2 samples" in err


def test_without_matplotlib(recorded: Any) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from cgroupkit.cli import main; raise SystemExit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "plot", str(recorded(everything(0.1)))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'cgroupkit: drawing needs matplotlib: pip install "cgroupkit[plot]"\n'


def test_no_display_is_looked_for(recorded: Any, tmp_path: Path) -> None:
    code = (
        "import sys; from cgroupkit.cli import main; status = main(sys.argv[1:])\n"
        "assert 'matplotlib.pyplot' not in sys.modules; raise SystemExit(status)"
    )
    command = [sys.executable, "-W", "error", "-c", code, "plot", str(recorded(everything(0.1)))]
    environment = {**os.environ, "DISPLAY": ":99", "MPLBACKEND": "tkagg"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_sizes_that_are_no_sizes(recorded: Any, tmp_path: Path) -> None:
    recording = load(recorded(everything(0.1)))
    for pixels in ((1, 1), (1200.0, 900.0), (True, 900)):
        with pytest.raises(InvalidValueError, match="size="):
            draw(recording, tmp_path / "x.png", size=pixels)  # type: ignore[arg-type]
