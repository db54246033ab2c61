"""Ask Docker's daemon, for those who may talk to it but not read its files."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Mapping
from urllib.parse import unquote

from cgroupkit.containers import state

TIMEOUT = 1.0
_FRESH = 1.0
_LARGEST = 64 << 20

_answers: dict[str, tuple[float, Mapping[str, str]]] = {}


def name(id: str) -> str | None:
    """The name of the container *id*, of whichever daemon has it."""
    return next((names[id] for path in sockets() if id in (names := _names(path))), None)


def sockets() -> list[str]:
    """DOCKER_HOST's if that is one, else the usual ones: the system's and the user's own."""
    told = os.environ.get("DOCKER_HOST", "")
    if told:
        return [unquote(told.removeprefix("unix://"))] if told.startswith("unix://") else []
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    return ["/var/run/docker.sock", *([f"{own}/docker.sock"] if own else [])]


def _names(path: str) -> Mapping[str, str]:
    """All names at once, and kept for a second: a daemon that hangs is waited for once."""
    asked, names = _answers.get(path, (float("-inf"), {}))
    if time.monotonic() - asked > _FRESH:
        names = _ask(path)
        _answers[path] = time.monotonic(), names
    return names


def _ask(path: str) -> Mapping[str, str]:
    connection = _Connection(path)
    try:
        connection.request("GET", "/containers/json", headers={"Host": "docker"})
        listed = json.loads(connection.getresponse().read(_LARGEST))
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    found = {}
    for one in listed if isinstance(listed, list) else ():
        id, names = state.text(one, "Id"), one.get("Names") if isinstance(one, dict) else None
        # A link gives "/other/alias" besides the container's own name.
        own = [n[1:] for n in names or () if isinstance(n, str) and n.rfind("/") == 0]
        if id and own:
            found[id] = own[0]
    return found


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
