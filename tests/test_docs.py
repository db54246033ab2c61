"""README, docs and the examples run as written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


@pytest.mark.kernel
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path) -> None:
    document = Document.parse(str(page), PythonCodeBlockParser())
    examples = list(document.examples())
    if not examples:
        pytest.skip("no Python on this page")
    for example in examples:
        example.evaluate()


@pytest.mark.kernel
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.name)
def test_an_example_script_runs(script: Path) -> None:
    command = [sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
