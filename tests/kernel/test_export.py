# SPDX-License-Identifier: Apache-2.0
"""``arpwhy export`` on a real node: exact numbers, flags, health, and nobody who disturbs it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import bcrypt
import pytest
from conftest import PATIENCE_S
from lab import Lab
from lab.exporter import Exporter, Samples
from lab.pod import Pod
from lab.tracer import command
from test_leaves_nothing import in_kernel, wait_until

from tracer.export.health import Health
from tracer.export.response import Request, Unready
from tracer.kernel.loading import Loading
from tracer.options import Options
from tracer.pipeline import Pipeline
from tracer.run import Live

REQUESTS = "arpwhy_requests_total"
UNANSWERED = "arpwhy_unanswered_requests_total"
FLAGGED = "arpwhy_interface_flagged"
START_S = 60.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("export", pods=0) as made:
        if made.node.call(Path("/proc/sys/net/ipv6/conf/lo").is_dir):
            made.node.set_sysctls({"net/ipv6/conf/lo/disable_ipv6": 0})
        yield made


@pytest.fixture(scope="module")
def exporter(lab: Lab) -> Iterator[Exporter]:
    with Exporter(lab.node) as made:
        yield made


def verdicts(samples: Samples, pod: Pod) -> dict[str, float]:
    return {
        labels["verdict"]: value
        for labels, value in samples.of(REQUESTS, interface=pod.interface)
        if value
    }


def test_exact_counts_flags_and_what_becomes_of_them(lab: Lab, exporter: Exporter) -> None:
    healthy, broken, slow = (lab.add_pod(name) for name in ("healthy", "broken", "slow"))
    before = exporter.wait(lambda now: now.value("arpwhy_interfaces") == 3)
    assert verdicts(before, healthy) == {}
    assert before.of(FLAGGED) == []

    with lab.broken("proxy_arp_off", broken), lab.broken("forwarding_off", slow):
        healthy.ask(13)
        healthy.probe(5)
        broken.ask(7)
        slow.ask(3)
        exporter.wait(lambda now: len(now.of(FLAGGED)) == 2)
        now = exporter.wait(lambda now: now.value(UNANSWERED, reason="forwarding_off") == 3)
        assert now.value(UNANSWERED, reason="proxy_arp_off") == 7
        assert now.value("arpwhy_flagged_interfaces") == 2
        flag = {"interface": broken.interface, "target": "169.254.1.1", "reason": "proxy_arp_off"}
        flag |= {"namespace": "", "pod": ""}
        assert now.of(FLAGGED, interface=broken.interface) == [(flag, 1.0)]
        assert verdicts(now, broken) == {"unanswered": 7}
        assert "gets no reply for 169.254.1.1: proxy_arp_off" in "\n".join(exporter.lines)
    broken.ask(3)
    slow.ask(2)
    now = exporter.wait(lambda now: not now.of(FLAGGED))
    assert verdicts(now, broken) == {"unanswered": 7, "answered": 3}
    assert verdicts(now, healthy) == {"answered": 13, "ignored": 5}

    with lab.broken("proxy_delay", slow):
        slow.ask(11, settle=1.5, alone=True)
    now = exporter.wait(lambda now: verdicts(now, slow).get("answered") == 13)
    assert verdicts(now, slow) == {"answered": 2 + 11, "deferred": 11, "unanswered": 3}
    assert {value for _, value in now.of(UNANSWERED)} == {7, 3, 0}
    assert now.value("arpwhy_reply_latency_seconds_count") == 13 + 3 + 2 + 11
    assert now.value("arpwhy_lost_events_total") == 0

    lab.delete_pod(broken)
    now = exporter.wait(lambda now: now.value("arpwhy_interfaces") == 2)
    assert broken.interface not in now.text
    assert now.value(UNANSWERED, reason="proxy_arp_off") == 7
    again = lab.add_pod("broken")
    again.ask(2)
    exporter.wait(lambda now: verdicts(now, again) == {"unanswered": 7, "answered": 5})
    for pod in (healthy, slow, again):
        lab.delete_pod(pod)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing")
def test_promtool_has_nothing_to_complain_of(exporter: Exporter) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exporter.scrape().text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_stuck_scrapers_disturb_neither_the_trace_nor_each_other(
    lab: Lab, exporter: Exporter
) -> None:
    pod = lab.add_pod("busy")

    def connected() -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((exporter.address, exporter.port))
        return sock

    with contextlib.ExitStack() as stack:
        for _ in range(20):
            half, deaf = (stack.enter_context(lab.node.call(connected)) for _ in range(2))
            half.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
            # Far more than any buffer takes, and none of it is read.
            deaf.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 3000)
        pod.ask(1009)
        slowest = 0.0
        for _ in range(5):
            began = time.monotonic()
            exporter.scrape()
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < PATIENCE_S / 8
        now = exporter.wait(lambda now: verdicts(now, pod).get("answered", 0) >= 1009)
        assert verdicts(now, pod) == {"answered": 1009}
        assert exporter.get("/healthz")[::2] == (200, b"ok\n")
    lab.delete_pod(pod)


def test_paths_and_the_page(exporter: Exporter) -> None:
    status, headers, body = exporter.get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"arpwhy" in body
    assert exporter.get("/status/now.json")[0] == 200
    assert exporter.get("/nothing")[0] == 404
    assert exporter.get("/metrics", method="POST")[0] == 405
    accept = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}
    headers = exporter.get("/metrics", accept)[1]
    assert headers["content-encoding"] == "gzip"
    assert headers["content-type"].startswith("application/openmetrics-text")


def openssl(*args: object) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_ipv6_tls_certificates_and_passwords_together(lab: Lab, tmp_path: Path) -> None:
    if not lab.node.call(Path("/proc/sys/net/ipv6").is_dir):
        pytest.skip("this kernel has no IPv6")
    for name in ("server", "client"):
        openssl(
            *["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"],
            *["-addext", "subjectAltName=DNS:localhost", "-days", 7],
            *["-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem"],
        )
    hashed = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(5)).decode()
    (tmp_path / "users").write_text(f"prometheus:{hashed}\n")
    args = ["--tls-cert", tmp_path / "server.pem", "--tls-key", tmp_path / "server.key"]
    args += ["--client-ca", tmp_path / "client.pem", "--basic-auth-file", tmp_path / "users"]
    with Exporter(lab.node, [str(each) for each in args], listen="[::1]:0") as exporter:
        assert exporter.url == f"https://[::1]:{exporter.port}"

        def curl(path: str, *options: object) -> str:
            done = lab.node.run(
                [
                    *["curl", "-sS", "-o", tmp_path / "body", "-w", "%{http_code}"],
                    *["--noproxy", "*"],
                    *["--cacert", tmp_path / "server.pem", "--resolve"],
                    *[f"localhost:{exporter.port}:[::1]", *options],
                    f"https://localhost:{exporter.port}{path}",
                ]
            )
            return done.stdout

        cert = ["--cert", tmp_path / "client.pem", "--key", tmp_path / "client.key"]
        user = ["-u", "prometheus:correct horse"]
        assert curl("/metrics", *cert, *user) == "200"
        assert Samples((tmp_path / "body").read_text()).value("arpwhy_build_info") == 1
        assert curl("/metrics", *cert) == "401"
        assert curl("/metrics", *cert, "-u", "prometheus:wrong") == "401"
        assert curl("/metrics", *user) == "403"
        assert curl("/", *user) == "403"
        assert curl("/healthz") == "200"
        # Not of the authority: no connection at all.
        assert curl("/healthz", "--cert", tmp_path / "server.pem", "--key", tmp_path / "server.key")
        assert exporter.stop() == 0


def refusal(lab: Lab, *args: object, code: int = 1) -> list[str]:
    done = lab.node.run([*command(), "export", *map(str, args)], timeout=START_S)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def test_what_cannot_run_is_one_line(lab: Lab, exporter: Exporter, tmp_path: Path) -> None:
    taken = f"127.0.0.1:{exporter.port}"
    assert refusal(lab, "--listen", taken) == [
        f"arpwhy: cannot listen at {taken}: Address already in use"
    ]
    (line,) = refusal(lab, "--listen", "192.0.2.7:16925")
    assert line == "arpwhy: cannot listen at 192.0.2.7:16925: Cannot assign requested address"
    (tmp_path / "users").write_text("ann:plain\n")
    (line,) = refusal(lab, "--listen", "127.0.0.1:0", "--basic-auth-file", tmp_path / "users")
    assert line == f"arpwhy: {tmp_path}/users:1: not a bcrypt hash: htpasswd -B makes one"
    none = tmp_path / "none"
    (line,) = refusal(lab, "--listen", "127.0.0.1:0", "--tls-cert", none, "--tls-key", none)
    assert line == f"arpwhy: cannot read the certificate {none}: No such file or directory"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = lab.node.run([*nobody, *command(), "export"], timeout=START_S)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    for args in (["--listen", "16925"], ["--tls-key", none], ["--client-ca", none]):
        assert refusal(lab, *args, code=2)


@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is missing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0_and_nothing_stays(lab: Lab, number: int) -> None:
    before = in_kernel()
    with Exporter(lab.node) as exporter:
        assert in_kernel() - before
        held = lab.node.call(lambda: socket.create_connection((exporter.address, exporter.port), 5))
        assert exporter.stop(number) == 0
        with held, contextlib.suppress(ConnectionResetError):
            assert held.recv(1) == b""
        assert exporter.lines[-1] == "--- 0 flags raised, 0 events lost"
    wait_until(lambda: not in_kernel() - before, "something stays in the kernel")


@pytest.mark.parametrize("how", ["closed", "blocked", "reader gone"])
def test_standard_output_that_takes_nothing_does_not_stop_it(lab: Lab, how: str) -> None:
    pod = lab.add_pod("quiet")
    reader, writer = os.pipe()
    wrap: Sequence[str] = ["sh", "-c", 'exec "$@" >&-', "sh"] if how == "closed" else []
    if how == "blocked":
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(writer, b"x" * 4096):
                pass
        os.set_blocking(writer, True)
    elif how == "reader gone":
        os.close(reader)
    try:
        with Exporter(lab.node, stdout=writer, wrap=wrap) as exporter:
            with lab.broken("proxy_arp_off", pod):
                pod.ask(7)
                exporter.wait(lambda now: now.of(FLAGGED))
            pod.ask(5)
            now = exporter.wait(lambda now: not now.of(FLAGGED))
            assert verdicts(now, pod)["unanswered"] >= 7
            assert exporter.get("/healthz")[0] == 200
            assert exporter.stop() == 0
            said = [line for line in exporter.stderr if "standard output" in line]
            assert len(said) == (0 if how == "blocked" else 1), exporter.stderr
    finally:
        os.close(writer)
        if how != "reader gone":
            os.close(reader)
        lab.delete_pod(pod)


def test_health_follows_the_loop_and_the_hooks(lab: Lab) -> None:
    """Inside this process, so that the loop can be held up and a hook taken away."""
    health = Health()
    stop_read, stop_write = os.pipe()

    def status() -> tuple[int, str]:
        response = health.respond(Request("GET", "/healthz"))
        return response.status, response.body.decode().strip()

    with (
        lab.in_node(),
        contextlib.closing(Live(Options(("cali*",), None, None, False, None))) as live,
    ):
        with Loading(live.options.order()) as loading:
            started = live.start(loading)
        pipeline = Pipeline(lambda line: None, order=live.investigator.order)
        pipeline.feed(started)
        assert status() == (503, "starting")
        live.begin(pipeline)
        health.begun(live, pipeline.state, started)
        loop = threading.Thread(target=live.run, args=(pipeline, None, stop_read, None))
        loop.start()
        assert status() == (200, "ok")
        assert health.snapshot().started is started
        with live.lock:
            wait_until(lambda: status() == (503, "no events were read for 5 s"), "it is not seen")
            with pytest.raises(Unready):
                health.snapshot()
        wait_until(lambda: status() == (200, "ok"), "it does not come back")
        session = live.session
        name = session._links[0]
        kept = os.dup(session._descriptors[name])
        os.close(session._descriptors[name])
        wait_until(lambda: status() == (503, f"{name} is gone: Bad file descriptor"), "not seen")
        os.dup2(kept, session._descriptors[name])
        os.close(kept)
        wait_until(lambda: status() == (200, "ok"), "it does not come back")
        os.write(stop_write, b"\0")
        loop.join(START_S)
        live.finish(pipeline)
    os.close(stop_read)
    os.close(stop_write)
