# SPDX-License-Identifier: Apache-2.0
"""The state of a run. The same events give the same notices, live or replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tracer.events import (
    CauseFound,
    Counters,
    Elsewhere,
    Event,
    InterfaceCount,
    LinkGone,
    LinkSeen,
    Lost,
    Neighbour,
    NodeChanged,
    Request,
    Started,
    Stopped,
    Tick,
    Unjudged,
    Verdict,
)
from tracer.notices import LostNotice, NeighbourNotice, Notice, StartNotice, StopNotice
from tracer.seen import Seen
from tracer.state.flags import Flags
from tracer.state.interface import Interface
from tracer.state.interfaces import LINK_LAG_NS, Interfaces, Key
from tracer.state.remarks import Remarks
from tracer.state.run import Run
from tracer.state.tally import Tally, apply, change_by, take_over
from tracer.state.telling import request_notice
from tracer.state.views import CountedView, FlagView, HistogramView, InterfaceView, Totals

ANSWERED = Verdict.ANSWERED
UNANSWERED = Verdict.UNANSWERED


class State:
    """Fed with events, in the order they were read; tells what is to be said and done."""

    def __init__(self) -> None:
        self._run = Run()
        self._flags = Flags(self._run)
        self._remarks = Remarks()
        self._interfaces = Interfaces()
        self._live = self._interfaces.live
        self._handlers: dict[type, Callable[[Any, list[Notice]], None]] = {
            Started: self._started,
            Request: self._request,
            Neighbour: self._neighbour,
            Lost: self._lost,
            Counters: self._counters,
            LinkSeen: self._link_seen,
            LinkGone: self._link_gone,
            CauseFound: self._cause_found,
            Unjudged: self._unjudged,
            Elsewhere: self._elsewhere,
            NodeChanged: self._node_changed,
            Tick: self._tick,
            Stopped: self._stopped,
        }

    def feed(self, event: Event) -> list[Notice]:
        out: list[Notice] = []
        deadline = self._flags.deadline
        if deadline is not None and event.ts >= deadline:
            self._flags.expire(event.ts, out)
        self._handlers[type(event)](event, out)
        return out

    def deadline(self) -> int | None:
        """The ts at which a Tick is wanted next, or None."""
        return self._flags.deadline

    def closer_look_wanted(self) -> bool:
        """Are the hooks worth their cost now that tell why the next request is refused?"""
        return self._flags.closer_look_wanted

    def awaits_looks(self) -> bool:
        """Would another moment bring the cause of what has none yet?"""
        return self._flags.awaits_looks

    def any_flag(self) -> bool:
        return any(interface.incidents for interface in self._live.values())

    def totals(self) -> Totals:
        return self._run.view()

    def latency(self) -> HistogramView:
        """Of all replies of the run."""
        return self._run.latency.view()

    def interfaces(self) -> tuple[InterfaceView, ...]:
        """The live ones, in the order in which they appeared."""
        return tuple(interface.view() for interface in self._live.values())

    def counted(self) -> dict[str, CountedView]:
        """By the name of a live interface; see :mod:`tracer.state.names`."""
        return self._interfaces.names.view()

    def flags(self) -> tuple[FlagView, ...]:
        return tuple(flag for i in self._live.values() for flag in i.flags())

    def _started(self, event: Started, out: list[Notice]) -> None:
        self._run.started_ts = event.ts
        if "any" not in event.targets:
            self._run.flag_targets = event.targets
        out.append(
            StartNotice(
                ts=event.ts,
                version=event.version,
                engine=event.engine,
                kernel=event.kernel,
                interfaces=event.interfaces,
                targets=event.targets,
            )
        )

    def _request(self, event: Request, out: list[Notice]) -> None:
        run = self._run
        verdict = event.verdict
        interface = self._live.get((event.netns, event.ifindex))
        if interface is None or interface.device != event.device:
            interface = self._whose(event, out)
            if interface is None:
                self._stray_request(event, out)
                return
        if interface.not_pod is not None:
            if not event.is_new:
                return  # it was told as ignored
            event = _ignored(event, interface.not_pod)
            verdict = event.verdict
        tally = interface.tally
        if event.interface != interface.name:
            interface.named(event.interface, event.ts)
        interface.last_seen_ts = max(interface.last_seen_ts, event.ts)

        if event.again:
            out.append(request_notice(event, None, None))  # its first answer was counted
            return
        if verdict is ANSWERED:
            self._answered(interface, event, out)
            return

        change = change_by(tally, event)
        apply(tally, change)
        apply(run.tally, change)
        if verdict is UNANSWERED:
            interface.last_unanswered_ts = max(interface.last_unanswered_ts, event.ts)
            self._flags.unanswered(interface, event, change.unanswered > 0, out)
        else:
            out.append(request_notice(event, None, None))

    def _answered(self, interface: Interface, event: Request, out: list[Notice]) -> None:
        run, tally = self._run, interface.tally
        if event.late or event.corrects or event.ts <= tally.ahead_ts:
            change = change_by(tally, event)
            apply(tally, change)
            apply(run.tally, change)
            run.attribute(None, change.unanswered)
        else:  # The healthy case, which must be cheap.
            tally.answered += 1
            tally.counted.answered += 1
            run.tally.answered += 1
        interface.last_answered_ts = max(interface.last_answered_ts, event.ts)
        if event.latency_ns is not None:
            interface.latency.observe(event.latency_ns)
            run.latency.observe(event.latency_ns)
        out.append(request_notice(event, None, None))
        asks_on = interface.asks_on(event.target_ip, event.sender_ip, event.ts)
        if asks_on or interface.incidents:
            self._flags.answered(interface, event, asks_on, out)

    def _whose(self, event: Request | Neighbour, out: list[Notice]) -> Interface | None:
        """The interface of an event; None if that one is gone already."""
        key = (event.netns, event.ifindex)
        if self._interfaces.stray(key, event.device, event.ts) is not None:
            return None
        return self._enter(key, event.device, event.interface, event.ts, out)

    def _enter(self, key: Key, device: int, name: str, ts: int, out: list[Notice]) -> Interface:
        """The live interface with this index, new if there is none or another device's."""
        interface = self._live.get(key)
        if interface is None:
            return self._interfaces.enter(key, device, name, ts)
        if device in (0, interface.device):
            return interface
        if interface.device == 0:
            self._interfaces.identify(interface, device)
            return interface
        self._leave(interface, ts, out)
        interface = self._interfaces.enter(key, device, name, ts)
        interface.taken_over_ts = ts
        return interface

    def _leave(self, interface: Interface, ts: int, out: list[Notice]) -> None:
        self._flags.vanished(interface, ts, out)
        self._interfaces.leave(interface, ts)

    def _stray_request(self, event: Request, out: list[Notice]) -> None:
        tally = self._interfaces.stray((event.netns, event.ifindex), event.device, event.ts)
        change = change_by(tally or Tally(), event)
        if tally is not None:
            apply(tally, change)
        apply(self._run.tally, change)
        self._run.attribute(None, change.unanswered)
        if event.verdict is ANSWERED and event.latency_ns is not None:
            self._run.latency.observe(event.latency_ns)
        out.append(request_notice(event, None, None))

    def _neighbour(self, event: Neighbour, out: list[Notice]) -> None:
        interface = self._live.get((event.netns, event.ifindex))
        if interface is None or interface.device != event.device:
            interface = self._whose(event, out)
        old_state = event.old_state
        if interface is not None:
            interface.named(event.interface, event.ts)
            if old_state is None and event.ip in interface.neighbours:
                old_state = interface.neighbours[event.ip][0]
            if event.new_state == "none":
                interface.neighbours.pop(event.ip, None)
            else:
                interface.neighbours[event.ip] = (event.new_state, event.mac)
        if old_state == event.new_state:
            return
        self._run.entered(event.new_state)
        if interface is not None and event.new_state == "failed":
            interface.neighbour_failures += 1
            interface.tally.counted.neighbour_failures += 1
        out.append(
            NeighbourNotice(
                ts=event.ts,
                interface=event.interface,
                ifindex=event.ifindex,
                netns=event.netns,
                ip=event.ip,
                old_state=old_state,
                new_state=event.new_state,
                mac=event.mac,
            )
        )

    def _lost(self, event: Lost, out: list[Notice]) -> None:
        if event.count > 0 or event.skipped > 0:
            self._run.lost += event.count
            self._run.skipped += event.skipped
            out.append(LostNotice(event.ts, event.count, event.skipped))

    def _counters(self, event: Counters, out: list[Notice]) -> None:
        for row in event.interfaces:
            self._row(event.ts, row, out)

    def _row(self, ts: int, row: InterfaceCount, out: list[Notice]) -> None:
        key = (row.netns, row.ifindex)
        newest = max(row.last_answered_ts, row.last_unanswered_ts)
        gone = self._interfaces.stray(key, row.device, newest)
        live = self._live.get(key)
        other = (
            live is not None and 0 not in (row.device, live.device) and row.device != live.device
        )
        if gone is None and live is not None and other and newest <= live.last_seen_ts:
            # A device that was gone before this one came, all its events lost.
            gone = Tally(self._interfaces.names.of(row.interface))
            self._interfaces.depart(key, row.device, gone, newest)
        if gone is not None:
            change = take_over(gone, ts, row)
            apply(self._run.tally, change)
            self._run.attribute(None, change.unanswered)
            return
        interface = self._enter(key, row.device, row.interface, ts, out)
        if interface.not_pod is not None:
            return  # the kernel side has judged what is not to be judged
        change = take_over(interface.tally, ts, row)
        apply(self._run.tally, change)
        self._flags.counted_by_kernel(interface, row, ts, change.unanswered, out)
        interface.last_seen_ts = max(interface.last_seen_ts, newest)

    def _link_seen(self, event: LinkSeen, out: list[Notice]) -> None:
        interface = self._enter((event.netns, event.ifindex), 0, event.interface, event.ts, out)
        interface.named(event.interface, event.ts)
        # Links are told in order: had the old one's end been due, it would have come.
        interface.taken_over_ts = -1
        if event.not_pod is not None and interface.not_pod is None:
            self._flags.vanished(interface, event.ts, out)
        interface.not_pod = event.not_pod
        if event.not_pod is not None or event.blind == interface.blind:
            return
        if event.blind is None:
            interface.blind = None
            self._flags.sees(interface, event.ts, out)
            return
        if interface.blind is None:
            interface.blind_since = event.ts
            self._flags.blinded(interface)
        interface.blind = event.blind

    def _link_gone(self, event: LinkGone, out: list[Notice]) -> None:
        interface = self._live.get((event.netns, event.ifindex))
        if interface is None:
            return
        since = interface.taken_over_ts
        if since >= 0 and event.ts - since < LINK_LAG_NS:
            # The event path was faster: this is the end of the one it replaced.
            interface.taken_over_ts = -1
            return
        self._leave(interface, event.ts, out)

    def _cause_found(self, event: CauseFound, out: list[Notice]) -> None:
        interface = self._live.get((event.netns, event.ifindex))
        if interface is not None:
            self._flags.found(interface, event, out)

    def _unjudged(self, event: Unjudged, out: list[Notice]) -> None:
        named = [each for each in self._live.values() if each.name == event.interface]
        if not any(each.not_pod for each in named):
            judged = any(each.last_seen_ts for each in named)
            self._remarks.unjudged(event, judged, out)

    def _elsewhere(self, event: Elsewhere, out: list[Notice]) -> None:
        if not any(i.not_pod for i in self._live.values() if i.name == event.interface):
            self._remarks.elsewhere(event, out)

    def _node_changed(self, event: NodeChanged, out: list[Notice]) -> None:
        here = [i for i in self._live.values() if i.incidents and i.netns == event.netns]
        self._flags.node_changed(here, event.ts)

    def _tick(self, event: Tick, out: list[Notice]) -> None:
        """Time alone: what is due was said before the event was looked at."""

    def _stopped(self, event: Stopped, out: list[Notice]) -> None:
        self._flags.stop(event.ts, out)
        run = self._run
        self._remarks.stop(not run.view().requests, out)
        started = event.ts if run.started_ts is None else run.started_ts
        tally = run.tally
        out.append(
            StopNotice(
                ts=event.ts,
                duration_s=(event.ts - started) / 1e9,
                requests=tally.requests,
                answered=tally.answered,
                unanswered=tally.still_unanswered,
                deferred=tally.deferred,
                ignored=tally.ignored,
                flags_raised=run.flags_raised,
                lost=run.lost,
                skipped=run.skipped,
            )
        )


def _ignored(event: Request, why: str) -> Request:
    """A request of what is no pod's link: nobody promised an answer there."""
    return replace(
        event,
        verdict=Verdict.IGNORED,
        latency_ns=None,
        answered_by=None,
        seen=Seen(not_a_pod_link=why),
    )
