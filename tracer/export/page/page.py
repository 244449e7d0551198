# SPDX-License-Identifier: Apache-2.0
"""The resources of the status page: ``/``, and its updates at ``/status/now.json``."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tracer.export.page.history import BUCKET_NS, History, Sample
from tracer.export.page.html import CONTENT_SECURITY_POLICY, Html
from tracer.export.page.status import Texts, describe, key_of
from tracer.export.response import Request, Response, Source, Unready
from tracer.export.snapshot import Snapshot
from tracer.sinks.sink import Pods, no_pod

FRESH_NS = 500_000_000
"""So long all viewers are given the same status. They ask once a second: a flag is on the page
1.5 s after it was raised at the latest."""

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


@dataclass(frozen=True, slots=True)
class _Status:
    """One computation. ``etag`` is another one exactly if the texts are others."""

    made_ns: int
    snapshot: Snapshot
    texts: Texts
    packed: bytes
    etag: str


class Page:
    """Answers from any thread. A thread of its own feeds the history while nobody looks.

    ``node``: the name at the page's head; the host's unless given.
    """

    def __init__(self, source: Source, *, pods: Pods = no_pod, node: str | None = None) -> None:
        self._source = source
        self._pods = pods
        self._html = Html(node or socket.gethostname())
        self._history = History()
        self._lock = threading.Lock()
        self._status: _Status | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_history, name="history", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def respond(self, request: Request) -> Response:
        """Raises Unready if there is no state to show."""
        if request.path == "/":
            return self._page(request.headers)
        if request.path == "/status/now.json":
            return self._update(request.headers)
        return Response.text(404, "the status page is at /")

    def _page(self, headers: Mapping[str, str]) -> Response:
        status = self._current()
        snapshot = status.snapshot
        html = self._html.render(status.texts, snapshot.started, time.time_ns())
        return _packed(
            gzip.compress(html.encode(), 1, mtime=0),
            headers,
            {
                "Content-Type": "text/html; charset=utf-8",
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                "Cache-Control": "no-store",
            },
        )

    def _update(self, headers: Mapping[str, str]) -> Response:
        status = self._current()
        about = {
            "Content-Type": "application/json",
            "Cache-Control": "no-cache",
            "ETag": status.etag,
            # For ages; not in the body, which then changes only if something is new.
            "Arpwhy-Time": str(time.time_ns() // 1_000_000),
        }
        if headers.get("if-none-match") == status.etag:
            return Response(304, about)
        return _packed(status.packed, headers, about)

    def _current(self) -> _Status:
        """The status that all share, made anew if it is not fresh."""
        with self._lock:
            status = self._status
            now_ns = time.monotonic_ns()
            if status is None or now_ns - status.made_ns >= FRESH_NS:
                status = self._status = self._make(now_ns)
            return status

    def _make(self, now_ns: int) -> _Status:
        snapshot = self._sample(now_ns)
        texts = describe(snapshot, self._history, self._pods)
        body = _encode(texts).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        old = self._status
        packed = old.packed if old and old.etag == etag else gzip.compress(body, 1, mtime=0)
        return _Status(now_ns, snapshot, texts, packed, etag)

    def _sample(self, now_ns: int) -> Snapshot:
        snapshot = self._source()
        self._history.sample(
            now_ns,
            (Sample(key_of(view), view.requests, view.unanswered) for view in snapshot.interfaces),
        )
        return snapshot

    def _keep_history(self) -> None:
        while True:
            now_ns = time.monotonic_ns()
            if self._closing.wait((BUCKET_NS - now_ns % BUCKET_NS) / 1e9):
                return
            with self._lock, contextlib.suppress(Unready):
                self._sample(time.monotonic_ns())


def _packed(body: bytes, headers: Mapping[str, str], about: Mapping[str, str]) -> Response:
    """``body`` is gzip's; unpacked for who does not take that."""
    if "gzip" in headers.get("accept-encoding", ""):
        packed = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Response(200, {**about, **packed}, body)
    return Response(200, {**about, "Vary": "Accept-Encoding"}, gzip.decompress(body))
