# SPDX-License-Identifier: Apache-2.0
"""What the parts of the exporter answer a request with, and where they get the state from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tracer.export.snapshot import Snapshot

# Takes a snapshot of the state, now; from any thread. It waits until the pipeline is not being
# fed: milliseconds.
Source = Callable[[], Snapshot]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to one HTTP request. Content-Length and the security headers are the server's.

    ``headers`` are those that the answer needs besides, Content-Type first of all.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def text(cls, status: int, text: str) -> Response:
        """One or more lines of plain text; the newline at the end is added."""
        return cls(status, {"Content-Type": "text/plain; charset=utf-8"}, f"{text}\n".encode())
