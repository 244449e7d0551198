# SPDX-License-Identifier: Apache-2.0
"""What --pods asks for, opened."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping

from tracer.options import Options
from tracer.pods.addresses import Addresses
from tracer.pods.api import Api
from tracer.pods.credentials import ConfigurationError, Credentials, client_is_there
from tracer.pods.index import Index
from tracer.pods.names import says_whose
from tracer.pods.watcher import Watcher

_INSTALL = "install the Kubernetes client: pip install 'arpwhy[kubernetes]'"


class PodsError(Exception):
    """Names were asked for and cannot be had; the text is one line for the user."""


class PodNames:
    """An interface's name -> ``{"namespace": ..., "name": ...}``, or None if no pod is known.

    This one knows none.
    """

    def __call__(self, interface: str) -> Mapping[str, str] | None:
        return None

    def close(self) -> None:
        """End the threads. What is known stays known."""

    def __enter__(self) -> PodNames:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Kubernetes(PodNames):
    def __init__(self, api: Api, options: Options, node: str, say: Callable[[str], None]) -> None:
        prefixes = options.pods.prefixes
        self._index = Index(prefixes)
        self._says_whose = says_whose(prefixes)
        self._addresses = Addresses()
        # An interface of another network namespace may have the name of one of ours.
        self._by_address = not options.all_netns
        self._api = api
        self._stop = threading.Event()
        watcher = Watcher(api, self._index, node, say, self._stop)
        # A daemon: an API that does not answer must not keep the process from ending.
        self._thread = threading.Thread(target=watcher.run, name="pods", daemon=True)
        self._thread.start()

    def __call__(self, interface: str) -> Mapping[str, str] | None:
        found = self._index.by_interface(interface)
        if found is not None or not self._by_address or self._says_whose(interface):
            # Calico's name for no pod of this node: its address may be another's by now.
            return found
        behind = self._addresses(interface)
        stale_since = self._index.stale_since
        if stale_since is not None and behind.since > stale_since:
            return None  # who has the address now, nobody tells us
        return self._index.by_addresses(behind.addresses)

    def close(self) -> None:
        self._stop.set()
        self._api.interrupt()
        self._thread.join(0.5)
        self._addresses.close()


def open_pods(options: Options, say: Callable[[str], None]) -> PodNames:
    """The names that ``options.pods`` asks for, which is none where it is off.

    ``say`` takes a line for the user, from any thread. Raises PodsError if there is nobody
    to ask. An API server that is down is waited for.
    """
    pods = options.pods
    credentials = Credentials(pods.kubeconfig)
    wanted = pods.mode == "kubernetes"
    # Who gives a kubeconfig wants it used.
    if not wanted and not (pods.mode == "auto" and (pods.kubeconfig or credentials.in_cluster)):
        return PodNames()
    node = pods.node or socket.gethostname().lower()  # as the kubelet names it
    api = Api(credentials, node)
    try:
        if not client_is_there():
            raise ConfigurationError(_INSTALL)
        api.renew()
    except ConfigurationError as error:
        if wanted or pods.kubeconfig:
            raise PodsError(f"no names of pods: {error}") from None
        say(f"arpwhy: no names of pods: {error}")
        return PodNames()
    return _Kubernetes(api, options, node, say)
