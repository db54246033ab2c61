"""One interface file: reading, writing, and the kernel's text formats."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import files
from cgroupkit.errors import AccessError, FileError, NotFoundError


def test_flat_keyed() -> None:
    text = "populated 1\nfrozen 0\nlone\n"
    assert list(files.flat_keyed(text)) == [("populated", "1"), ("frozen", "0")]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("8:0 rbytes=1 wbytes=2\n", [("8:0", {"rbytes": "1", "wbytes": "2"})]),
        ("7:0\n8:0 rios=3\n", [("7:0", {}), ("8:0", {"rios": "3"})]),
        ("7:1 7:0 8:0 rios=3\n", [("7:1", {}), ("7:0", {}), ("8:0", {"rios": "3"})]),  # Linux 5.15
        ("some avg10=0.00 total=5\n", [("some", {"avg10": "0.00", "total": "5"})]),
        ("", []),
    ],
)
def test_nested_keyed(text: str, parsed: object) -> None:
    assert list(files.nested_keyed(text)) == parsed


@given(st.text())
def test_the_formats_take_any_text(text: str) -> None:
    for key, value in files.flat_keyed(text):
        assert isinstance(key + value, str)
    for key, pairs in files.nested_keyed(text):
        assert key
        assert isinstance(pairs, dict)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_text("x" * 300_000)
    assert len(files.read(str(file))) == 300_000


def test_odd_bytes_come_and_go(tmp_path: Path) -> None:
    file = tmp_path / "odd"
    file.write_bytes(b"\xff\r\n")
    text = files.read(str(file))
    files.write(str(file), text)
    assert file.read_bytes() == b"\xff\r\n"


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="ENOENT") as read:
        files.read(f"{tmp_path}/memory.max")
    assert (read.value.errno, read.value.value) == (errno.ENOENT, None)
    with pytest.raises(FileNotFoundError, match="cannot write '5' to") as write:
        files.write(f"{tmp_path}/memory.max", "5")
    assert (write.value.filename, write.value.value) == (f"{tmp_path}/memory.max", "5")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        files.write(str(tmp_path), "5")


@pytest.mark.kernel
def test_no_permission(as_nobody, tmp_path: Path) -> None:
    file = tmp_path / "memory.max"
    file.touch(0o600)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(directory, 0o755)
    with pytest.raises(AccessError, match="run as root, or") as caught:
        as_nobody(lambda: files.write(str(file), "5"))
    assert isinstance(caught.value, PermissionError)
    assert file.read_text() == ""
