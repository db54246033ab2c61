"""Names of cgroups: what may be one, and how a path is cut into them."""

from __future__ import annotations

import os

from cgroupkit.errors import InvalidValueError


def components(path: str | os.PathLike[str]) -> list[str]:
    """The names of *path*; one that leaves the tree or that the kernel refuses is an error."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InvalidValueError(f"cgroup path {path!r} is not valid: give a str")
    parts = [part for part in text.split("/") if part]
    for part in parts:
        if part in (".", ".."):
            raise InvalidValueError(
                f"cgroup path {text!r} is not valid: {part!r} would leave the tree; "
                "name the cgroup by its full path"
            )
        if "\0" in part or "\n" in part:
            raise InvalidValueError(
                f"cgroup path {text!r} is not valid: the kernel refuses NUL and newline in names"
            )
        try:
            size = len(os.fsencode(part))
        except UnicodeEncodeError:
            raise InvalidValueError(
                f"cgroup path {text!r} is not valid: it cannot be encoded"
            ) from None
        if size > 255:
            raise InvalidValueError(
                f"cgroup path {text[:40]!r}... is not valid: a name has at most 255 bytes"
            )
    return parts
