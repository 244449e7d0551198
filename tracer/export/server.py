# SPDX-License-Identifier: Apache-2.0
"""The HTTP server: a thread a connection, and nobody can hold one for long.

The thread that accepts connections does nothing that may block, and cuts those off whose
time is up, whatever they are at: shaking hands, sending a request byte by byte, not reading
the answer, or idle.
"""

from __future__ import annotations

import contextlib
import http.server
import select
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable
from enum import IntEnum
from http import HTTPStatus

from tracer.export.address import bound
from tracer.export.response import Request, Response

REQUEST_S = 10.0
"""To send a request, from the first byte on; of the first one, the handshake included."""
ANSWER_S = 30.0
"""To be answered, and to read the answer."""
IDLE_S = 120.0
"""Between requests: twice Prometheus's scrape interval."""
MOST_CONNECTIONS = 64

_LOOK_S = 0.25
_LONGEST_LINE = 65536

_SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Answer = Callable[[Request], Response]
Say = Callable[[str], object]


class _Doing(IntEnum):
    """What a connection is at: the lower, the sooner it has to make room for another."""

    IDLE = 0
    ASKING = 1
    ANSWERED = 2


class _Connection:
    """``deadline``, ``since``: time.monotonic()."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.cut = False
        self.at(_Doing.ASKING, REQUEST_S)

    def at(self, doing: _Doing, seconds: float) -> None:
        self.doing = doing
        self.since = time.monotonic()
        self.deadline = self.since + seconds

    def cut_off(self) -> None:
        """Whatever its thread waits for comes to an end; the thread closes the socket."""
        self.cut = True
        with contextlib.suppress(OSError):
            # Not SSLSocket's own, which takes the TLS away under the thread that reads.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class Server:
    """Serves ``answer`` on ``listener``, with TLS if ``tls`` gives a context for a connection.

    ``died`` is called, on the server's thread, should that thread ever end by an error.
    """

    def __init__(
        self,
        listener: socket.socket,
        answer: Answer,
        *,
        tls: Callable[[], ssl.SSLContext] | None,
        say: Say,
        died: Callable[[], object],
    ) -> None:
        self._listener = listener
        self._answer = answer
        self._tls = tls
        self._say = say
        self._died = died
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{bound(self._listener)}/"

    @property
    def connections(self) -> int:
        """How many there are now."""
        with self._lock:
            return len(self._connections)

    def start(self) -> None:
        self._listener.setblocking(False)
        self._thread.start()

    def close(self) -> None:
        """Cuts every connection off."""
        self._ended = True
        with contextlib.suppress(OSError):  # wakes the thread
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(2 * _LOOK_S)
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                connection.cut_off()

    def _run(self) -> None:
        try:
            poll = select.poll()
            poll.register(self._listener, select.POLLIN)
            while not self._ended:
                if poll.poll(_LOOK_S * 1000):
                    self._accept()
                self._expire()
        except Exception as error:
            if not self._ended:
                self._say(f"arpwhy: the HTTP server failed: {error!r}")
                self._died()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # it went away, or we have no descriptor left
            if not self._ended:
                time.sleep(_LOOK_S)
            return
        sock.setblocking(True)
        connection = _Connection(sock)
        if not self._room():
            sock.close()
            return
        with self._lock:
            self._connections.add(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _room(self) -> bool:
        """Is there room for one more? Who waits for longest has to go."""
        with self._lock:
            there = [each for each in self._connections if not each.cut]
            if len(there) < MOST_CONNECTIONS:
                return True
            first = min(there, key=lambda each: (each.doing, each.since))
            if first.doing is _Doing.ANSWERED:
                return False
            first.cut_off()
            return True

    def _expire(self) -> None:
        now = time.monotonic()
        with self._lock:
            for connection in self._connections:
                if connection.deadline < now and not connection.cut:
                    connection.cut_off()

    def _serve(self, connection: _Connection) -> None:
        try:
            # A client that leaves, is cut off or speaks no TLS is none of our troubles.
            with contextlib.suppress(OSError):
                self._handshake(connection)
                _Handler(connection, self._answer, self._say)
        finally:
            with self._lock:
                self._connections.discard(connection)
                connection.sock.close()

    def _handshake(self, connection: _Connection) -> None:
        if self._tls is None:
            return
        wrapped = self._tls().wrap_socket(
            connection.sock, server_side=True, do_handshake_on_connect=False
        )
        with self._lock:
            connection.sock = wrapped
            if connection.cut:  # what was cut off may have been the socket underneath
                raise ConnectionAbortedError
        wrapped.do_handshake()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "arpwhy"
    sys_version = ""
    disable_nagle_algorithm = True

    def __init__(self, connection: _Connection, answer: Answer, say: Say) -> None:
        self._of = connection
        self._answer = answer
        self._say = say
        self._first = True
        self._certified = isinstance(connection.sock, ssl.SSLSocket) and bool(
            connection.sock.getpeercert()
        )
        super().__init__(connection.sock, "", None)  # type: ignore[arg-type] # for logs alone

    def handle_one_request(self) -> None:
        if not self._first:
            self._of.at(_Doing.IDLE, IDLE_S)
        if not self.rfile.peek(1):  # type: ignore[attr-defined] # a BufferedReader
            self.close_connection = True
            return
        if not self._first:
            self._of.at(_Doing.ASKING, REQUEST_S)
        self._first = False
        self.raw_requestline = self.rfile.readline(_LONGEST_LINE + 1)
        if len(self.raw_requestline) > _LONGEST_LINE:
            self.requestline = self.request_version = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return
        if not self.parse_request():
            return
        self._of.at(_Doing.ANSWERED, ANSWER_S)
        # What it sends besides is not read: the next request could not be told from it.
        length = self.headers.get("Content-Length", "0")
        if length != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        self._send(self._answered())

    def _answered(self) -> Response:
        target = self.path if self.path.startswith("/") else urllib.parse.urlsplit(self.path).path
        path, _, query = target.partition("?")
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        try:
            return self._answer(Request(self.command, path, query, headers, self._certified))
        except Exception as error:
            self._say(f"arpwhy: {path!r} was not answered: {error!r}")
            return Response.text(500, "it failed; standard error says more")

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in {**_SECURITY, **response.headers}.items():
            self.send_header(name, value)
        if response.status != HTTPStatus.NOT_MODIFIED:  # its length would be that of a 200
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no HTTP; the text is the status's own and repeats nothing that was sent."""
        self.close_connection = True
        self.request_version = self.protocol_version  # or there would be no status line
        self._send(Response.text(code, HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: scrapes are no news."""
