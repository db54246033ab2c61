"""Pressure stall information: the *.pressure files (Documentation/accounting/psi.rst)."""

from __future__ import annotations

from functools import lru_cache

import attrs

from cgroupkit import files
from cgroupkit.controllers.kinds import reading


@attrs.frozen
class Stall:
    """Share of time in which tasks waited: averages in percent, *total* in microseconds."""

    avg10: float
    avg60: float
    avg300: float
    total: int


@attrs.frozen
class Pressure:
    """*some*: at least one task waited; *full*: all non-idle tasks did. None where not reported."""

    some: Stall | None = None
    full: Stall | None = None


@lru_cache(maxsize=4096)  # idle cgroups, which most are, have the same text again and again
def parse_pressure(text: str) -> Pressure:
    lines = dict(files.nested_keyed(text))
    return Pressure(*(_stall(lines[key]) if key in lines else None for key in ("some", "full")))


def _stall(pairs: dict[str, str]) -> Stall:
    return Stall(
        float(pairs["avg10"]), float(pairs["avg60"]), float(pairs["avg300"]), int(pairs["total"])
    )


PRESSURE = reading("PSI", parse_pressure)
