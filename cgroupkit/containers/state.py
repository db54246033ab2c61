"""Read an engine's files: what is missing, malformed or forbidden is as good as empty."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


def load(path: str) -> Any:
    """The JSON in *path*; None where there is none that can be read."""
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        return None


def text(value: Any, *keys: str) -> str | None:
    """The text at *keys* of nested objects, if it is there and not empty."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value if isinstance(value, str) and value else None


def line(path: str) -> str | None:
    """The text of a small file, without the blanks around it."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(4096).strip()
    except OSError:
        return None


def entries(directory: str) -> tuple[str, ...]:
    """The names in *directory*, read anew when it has changed; none where that cannot be read."""
    try:
        return _entries(directory, os.stat(directory).st_mtime_ns)
    except OSError:
        return ()


@lru_cache(maxsize=16)
def _entries(directory: str, changed: int) -> tuple[str, ...]:
    return tuple(os.listdir(directory))


def names_by_id(path: str) -> Mapping[str, str]:
    """containers/storage's containers.json, read anew when it has changed: id to first name."""
    return _storage(path)[0]


def images_by_id(path: str) -> Mapping[str, str]:
    """The same file: id to the image's name."""
    return _storage(path)[1]


_Texts = Mapping[str, str]


def _storage(path: str) -> tuple[_Texts, _Texts]:
    try:
        status = os.stat(path)
    except OSError:
        return {}, {}
    return _read_storage(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=16)
def _read_storage(path: str, *changed: int) -> tuple[_Texts, _Texts]:
    records = load(path)
    found: dict[str, str] = {}
    images: dict[str, str] = {}
    for record in records if isinstance(records, list) else ():
        id, names = text(record, "id"), record.get("names") if isinstance(record, dict) else None
        if id and isinstance(names, list) and names and isinstance(names[0], str):
            found[id] = names[0]
        if id and (image := text(_json(text(record, "metadata")), "image-name")):
            images[id] = image
    return found, images


def _json(words: str | None) -> Any:
    try:
        return json.loads(words or "null")
    except (ValueError, RecursionError):
        return None
