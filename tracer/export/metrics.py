# SPDX-License-Identifier: Apache-2.0
"""``/metrics``: a scrape, in the format and encoding that the scraper asks for."""

from __future__ import annotations

import functools
import gzip
import threading

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.openmetrics.exposition import ALLOWUTF8

from tracer.export.collector import Collector
from tracer.export.response import Request, Response, Source
from tracer.sinks.sink import Pods, no_pod

# Of zlib's levels: a tenth of the size already, in a quarter of the time of the default, 9.
_GZIP_LEVEL = 1


class Metrics:
    """Of the state, and of this process as every exporter has them: memory, CPU, descriptors."""

    def __init__(self, source: Source, pods: Pods = no_pod) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(Collector(source, pods))
        ProcessCollector(registry=self._registry)
        # One at a time: the threads that render and the one that reads events share one CPU.
        self._turn = threading.Lock()

    def respond(self, request: Request) -> Response:
        """Raises Unready."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        if isinstance(encode, functools.partial):
            # All our names are valid under every scheme; this one looks at each sample quickest.
            encode = functools.partial(encode, escaping=ALLOWUTF8)
        with self._turn:
            body = encode(self._registry)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(request.headers.get("accept-encoding", "")):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, _GZIP_LEVEL)
        return Response(200, headers, body)
