# SPDX-License-Identifier: Apache-2.0
"""Output formats by name. A new one is a new file, a line in SINKS, a name in FORMATS."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracer.options import FORMATS
from tracer.sinks.jsonl import JsonSink
from tracer.sinks.only import passes
from tracer.sinks.sink import Options, Sink
from tracer.sinks.text import TextSink

_MAKERS: tuple[Callable[[Options], Sink], ...] = (
    lambda o: TextSink(colour=o.colour, pods=o.pods, means=o.means),
    lambda o: JsonSink(pods=o.pods),
)
SINKS: Mapping[str, Callable[[Options], Sink]] = dict(zip(FORMATS, _MAKERS, strict=True))

__all__ = ["SINKS", "Options", "Sink", "passes"]
