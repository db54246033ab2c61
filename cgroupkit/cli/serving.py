"""A small HTTP server that nobody can fill up: so many requests at a time, each with an end."""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from cgroupkit import threads
from cgroupkit.cli.messages import say

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

AT_A_TIME = 16
PATIENCE = 30.0
"""Seconds for which a client may say nothing, or take nothing; and until it has said all."""
LONGEST = 300.0
"""Seconds in which it has to have taken the answer."""
_FULL = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE
    server: Server

    def handle(self) -> None:
        with suppress(OSError):  # it went away, or is too slow
            super().handle()

    def get_environ(self) -> dict[str, Any]:
        self.server.grant(self.connection, LONGEST)
        return super().get_environ()

    def log_message(self, format: str, *args: Any) -> None:
        return


class Server(ThreadingMixIn, WSGIServer):
    """Serves *app* at *host* and *port* (0: any) while it is open. Raises OSError."""

    daemon_threads = True

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = found[0]
        self._ends: dict[socket.socket, float] = {}
        super().__init__((str(address[0]), port), _Handler)
        self.set_app(app)
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        try:
            threads.start(self._thread)
        except BaseException:
            self.server_close()
            raise

    def grant(self, request: socket.socket, seconds: float) -> None:
        """How long *request* may still take."""
        self._ends[request] = time.monotonic() + seconds

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._ends) >= AT_A_TIME:
            self._refuse(request)
            return
        self.grant(request, PATIENCE)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started now
            self._ends.pop(request, None)
            self._refuse(request)

    def _refuse(self, request: socket.socket) -> None:
        with suppress(OSError):
            request.setblocking(False)
            with suppress(BlockingIOError):
                request.recv(1 << 16)  # what is left unread would reset the connection
            request.send(_FULL)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ends.pop(request, None)

    def service_actions(self) -> None:
        """Twice a second: end those that take too long, so that their threads do."""
        now = time.monotonic()
        for request, end in list(self._ends.items()):
            if now > end:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        say(f"a request failed: {sys.exception()}")

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
