# SPDX-License-Identifier: Apache-2.0
"""What is said to the API server: a list of this node's pods, and a watch of them.

The official client tells where the server is, and speaks TLS and tokens; the answers are
read as plain JSON. Its models of a pod would take another 21 MB, and more with older ones.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError, loads
from typing import Any
from urllib.parse import urlencode

from tracer import __version__
from tracer.pods import wire
from tracer.pods.credentials import ConfigurationError, Credentials
from tracer.pods.trouble import Cut, Garbage, Trouble, Unreached, refused, why

PAGE = 500
_CONNECT_S = 10.0
_LIST_S = 30.0
# A watch gets a bookmark a minute: after two minutes of silence nobody is there.
_WATCH_S = 120.0
_LONGEST_LIST = 64 << 20
_LONGEST_LINE = 8 << 20
_CHUNK = 1 << 16
_LONGEST_RETRY_AFTER_S = 300


class Api:
    """For one thread; :meth:`interrupt` is for another."""

    def __init__(self, credentials: Credentials, node: str) -> None:
        self._credentials = credentials
        self._selector = {"fieldSelector": f"spec.nodeName={node}"}
        self._configuration: Any = None
        self._client: Any = None
        self._response: Any = None
        self._interrupted = False

    def renew(self) -> None:
        """Read the configuration again, so that the next request connects anew.

        Raises ConfigurationError.
        """
        self.forget()
        self._configuration = self._credentials.load()
        from kubernetes.client import ApiClient  # noqa: PLC0415 - it is large

        self._client = ApiClient(self._configuration)

    def forget(self) -> None:
        """Let connection, certificates and token go: the next request begins by renew()."""
        if self._client is not None:
            self._client.rest_client.pool_manager.clear()
            self._client = None

    def interrupt(self) -> None:
        """Whatever answer is being waited for ends soon, and so does every other."""
        self._interrupted = True
        sock = getattr(getattr(self._response, "connection", None), "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def pods(self, after: str = "") -> wire.Page:
        """A page of the list; ``after`` is what the page before said. Raises Trouble.

        From the server's cache (resourceVersion 0), which has an index of pods by node: a
        list from etcd goes through all pods of the cluster.
        """
        start = {"continue": after} if after else {"resourceVersion": "0"}
        with self._asked(_LIST_S, limit=str(PAGE), **start) as response:
            body = bytearray()
            for chunk in _chunks(response):
                body += chunk
                if len(body) > _LONGEST_LIST:
                    raise Garbage(f"the list of pods is over {_LONGEST_LIST >> 20} MB")
        return wire.page(body)

    @contextmanager
    def watch(self, version: str, seconds: int) -> Iterator[Iterator[wire.Change]]:
        """Changes since ``version``, for so long. Entered once the server agrees to it.

        Raises Trouble, of which Cut is how any watch may end.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        with self._asked(_WATCH_S, **query) as response:
            yield map(wire.change, _lines(response))

    @contextmanager
    def _asked(self, read_s: float, **query: str) -> Iterator[Any]:
        """The response, if it is one of success."""
        response = self._ask(urlencode({**self._selector, **query}), read_s)
        self._response = response
        try:
            if self._interrupted:
                raise Cut("interrupted")
            if response.status != 200:
                raise _refusal(response)
            yield response
        finally:
            self._response = None
            response.close()  # what was not read is no part of the next answer

    def _ask(self, query: str, read_s: float) -> Any:
        if self._client is None:
            try:
                self.renew()
            except ConfigurationError as error:
                raise Unreached(str(error)) from None
        from urllib3 import Timeout, exceptions  # noqa: PLC0415 - the client's

        host = self._configuration.host
        try:
            return self._client.rest_client.pool_manager.request(
                "GET",
                f"{host}/api/v1/pods?{query}",
                headers=self._headers(),
                preload_content=False,
                redirect=False,
                # urllib3's own would ask for lists more often than they may be asked for.
                retries=False,
                timeout=Timeout(connect=_CONNECT_S, read=read_s),
            )
        except (
            exceptions.NewConnectionError,
            exceptions.ConnectTimeoutError,
            exceptions.ProxyError,
            exceptions.SSLError,
        ) as error:
            raise Unreached(f"{host}: {why(error)}") from None
        except (exceptions.HTTPError, OSError) as error:
            raise Trouble(f"{host}: {why(error)}") from None

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": f"arpwhy/{__version__}"}
        for setting in self._configuration.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"].strip()
        return headers


def _chunks(response: Any) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - the client's

    try:
        yield from response.stream(_CHUNK)
    except (HTTPError, OSError) as error:
        raise Cut(why(error)) from None


def _lines(response: Any) -> Iterator[bytearray]:
    """Whole ones: half of one was cut off."""
    rest = bytearray()
    for chunk in _chunks(response):
        rest += chunk
        *whole, rest = rest.split(b"\n")
        yield from (line for line in whole if line.strip())
        if len(rest) > _LONGEST_LINE:
            raise Garbage("the API server sends a line that does not end")


def _refusal(response: Any) -> Trouble:
    try:
        message = loads(response.read(_CHUNK))["message"]
    except (JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        message = response.reason or "no reason given"
    after = response.headers.get("Retry-After", "")
    seconds = min(int(after), _LONGEST_RETRY_AFTER_S) if after.isdecimal() else 0
    return refused(response.status, message, seconds)
