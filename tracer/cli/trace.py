# SPDX-License-Identifier: Apache-2.0
"""``arpwhy trace``: a live trace."""

from __future__ import annotations

import contextlib
import sys

import click

from tracer.cli.announce import announce
from tracer.cli.display import display_options, emitter, standard_output
from tracer.cli.failure import fail, say
from tracer.cli.shared import shared_options
from tracer.kernel.handover import LoadError
from tracer.options import Options
from tracer.output import OutputBlocked, OutputClosed, OutputFailed
from tracer.permission import missing_capabilities
from tracer.pipeline import Pipeline
from tracer.pods import PodsError, open_pods
from tracer.recording import RecordingError, Writer
from tracer.run import Live
from tracer.stop import StopSignals

FLAGGED = 3


@click.command(name="trace", short_help="A live trace.")
@shared_options
@display_options
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    envvar="ARPWHY_DURATION",
    metavar="SECONDS",
    show_default="until ^C",
    help="Stop after this time.",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    envvar="ARPWHY_COUNT",
    metavar="N",
    show_default="no limit",
    help="Stop after this many requests.",
)
@click.option(
    "--write",
    type=click.Path(dir_okay=False),
    envvar="ARPWHY_WRITE",
    metavar="FILE",
    show_default="no recording",
    help="Also record to FILE, for arpwhy replay.",
)
@click.option(
    "--fail-on-flag",
    is_flag=True,
    envvar="ARPWHY_FAIL_ON_FLAG",
    show_default="off",
    help="Exit with status 3 if a flag was raised.",
)
def command(
    options: Options,
    form: str,
    only: str,
    duration: float | None,
    count: int | None,
    write: str | None,
    fail_on_flag: bool,
) -> None:
    """Show every ARP request on the traced interfaces, as the kernel judges it.

    A request that gets no reply raises a flag with its cause and the mend; the next
    one that is answered clears it. Ctrl-C ends the trace with a summary.
    """
    if missing := missing_capabilities():
        fail(f"no permission to trace: run as root, or with {' and '.join(missing)}")
    flags_raised = 0
    try:
        with contextlib.ExitStack() as stack:
            stop = stack.enter_context(StopSignals())
            pods = stack.enter_context(open_pods(options, say))
            recording = stack.enter_context(Writer.create(write)) if write else None
            live = Live(options)
            stack.callback(live.close)
            started = live.start()
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
            flags_raised = pipeline.flags_raised
    except (LoadError, PodsError, RecordingError, OutputFailed) as error:
        fail(str(error))
    sys.exit(FLAGGED if fail_on_flag and flags_raised else 0)
