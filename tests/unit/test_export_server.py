# SPDX-License-Identifier: Apache-2.0
"""The HTTP server over real sockets: what it answers, and that nobody holds it up."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tracer.export import server as server_module
from tracer.export.address import listening
from tracer.export.app import App
from tracer.export.response import Request, Response, Unready
from tracer.export.server import MOST_CONNECTIONS, Server

LARGE = b"x" * 8_000_000
SOON_S = 5.0
Address = tuple[str, int]


def unready(request: Request) -> Response:
    raise Unready("starting")


class Site:
    """A server whose metrics are ``large`` at /status/large, and what it said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.died = threading.Event()
        self.asked: list[Request] = []
        self.listener = listening("127.0.0.1", 0)
        self.address: Address = self.listener.getsockname()
        app = App(
            health=lambda request: Response.text(200, "ok"),
            metrics=self.metrics,
            page=self.page,
            admits=lambda request: None,
        )
        self.server = Server(
            self.listener, app.respond, tls=None, say=self.said.append, died=self.died.set
        )
        self.server.start()

    def metrics(self, request: Request) -> Response:
        self.asked.append(request)
        return Response.text(200, "metrics")

    def page(self, request: Request) -> Response:
        if request.path == "/status/large":
            return Response(200, {"Content-Type": "text/plain"}, LARGE)
        if request.path == "/status/unready":
            return unready(request)
        if request.path == "/status/same":
            return Response(304, {"ETag": '"1"'})
        raise ZeroDivisionError("no such thing")

    def ask(
        self, method: str, path: str, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(*self.address, timeout=SOON_S)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """All that is answered until the server closes the connection."""
        with socket.create_connection(self.address, SOON_S) as sock:
            sock.sendall(data)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def stuck(self, data: bytes) -> socket.socket:
        sock = socket.create_connection(self.address, SOON_S)
        sock.sendall(data)
        return sock


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.close()


def wait(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_paths(site: Site) -> None:
    assert site.ask("GET", "/metrics")[2] == b"metrics\n"
    assert site.ask("GET", "/metrics?name[]=x")[0] == 200
    assert site.asked[-1].query == "name[]=x"
    assert site.ask("GET", "/healthz")[2] == b"ok\n"
    for path in ("/nothing", "/metrics/", "/statusx", "/../metrics", "*"):
        assert site.ask("GET", path)[0] == 404, path
    status, headers, body = site.ask("GET", "/status/unready")
    assert (status, headers["Retry-After"], body) == (503, "5", b"starting\n")
    status, headers, body = site.ask("GET", "/status/same")
    assert (status, headers["Content-Length"], body) == (304, None, b"")


def test_methods(site: Site) -> None:
    status, headers, body = site.ask("HEAD", "/metrics")
    assert (status, headers["Content-Length"], body) == (200, "8", b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
        status, headers, _ = site.ask(method, "/metrics")
        assert (status, headers["Allow"]) == (405, "GET, HEAD"), method


def test_headers(site: Site) -> None:
    _, headers, _ = site.ask("GET", "/metrics")
    assert headers["Server"].strip() == "arpwhy"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"


def test_a_connection_is_kept_for_the_next_request(site: Site) -> None:
    connection = http.client.HTTPConnection(*site.address, timeout=SOON_S)
    for _ in range(3):
        connection.request("GET", "/metrics")
        connection.getresponse().read()
        port = connection.sock.getsockname()[1]
    assert connection.sock.getsockname()[1] == port
    connection.close()


def test_what_a_request_carries_besides_is_never_the_next_request(site: Site) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    length = b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    assert site.raw(length + hidden).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /metrics FTP/1\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /metrics HTTP/2.0\r\n\r\n", b"505"),
    ],
)
def test_what_is_no_http(site: Site, data: bytes, status: bytes) -> None:
    answer = site.raw(data)
    assert status in answer[:40]
    assert b"aaaa" not in answer
    assert b"<" not in answer
    assert site.ask("GET", "/metrics")[0] == 200


def test_a_failure_is_said_and_is_an_answer(site: Site) -> None:
    status, _, body = site.ask("GET", "/")
    assert (status, body) == (500, b"it failed; standard error says more\n")
    assert site.said == ["arpwhy: '/' was not answered: ZeroDivisionError('no such thing')"]
    assert site.ask("GET", "/metrics")[0] == 200


def test_stuck_clients_hold_up_nobody(site: Site) -> None:
    stuck = [site.stuck(b"GET /metrics HTTP/1.1\r\nHost:") for _ in range(20)]
    stuck += [site.stuck(b"GET /status/large HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(20)]
    began = time.monotonic()
    assert site.ask("GET", "/metrics")[0] == 200
    assert time.monotonic() - began < 1
    for sock in stuck:
        sock.close()


@pytest.mark.parametrize(
    ("limit", "data"),
    [
        ("REQUEST_S", b""),
        ("REQUEST_S", b"GET /metrics HTTP/1.1\r\nHost:"),
        ("IDLE_S", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("ANSWER_S", b"GET /status/large HTTP/1.1\r\nHost: x\r\n\r\n"),
    ],
)
def test_whose_time_is_up_is_cut_off(
    site: Site, monkeypatch: pytest.MonkeyPatch, limit: str, data: bytes
) -> None:
    monkeypatch.setattr(server_module, limit, 0.2)
    with site.stuck(data) as sock:
        wait(lambda: site.server.connections == 1 or closed(sock))
        wait(lambda: site.server.connections == 0)
    assert site.ask("GET", "/healthz")[0] == 200


def test_who_sends_a_byte_now_and_then_is_cut_off(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_S", 0.5)
    began = time.monotonic()
    with site.stuck(b"GET /metrics HTTP/1.1\r\n") as sock, pytest.raises(OSError):
        while time.monotonic() - began < SOON_S:
            sock.sendall(b"a")
            time.sleep(0.05)


def test_when_all_places_are_taken_the_longest_waiting_goes(site: Site) -> None:
    asking = [site.stuck(b"GET ") for _ in range(MOST_CONNECTIONS - 1)]
    wait(lambda: site.server.connections == MOST_CONNECTIONS - 1)
    idle = http.client.HTTPConnection(*site.address, timeout=SOON_S)
    idle.request("GET", "/metrics")
    idle.getresponse().read()
    # Its thread may not yet have come to wait for the next request.
    wait(lambda: any(each.doing.name == "IDLE" for each in site.server._connections))
    assert site.ask("GET", "/metrics")[0] == 200  # in the place of the idle one
    assert closed(idle.sock)
    assert site.ask("GET", "/metrics")[0] == 200
    more = [site.stuck(b"GET ") for _ in range(3)]
    wait(lambda: closed(asking[0]))
    wait(lambda: site.server.connections <= MOST_CONNECTIONS)
    for sock in (*asking, *more, idle):
        sock.close()


def test_a_server_that_fails_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(site.server, "_accept", fails)
    socket.create_connection(site.address, SOON_S).close()
    assert site.died.wait(SOON_S)
    assert site.said == ["arpwhy: the HTTP server failed: RuntimeError('out of order')"]


def test_closing_cuts_everybody_off(site: Site) -> None:
    with site.stuck(b"GET ") as sock:
        wait(lambda: site.server.connections == 1)
        site.server.close()
        assert closed(sock)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(site.address, SOON_S)
