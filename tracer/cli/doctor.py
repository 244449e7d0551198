# SPDX-License-Identifier: Apache-2.0
"""``arpwhy doctor``: can this machine trace, and if not, what has to be done."""

from __future__ import annotations

import json
import os
import time

import click

from tracer.cli.display import STDOUT, standard_output
from tracer.cli.failure import fail
from tracer.cli.formats import object_format
from tracer.doctor.facts import read
from tracer.doctor.record import record
from tracer.doctor.text import text
from tracer.doctor.ways import ways
from tracer.output import OutputBlocked, OutputClosed, OutputFailed
from tracer.sinks.printable import printable
from tracer.stop import StopSignals


@click.command(name="doctor", short_help="Can this machine trace?")
@click.option(
    "--btf",
    type=click.Path(),
    envvar="ARPWHY_BTF",
    metavar="FILE",
    help="The kernel's BTF.  [default: /sys/kernel/btf/vmlinux]",
)
@object_format
def command(btf: str | None, form: str) -> None:
    """Say whether this machine can trace, with which engine, and what is missing.

    Every hook of every engine is really attached for an instant, and detached. Exit
    status 1 if no engine can run: the last line says what has to be done.
    """
    facts = read(btf)
    try:
        with StopSignals() as stop:
            output = standard_output(stop)
            if form == "json":
                output.write(json.dumps(record(facts, time.time_ns())) + "\n")
            else:
                output.write(text(facts, colour=os.isatty(STDOUT) and "NO_COLOR" not in os.environ))
            output.flush()
    except (OutputClosed, OutputBlocked):
        pass
    except OutputFailed as error:
        fail(str(error))
    if obstacles := ways(facts):
        fail(printable(f"no engine can run: {'; '.join(obstacles)}"))
