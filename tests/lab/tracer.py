# SPDX-License-Identifier: Apache-2.0
"""Runs ``arpwhy trace --format json`` in a namespace and reads what it says.

::

    with Lab("t") as lab, Tracer(lab.node, engine="tracepoint") as tracer:
        lab.pods[0].ask(3)
        line = tracer.wait_for(lambda line: line["type"] == "request")
        code, stop = tracer.stop()

Leaving the block ends the command in any case.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from .errors import LabError
from .netns import Netns

_CHECKOUT = Path(__file__).resolve().parents[2]
_TAIL = 40  # lines of each stream in a failure's message


class TracerError(LabError):
    """The command failed or did not say in time what was waited for; holds its output."""


class Line(dict):  # type: ignore[type-arg]
    """One parsed JSON line; equal to the plain dictionary.

    ``arrival_ns``: when it was read here, nanoseconds since the epoch (time.time_ns).
    """

    def __init__(self, fields: dict[str, Any], arrival_ns: int) -> None:
        super().__init__(fields)
        self.arrival_ns = arrival_ns


def command() -> list[str]:
    """The arpwhy to test: $ARPWHY (split as a shell would), else the checkout's."""
    return shlex.split(os.environ.get("ARPWHY", "")) or [str(_CHECKOUT / ".venv/bin/arpwhy")]


class Tracer:
    """A running trace in the namespace ``netns``.

    ``engine``: as --engine, None for the command's default. ``args``: further options.
    ``program``: what to run instead of :func:`command`. ``start_timeout``: seconds until
    tracing must have begun; generous, because emulated machines compile slowly.
    """

    def __init__(
        self,
        netns: Netns,
        engine: str | None = None,
        args: Sequence[str] = (),
        *,
        program: Sequence[str] | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self.netns = netns
        self.argv = [*(command() if program is None else program), "trace", "--format", "json"]
        self.argv += ["--engine", engine] if engine else []
        self.argv += args
        self.start_timeout = start_timeout
        self.lines: list[Line] = []
        self.stderr: list[str] = []
        self._garbage: list[str] = []
        self._began = False
        self._open = 0
        self._news = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Tracer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def process(self) -> subprocess.Popen[str]:
        """The command itself: nsenter becomes it, so the pid is arpwhy's."""
        if self._process is None:
            raise LabError("the tracer was not started")
        return self._process

    def start(self) -> None:
        """Start it and return once it says that tracing has begun."""
        # A session of its own: a Ctrl-C at the terminal reaches the test, which ends this.
        self._process = self.netns.popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._open = 2
        for stream, take in (
            (self._process.stdout, self._take_stdout),
            (self._process.stderr, self._take_stderr),
        ):
            reader = threading.Thread(target=self._read, args=(stream, take), daemon=True)
            self._readers.append(reader)
            reader.start()
        try:
            self._wait(lambda: self._began, self.start_timeout, "the line 'tracing ...'")
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 60.0) -> tuple[int, Line | None]:
        """SIGINT; the exit code, and the ``stop`` object if there was one.

        TracerError if it does not end within ``timeout`` seconds or printed what is not JSON.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.finish(timeout)

    def finish(self, timeout: float = 60.0) -> tuple[int, Line | None]:
        """As :meth:`stop`, for a run that ends by itself (--duration, --count)."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._error(f"did not end within {timeout:g} s") from None
        for reader in self._readers:
            reader.join(timeout)
        if self._garbage:
            raise self._error(f"not a JSON object: {self._garbage[0]!r}")
        return code, next(iter(self.of_type("stop")), None)

    def kill(self) -> None:
        """SIGKILL if it still runs. Harmless when it does not."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(5.0)

    def wait_for(self, predicate: Callable[[Line], bool], timeout: float = 10.0) -> Line:
        """The first line, of those that came and those to come, that fits."""
        return self.wait_for_count(1, predicate, timeout)[0]

    def wait_for_count(
        self, count: int, predicate: Callable[[Line], bool], timeout: float = 10.0
    ) -> list[Line]:
        """The first ``count`` lines that fit; TracerError after ``timeout`` seconds without."""
        found: list[Line] = []
        read = 0

        def enough() -> bool:
            nonlocal read
            fresh = self.lines[read:]
            read += len(fresh)
            found.extend(line for line in fresh if predicate(line))
            return len(found) >= count

        self._wait(enough, timeout, f"{count} line(s) that were waited for")
        return found[:count]

    def of_type(self, kind: str, **fields: Any) -> list[Line]:
        """The lines so far of this type whose fields have these values."""
        wanted = {"type": kind, **fields}
        with self._news:
            lines = list(self.lines)
        return [
            line
            for line in lines
            if all(key in line and line[key] == value for key, value in wanted.items())
        ]

    def requests(self, interface: str | None = None, **fields: Any) -> list[Line]:
        """The ``request`` lines so far."""
        return self.of_type("request", **_with_interface(interface, fields))

    def flags(self, interface: str | None = None, **fields: Any) -> list[Line]:
        """The ``flag`` lines so far."""
        return self.of_type("flag", **_with_interface(interface, fields))

    def neighbours(self, interface: str | None = None, **fields: Any) -> list[Line]:
        """The ``neighbour`` lines so far."""
        return self.of_type("neighbour", **_with_interface(interface, fields))

    def _wait(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        deadline = time.monotonic() + timeout
        with self._news:
            while not condition():
                remaining = deadline - time.monotonic()
                if not self._open:
                    break
                if remaining <= 0:
                    raise self._error(f"{timeout:g} s without {what}")
                self._news.wait(remaining)
            else:
                return
        self.process.wait(10.0)
        raise self._error(f"ended without {what}")

    def _read(self, stream: IO[str], take: Callable[[str], None]) -> None:
        for text in stream:
            with self._news:
                take(text.rstrip("\n"))
                self._news.notify_all()
        stream.close()
        with self._news:
            self._open -= 1
            self._news.notify_all()

    def _take_stdout(self, text: str) -> None:
        arrival_ns = time.time_ns()
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if isinstance(fields, dict):
            self.lines.append(Line(fields, arrival_ns))
        else:
            self._garbage.append(text)

    def _take_stderr(self, text: str) -> None:
        self.stderr.append(text)
        self._began = self._began or text.startswith("tracing ")

    def _error(self, what: str) -> TracerError:
        code = self.process.poll()
        state = "still running" if code is None else f"exit code {code}"
        return TracerError(
            "\n".join(
                (
                    f"{shlex.join(self.argv)} ({state}): {what}",
                    *_tail("stderr", self.stderr),
                    *_tail("stdout", [*map(json.dumps, self.lines), *self._garbage]),
                )
            )
        )


def _with_interface(interface: str | None, fields: dict[str, Any]) -> dict[str, Any]:
    return fields if interface is None else {"interface": interface, **fields}


def _tail(name: str, lines: Sequence[str]) -> list[str]:
    return [f"--- {name}, {len(lines)} line(s)", *lines[-_TAIL:]]
