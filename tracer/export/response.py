# SPDX-License-Identifier: Apache-2.0
"""What is asked of the exporter, what it answers, and where the answers get the state from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tracer.export.snapshot import Snapshot

# Takes a snapshot of the state, now; from any thread. It waits until the pipeline is not being
# fed, milliseconds; raises Unready while there is no state that could be trusted.
Source = Callable[[], Snapshot]


class Unready(Exception):  # noqa: N818 - a state
    """Tracing has not begun, or no longer goes on; one line says why. Answered by 503."""


@dataclass(frozen=True, slots=True)
class Request:
    """A GET or HEAD. ``headers``: names in lower case. ``certified``: the client showed a
    certificate of an authority that we trust."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    certified: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to one HTTP request. Content-Length and the security headers are the server's.

    ``headers`` are those that the answer needs besides, Content-Type first of all. A security
    header given here replaces the server's.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def text(cls, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
        """One or more lines of plain text; the newline at the end is added."""
        plain = {"Content-Type": "text/plain; charset=utf-8"}
        return cls(status, {**plain, **(headers or {})}, f"{text}\n".encode())
