"""docs/reference/controllers.md says what the descriptions say."""

from __future__ import annotations

import runpy
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "docs/reference"


def test_the_page_is_made_of_the_descriptions() -> None:
    make = runpy.run_path(str(REFERENCE / "make.py"))
    made: str = make["page"]()
    assert (REFERENCE / "controllers.md").read_text() == made, "run python docs/reference/make.py"
    for file in ("memory.max", "blkio.throttle.read_bps_device", "hugetlb.<size>.rsvd.max", "dmem.low"):
        assert f"| {file} |" in made.replace(", ", " | ")
