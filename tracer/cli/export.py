# SPDX-License-Identifier: Apache-2.0
"""``arpwhy export``: a Prometheus exporter and a status page over a live trace."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from tracer.cli.failure import fail
from tracer.cli.shared import shared_options
from tracer.export import address
from tracer.kernel.handover import LoadError
from tracer.kernel.loading import Loading
from tracer.options import FORMATS, Options
from tracer.permission import missing_capabilities
from tracer.stop import StopSignals


def _listen(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    try:
        return address.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _file(option: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    name = option.removeprefix("--").replace("-", "_").upper()
    return click.option(
        option,
        type=click.Path(),
        envvar=f"ARPWHY_{name}",
        metavar="FILE",
        show_default="none",
        help=text,
    )


@click.command(name="export", short_help="Prometheus exporter and status page.")
@shared_options
@click.option(
    "--listen",
    default="127.0.0.1:16925",
    callback=_listen,
    envvar="ARPWHY_LISTEN",
    metavar="HOST:PORT",
    show_default=True,
    help="Where to serve /metrics, /healthz and the page; [::]:PORT is every address.",
)
@_file("--tls-cert", "Serve HTTPS with this certificate (PEM, the chain in it).")
@_file("--tls-key", "The certificate's key (PEM).")
@_file("--client-ca", "Demand a client certificate of this authority (PEM).")
@_file("--basic-auth-file", "Demand a user and password of this file (htpasswd -B).")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    envvar="ARPWHY_FORMAT",
    show_default=True,
    help="How flags are printed: text for people, or a JSON object a line.",
)
def command(
    options: Options,
    listen: tuple[str, int],
    tls_cert: str | None,
    tls_key: str | None,
    client_ca: str | None,
    basic_auth_file: str | None,
    form: str,
) -> None:
    """Trace as `arpwhy trace` does, and serve what it finds by HTTP.

    /metrics for Prometheus, /healthz for a probe, a status page at /. Flags are printed
    as they are raised and cleared. /healthz asks for no password and no certificate.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    if client_ca is not None and tls_cert is None:
        raise click.UsageError("--client-ca needs --tls-cert and --tls-key")
    if missing := missing_capabilities():
        fail(f"no permission to trace: run as root, or with {' and '.join(missing)}")
    try:
        with StopSignals() as stop, Loading(options.order()) as loading:
            # While it is loaded: importing takes long too.
            from tracer.cli.exporting import export  # noqa: PLC0415

            failed = export(
                options, loading, stop, listen, tls_cert, tls_key, client_ca, basic_auth_file, form
            )
    except LoadError as error:
        fail(str(error))
    sys.exit(1 if failed else 0)
