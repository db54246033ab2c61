"""README, docs and the examples run as written, and are what mypy --strict accepts."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


def blocks(page: Path) -> list[Example]:
    return list(Document.parse(str(page), PythonCodeBlockParser()).examples())


def module(page: Path) -> str:
    """The Python of a page, each line where the page has it."""
    lines: list[str] = []
    for example in blocks(page):
        code = example.parsed
        lines += [""] * (example.line + code.line_offset - len(lines))
        lines += code.rstrip("\n").split("\n")
    return "\n".join(lines) + "\n"


@pytest.mark.kernel
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path) -> None:
    examples = blocks(page)
    if not examples:
        pytest.skip("no Python on this page")
    for example in examples:
        example.evaluate()


@pytest.mark.kernel
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.name)
def test_an_example_script_runs(script: Path) -> None:
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_module_has_each_line_where_the_page_has_it() -> None:
    for page in PAGES:
        lines = page.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(module(page).rstrip("\n").split("\n")):
            assert line in ("", lines[number]), f"{page.name}:{number + 1}"


def test_pages_and_scripts_are_strictly_typed(tmp_path: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    files = [str(script) for script in EXAMPLES]
    for page in PAGES:
        file = tmp_path / f"{page.stem.lower()}.py"
        file.write_text(module(page), encoding="utf-8")
        files.append(str(file))
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}"]
    command = [sys.executable, "-m", "mypy", *options, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
