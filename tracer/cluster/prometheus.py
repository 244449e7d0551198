# SPDX-License-Identifier: Apache-2.0
"""Questions to a Prometheus, by its HTTP API; whatever else answers is found out."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracer.sinks.printable import printable, without_surrogates

_LARGEST_ANSWER = 64 << 20  # bytes
_LONGEST_MESSAGE = 200  # characters of another program's words
_NOT_ONE = "what answers there is not a Prometheus"


class PrometheusError(Exception):
    """Could not be asked; the text is one line for the user."""


class QueryError(PrometheusError):
    """Prometheus does not take the query; the text is its own."""


@dataclass(frozen=True, slots=True)
class Series:
    """``points``: (seconds since the epoch, value), the oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Access:
    """How to come in. ``ca``: a file of certificates to trust instead of the system's."""

    authorization: str | None = field(default=None, repr=False)
    ca: str | None = None

    @classmethod
    def basic(cls, user: str, password: str, ca: str | None = None) -> Access:
        words = base64.b64encode(f"{user}:{password}".encode()).decode()
        return cls(f"Basic {words}", ca)

    @classmethod
    def bearer(cls, token: str, ca: str | None = None) -> Access:
        return cls(f"Bearer {token}", ca)


class Prometheus:
    """The server at ``url`` (its path prefix included, nothing secret in it).

    ``timeout_s``: for all questions together. ``warnings`` are what the server said besides:
    its answers may not be whole.
    """

    def __init__(self, url: str, access: Access, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self.warnings: list[str] = []
        self._access = access
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if self.url.startswith("https:"):
            try:
                tls = ssl.create_default_context(cafile=access.ca)
            except OSError as error:
                raise PrometheusError(
                    f"cannot read certificates from {access.ca}: {_why(error)}"
                ) from None
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        self._open = urllib.request.build_opener(*handlers).open

    def now(self) -> float:
        """The server's clock: ours may be another, and there is nothing yet in the future."""
        try:
            now = self._ask("query", "vector", {"query": "vector(time())"})[0].points[0][1]
            time.gmtime(now)
        except (LookupError, ValueError, OverflowError, OSError):
            raise self._error(_NOT_ONE) from None
        return now

    def at(self, query: str, ts: float) -> list[Series]:
        """The instant vector at ``ts`` (seconds since the epoch). Raises PrometheusError."""
        return self._ask("query", "vector", {"query": query, "time": f"{ts:.3f}"})

    def over(self, query: str, start: float, end: float, step_s: float) -> list[Series]:
        """The values at ``start``, and every step until ``end``. Raises PrometheusError."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:g}"}
        return self._ask("query_range", "matrix", {"query": query, **times})

    def _ask(self, endpoint: str, kind: str, fields: Mapping[str, str]) -> list[Series]:
        url = f"{self.url}/api/v1/{endpoint}?{urllib.parse.urlencode(fields)}"
        request = urllib.request.Request(url)
        request.add_header("Accept", "application/json")
        request.add_header("User-Agent", "arpwhy")
        if self._access.authorization is not None:
            request.add_unredirected_header("Authorization", self._access.authorization)
        remaining = self._deadline - time.monotonic()
        # urllib's own time-out starts anew with each byte, and knows nothing of name servers.
        body = _within(remaining, lambda: self._fetch(request, remaining))
        if body is None:
            raise self._error(f"has not answered within {self._timeout_s:g} s (--timeout)")
        try:
            answer = json.loads(body)
            if answer["status"] != "success" or answer["data"]["resultType"] != kind:
                raise ValueError
            series = [_series(each) for each in answer["data"]["result"]]
            said = [str(each) for each in answer.get("warnings") or ()]
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise self._error(_NOT_ONE) from None
        self.warnings += [text for text in map(_short, said) if text not in self.warnings]
        return series

    def _fetch(self, request: urllib.request.Request, timeout_s: float) -> bytes:
        """Raises PrometheusError, but not for an answer that is none of Prometheus's."""
        try:
            with self._open(request, timeout=max(timeout_s, 0.001)) as response:
                body: bytes = response.read(_LARGEST_ANSWER + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except urllib.error.URLError as error:
            reason = error.reason
            known = reason if isinstance(reason, OSError) else OSError(reason)
            raise self._error(_connection(known)) from None
        except http.client.HTTPException:
            raise self._error(_NOT_ONE) from None
        except OSError as error:
            raise self._error(_connection(error)) from None
        if len(body) > _LARGEST_ANSWER:
            raise self._error(f"its answer is larger than {_LARGEST_ANSWER >> 20} MiB (--match)")
        return body

    def _refusal(self, error: urllib.error.HTTPError) -> PrometheusError:
        if error.code in (401, 403):
            ours = "refuses what we gave" if self._access.authorization else "asks who we are"
            return self._error(
                f"{ours} (status {error.code}): --user, --password-file, --token-file"
            )
        if error.code in (301, 302, 303, 307, 308):
            where = _short(error.headers.get("Location") or "nowhere")
            return self._error(f"sends us on to {where}: a login page, or another URL")
        said = _said(error)
        if said is None:
            prefix = ", or a path is missing in the URL" if error.code == 404 else ""
            return self._error(f"{_NOT_ONE}{prefix} (status {error.code})")
        if error.code == 400:
            return QueryError(said)
        return self._error(f"status {error.code}: {said}")

    def _error(self, text: str) -> PrometheusError:
        return PrometheusError(f"{printable(self.url)}: {text}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect leads to a login page, not to the API."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _within(seconds: float, work: Callable[[], bytes]) -> bytes | None:
    """What ``work`` returns or raises, or None if it takes longer."""
    done: list[bytes] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    # A daemon: nobody waits for it at the end.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    if failed:
        raise failed[0]
    return done[0] if done else None


def _series(result: Any) -> Series:
    points = result.get("values") or [result["value"]]
    # JSON may hold what no encoding knows; without_surrogates() refuses what is no string.
    labels = {name: without_surrogates(value) for name, value in result["metric"].items()}
    return Series(labels, tuple((float(ts), float(value)) for ts, value in points))


def _said(error: urllib.error.HTTPError) -> str | None:
    """Prometheus's own words on why it refuses, None if they are not its."""
    try:
        answer = json.loads(error.read(1 << 16))
        return _short(answer["error"]) if answer["status"] == "error" else None
    except (OSError, http.client.HTTPException, ValueError, TypeError, LookupError, RecursionError):
        return None


def _connection(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {_short(error.verify_message)} (--ca)"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it: {_short(error.reason or str(error))}"
    if isinstance(error, TimeoutError):
        return "does not answer in time (--timeout)"
    if isinstance(error, socket.gaierror):
        return f"its name has no address: {_why(error)}"
    return f"cannot be reached: {_why(error)}"


def _why(error: OSError) -> str:
    return _short(error.strerror or str(error))


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}..."
