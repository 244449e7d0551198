# SPDX-License-Identifier: Apache-2.0
"""The trace that ``arpwhy trace`` shows, once its options are read."""

from __future__ import annotations

import contextlib

from tracer.cli.announce import announce
from tracer.cli.display import emitter, standard_output
from tracer.cli.failure import fail, say
from tracer.kernel.loading import Loading
from tracer.options import Options
from tracer.output import OutputBlocked, OutputClosed, OutputFailed
from tracer.pipeline import Pipeline
from tracer.pods import PodsError, open_pods
from tracer.recording import RecordingError, Writer
from tracer.run import Live
from tracer.stop import StopSignals


def trace(
    options: Options,
    loading: Loading,
    stop: StopSignals,
    form: str,
    only: str,
    duration: float | None,
    count: int | None,
    write: str | None,
) -> int:
    """Trace until it is to end; gives the number of flags raised. Raises LoadError."""
    try:
        with contextlib.ExitStack() as stack:
            pods = stack.enter_context(open_pods(options, say))
            recording = stack.enter_context(Writer.create(write)) if write else None
            live = Live(options)
            stack.callback(live.close)
            started = live.start(loading)
            output = standard_output(stop)
            pipeline = Pipeline(
                emitter(output, form, only, pods),
                order=live.investigator.order,
                recording=recording,
                count=count,
                remark=say,
            )
            try:
                pipeline.feed(started)
                output.flush()
                announce(live, started, say)
                live.begin(pipeline)
                live.run(pipeline, output, stop.fileno(), duration)
            except (OutputClosed, OutputBlocked):
                pass  # the recording and the exit status are still wanted
            live.finish(pipeline)
            if uncounted := live.session.uncounted():
                say(f"arpwhy: too many interfaces: {uncounted} requests not in the exact counts")
            with contextlib.suppress(OutputClosed, OutputBlocked):
                output.flush()
            return pipeline.flags_raised
    except (PodsError, RecordingError, OutputFailed) as error:
        fail(str(error))
