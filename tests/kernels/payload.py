"""What a guest gets anew on each run: the package as built from the checkout, and the tests."""

import shlex
import shutil
import tempfile
from pathlib import Path

from .tools import CHECKOUT, run

COPIED = ("pyproject.toml", "conftest.py", "README.md", "docs", "tests")


def make_disk(disk: Path, wheel: Path, pytest_arguments: list[str], pip: list[str]) -> None:
    with tempfile.TemporaryDirectory(dir=disk.parent) as name:
        stage = Path(name)
        site = stage / "site"
        run(*pip, "install", "--no-deps", "--no-compile", "--target", site, wheel)
        _aim_at_guest(site / "bin")
        for entry in COPIED:
            source = CHECKOUT / entry
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, stage / entry, ignore=ignored)
            elif source.exists():
                shutil.copy(source, stage)
        (stage / "pytest-arguments").write_text(shlex.join(pytest_arguments))
        # The unprivileged user has to read it, whatever the umask was here.
        run("chmod", "-R", "a+rX", stage)
        run("mke2fs", "-q", "-F", "-t", "ext4", "-d", stage, disk, "256M")


def _aim_at_guest(scripts: Path) -> None:
    for script in scripts.glob("*"):
        _, _, body = script.read_text().partition("\n")
        script.write_text(f"#!/usr/bin/python3\n{body}")
