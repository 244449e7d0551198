# SPDX-License-Identifier: Apache-2.0
"""Runs Debian's prometheus in a namespace, and asks it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import web
from .errors import LabError, Unavailable
from .netns import Netns

T = TypeVar("T")

_PORT = 9090  # of the namespace, where nobody else is


class Prometheus:
    """A server of its own in ``netns``, which must have ``lo`` up; its data under ``directory``.

    ``targets``: label ``instance`` by address and port, all of the job ``arpwhy``.
    ``interval_s`` is that of scrapes and of rules that do not say another.
    """

    def __init__(
        self,
        netns: Netns,
        directory: Path,
        targets: Mapping[str, str],
        rules: Sequence[Path],
        *,
        interval_s: int = 5,
    ) -> None:
        if shutil.which("prometheus") is None:
            raise Unavailable("prometheus: not installed (Debian: prometheus)")
        self.url = f"http://127.0.0.1:{_PORT}"
        self._netns = netns
        self._log = directory / "prometheus.log"
        configuration = {
            "global": {
                "scrape_interval": f"{interval_s}s",
                "scrape_timeout": f"{interval_s}s",
                "evaluation_interval": f"{interval_s}s",
            },
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {
                    "job_name": "arpwhy",
                    "static_configs": [
                        {"targets": [address], "labels": {"instance": name}}
                        for address, name in targets.items()
                    ],
                }
            ],
        }
        # JSON is YAML.
        (directory / "prometheus.yml").write_text(json.dumps(configuration))
        self._argv = [
            "prometheus",
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{_PORT}",
        ]
        self._process: subprocess.Popen[Any] | None = None

    def __enter__(self) -> Prometheus:
        with self._log.open("w") as log:
            self._process = self._netns.popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self.wait(self._ready, 20.0, "ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def get(self, path: str, **parameters: str) -> Any:
        """What is at ``/api/v1/PATH``: the field ``data`` of the answer."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        return json.loads(self._fetch(url))["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant vector, now."""
        result: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return result

    def alerts(self, name: str, state: str = "firing") -> list[dict[str, Any]]:
        """Alerts of that name in that state."""
        return [
            alert
            for alert in self.get("alerts")["alerts"]
            if alert["labels"]["alertname"] == name and alert["state"] == state
        ]

    def wait(self, ask: Callable[[], T], timeout: float, what: str) -> T:
        """The first answer of ``ask()`` that is true; LabError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not (answer := ask()):
            if self._process is None or self._process.poll() is not None:
                raise LabError(f"prometheus ended:\n{self._log.read_text()}")
            if time.monotonic() > deadline:
                raise LabError(f"{timeout:g} s without {what}:\n{self._log.read_text()}")
            time.sleep(0.1)
        return answer

    def _ready(self) -> bool:
        try:
            return bool(self._fetch(f"{self.url}/-/ready"))
        except OSError:
            return False

    def _fetch(self, url: str) -> bytes:
        return self._netns.call(lambda: web.fetch(url))
