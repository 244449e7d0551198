# SPDX-License-Identifier: Apache-2.0
"""Has the conversations that tests/unit/test_pods_api.py replays, with a real API server.

``.venv/bin/python tests/pods/record.py``; what it needs: tests/pods/README.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

sys.path[:0] = [str(Path(__file__).parent)]

from cluster import Cluster, missing  # noqa: E402

from tracer.pods.api import Api  # noqa: E402
from tracer.pods.credentials import Credentials  # noqa: E402
from tracer.pods.trouble import Trouble  # noqa: E402

_HEADERS = ("Content-Type", "Retry-After")


class _Heard:
    """A response whose body is also kept."""

    def __init__(self, response: Any, exchange: dict[str, Any]) -> None:
        self._response = response
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    def stream(self, size: int) -> Iterator[bytes]:
        for chunk in self._response.stream(size):
            self._exchange["body"] += chunk.decode()
            yield chunk

    def read(self, size: int) -> bytes:
        body: bytes = self._response.read(size)
        self._exchange["body"] += body.decode()
        return body


class Recorder(Api):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.exchanges: list[dict[str, Any]] = []

    def _ask(self, query: str, read_s: float) -> Any:
        response = super()._ask(query, read_s)
        exchange = {
            "query": dict(parse_qsl(query)),
            "status": response.status,
            "headers": {
                name: response.headers[name] for name in _HEADERS if name in response.headers
            },
            "body": "",
        }
        self.exchanges.append(exchange)
        return _Heard(response, exchange)

    def save(self, name: str) -> None:
        path = Path(__file__).parent / "conversations" / f"{name}.json"
        path.write_text(json.dumps(self.exchanges, indent=1) + "\n")
        self.exchanges.clear()


def main() -> None:
    if lack := missing():
        sys.exit(f"a real API server needs {lack}")
    with tempfile.TemporaryDirectory() as directory, Cluster(Path(directory)) as cluster:
        account = cluster.mount(Path(directory) / "mounted", "arpwhy", ["list", "watch"])
        api = Recorder(Credentials(environ=cluster.environ, account=account), "worker-1")
        _pods(cluster, api)
        _expired(cluster, api)
        _refused(cluster, api, account)


def _pods(cluster: Cluster, api: Recorder) -> None:
    """A list, then a watch in which a pod is made, gets its addresses, ends and goes."""
    cluster.pod("nginx", "worker-1", addresses=("192.168.156.1", "fd00::1"))
    cluster.pod("vm", "worker-1", addresses=("192.168.156.2",))
    cluster.pod("proxy", "worker-1", addresses=("10.65.0.2",), hostNetwork=True)
    cluster.pod("job", "worker-1", addresses=("192.168.156.3",), phase="Succeeded")
    cluster.pod("elsewhere", "worker-2", addresses=("192.168.157.1",))
    page = api.pods()
    with api.watch(page.version, 6) as changes:
        cluster.pod("late", "worker-1")
        cluster.status("late", addresses=("fd00::4", "192.168.156.4"))
        cluster.status("late", addresses=("fd00::4", "192.168.156.4"), phase="Failed")
        cluster.delete("late")
        cluster.pod("elsewhere-too", "worker-2")
        for _ in changes:  # to its end, which a bookmark announces
            pass
    api.save("pods")


def _expired(cluster: Cluster, api: Recorder) -> None:
    """A watch of long ago, and the second page of a list of long ago."""
    cluster.stop()
    cluster.start()  # its cache now begins later
    for number in range(3):
        cluster.pod(f"more{number}", "worker-1")
    with suppress(Trouble), api.watch("2", 5) as changes:
        list(changes)
    first = cluster.call("GET", "/api/v1/pods?limit=1")
    cluster.pod("latest", "worker-1")
    cluster.compact()
    with suppress(Trouble):
        api.pods(first["metadata"]["continue"])
    api.save("expired")


def _refused(cluster: Cluster, api: Recorder, account: Path) -> None:
    """No right to list, then to watch; a token that is none."""
    (account / "token").write_text(cluster.account("lister", ["list"]))
    api.forget()
    page = api.pods()
    with suppress(Trouble), api.watch(page.version, 5):
        pass
    (account / "token").write_text(cluster.account("nobody", ["get"]))
    api.forget()
    with suppress(Trouble):
        api.pods()
    (account / "token").write_text("not-a-token")
    api.forget()
    with suppress(Trouble):
        api.pods()
    api.exchanges.pop(0)
    api.save("refused")


if __name__ == "__main__":
    main()
