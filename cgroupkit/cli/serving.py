"""A small HTTP server that nobody can fill up: so many requests at a time, each with an end."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

AT_A_TIME = 16
PATIENCE = 30.0
"""Seconds for which a client may say nothing, or take nothing."""


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def handle(self) -> None:
        with suppress(OSError):  # it went away, or is too slow
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        return


class Server(ThreadingMixIn, WSGIServer):
    """Serves *app* at *host* and *port* (0: any) while it is open. Raises OSError."""

    daemon_threads = True

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = found[0]
        self._room = threading.BoundedSemaphore(AT_A_TIME)
        super().__init__((str(address[0]), port), _Handler)
        self.set_app(app)
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
