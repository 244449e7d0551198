# SPDX-License-Identifier: Apache-2.0
"""``arpwhy trace``: a live trace."""

from __future__ import annotations

import sys

import click

from tracer.cli.failure import fail
from tracer.cli.formats import display_options
from tracer.cli.shared import shared_options
from tracer.kernel.handover import LoadError
from tracer.kernel.loading import Loading
from tracer.options import Options
from tracer.permission import missing_capabilities
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
    try:
        with StopSignals() as stop, Loading(options.order()) as loading:
            # While it is loaded: importing takes long too.
            from tracer.cli.tracing import trace  # noqa: PLC0415

            flags_raised = trace(options, loading, stop, form, only, duration, count, write)
    except LoadError as error:
        fail(str(error))
    sys.exit(FLAGGED if fail_on_flag and flags_raised else 0)
