# SPDX-License-Identifier: Apache-2.0
"""A page fetched by HTTP, from the network namespace of the calling thread."""

from __future__ import annotations

import urllib.error
import urllib.request


def fetch(url: str) -> bytes:
    """The body; urllib's HTTPError, an OSError, for an error status."""
    # A proxy of the machine's has no way into the namespace.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            raise
