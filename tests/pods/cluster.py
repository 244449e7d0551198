# SPDX-License-Identifier: Apache-2.0
"""A real API server with etcd, TLS, RBAC and service accounts, on loopback, for a test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ETCD = os.environ.get("ARPWHY_ETCD", "")
APISERVER = os.environ.get("ARPWHY_APISERVER", "")
_ADMIN = "the-admin-of-the-test"
_ISSUER = "https://kubernetes.default.svc"
_PATIENCE_S = 60.0


def missing() -> str | None:
    """What this machine lacks for one, or None."""
    for variable, path in (("ARPWHY_ETCD", ETCD), ("ARPWHY_APISERVER", APISERVER)):
        if not shutil.which(path):
            return f"{variable}, the path of its binary (tests/pods/README.md)"
    return None


class Cluster:
    """Of one server and no nodes: pods are as they are written, nobody runs them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._etcd_port, self.port = _free_port(), _free_port()
        self._etcd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        certificates(directory)
        _openssl(directory, "genrsa", "-out", "accounts.key", "2048")
        (directory / "tokens").write_text(f"{_ADMIN},admin,1,system:masters\n")

    def __enter__(self) -> Cluster:
        client = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{_free_port()}"
        self._etcd = self._start(
            [
                ETCD,
                "--data-dir=etcd",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            ]
        )
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait()

    def start(self) -> None:
        """The API server, up and with its own roles made."""
        self._server = self._start(
            [
                APISERVER,
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={self.port}",
                "--tls-cert-file=server.crt",
                "--tls-private-key-file=server.key",
                "--service-account-key-file=accounts.key",
                "--service-account-signing-key-file=accounts.key",
                f"--service-account-issuer={_ISSUER}",
                f"--api-audiences={_ISSUER}",
                "--authorization-mode=RBAC",
                "--token-auth-file=tokens",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--disable-admission-plugins=ServiceAccount",
                "--etcd-compaction-interval=0",
                "--allow-privileged",
            ]
        )
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            with contextlib.suppress(OSError, urllib.error.HTTPError):
                self.call("GET", "/readyz")
                self.call("GET", "/api/v1/namespaces/default")
                return
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._directory / "log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        """The API server, at once."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def _start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        with (self._directory / "log").open("ab") as log:
            return subprocess.Popen(argv, cwd=self._directory, stdout=log, stderr=log)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str = _ADMIN,
        kind: str = "application/json",
    ) -> Any:
        """A request as the administrator; urllib's HTTPError if it is refused."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": kind},
            method=method,
        )
        context = ssl.create_default_context(cafile=str(self._directory / "ca.crt"))
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text

    def compact(self) -> None:
        """etcd forgets the past."""
        at = f"http://127.0.0.1:{self._etcd_port}/v3/kv"

        def ask(what: str, body: object) -> Any:
            request = urllib.request.Request(f"{at}/{what}", json.dumps(body).encode())
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)

        revision = ask("range", {"key": "AA=="})["header"]["revision"]
        ask("compaction", {"revision": revision, "physical": True})

    def account(self, name: str, verbs: list[str], lifetime_s: int = 3600) -> str:
        """A service account that may do so to pods; its token."""
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        self.call("POST", accounts, {"metadata": {"name": name}})
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": verbs}
        self.call("POST", f"{rbac}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
        subject = {"kind": "ServiceAccount", "namespace": "default", "name": name}
        self.call(
            "POST",
            f"{rbac}/clusterrolebindings",
            {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]},
        )
        return self.token(name, lifetime_s)

    @property
    def environ(self) -> dict[str, str]:
        """As in a pod."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
        }

    def mount(self, path: Path, account: str, verbs: list[str]) -> Path:
        """What is mounted into a pod of a new service account."""
        path.mkdir()
        (path / "token").write_text(self.account(account, verbs))
        shutil.copy(self._directory / "ca.crt", path)
        return path

    def token(self, account: str, lifetime_s: int = 3600) -> str:
        asked = self.call(
            "POST",
            f"/api/v1/namespaces/default/serviceaccounts/{account}/token",
            {"spec": {"audiences": [_ISSUER], "expirationSeconds": lifetime_s}},
        )
        return str(asked["status"]["token"])

    def pod(
        self,
        name: str,
        node: str,
        *,
        addresses: tuple[str, ...] = (),
        phase: str = "Running",
        **spec: object,
    ) -> None:
        """A pod as a kubelet would have it by now."""
        pods = "/api/v1/namespaces/default/pods"
        container = {"name": "main", "image": "none"}
        self.call(
            "POST",
            pods,
            {
                "metadata": {"name": name},
                "spec": {"nodeName": node, "containers": [container], **spec},
            },
        )
        if addresses:
            self.status(name, addresses=addresses, phase=phase)

    def status(self, name: str, *, addresses: tuple[str, ...], phase: str = "Running") -> None:
        """Changed."""
        of = {
            "phase": phase,
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
        }
        self.call(
            "PATCH",
            f"/api/v1/namespaces/default/pods/{name}/status",
            {"status": of},
            kind="application/merge-patch+json",
        )

    def delete(self, name: str) -> None:
        self.call("DELETE", f"/api/v1/namespaces/default/pods/{name}", {"gracePeriodSeconds": 0})


def certificates(directory: Path) -> None:
    """``ca.crt``, and ``server.crt`` and ``server.key`` for loopback."""
    new_key = ("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out")
    _openssl(directory, *new_key, "ca.key")
    _openssl(directory, *new_key, "server.key")
    for_ca = ("-subj", "/CN=the test's authority", "-days", "3", "-key", "ca.key")
    _openssl(directory, "req", "-x509", "-new", *for_ca, "-out", "ca.crt")
    _openssl(directory, "req", "-new", "-key", "server.key", "-subj", "/CN=api", "-out", "csr")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3")
    _openssl(
        directory, "x509", "-req", "-in", "csr", *signed, "-extfile", "names", "-out", "server.crt"
    )


def _openssl(directory: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
