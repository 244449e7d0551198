# SPDX-License-Identifier: Apache-2.0
"""Which part of the exporter answers which path, and who may ask."""

from __future__ import annotations

from collections.abc import Callable

from tracer.export.response import Request, Response, Unready

Part = Callable[[Request], Response]

_METHODS = ("GET", "HEAD")


class App:
    """``health`` answers anybody: the kubelet's probe has neither password nor certificate.

    ``admits``: the answer to a request that must not be served, None to all others.
    """

    def __init__(
        self,
        *,
        health: Part,
        metrics: Part,
        page: Part,
        admits: Callable[[Request], Response | None],
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._page = page
        self._admits = admits

    def respond(self, request: Request) -> Response:
        if request.method not in _METHODS:
            return Response.text(405, "only GET and HEAD", {"Allow": ", ".join(_METHODS)})
        if request.path == "/healthz":
            return self._health(request)
        if (refusal := self._admits(request)) is not None:
            return refusal
        part = self._part(request.path)
        if part is None:
            return Response.text(404, "there are /metrics, /healthz and /")
        try:
            return part(request)
        except Unready as why:
            return Response.text(503, str(why), {"Retry-After": "5"})

    def _part(self, path: str) -> Part | None:
        if path == "/metrics":
            return self._metrics
        if path in ("/", "/status") or path.startswith("/status/"):
            return self._page
        return None
