# SPDX-License-Identifier: Apache-2.0
"""The exporter that ``arpwhy export`` runs, once its options are read."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import sys
from collections.abc import Callable

from tracer.cli.announce import announce
from tracer.cli.display import STDOUT, emitter
from tracer.cli.failure import fail
from tracer.export import address, auth, tls
from tracer.export.app import App
from tracer.export.health import Health
from tracer.export.lines import Lines
from tracer.export.metrics import Metrics
from tracer.export.page import Page
from tracer.export.server import Server
from tracer.export.watched import FileError, Watched
from tracer.kernel.libbpf import LibbpfError
from tracer.kernel.loading import Loading
from tracer.options import Options
from tracer.pipeline import Pipeline
from tracer.pods import PodsError, open_pods
from tracer.run import Live
from tracer.sinks.sink import Pods
from tracer.stop import StopSignals

STDERR = 2


def export(
    options: Options,
    loading: Loading,
    stop: StopSignals,
    listen: tuple[str, int],
    tls_cert: str | None,
    tls_key: str | None,
    client_ca: str | None,
    basic_auth_file: str | None,
    form: str,
) -> bool:
    """Trace and serve until a signal ends it. Says whether it failed. Raises LoadError."""
    failed = False

    def died() -> None:
        nonlocal failed
        failed = True
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        with contextlib.ExitStack() as stack:
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
            listener = stack.enter_context(address.listening(*listen))
            server = Server(listener, app.respond, tls=context, say=say, died=died)
            stack.callback(server.close)
            server.start()
            live = Live(options)
            stack.callback(live.close)
            _trace(live, loading, health, server, form, pods, say, stop)
    except (PodsError, FileError, address.AddressError) as error:
        fail(str(error))
    except (LibbpfError, OSError) as error:
        fail(f"tracing ended: {error}")
    return failed


def _tls(
    cert: str | None, key: str | None, client_ca: str | None, say: Callable[[str], object]
) -> Callable[[], ssl.SSLContext] | None:
    if cert is None or key is None:
        return None
    files = [cert, key, *([client_ca] if client_ca else [])]
    return Watched(files, lambda: tls.context(cert, key, client_ca), say).current


def _trace(
    live: Live,
    loading: Loading,
    health: Health,
    server: Server,
    form: str,
    pods: Pods,
    say: Callable[[str], object],
    stop: StopSignals,
) -> None:
    """From loading to the last count; the server is closed when it returns."""
    started = live.start(loading)
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
