# SPDX-License-Identifier: Apache-2.0
"""``arpwhy explain``: the page of a cause. Needs no root, and looks at nothing."""

from __future__ import annotations

import click

from tracer.causes import CAUSES
from tracer.causes.page import summary, text
from tracer.cli.display import standard_output
from tracer.cli.failure import fail
from tracer.output import OutputBlocked, OutputClosed, OutputFailed
from tracer.stop import StopSignals

_CAUSES = {cause.name: cause for cause in CAUSES}


def _cause(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None or value in _CAUSES:
        return value
    raise click.BadParameter(f"{value!r} is no reason; the reasons are {', '.join(_CAUSES)}.")


@click.command(name="explain", short_help="The page of a cause.")
@click.argument("reason", required=False, callback=_cause)
def command(reason: str | None) -> None:
    """Say what REASON means, how it is recognised, what mends it and what usually did it.

    Without REASON: all of them, a sentence each.
    """
    try:
        with StopSignals() as stop:
            output = standard_output(stop)
            output.write(summary() if reason is None else text(_CAUSES[reason]))
            output.flush()
    except (OutputClosed, OutputBlocked):
        pass
    except OutputFailed as error:
        fail(str(error))
