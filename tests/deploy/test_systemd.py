# SPDX-License-Identifier: Apache-2.0
"""The unit: its exposure by systemd's own measure, and that it does its work under all that it
denies itself, by a real systemd."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from booted import TOP, Booted
from lab import Lab, web
from lab.exporter import Samples

UNIT = "deploy/systemd/arpwhy.service"
RIGHTS = {"bpf": 39, "perfmon": 38, "syslog": 34, "net_raw": 13}
NET_ADMIN = 12
# Each begins with the path of its file.
DROP_INS = {
    text.split()[1]: text
    for text in re.findall(
        r"^```ini\n(.+?)^```", (TOP / "docs/install-node.md").read_text(), re.MULTILINE | re.DOTALL
    )
}

needs_systemd = pytest.mark.skipif(
    not Path("/lib/systemd/systemd").exists() or shutil.which("systemd-analyze") is None,
    reason="no systemd (Debian: systemd)",
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root: cannot boot a systemd")
needs_overlay = pytest.mark.skipif(
    "\toverlay\n" not in Path("/proc/filesystems").read_text(), reason="no overlayfs"
)


@needs_systemd
def test_its_exposure_is_under_3() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=29", TOP / UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-200:]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("unit", pods=2) as made:
        yield made


@needs_systemd
@needs_root
@needs_overlay
def test_it_names_who_drops_a_request_with_four_rights_and_no_more(lab: Lab) -> None:
    healthy, broken = lab.pods
    with Booted(lab.node, UNIT) as booted:
        verified = booted.run("systemd-analyze", "verify", "arpwhy.service")
        assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
        started = booted.run("systemctl", "start", "arpwhy")
        assert started.returncode == 0, started.stderr
        booted.wait(lambda: metrics(lab) is not None)
        with lab.broken("nft_arp_input", broken):
            healthy.ask(13)
            broken.ask(7)
            booted.wait(lambda: flags(booted))
        broken.ask(3)
        booted.wait(lambda: len(flags(booted)) == 2)

        raised, cleared = flags(booted)
        assert (raised["reason"], raised["confidence"]) == ("filtered_in", "observed")
        assert raised["evidence"]["seen"]["drop_function"] == "nft_do_chain"
        assert (cleared["state"], cleared["unanswered"]) == ("cleared", 7)
        now = metrics(lab)
        assert now is not None
        assert now.value("arpwhy_unanswered_requests_total", reason="filtered_in") == 7
        answered = now.of("arpwhy_requests_total", verdict="answered")
        counts = {labels["interface"]: value for labels, value in answered}
        assert counts == {healthy.interface: 13, broken.interface: 3}

        said = booted.run("journalctl", "--unit=arpwhy", "--output=cat", "--no-pager").stdout
        assert "not seen" not in said  # Of unusual frames, without a packet socket.
        status = process_status(booted)
        rights = f"{sum(1 << number for number in RIGHTS.values()):016x}"
        assert {status[f"Cap{kind}"] for kind in ("Eff", "Prm", "Bnd", "Amb")} == {rights}
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        assert "0" not in status["Uid"].split()
        assert booted.run("systemctl", "stop", "arpwhy").returncode == 0
        shown = booted.run("systemctl", "show", "--property=Result,ExecMainStatus", "arpwhy")
        assert sorted(shown.stdout.split()) == ["ExecMainStatus=0", "Result=success"]


@needs_systemd
@needs_root
@needs_overlay
def test_the_drop_ins_of_the_document_do_what_it_says(lab: Lab) -> None:
    with Booted(lab.node, UNIT) as booted:
        for path, text in DROP_INS.items():
            booted.write(path, text)
        user = bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode()
        booted.write("/etc/arpwhy/users", f"prometheus:{user}\n")
        made = booted.run(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=node"),
            *("-keyout", "/etc/arpwhy/tls.key", "-out", "/etc/arpwhy/tls.crt"),
        )
        assert made.returncode == 0, made.stderr
        assert booted.run("chmod", "-R", "go=", "/etc/arpwhy").returncode == 0
        assert booted.run("systemctl", "daemon-reload").returncode == 0
        assert booted.run("systemctl", "start", "arpwhy").returncode == 0
        booted.wait(lambda: status(lab, "/healthz") == 200)
        assert status(lab, "/metrics") == 401
        assert status(lab, "/metrics", "prometheus:password") == 200
        effective = int(process_status(booted)["CapEff"], 16)
        assert effective == sum(1 << number for number in (*RIGHTS.values(), NET_ADMIN))


@needs_systemd
@needs_root
@needs_overlay
def test_it_starts_again_without_bcc(lab: Lab) -> None:
    """Another user each time, as DynamicUser= has it, to whom systemd gives the cache."""
    with Booted(lab.node, UNIT) as booted:
        assert booted.run("systemctl", "start", "arpwhy").returncode == 0
        booted.wait(lambda: metrics(lab) is not None)
        assert booted.run("systemctl", "stop", "arpwhy").returncode == 0
        bcc = booted.run("/usr/bin/python3", "-c", "import bcc; print(bcc.__file__)").stdout.strip()
        assert booted.run("mv", bcc, f"{bcc}.away").returncode == 0
        assert (
            booted.run("chown", "-R", "65533", "/var/cache/private/arpwhy-export").returncode == 0
        )
        assert booted.run("systemctl", "start", "arpwhy").returncode == 0
        booted.wait(lambda: metrics(lab) is not None)
        said = booted.run("journalctl", "--unit=arpwhy", "--output=cat", "--no-pager").stdout
        assert "is not used" not in said


def status(lab: Lab, path: str, user: str = "") -> int | None:
    """Of the answer by HTTPS; None while there is none."""

    def ask() -> int:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        server = http.client.HTTPSConnection("127.0.0.1", 16925, timeout=10, context=context)
        with contextlib.closing(server):
            login = f"Basic {base64.b64encode(user.encode()).decode()}"
            server.request("GET", path, headers={"Authorization": login} if user else {})
            return server.getresponse().status

    try:
        return lab.node.call(ask)
    except OSError:
        return None


def metrics(lab: Lab) -> Samples | None:
    """None while it does not serve them."""
    try:
        body = lab.node.call(lambda: web.fetch("http://127.0.0.1:16925/metrics"))
    except OSError:
        return None
    return Samples(body.decode())


def flags(booted: Booted) -> list[dict[str, Any]]:
    """Those in the journal: the environment file of this systemd asks for JSON."""
    said = booted.run("journalctl", "--unit=arpwhy", "--output=cat", "--no-pager").stdout
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [line for line in lines if line["type"] == "flag"]


def process_status(booted: Booted) -> dict[str, str]:
    """/proc/PID/status of the service's main process."""
    pid = booted.run("systemctl", "show", "--property=MainPID", "--value", "arpwhy").stdout.strip()
    text = booted.run("cat", f"/proc/{pid}/status").stdout
    return {
        name: value.strip()
        for name, _, value in (line.partition(":") for line in text.splitlines())
    }
