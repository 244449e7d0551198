# SPDX-License-Identifier: Apache-2.0
"""A live trace: the kernel side, links, causes and time, all into one pipeline."""

from __future__ import annotations

import fnmatch
import platform
import select
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache

from tracer import __version__
from tracer.causes import establish
from tracer.events import (
    CauseFound,
    Counters,
    Elsewhere,
    LinkGone,
    Lost,
    NodeChanged,
    Request,
    Started,
    Stopped,
    Tick,
    Unjudged,
    Verdict,
)
from tracer.expiry import Expiry
from tracer.investigator import Investigator
from tracer.kernel.handover import LoadError
from tracer.kernel.libbpf import LibbpfError, Ring
from tracer.kernel.loading import Loading
from tracer.kernel.session import Session
from tracer.node import netns
from tracer.node.changes import Changes
from tracer.node.links import LinkWatch
from tracer.node.looker import Looker
from tracer.notices import Investigate
from tracer.options import Options
from tracer.output import Output
from tracer.pipeline import Pipeline

# Batches of events after which the other descriptors get their turn.
_BATCHES = 8
_LAST_LOOKS_S = 1.0


class Live:
    """One live trace, from loading to the last event."""

    def __init__(self, options: Options) -> None:
        self.options = options
        # Held while the pipeline is fed: who has it may read the state from another thread.
        self.lock = threading.Lock()
        # When the loop last went round (time.monotonic_ns): it does at least at each tend.
        self.last_round_ns = 0
        # Why the kernel side does not work as it should, as of the last tend.
        self.trouble: str | None = None
        # The kernel side matches the globs' beginnings only.
        self._traced = lru_cache(4096)(
            lambda name: any(fnmatch.fnmatchcase(name, glob) for glob in options.globs)
        )
        self._expiry = Expiry()
        self._skipped = 0
        self._gone: dict[tuple[int, int], int] = {}
        # By interface, and target or MAC address: what remarks were fed of.
        self._told: dict[tuple[str, str], int] = {}
        self._stack = ExitStack()

    def start(self, loading: Loading) -> Started:
        """Look round, and wait till all is attached. Tracing has begun when this returns.

        ``loading``: of the options' order. Raises LoadError with one line on why it cannot.
        """
        options = self.options
        # While it is loaded: that takes longest.
        try:
            self.links = LinkWatch(options.globs, time.time_ns)
            self._stack.callback(self.links.close)
            self._changes = Changes(neighbours=False)
            self._stack.callback(self._changes.close)
        except OSError as error:
            raise LoadError(f"cannot watch links and routes: {error}") from None
        self._netns = netns.own()
        self.investigator = Investigator(self._prepare_to_investigate)
        self._stack.callback(self.investigator.close)
        try:
            self.session = Session(*loading.loaded())
        except LibbpfError as error:
            raise LoadError(str(error)) from None
        self._stack.callback(self.session.close)
        self._existing = self.links.existing()
        return Started(
            ts=time.time_ns(),
            version=__version__,
            engine=self.session.engine,
            kernel=platform.release(),
            interfaces=tuple(sorted(link.interface for link in self._existing)),
            targets=options.target_names,
        )

    def begin(self, pipeline: Pipeline) -> None:
        """Feed what is there already: the state is complete when this returns."""
        for link in self._existing:
            pipeline.feed(link)
        self.last_round_ns = time.monotonic_ns()

    def run(
        self, pipeline: Pipeline, output: Output | None, stop_fd: int, duration_s: float | None
    ) -> None:
        """Feed events until it is to end: a signal, the duration, the count, no reader.

        ``output`` None: nothing that is written must hold up the loop, or end it.
        """
        # Waiting is by the monotonic clock: somebody may set the other one.
        now = time.monotonic_ns()
        end = None if duration_s is None else now + round(duration_s * 1e9)
        next_tend = now + self.session.tend_every_ns
        poll = select.poll()
        for source in (self.session, self.links, self.investigator):
            poll.register(source.fileno(), select.POLLIN)
        for fd in self._changes.filenos():
            poll.register(fd, select.POLLIN)
        poll.register(stop_fd, select.POLLIN)
        if output is not None:
            poll.register(output.fileno(), 0)
        while True:
            if output is not None:
                output.flush()
            wake_at = (next_tend, end, self._expiry.next_due())
            waits = [at - time.monotonic_ns() for at in wake_at if at is not None]
            if (deadline := pipeline.state.deadline()) is not None:
                waits.append(deadline - time.time_ns())
            ready = dict(poll.poll(max(0.0, min(waits) / 1e6)))
            now = self.last_round_ns = time.monotonic_ns()
            if stop_fd in ready or (output is not None and output.closed_by_reader()):
                return
            with self.lock:
                self._feed_links(pipeline)
                self._feed_requests(pipeline)
                self._feed_changes(pipeline)
                for answer in self.investigator.answers():
                    pipeline.feed(answer)
                deadline = pipeline.state.deadline()
                if deadline is not None and deadline <= time.time_ns():
                    pipeline.feed(Tick(time.time_ns()))
                if now >= next_tend:
                    next_tend = now + self.session.tend_every_ns
                    self._tend(pipeline)
            for came, request in self._expiry.due(now):
                self.session.expire(request, came)
            self.session.look_closer(pipeline.state.closer_look_wanted())
            if pipeline.full or (end is not None and now >= end):
                return

    def finish(self, pipeline: Pipeline) -> None:
        """Detach, and feed what was still on its way, the exact counts, and the end."""
        self.session.detach()
        while self._feed_requests(pipeline):
            pass
        self._await_looks(pipeline)
        self._feed_lost(pipeline)
        self._feed_remarks(pipeline)
        if not pipeline.full:  # or the kernel has counted more than was asked for
            pipeline.feed(self._counters())
        pipeline.feed(Stopped(time.time_ns()))

    def _await_looks(self, pipeline: Pipeline) -> None:
        """What is being looked up is not to be called unknown because it ends."""
        end = time.monotonic() + _LAST_LOOKS_S
        while pipeline.state.awaits_looks() and (left := end - time.monotonic()) > 0:
            select.select([self.investigator.fileno()], [], [], left)
            for answer in self.investigator.answers():
                pipeline.feed(answer)

    def close(self) -> None:
        """Detach and free; may be called after a start() that failed."""
        self._stack.close()

    def _feed_requests(self, pipeline: Pipeline) -> bool:
        """Feed what the ring holds, to a bound. Says whether there was anything."""
        some = False
        for _ in range(_BATCHES):
            events = self.session.read()
            if events:
                self._feed_changes(pipeline)
            for event in events:
                if not self._traced(event.interface):
                    continue
                pipeline.feed(event)
                if (
                    self.session.expires
                    and isinstance(event, Request)
                    and event.verdict is Verdict.DEFERRED
                ):
                    self._expiry.add(event, self.session.monotonic(event.ts))
            some = some or bool(events)
            if len(events) < Ring.BATCH:
                break
        return some

    def _feed_changes(self, pipeline: Pipeline) -> None:
        """Before requests are fed that may have come after the change."""
        if self._changes.forget() and pipeline.state.any_flag():
            pipeline.feed(NodeChanged(time.time_ns(), self._netns))

    def _feed_links(self, pipeline: Pipeline) -> None:
        for event in self.links.read():
            if isinstance(event, LinkGone):
                self._gone[event.netns, event.ifindex] = event.ts
            pipeline.feed(event)

    def _tend(self, pipeline: Pipeline) -> None:
        self.session.tend()
        self.trouble = self.session.trouble()
        pipeline.flush()
        self._feed_remarks(pipeline)
        if self._feed_lost(pipeline):
            pipeline.feed(self._counters())
        if self._gone:
            pipeline.feed(self.session.forget(self._gone))
            self._gone.clear()

    def _feed_lost(self, pipeline: Pipeline) -> bool:
        lost, total = self.session.lost(), self.session.skipped()
        # Less than before: a program that counted is detached.
        skipped, self._skipped = max(0, total - self._skipped), max(total, self._skipped)
        if lost or skipped:
            pipeline.feed(Lost(time.time_ns(), lost, skipped))
        return bool(lost)

    def _feed_remarks(self, pipeline: Pipeline) -> None:
        """What the kernel side saw besides requests for the targets, if it is more now."""
        now = time.time_ns()
        told: dict[tuple[str, str], int] = {}
        for interface, target_ip, count in self.session.unjudged():
            told[interface, target_ip] = count
            if self._traced(interface) and count > self._told.get((interface, target_ip), 0):
                pipeline.feed(Unjudged(now, interface, target_ip, count))
        for interface, mac, count in self.session.elsewhere():
            told[interface, mac] = count
            if self._traced(interface) and count > self._told.get((interface, mac), 0):
                pipeline.feed(Elsewhere(now, interface, mac, count))
        self._told = told

    def _counters(self) -> Counters:
        """The kernel's counts of the interfaces that the globs name."""
        counters = self.session.counters()
        rows = tuple(row for row in counters.interfaces if self._traced(row.interface))
        return Counters(counters.ts, rows)

    def _prepare_to_investigate(self) -> Callable[[Investigate], CauseFound]:
        """Runs on the investigator's thread, whose network namespace is looked at."""
        looker = Looker()

        def investigate(order: Investigate) -> CauseFound:
            look = looker.look(
                order.netns,
                order.ifindex,
                order.interface,
                order.sender_ip,
                order.target_ip,
                peer=order.seen.answered_in_a_row is not None,
            )
            if look.arp_listeners:
                self.session.expect_answers()
            seen = order.seen
            if seen.drop_site is not None:
                function = self.session.functions.learn(seen.drop_site)
                seen = replace(seen, drop_site=None, drop_function=function)
            finding = establish(look, seen)
            evidence = finding.evidence
            return CauseFound(
                ts=time.time_ns(),
                netns=order.netns,
                ifindex=order.ifindex,
                target_ip=order.target_ip,
                reason=finding.reason,
                confidence=finding.confidence,
                remedy=finding.remedy,
                seen=evidence.seen,
                remedy_kind=finding.remedy_kind,
                sender_ip=order.sender_ip,
                asked_ts=order.ts,
                configured=finding.configured,
                read=evidence.read,
                because=evidence.because,
                also=evidence.also,
            )

        return investigate
