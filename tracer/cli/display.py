# SPDX-License-Identifier: Apache-2.0
"""Options of what is shown, which trace and replay share, and the sink they make."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

import click

from tracer.causes import CAUSES
from tracer.notices import Line
from tracer.output import Output, OutputFailed
from tracer.sinks import ONLY, SINKS, passes
from tracer.sinks import Options as SinkOptions
from tracer.sinks.sink import Pods, no_pod
from tracer.stop import StopSignals

STDOUT = 1

# Of the commands that say one thing, and no stream of lines.
object_format = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="ARPWHY_FORMAT",
    show_default=True,
    help="Text for people, or a JSON object.",
)

_OPTIONS = (
    click.option(
        "--format",
        "form",
        type=click.Choice(list(SINKS)),
        default="text",
        envvar="ARPWHY_FORMAT",
        show_default=True,
        help="Text for people, or a JSON object a line.",
    ),
    click.option(
        "--only",
        type=click.Choice(ONLY),
        default="all",
        envvar="ARPWHY_ONLY",
        show_default=True,
        help="Which lines to show.",
    ),
)


def display_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def standard_output(stop: StopSignals) -> Output:
    """Raises OutputFailed if there is none."""
    if sys.stdout is None:  # its descriptor may be any file of ours by now
        raise OutputFailed("standard output is closed")
    return Output(STDOUT, stop.fileno())


class Writer(Protocol):
    def write(self, text: str) -> object: ...


def emitter(output: Writer, form: str, only: str, pods: Pods = no_pod) -> Callable[[Line], None]:
    """What writes a notice to the output, if it is to be shown."""
    colour = os.isatty(STDOUT) and "NO_COLOR" not in os.environ
    means = {cause.name: cause.means for cause in CAUSES}
    sink = SINKS[form](SinkOptions(colour, pods, lambda reason: means.get(reason, "")))

    shown = passes(only)

    def emit(notice: Line) -> None:
        if shown(notice):
            output.write(sink.line(notice))

    return emit
