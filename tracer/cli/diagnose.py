# SPDX-License-Identifier: Apache-2.0
"""``arpwhy diagnose``: one look at the node's configuration, without BPF."""

from __future__ import annotations

import ipaddress
import os
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase

import click

from tracer.cli.display import STDOUT, standard_output
from tracer.cli.failure import fail
from tracer.cli.formats import object_format
from tracer.diagnose import Diagnosis, diagnose, record
from tracer.diagnose.text import Text
from tracer.diagnose.watch import watch
from tracer.node.survey import survey
from tracer.options import DEFAULT_GLOBS, DEFAULT_TARGETS
from tracer.output import OutputBlocked, OutputClosed, OutputFailed
from tracer.sinks.printable import printable
from tracer.stop import StopSignals

PROBLEM = 3
NOT_JUDGED = 4
_NAMED = 8
_GLOB = frozenset("*?[")


def _target(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not an IPv4 address") from None


@click.command(name="diagnose", short_help="One look at the node's configuration.")
@click.argument("interfaces", nargs=-1, metavar="[INTERFACE]...")
@click.option(
    "--target",
    default=DEFAULT_TARGETS[0],
    callback=_target,
    envvar="ARPWHY_TARGET",
    metavar="IP",
    show_default=True,
    help="The address whose requests are judged.",
)
@object_format
@click.option(
    "--watch",
    "keep_looking",
    is_flag=True,
    envvar="ARPWHY_WATCH",
    help="Keep looking, and show what changes, until Ctrl-C.",
)
def command(interfaces: tuple[str, ...], target: str, form: str, keep_looking: bool) -> None:
    """Say which interfaces would get no proxy reply, why, and what mends it.

    Reads the node's configuration and asks the kernel for its routes; needs no BPF. All
    cali* interfaces, or those named (globs are names too). Exit status 3 if there is a
    problem, 4 if there is none but not everything could be judged, 0 with warnings only, and
    at the end of --watch; 1 if no interface matches.
    """
    globs = interfaces or DEFAULT_GLOBS

    def look() -> Diagnosis:
        return diagnose(survey(lambda name: _matches(name, globs), target))

    text = Text(colour=os.isatty(STDOUT) and "NO_COLOR" not in os.environ)
    found = None
    try:
        with StopSignals() as stop:
            output = standard_output(stop)
            found = look()
            if (missing := _missing(globs, found, keep_looking)) is not None:
                fail(printable(f"no interface {missing} in this network namespace{_there(found)}"))
            if form == "json":
                output.write(record.line(found, time.time_ns()))
            else:
                output.write(text.whole(found, " ".join(globs)))
            output.flush()
            if keep_looking:
                changed = record.change if form == "json" else text.change
                watch(found, look, lambda *change: output.write(changed(*change)), output, stop)
    except (OutputClosed, OutputBlocked):
        pass
    except OutputFailed as error:
        fail(str(error))
    except OSError as error:
        fail(f"the kernel tells of no interfaces: {error.strerror or error}")
    sys.exit(0 if found is None or keep_looking else _status(found))


def _status(found: Diagnosis) -> int:
    if found.problems:
        return PROBLEM
    return 0 if found.judged else NOT_JUDGED


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(name == glob or fnmatchcase(name, glob) for glob in globs)


def _missing(globs: Sequence[str], found: Diagnosis, keep_looking: bool) -> str | None:
    """A name that was asked for, and that no interface has; one glob of several may match none,
    and all of them for now, if one keeps looking.
    """
    there = {each.interface for each in found.interfaces} | {name for name, _ in found.not_pods}
    for glob in globs:
        if glob not in there and not _GLOB & set(glob):
            return glob
    return None if there or keep_looking else f"matches {' '.join(globs)}"


def _there(found: Diagnosis) -> str:
    """What could be named instead."""
    names = [
        *(each.interface for each in found.interfaces),
        *(name for name, _ in found.not_pods),
        *found.there,
    ]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f", which has {', '.join(names[:_NAMED])}{more}: name those of the pods (globs too)"
