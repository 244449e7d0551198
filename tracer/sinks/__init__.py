# SPDX-License-Identifier: Apache-2.0
"""Output formats by name. A new one is a new file and a line in SINKS."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracer.sinks.jsonl import JsonSink
from tracer.sinks.only import ONLY, passes
from tracer.sinks.sink import Options, Sink
from tracer.sinks.text import TextSink

SINKS: Mapping[str, Callable[[Options], Sink]] = {
    "text": lambda o: TextSink(colour=o.colour, pods=o.pods, means=o.means),
    "json": lambda o: JsonSink(pods=o.pods),
}

__all__ = ["ONLY", "SINKS", "Options", "Sink", "passes"]
