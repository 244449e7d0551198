# SPDX-License-Identifier: Apache-2.0
"""``arpwhy export``: a Prometheus exporter and a status page over a live trace."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import sys
from collections.abc import Callable
from typing import Any

import click

from tracer.cli.announce import announce
from tracer.cli.display import STDOUT, emitter
from tracer.cli.failure import fail
from tracer.cli.shared import shared_options
from tracer.export import address, auth, tls
from tracer.export.app import App
from tracer.export.health import Health
from tracer.export.lines import Lines
from tracer.export.metrics import Metrics
from tracer.export.page import Page
from tracer.export.server import Server
from tracer.export.watched import FileError, Watched
from tracer.kernel.handover import LoadError
from tracer.kernel.libbpf import LibbpfError
from tracer.options import Options
from tracer.permission import missing_capabilities
from tracer.pipeline import Pipeline
from tracer.pods import PodsError, open_pods
from tracer.run import Live
from tracer.sinks import SINKS
from tracer.sinks.sink import Pods
from tracer.stop import StopSignals

STDERR = 2


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
    type=click.Choice(list(SINKS)),
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
    failed = False

    def died() -> None:
        nonlocal failed
        failed = True
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        with contextlib.ExitStack() as stack:
            stop = stack.enter_context(StopSignals())
            errors = Lines(STDERR if sys.stderr else None, "standard error", lambda text: None)
            stack.callback(errors.close)

            def say(text: str) -> None:
                errors.write(f"{text}\n")

            health = Health()
            context = _tls(tls_cert, tls_key, client_ca, say)
            passwords = auth.Passwords(basic_auth_file, say) if basic_auth_file else None
            pods = stack.enter_context(open_pods(options, say))
            page = stack.enter_context(contextlib.closing(Page(health.snapshot, pods=pods)))
            app = App(
                health=health.respond,
                metrics=Metrics(health.snapshot, pods).respond,
                page=page.respond,
                admits=auth.admission(passwords, certificates=client_ca is not None),
            )
            # Before anything is loaded: a port in use is said at once.
            listener = stack.enter_context(address.listening(*listen))
            server = Server(listener, app.respond, tls=context, say=say, died=died)
            stack.callback(server.close)
            server.start()
            live = Live(options)
            stack.callback(live.close)
            _trace(live, health, server, form, pods, say, stop)
    except (LoadError, PodsError, FileError, address.AddressError) as error:
        fail(str(error))
    except (LibbpfError, OSError) as error:
        fail(f"tracing ended: {error}")
    sys.exit(1 if failed else 0)


def _tls(
    cert: str | None, key: str | None, client_ca: str | None, say: Callable[[str], object]
) -> Callable[[], ssl.SSLContext] | None:
    if cert is None or key is None:
        return None
    files = [cert, key, *([client_ca] if client_ca else [])]
    return Watched(files, lambda: tls.context(cert, key, client_ca), say).current


def _trace(
    live: Live,
    health: Health,
    server: Server,
    form: str,
    pods: Pods,
    say: Callable[[str], object],
    stop: StopSignals,
) -> None:
    """From loading to the last count; the server is closed when it returns."""
    started = live.start()
    with contextlib.closing(Lines(STDOUT if sys.stdout else None, "standard output", say)) as out:
        pipeline = Pipeline(emitter(out, form, "flags", pods), order=live.investigator.order)
        pipeline.feed(started)
        live.begin(pipeline)
        health.begun(live, pipeline.state, started)
        say(f"arpwhy: metrics and status page at {server.url}")
        announce(live, started, say)
        live.run(pipeline, None, stop.fileno(), None)
        server.close()
        live.finish(pipeline)
        if uncounted := live.session.uncounted():
            say(f"arpwhy: too many interfaces: {uncounted} requests not in the exact counts")
