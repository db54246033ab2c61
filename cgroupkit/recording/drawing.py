"""draw: a recording as a picture."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from cgroupkit.errors import InvalidValueError
from cgroupkit.recording.lines import Path
from cgroupkit.recording.loading import Recording
from cgroupkit.units import invalid

SUFFIXES = (".png", ".svg")
SMALLEST, LARGEST = (600, 400), (10_000, 10_000)
"""Pixels."""


def draw(
    recording: Recording,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    title: str | None = None,
) -> None:
    """Draw memory, CPU, I/O and pressure over time into *path*, a PNG or SVG by its suffix.

    *size* is width and height in pixels, by default 1200 x 900, and lower if a panel is left out since
    nothing is known for it. *title* takes the place of the command. Raises :class:`InvalidValueError`
    for these, if there are fewer than two samples, and if *path* cannot be written; ImportError
    without matplotlib.
    """
    if not isinstance(recording, Recording):
        raise invalid("recording", recording, "give a Recording, as load(path) gives it")
    kind = check_path(path)
    if size is not None:
        check_size(size)
    if not recording.duration:
        raise InvalidValueError(
            f"there is nothing to draw: the recording has {len(recording.times)} of at least 2 samples "
            "at different times"
        )
    try:
        from cgroupkit.recording.picture import picture  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ImportError('drawing needs matplotlib: pip install "cgroupkit[plot]"') from error
    data = picture(recording, kind, size, title)
    try:
        _replace(os.path.realpath(path), data)
    except OSError as error:
        raise InvalidValueError(f"{os.fspath(path)}: cannot write it: {error.strerror}") from None


def _replace(path: Path, data: bytes) -> None:
    """The whole of it, or what was there before."""
    part = f"{os.path.dirname(path)}/.cgroupkit-{os.getpid()}-{threading.get_ident()}.part"
    try:
        with open(part, "xb") as file:
            file.write(data)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def check_path(path: Path) -> str:
    """The suffix of *path*, without its dot."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in SUFFIXES:
        raise InvalidValueError(
            f"{os.fspath(path)}: a picture's name ends with {' or '.join(SUFFIXES)}, this one does not"
        )
    return suffix[1:]


def check_size(size: tuple[int, int]) -> None:
    for given, low, high in zip(size, SMALLEST, LARGEST, strict=True):
        if isinstance(given, bool) or not isinstance(given, int) or not low <= given <= high:
            sizes = "{}x{} to {}x{}".format(*SMALLEST, *LARGEST)
            raise invalid("size", size, f"give width and height in pixels, {sizes}")
