# SPDX-License-Identifier: Apache-2.0
"""What is shown, where, and by which sink."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Protocol

from tracer.causes import CAUSES
from tracer.notices import Line
from tracer.output import Output, OutputFailed
from tracer.sinks import SINKS, passes
from tracer.sinks import Options as SinkOptions
from tracer.sinks.sink import Pods, no_pod
from tracer.stop import StopSignals

STDOUT = 1


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
