# SPDX-License-Identifier: Apache-2.0
"""Where the exporter listens, and whom it lets in: addresses, TLS, certificates, passwords."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from tracer.export import auth, tls
from tracer.export.address import AddressError, bound, listening, parse
from tracer.export.app import App
from tracer.export.response import Request, Response
from tracer.export.server import Server
from tracer.export.watched import FileError, Watched

# -- addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:16925", ("127.0.0.1", 16925)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:16925", ("::1", 16925)),
        ("[::]:65535", ("::", 65535)),
        ("fd00::1:16925", ("fd00::1", 16925)),  # a pod's address and a port
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse(text) == address


@pytest.mark.parametrize(
    "text", ["", "16925", ":16925", "127.0.0.1", "127.0.0.1:", "[::1]", "h:65536", "h:-1", "h:²"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|no such port"):
        parse(text)


def test_an_address_that_cannot_be_had_is_one_line() -> None:
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=rf"^cannot listen at 127.0.0.1:{port}: Address"):
            listening("127.0.0.1", port)
    for host, where in (("192.0.2.1", "192.0.2.1:7"), ("2001:db8::1", r"\[2001:db8::1\]:7")):
        with pytest.raises(AddressError, match=rf"^cannot listen at {where}: [A-Z]"):
            listening(host, 7)
    for host in ("a..b", "a" * 70):
        with pytest.raises(AddressError, match=r"^cannot listen at "):
            listening(host, 7)


def test_every_address_of_both_families() -> None:
    try:
        every = listening("::", 0)
    except AddressError as error:
        pytest.skip(f"no IPv6: {error}")
    with every:
        port = every.getsockname()[1]
        assert bound(every) == f"[::]:{port}"
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), 5).close()


# -- passwords ------------------------------------------------------------------------------


def hashed(password: bytes) -> str:
    # As htpasswd -B writes it.
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")


def basic(user: bytes, password: bytes) -> str:
    return f"Basic {base64.b64encode(user + b':' + password).decode()}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"# scrapers\n\nprometheus:{hashed(b'correct horse')}\nann:{hashed(b'a:b')}\n")
    return path


def test_passwords(file: Path) -> None:
    passwords = auth.Passwords(str(file), print)
    assert passwords.right(basic(b"prometheus", b"correct horse"))
    assert passwords.right(basic(b"ann", b"a:b"))
    assert passwords.right(basic(b"ann", b"a:b").replace("Basic", "basic"))
    for header in (
        "",
        "Basic",
        "Basic ?",
        "Bearer x",
        "Basic " + base64.b64encode(b"prometheus").decode(),
        basic(b"prometheus", b"correct horsf"),
        basic(b"prometheus", b"a:b"),
        basic(b"prometheus", b""),
        basic(b"prometheus", b"correct horse\0"),
        basic(b"nobody", b"correct horse"),
        basic(b"", b""),
    ):
        assert not passwords.right(header), header


def test_a_long_password_is_what_bcrypt_takes_of_it(file: Path) -> None:
    file.write_text(f"ann:{hashed(b'x' * 72)}\n")
    assert auth.Passwords(str(file), print).right(basic(b"ann", b"x" * 80))


def test_a_right_password_costs_bcrypt_once_and_a_wrong_one_always(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[bytes] = []
    check = bcrypt.checkpw

    def counted(password: bytes, known: bytes) -> bool:
        checks.append(password)
        return check(password, known)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    passwords = auth.Passwords(str(file), print)
    for _ in range(3):
        assert passwords.right(basic(b"prometheus", b"correct horse"))
    assert checks == [b"correct horse"]
    for user in (b"prometheus", b"nobody"):
        for _ in range(2):
            assert not passwords.right(basic(user, b"wrong"))
    assert checks == [b"correct horse", *[b"wrong"] * 4]


def test_users_are_read_anew(file: Path) -> None:
    said: list[str] = []
    passwords = auth.Passwords(str(file), said.append)
    assert passwords.right(basic(b"ann", b"a:b"))
    file.write_text(f"ann:{hashed(b'another')}\n")
    assert not passwords.right(basic(b"ann", b"a:b"))
    assert passwords.right(basic(b"ann", b"another"))
    file.write_text("ann:plain\n")
    for _ in range(2):
        assert passwords.right(basic(b"ann", b"another"))
    file.unlink()
    assert passwords.right(basic(b"ann", b"another"))
    assert said == [
        f"arpwhy: {file}:1: not a bcrypt hash: htpasswd -B makes one:"
        " what was there before is kept",
        f"arpwhy: cannot read the passwords {file}: No such file or directory:"
        " what was there before is kept",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no user in "),
        ("ann\n", ":1: not a line of USER:HASH"),
        (":$2y$05$x\n", ":1: not a line of USER:HASH"),
        ("# x\nann:secret\n", ":2: not a bcrypt hash"),
        ("ann:$apr1$9cWcbBAR$qLVcjsLIMTLrVFBBQ8j4R.\n", ":1: not a bcrypt hash"),
        ("ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n", ":1: not a bcrypt hash"),
        ("ann:$2y$03$" + "a" * 53 + "\n", ":1: not a bcrypt hash"),
        ("ann:$2y$05$" + "a" * 52 + "\n", ":1: not a bcrypt hash"),
    ],
)
def test_a_file_of_something_else_is_one_line_without_the_secret(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "users"
    path.write_text(text)
    with pytest.raises(FileError) as error:
        auth.Passwords(str(path), print)
    said = str(error.value)
    assert why in said
    assert "\n" not in said
    assert "secret" not in said
    assert "aaa" not in said


def test_both_are_asked_for_and_health_asks_for_neither(file: Path) -> None:
    app = App(
        health=lambda request: Response.text(200, "ok"),
        metrics=lambda request: Response.text(200, "metrics"),
        page=lambda request: Response.text(200, "page"),
        admits=auth.admission(auth.Passwords(str(file), print), certificates=True),
    )
    right = {"authorization": basic(b"ann", b"a:b")}
    for path in ("/metrics", "/", "/status/now.json", "/nothing"):
        assert app.respond(Request("GET", path, headers=right)).status == 403
        assert app.respond(Request("GET", path, certified=True)).status == 401
    assert app.respond(Request("GET", "/metrics", headers=right, certified=True)).status == 200
    assert app.respond(Request("GET", "/healthz")).body == b"ok\n"


# -- TLS ------------------------------------------------------------------------------------


def openssl(*args: object) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def certificate(directory: Path, name: str, authority: str | None = None) -> None:
    """NAME.pem and NAME.key for localhost, signed by itself or by the authority."""
    signed = ["-CA", directory / f"{authority}.pem", "-CAkey", directory / f"{authority}.key"]
    openssl(
        *["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
        *["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-days", 7],
        *["-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem"],
        *(signed if authority else []),
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    for name in ("server", "other", "ca"):
        certificate(directory, name)
    certificate(directory, "client", "ca")
    openssl(
        *["pkey", "-aes256", "-passout", "pass:x", "-in", directory / "server.key"],
        *["-out", directory / "locked.key"],
    )
    return directory


@contextmanager
def serving(context: Callable[[], ssl.SSLContext]) -> Iterator[tuple[str, int]]:
    listener = listening("127.0.0.1", 0)
    server = Server(
        listener,
        lambda request: Response.text(200, f"certified {request.certified}"),
        tls=context,
        say=print,
        died=lambda: None,
    )
    server.start()
    try:
        yield listener.getsockname()
    finally:
        server.close()


def asked(address: tuple[str, int], client: ssl.SSLContext) -> tuple[str, str]:
    """(common name of the server, what it answered)."""
    with (
        socket.create_connection(address, 5) as sock,
        client.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: secure.recv(65536), b""))
        subject = dict(field[0] for field in secure.getpeercert()["subject"])
    return subject["commonName"], answer.decode().splitlines()[-1]


def trusting(keys: Path, *names: str) -> ssl.SSLContext:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in names:
        client.load_verify_locations(keys / f"{name}.pem")
    return client


def test_tls_with_and_without_a_clients_certificate(keys: Path) -> None:
    made = tls.context(*(str(keys / f"server.{kind}") for kind in ("pem", "key")), f"{keys}/ca.pem")
    with serving(lambda: made) as address:
        client = trusting(keys, "server")
        assert asked(address, client) == ("server", "certified False")
        client.load_cert_chain(keys / "client.pem", keys / "client.key")
        assert asked(address, client) == ("server", "certified True")
        stranger = trusting(keys, "server")
        stranger.load_cert_chain(keys / "other.pem", keys / "other.key")
        with pytest.raises(ssl.SSLError):
            asked(address, stranger)
        with socket.create_connection(address, 5) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in plain.recv(100)
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2


def test_nobody_waits_for_another_ones_handshake(keys: Path) -> None:
    made = tls.context(f"{keys}/server.pem", f"{keys}/server.key", None)
    with serving(lambda: made) as address:
        silent = [socket.create_connection(address, 5) for _ in range(20)]
        began = time.monotonic()
        assert asked(address, trusting(keys, "server"))[0] == "server"
        assert time.monotonic() - began < 1
        for sock in silent:
            sock.close()


def test_a_new_certificate_is_taken_up_and_a_broken_one_is_not(keys: Path, tmp_path: Path) -> None:
    cert, key, said = tmp_path / "tls.pem", tmp_path / "tls.key", []

    def put(name: str) -> None:
        cert.write_bytes((keys / f"{name}.pem").read_bytes())
        key.write_bytes((keys / f"{name}.key").read_bytes())

    put("server")
    files = [str(cert), str(key)]
    watched = Watched(files, lambda: tls.context(*files, None), said.append)
    client = trusting(keys, "server", "other")
    with serving(watched.current) as address:
        assert asked(address, client)[0] == "server"
        put("other")
        assert asked(address, client)[0] == "other"
        key.write_text("no key")
        for _ in range(2):
            assert asked(address, client)[0] == "other"
        assert said == [
            f"arpwhy: no PEM certificate and key in {cert} and {key}: what was there before is kept"
        ]
        put("server")
        assert asked(address, client)[0] == "server"


@pytest.mark.parametrize(
    ("cert", "key", "ca", "why"),
    [
        ("none.pem", "server.key", None, "cannot read the certificate {}/none.pem: No such"),
        ("server.pem", "none.key", None, "cannot read the key {}/none.key: No such"),
        ("server.pem", "other.key", None, "the key {}/other.key is not that of the certificate"),
        ("server.key", "server.key", None, "no PEM certificate and key in "),
        ("server.pem", "locked.key", None, "the key {}/locked.key is encrypted"),
        ("server.pem", "server.key", "none.pem", "cannot read the clients' authority "),
        ("server.pem", "server.key", "server.key", "no PEM certificate in {}/server.key"),
    ],
)
def test_files_that_cannot_be_used(
    keys: Path, cert: str, key: str, ca: str | None, why: str
) -> None:
    with pytest.raises(FileError) as error:
        tls.context(str(keys / cert), str(keys / key), str(keys / ca) if ca else None)
    assert str(error.value).startswith(why.format(keys))
    assert "\n" not in str(error.value)
