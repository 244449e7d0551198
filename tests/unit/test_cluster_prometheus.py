# SPDX-License-Identifier: Apache-2.0
"""``arpwhy cluster``: whatever answers in Prometheus's place, or does not, is one line."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from tracer.cli import main

NOW = 1_800_000_000.0
# Status, headers and body for a query.
Answer = Callable[[str], tuple[int, dict[str, str], bytes]]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    answer: Answer
    authorization: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.authorization = self.headers.get("Authorization")
        asked = parse_qs(urlsplit(self.path).query)
        status, headers, body = self.server.answer(asked["query"][0])
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def vector(*labels: dict[str, str], value: str = "1", **more: Any) -> tuple[int, Any, bytes]:
    result = [{"metric": each, "value": [NOW, value]} for each in labels]
    data = {"resultType": "vector", "result": result}
    return 200, {}, json.dumps({"status": "success", "data": data, **more}).encode()


def healthy(query: str) -> tuple[int, dict[str, str], bytes]:
    if query == "vector(time())":
        return vector({}, value=str(NOW))
    if "arpwhy_interface_flagged" in query:
        return vector()
    return vector({"instance": "node-a", "job": "arpwhy"})


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["cluster", *arguments], env=environment)


def line(*arguments: str) -> str:
    """The one line of a command that could not run."""
    done = run(*arguments)
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert done.output.startswith("arpwhy: ")
    return done.output.removeprefix("arpwhy: ").rstrip("\n")


# What it shows goes to the descriptor (capfd), what it complains of through click (output).


def test_a_healthy_cluster_is_0(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    server.answer = healthy
    assert run("--prometheus", f"{server.url}/", "--timeout", "5").exit_code == 0
    assert capfd.readouterr().out == "1 node: 1 interface, none without a reply\n"
    assert run(ARPWHY_PROMETHEUS=server.url).exit_code == 0


NOT_ONE = "what answers there is not a Prometheus"
ODD: dict[str, tuple[tuple[int, dict[str, str], bytes], str]] = {
    "a page": ((200, {"Content-Type": "text/html"}, b"<html>"), NOT_ONE),
    "nothing": ((200, {}, b""), NOT_ONE),
    "another JSON": ((200, {}, b"[1]"), NOT_ONE),
    "no result": ((200, {}, b'{"status": "success", "data": {}}'), NOT_ONE),
    "no string": (
        (
            200,
            {},
            b'{"status":"success","data":{"resultType":"vector",'
            b'"result":[{"metric":{"a":1},"value":[1,"1"]}]}}',
        ),
        NOT_ONE,
    ),
    "no clock": (vector({}, value="NaN"), NOT_ONE),
    "an empty clock": (vector(), NOT_ONE),
    "too deep": ((200, {}, b"[" * 100_000), NOT_ONE),
    "another server": (
        (404, {}, b"not found"),
        f"{NOT_ONE}, or a path is missing in the URL (status 404)",
    ),
    "a proxy": ((502, {}, b"bad gateway"), f"{NOT_ONE} (status 502)"),
    "busy": (
        (503, {}, b'{"status": "error", "errorType": "timeout", "error": "query timed out"}'),
        "status 503: query timed out",
    ),
    "too much": (
        (422, {}, b'{"status": "error", "errorType": "execution", "error": "too many samples"}'),
        "status 422: too many samples",
    ),
    "hostile": (
        (503, {}, b'{"status": "error", "error": "\\u001b[2J\\nx"}'),
        "status 503: \\x1b[2J x",
    ),
    "a stranger": (
        (401, {}, b""),
        "asks who we are (status 401): --user, --password-file, --token-file",
    ),
    "a login": (
        (302, {"Location": "http://login/?x"}, b""),
        "sends us on to http://login/?x: a login page, or another URL",
    ),
}


@pytest.mark.parametrize("answer", ODD)
def test_another_answer_is_one_line(server: Server, answer: str) -> None:
    server.answer = lambda query: ODD[answer][0]
    assert line("--prometheus", server.url, "--match", "a='b'") == f"{server.url}: {ODD[answer][1]}"


def test_no_metrics_of_arpwhy_is_not_that_all_is_well(server: Server) -> None:
    server.answer = lambda query: healthy(query) if "time()" in query else vector()
    assert line("--prometheus", server.url) == (
        f"{server.url} has no metrics of arpwhy, nor a job called arpwhy: nothing is known"
    )
    assert 'that match cluster="a"' in line("--prometheus", server.url, "--match", '{cluster="a"}')


def test_matchers_reach_every_series_that_is_asked_for(server: Server) -> None:
    asked: list[str] = []

    def answer(query: str) -> tuple[int, dict[str, str], bytes]:
        asked.append(query)
        return healthy(query)

    server.answer = answer
    run("--prometheus", server.url, "--match", ' {cluster="a", job="b",} ')
    series = "".join(asked[1:])
    assert series.count("{") == series.count('cluster="a", job="b"}') > 4


def test_a_query_that_is_refused_is_a_wrong_match(server: Server) -> None:
    def answer(query: str) -> tuple[int, dict[str, str], bytes]:
        if "time()" in query:
            return healthy(query)
        return 400, {}, b'{"status":"error","errorType":"bad_data","error":"parse error: x"}'

    server.answer = answer
    done = run("--prometheus", server.url, "--match", "x")
    assert done.exit_code == 2
    assert done.output.endswith("Error: --match: parse error: x\n")
    assert line("--prometheus", server.url) == f"{server.url}: parse error: x"


def test_a_warning_of_the_server_is_said_once_beside_the_data(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    def answer(query: str) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = healthy(query)
        return status, headers, json.dumps({**json.loads(body), "warnings": ["part"]}).encode()

    server.answer = answer
    done = run("--prometheus", server.url)
    assert (done.exit_code, done.stderr) == (3, "arpwhy: not all may be here: part\n")
    assert capfd.readouterr().out == "1 node: 1 interface, none without a reply\n"
    assert run("--prometheus", server.url, "--format", "json").stderr == ""
    assert json.loads(capfd.readouterr().out)["warnings"] == ["part"]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_ways_to_say_who_we_are(server: Server, tmp_path: Path) -> None:
    server.answer = healthy
    with_user = server.url.replace("//", "//me:p%40ss@")
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    ways: list[tuple[list[str], dict[str, str], str | None]] = [
        ([server.url], {}, None),
        ([with_user], {}, basic("me", "p@ss")),
        ([server.url, "--user", "a"], {"ARPWHY_PASSWORD": "b"}, basic("a", "b")),
        ([server.url, "--user", "a", "--password-file", str(secret)], {}, basic("a", "s3cret")),
        ([server.url, "--token-file", str(secret)], {}, "Bearer s3cret"),
        ([server.url], {"ARPWHY_TOKEN": "t"}, "Bearer t"),
        ([server.url], {"ARPWHY_TOKEN_FILE": str(secret)}, "Bearer s3cret"),
    ]
    for arguments, environment, sent in ways:
        assert run("--prometheus", *arguments, **environment).exit_code == 0
        assert server.authorization == sent


def test_a_secret_is_not_shown_and_not_carried_on(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    url = server.url.replace("//", "//me:hush@")
    server.answer = lambda query: (302, {"Location": f"{server.url}/elsewhere"}, b"")
    assert "hush" not in line("--prometheus", url)
    server.answer = lambda query: (403, {}, b"")
    assert line("--prometheus", url) == (
        f"{server.url}: refuses what we gave (status 403): --user, --password-file, --token-file"
    )
    server.answer = healthy
    run("--prometheus", url, "--format", "json")
    shown = capfd.readouterr().out
    assert server.url in shown
    assert "hush" not in shown


def test_files_that_are_of_no_use(tmp_path: Path) -> None:
    url = ("--prometheus", "https://127.0.0.1:1")
    absent, empty, odd = tmp_path / "absent", tmp_path / "empty", tmp_path / "odd"
    empty.write_text("\n")
    odd.write_text("a\tb\n")
    assert line(*url, "--token-file", str(absent)) == (
        f"cannot read {absent}: No such file or directory"
    )
    assert line(*url, "--token-file", str(empty)) == f"{empty}: its first line is empty"
    assert line(*url, "--token-file", str(odd)) == "the bearer token is not printable ASCII"
    assert line(*url, "--ca", str(absent)) == (
        f"cannot read certificates from {absent}: No such file or directory"
    )
    assert line(*url, "--ca", str(odd)).startswith(f"cannot read certificates from {odd}: ")


@pytest.mark.parametrize(
    "url", ["", "prometheus:9090", "ftp://h", "http://", "http://h:x", "http://h/?q", "http://h\n"]
)
def test_what_is_no_url_is_usage_and_is_not_repeated(url: str) -> None:
    done = run("--prometheus", url)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert not url or f"{url}'" not in done.output


def test_two_identities_are_usage() -> None:
    done = run("--prometheus", "http://u@127.0.0.1:1", ARPWHY_TOKEN="t")
    assert done.exit_code == 2
    assert "only one of them" in done.output


def test_nobody_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        assert line("--prometheus", url) == f"{url}: cannot be reached: Connection refused"


def test_no_tls_where_it_is_asked_for(server: Server) -> None:
    server.answer = healthy
    assert ": no TLS with it: " in line("--prometheus", server.url.replace("http:", "https:"))


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-x\r\n"])
def test_who_says_little_by_little_is_waited_for_no_longer(first: bytes) -> None:
    done = threading.Event()

    def trickle(sock: socket.socket) -> None:
        connection, _ = sock.accept()
        with connection:
            connection.sendall(first)
            while first.startswith(b"HTTP") and not done.wait(0.05):
                connection.sendall(b"a: b\r\n")
            done.wait(5)

    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=trickle, args=(sock,))
        thread.start()
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        began = time.monotonic()
        said = line("--prometheus", url, "--timeout", "0.3")
        took = time.monotonic() - began
        done.set()
        thread.join()
    if first.startswith(b"SSH"):
        assert said == f"{url}: {NOT_ONE}"
    else:
        assert "in time (--timeout)" in said or "within 0.3 s (--timeout)" in said
        assert 0.25 < took < 2
