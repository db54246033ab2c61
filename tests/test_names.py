"""Names of cgroups: those that leave the tree are refused."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit.errors import InvalidValueError
from cgroupkit.names import components


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a", ["a"]),
        ("/a/b", ["a", "b"]),
        ("//a///b/", ["a", "b"]),
        (PurePosixPath("a/b"), ["a", "b"]),
        ("...", ["..."]),
        ("a b/ü\r", ["a b", "ü\r"]),
        ("x" * 255, ["x" * 255]),
        ("/", []),
    ],
)
def test_a_path_is_cut(path: Any, parts: list[str]) -> None:
    assert components(path) == parts


@pytest.mark.parametrize(
    "path",
    ["..", "../x", "a/../../x", "a/.", ".", "a\0b", "a\nb", "x" * 256, "ü" * 128, "\ud800", b"a"],
)
def test_a_bad_name_is_refused(path: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"cgroup path .* is not valid"):
        components(path)


@given(st.text())
def test_nothing_else_is_raised(text: str) -> None:
    try:
        parts = components(text)
    except InvalidValueError:
        return
    assert not {"", ".", ".."} & set(parts)
    assert all("/" not in part for part in parts)
