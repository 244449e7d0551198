# SPDX-License-Identifier: Apache-2.0
"""An API server that gives recorded answers: real sockets, real TLS, nothing behind them.

Conversations are those that tests/pods/record.py had with a real one.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_RECORDED = Path(__file__).parent / "conversations"


@dataclass(frozen=True)
class Answer:
    """``then``: ``end`` the answer, ``hang``, or ``cut`` the connection in mid-line."""

    query: dict[str, str]
    status: int
    headers: dict[str, str]
    body: str
    then: str = "end"

    def but(self, **changes: object) -> Answer:
        return replace(self, **changes)  # type: ignore[arg-type]


def recorded(name: str) -> list[Answer]:
    """A conversation, in its order."""
    return [Answer(**each) for each in json.loads((_RECORDED / f"{name}.json").read_text())]


class Player:
    """Each request gets the next answer; when none is left the connection is reset.

    ``directory`` holds ``server.crt`` and ``server.key``; without it there is no TLS.
    """

    def __init__(self, answers: Iterable[Answer], directory: Path | None = None) -> None:
        self.answers = deque(answers)
        self.asked: list[dict[str, str]] = []  # queries
        self.tokens: list[str] = []
        self._news = threading.Condition()
        self._over = False
        self._context: ssl.SSLContext | None = None
        if directory is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(directory / "server.crt", directory / "server.key")
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if directory else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """As a server does that is killed: nobody listens, all connections break."""
        with self._news:
            self._over = True
            self._news.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wait(self, requests: int, timeout_s: float = 10.0) -> None:
        """Until it has been asked so often."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.asked) >= requests, timeout_s), self.asked

    def _listen(self) -> None:
        while not self._over:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):  # the client left, or does not trust us
                if self._context is None:
                    _Handler(connection, None, self)  # type: ignore[arg-type]
                else:
                    with self._context.wrap_socket(connection, server_side=True) as secure:
                        _Handler(secure, None, self)  # type: ignore[arg-type]
        finally:
            self._connections.discard(connection)
            connection.close()

    def next(self, path: str, token: str) -> Answer | None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(path).query).items()}
        with self._news:
            self.asked.append(query)
            self.tokens.append(token)
            self._news.notify_all()
            return self.answers.popleft() if self.answers else None

    def hang(self) -> None:
        with self._news:
            self._news.wait_for(lambda: self._over, 30.0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Player  # type: ignore[assignment]

    def do_GET(self) -> None:
        answer = self.server.next(self.path, self.headers.get("Authorization", ""))
        if answer is None:
            self._reset()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = answer.body.encode()
        if answer.then == "cut":
            body = body[: len(body) * 2 // 3]
        # In pieces that know nothing of lines.
        for start in range(0, len(body), 700):
            piece = body[start : start + 700]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if answer.then == "end":
            self.wfile.write(b"0\r\n\r\n")
        elif answer.then == "hang":
            self.wfile.flush()
            self.server.hang()
            self.close_connection = True
        else:
            self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass
