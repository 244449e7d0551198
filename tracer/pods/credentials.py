# SPDX-License-Identifier: Apache-2.0
"""Where the API server is and who we are to it, as the official client finds out."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer.pods.trouble import one_line

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HOST = "KUBERNETES_SERVICE_HOST"


class ConfigurationError(Exception):
    """The text is one line for the user."""


def client_is_there() -> bool:
    """Whether the package ``kubernetes`` is installed; it is large, and not imported here."""
    return importlib.util.find_spec("kubernetes") is not None


class Credentials:
    """``kubeconfig`` None: the service account, else $KUBECONFIG, else ~/.kube/config."""

    def __init__(
        self,
        kubeconfig: str | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        account: Path = SERVICE_ACCOUNT,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._environ = environ
        self._account = account

    @property
    def in_cluster(self) -> bool:
        """Whether a service account is mounted."""
        return bool(self._environ.get(_HOST)) and (self._account / "token").is_file()

    def load(self) -> Any:
        """A kubernetes.client.Configuration, read anew. Raises ConfigurationError.

        With a service account its token is read again every minute (by the client).
        """
        try:
            from kubernetes.client import Configuration  # noqa: PLC0415 - it is large
        except ImportError as error:
            raise ConfigurationError(f"the Kubernetes client cannot be loaded: {error}") from None
        _silence()
        configuration = Configuration()
        try:
            if self._kubeconfig is None and self.in_cluster:
                self._load_account(configuration)
            else:
                self._load_kubeconfig(configuration)
        except ConfigurationError:
            raise
        except Exception as error:  # whatever a file may hold, a plug-in may do
            raise ConfigurationError(one_line(str(error) or type(error).__name__)) from None
        return configuration

    def _load_account(self, configuration: Any) -> None:
        from kubernetes.config.incluster_config import InClusterConfigLoader  # noqa: PLC0415

        InClusterConfigLoader(
            token_filename=str(self._account / "token"),
            cert_filename=str(self._account / "ca.crt"),
            environ=self._environ,
        ).load_and_set(configuration)

    def _load_kubeconfig(self, configuration: Any) -> None:
        from kubernetes.config import load_kube_config  # noqa: PLC0415

        paths = self._kubeconfig or self._environ.get("KUBECONFIG") or "~/.kube/config"
        there = [Path(path).expanduser().is_file() for path in paths.split(":") if path]
        if not any(there):
            what = "no such file" if self._kubeconfig else "and no service account"
            raise ConfigurationError(f"no {paths}: {what}")
        load_kube_config(
            config_file=paths, client_configuration=configuration, persist_config=False
        )


def _silence() -> None:
    """The client and urllib3 log on standard error if nobody has said otherwise."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    # "insecure-skip-tls-verify" is the user's own choice.
    warnings.filterwarnings("ignore", module="urllib3")
