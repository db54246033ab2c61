"""A run over time: :class:`Recorder` writes a file, :func:`load` reads it, :func:`draw` draws it."""

from __future__ import annotations

from cgroupkit.recording.drawing import draw
from cgroupkit.recording.loading import End, Header, Recording, load
from cgroupkit.recording.recorder import Recorder

__all__ = ["End", "Header", "Recorder", "Recording", "draw", "load"]
