# SPDX-License-Identifier: Apache-2.0
"""``arpwhy replay``: a recording through the same pipeline as a live trace."""

from __future__ import annotations

import click

from tracer.cli.display import emitter, standard_output
from tracer.cli.failure import fail, say
from tracer.cli.formats import display_options
from tracer.events import Stopped
from tracer.output import OutputBlocked, OutputClosed, OutputFailed
from tracer.pipeline import Pipeline
from tracer.recording import RecordingError, Truncated, read
from tracer.stop import StopSignals


@click.command(name="replay", short_help="A recording, replayed.")
@click.argument("file", type=click.Path())
@display_options
def command(file: str, form: str, only: str) -> None:
    """Show the recording FILE (arpwhy trace --write FILE) as the live trace showed it."""
    try:
        with StopSignals() as stop:
            output = standard_output(stop)
            try:
                _replay(file, Pipeline(emitter(output, form, only), remark=say), stop)
            finally:
                # What was replayed before a fault is still worth reading.
                output.flush()
    except (OutputClosed, OutputBlocked):
        pass
    except (RecordingError, OutputFailed) as error:
        fail(str(error))


def _replay(file: str, pipeline: Pipeline, stop: StopSignals) -> None:
    last = None
    try:
        for event in read(file):
            if stop.received:
                break
            pipeline.feed(event)
            last = event
    except Truncated as error:
        say(f"arpwhy: {error}; showing what is there")
    if last is not None and not isinstance(last, Stopped):
        pipeline.feed(Stopped(last.ts))
