# SPDX-License-Identifier: Apache-2.0
"""What is said on stderr once tracing has begun; the last line starts with ``tracing ``."""

from __future__ import annotations

from collections.abc import Callable

from tracer.events import Started
from tracer.run import Live


def announce(live: Live, started: Started, say: Callable[[str], object]) -> None:
    options = live.options
    globs = " ".join(options.globs)
    for remark in live.session.remarks:
        say(f"arpwhy: {remark}")
    if options.engine is None:
        for engine, why in live.session.passed_over:
            say(f"arpwhy: no {engine} engine: {why}")
    if live.session.no_socket:
        say(f"arpwhy: unusual frames are not seen: {live.session.no_socket}")
    if not started.interfaces and not options.all_netns:
        say(f"arpwhy: no interface matches {globs} yet: waiting for one to appear")
    count = len(started.interfaces)
    where = "all namespaces" if options.all_netns else f"{count} interface{'s'[: count != 1]}"
    say(
        f"tracing {globs} ({where}) for {' '.join(started.targets)},"
        f" engine {started.engine}; ^C ends it"
    )
