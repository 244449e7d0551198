# SPDX-License-Identifier: Apache-2.0
"""Runs ``arpwhy export`` in a namespace and asks it.

::

    with Lab("e") as lab, Exporter(lab.node) as exporter:
        lab.pods[0].ask(3)
        exporter.wait(lambda m: m.value("arpwhy_requests_total", verdict="answered") == 3)
"""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from .errors import LabError
from .netns import Netns
from .tracer import command

_URL = re.compile(r"arpwhy: metrics and status page at (https?)://(\S+):(\d+)/")


class Samples:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._values: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._values.setdefault(sample.name, []).append((sample.labels, sample.value))

    def of(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of the series of that name that have these labels."""
        return [each for each in self._values.get(name, []) if labels.items() <= each[0].items()]

    def value(self, name: str, **labels: str) -> float | None:
        """Of the only such series; None if there is none."""
        found = self.of(name, **labels)
        if len(found) > 1:
            raise LabError(f"{len(found)} series {name} {labels}")
        return found[0][1] if found else None


class Exporter:
    """A running exporter in ``netns``; ``listen`` as --listen.

    ``lines``, ``stderr``: what it has printed so far. ``port`` and ``address`` are those it
    said. ``stdout``: for subprocess, instead of a pipe that is read into ``lines``. ``wrap``: a
    command that becomes the exporter.
    """

    def __init__(
        self,
        netns: Netns,
        args: Sequence[str] = (),
        *,
        listen: str = "127.0.0.1:0",
        stdout: int | None = None,
        wrap: Sequence[str] = (),
        start_timeout: float = 60.0,
    ) -> None:
        self.netns = netns
        self.argv = [*wrap, *command(), "export", "--listen", listen, *args]
        self.lines: list[str] = []
        self.stderr: list[str] = []
        self.address = ""
        self.port = 0
        self.scheme = "http"
        self._stdout = stdout
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Exporter:
        self._process = self.netns.popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._stdout is None else self._stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for stream, lines in (
            (self._process.stdout, self.lines),
            (self._process.stderr, self.stderr),
        ):
            if stream is not None:
                reader = threading.Thread(target=_read, args=(stream, lines), daemon=True)
                self._readers.append(reader)
                reader.start()
        try:
            self._await(
                lambda: any(line.startswith("tracing ") for line in self.stderr),
                self._start_timeout,
                "the line 'tracing ...'",
            )
            said = next(filter(None, map(_URL.fullmatch, self.stderr)), None)
            if said is None:
                raise self._error("no address was said")
            self.scheme, self.address = said[1], said[2].strip("[]")
            self.port = int(said[3])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._join()

    @property
    def process(self) -> subprocess.Popen[str]:
        """The command itself: nsenter becomes it, so the pid is arpwhy's."""
        if self._process is None:
            raise LabError("the exporter was not started")
        return self._process

    @property
    def url(self) -> str:
        """Without a slash at its end; of the address it is bound to, within the namespace."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{host}:{self.port}"

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30.0) -> int:
        """The exit status after that signal."""
        self.process.send_signal(number)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._error(f"did not end within {timeout:g} s") from None
        self._join()
        return code

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body, by HTTP, asked inside the namespace."""

        def ask() -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(self.address, self.port, timeout=30)
            try:
                connection.request(method, path, headers=dict(headers or {}))
                answer = connection.getresponse()
                names = {name.lower(): value for name, value in answer.getheaders()}
                return answer.status, names, answer.read()
            finally:
                connection.close()

        return self.netns.call(ask)

    def scrape(self) -> Samples:
        status, _, body = self.get("/metrics")
        if status != 200:
            raise self._error(f"/metrics: {status} {body!r}")
        return Samples(body.decode())

    def wait(self, holds: Callable[[Samples], object], timeout: float = 10.0) -> Samples:
        """The first scrape of which that holds; LabError after ``timeout`` seconds without."""
        deadline = time.monotonic() + timeout
        while not holds(samples := self.scrape()):
            if time.monotonic() > deadline:
                raise self._error(f"{timeout:g} s without what was waited for:\n{samples.text}")
            time.sleep(0.05)
        return samples

    def _await(self, holds: Callable[[], bool], timeout: float, what: str) -> None:
        deadline = time.monotonic() + timeout
        while not holds():
            if self.process.poll() is not None:
                self._join()
                raise self._error(f"ended without {what}")
            if time.monotonic() > deadline:
                raise self._error(f"{timeout:g} s without {what}")
            time.sleep(0.02)

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(5.0)

    def _error(self, what: str) -> LabError:
        code = self.process.poll()
        state = "still running" if code is None else f"exit code {code}"
        return LabError("\n".join((f"{' '.join(self.argv)} ({state}): {what}", *self.stderr[-40:])))


def _read(stream: Any, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - each is seen when it comes
    stream.close()
