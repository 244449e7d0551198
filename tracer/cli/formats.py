# SPDX-License-Identifier: Apache-2.0
"""Options of what is shown. Imports no sink: a trace is to begin loading at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tracer.options import FORMATS, ONLY

# Of the commands that say one thing, and no stream of lines.
object_format = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    envvar="ARPWHY_FORMAT",
    show_default=True,
    help="Text for people, or a JSON object.",
)

_OPTIONS = (
    click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
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
