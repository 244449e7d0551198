# SPDX-License-Identifier: Apache-2.0
"""When a flag goes up, changes its reason and comes down; when a look is ordered."""

from __future__ import annotations

import heapq

from tracer.events import CauseFound, Evidence, InterfaceCount, Request
from tracer.notices import FlagNotice, Investigate, Notice, RequestNotice
from tracer.state.incident import LOOK_LIMIT_NS, SECOND, UNKNOWN, UNKNOWN_REMEDY, Incident
from tracer.state.interface import MOST_INCIDENTS, Interface
from tracer.state.run import Run

CLOSER_LOOK_NS = 5 * SECOND
"""How long a closer look is kept up for the next request: a pod asks again each second."""
AWAITED_NS = SECOND // 4
"""How much longer a flag waits that would be ``unknown``: the pod asks again after a second."""
BLIND_NS = 2 * SECOND
"""A link state under which no request can be seen is flagged when it has lasted so long."""

LATE_EVIDENCE: Evidence = {"because": "the look-up of the cause did not come back in time"}
VANISHED_EVIDENCE: Evidence = {
    "because": "the interface went away before the cause was looked up",
}
SNAPSHOT_EVIDENCE: Evidence = {"seen_in": "the kernel's counters: the events were lost"}
STOPPED_EVIDENCE: Evidence = {"because": "tracing stopped before the cause was looked up"}


class Flags:
    """The incidents of all interfaces. Every method appends its notices to ``out``."""

    def __init__(self, run: Run) -> None:
        self._run = run
        # First looks by deadline; one entry an incident, stale once its cause is known.
        self._waiting: list[tuple[int, int, Interface, Incident]] = []
        # Blind interfaces by when that is flagged; stale once they see again.
        self._blind: list[tuple[int, int, Interface]] = []
        self._number = 0  # neither interfaces nor incidents compare
        # Incidents whose next request is to be looked at closely, until closer_until.
        self._doubtful: set[Incident] = set()
        self._closer_until = 0
        self.deadline: int | None = None

    @property
    def closer_look_wanted(self) -> bool:
        return bool(self._doubtful)

    def unanswered(
        self, interface: Interface, event: Request, counted: bool, out: list[Notice]
    ) -> None:
        """``counted``: the event added one; False if a snapshot had counted it before."""
        incident = interface.incidents.get(event.target_ip)
        opened = incident is None
        if incident is None:
            incident = self._open(interface, event.target_ip, event.ts)
            if incident is None:
                self._run.attribute(None, int(counted))
                out.append(request_notice(event, None, None))
                return
        incident.ended = False
        incident.last_unanswered_ts = max(incident.last_unanswered_ts, event.ts)
        incident.unanswered += 1 if counted or opened else 0
        self._run.attribute(incident, int(counted))

        if incident.reason is None:
            out.append(request_notice(event, None, None))
        else:
            out.append(request_notice(event, incident.reason, incident.confidence))
        news = incident.is_news(event.evidence, event.ts)
        if opened or news or incident.look_again(event.ts):
            self._order(
                interface,
                incident,
                event.ts,
                out,
                sender_ip=event.sender_ip,
                evidence=event.evidence,
            )
        self._doubt(incident, event.ts)
        self._trim()

    def answered(self, interface: Interface, event: Request, out: list[Notice]) -> None:
        incident = interface.incidents.get(event.target_ip)
        if incident is None:
            return
        if event.ts < incident.seen_by_snapshot_ts and not event.late:
            return  # Read late: the kernel's counters told of a newer unanswered one.
        self._end(interface, incident, event.ts, out)

    def found(self, interface: Interface, cause: CauseFound, out: list[Notice]) -> None:
        incident = interface.incidents.get(cause.target_ip)
        if incident is None:
            return
        incident.looking_since = None
        if cause.reason == UNKNOWN and incident.reason is None and incident.wants_closer_look:
            incident.held = cause
            return
        said = incident.take(cause)
        self._doubt(incident, cause.ts)
        if said:
            self._raise(interface, incident, cause.ts, out)
            if incident.ended:
                self._clear(interface, incident, cause.ts, out)
        self._trim()

    def counted_by_kernel(
        self, interface: Interface, row: InterfaceCount, ts: int, extra: int, out: list[Notice]
    ) -> None:
        """Opens or ends what lost events would have; ``extra`` unanswered ones were lost.

        The interface's last_*_ts are those of events, so a row that is newer tells of a
        lost one.
        """
        newest = max(interface.last_answered_ts, interface.last_unanswered_ts)
        incident = interface.incidents.get(row.last_target_ip)
        if row.last_target_ip and row.last_unanswered_ts > max(newest, row.last_answered_ts):
            opened = incident is None
            if incident is None:
                incident = self._open(interface, row.last_target_ip, row.last_unanswered_ts)
            if incident is not None:
                incident.ended = False
                incident.seen_by_snapshot_ts = row.last_unanswered_ts
                incident.last_unanswered_ts = row.last_unanswered_ts
                incident.unanswered += max(1, extra) if opened else extra
                self._run.attribute(incident, extra)
                if opened:
                    self._order(
                        interface,
                        incident,
                        ts,
                        out,
                        sender_ip=row.last_sender_ip,
                        evidence=SNAPSHOT_EVIDENCE,
                    )
                return
        if incident is not None:
            incident.unanswered += extra
        self._run.attribute(incident, extra)
        lost_answer = row.last_answered_ts > max(row.last_unanswered_ts, interface.last_answered_ts)
        if lost_answer and len(interface.incidents) == 1:
            # More than one: the row does not say which target was answered.
            (only,) = interface.incidents.values()
            if row.last_answered_ts > only.last_unanswered_ts:
                self._end(interface, only, ts, out)

    def vanished(self, interface: Interface, ts: int, out: list[Notice]) -> None:
        interface.blind = None
        for incident in list(interface.incidents.values()):
            if incident.reason is None:
                self._give_up(interface, incident, ts, VANISHED_EVIDENCE, out)
            if incident.target_ip in interface.incidents:
                self._clear(interface, incident, ts, out)
        self._trim()

    def expire(self, ts: int, out: list[Notice]) -> None:
        """What is due at ``ts``: first looks that took too long, blind interfaces."""
        while self._waiting and self._waiting[0][0] <= ts:
            _, _, interface, incident = heapq.heappop(self._waiting)
            if incident.held is not None and not incident.awaited:
                # The pod's second request is due just now, and may tell.
                incident.awaited = True
                self._run.count_as_unknown(incident)
                self._await(interface, incident, ts + AWAITED_NS)
            elif incident.reason is None:
                self._give_up(interface, incident, ts, LATE_EVIDENCE, out)
        while self._blind and self._blind[0][0] <= ts:
            due, _, interface = heapq.heappop(self._blind)
            if interface.blind is not None and interface.blind_since + BLIND_NS == due:
                self._flag_blind(interface, ts, out)
        if self._closer_until <= ts:
            self._doubtful.clear()
        self._trim()

    def blinded(self, interface: Interface) -> None:
        """``interface.blind`` has begun: no request can be seen on it."""
        self._number += 1
        due = interface.blind_since + BLIND_NS
        heapq.heappush(self._blind, (due, self._number, interface))
        self._trim()

    def sees(self, interface: Interface, ts: int, out: list[Notice]) -> None:
        """A link state under which nothing could be seen is over."""
        for incident in [each for each in interface.incidents.values() if each.of_link]:
            self._end(interface, incident, ts, out)
        self._trim()

    def _flag_blind(self, interface: Interface, ts: int, out: list[Notice]) -> None:
        for target_ip in self._run.flag_targets:
            incident = interface.incidents.get(target_ip)
            if incident is None:
                incident = self._open(interface, target_ip, interface.blind_since)
            if incident is not None:
                incident.of_link = True
                evidence: Evidence = {"link": interface.blind}
                self._order(interface, incident, ts, out, sender_ip="", evidence=evidence)

    def stop(self, ts: int, out: list[Notice]) -> None:
        while self._waiting:
            _, _, interface, incident = heapq.heappop(self._waiting)
            if incident.reason is None:
                self._give_up(interface, incident, ts, STOPPED_EVIDENCE, out)
        self._blind.clear()
        self._doubtful.clear()
        self._trim()

    def _open(self, interface: Interface, target_ip: str, since: int) -> Incident | None:
        if len(interface.incidents) >= MOST_INCIDENTS:
            return None
        incident = interface.incidents[target_ip] = Incident(target_ip, since)
        return incident

    def _order(
        self,
        interface: Interface,
        incident: Incident,
        ts: int,
        out: list[Notice],
        *,
        sender_ip: str,
        evidence: Evidence,
    ) -> None:
        incident.look_ordered(ts)
        if incident.reason is None:
            self._await(interface, incident, ts + LOOK_LIMIT_NS)
            self._trim()
        out.append(
            Investigate(
                ts=ts,
                netns=interface.netns,
                ifindex=interface.ifindex,
                interface=interface.name,
                sender_ip=sender_ip,
                target_ip=incident.target_ip,
                evidence=evidence,
            )
        )

    def _await(self, interface: Interface, incident: Incident, due: int) -> None:
        self._number += 1
        heapq.heappush(self._waiting, (due, self._number, interface, incident))

    def _give_up(
        self,
        interface: Interface,
        incident: Incident,
        ts: int,
        evidence: Evidence,
        out: list[Notice],
    ) -> None:
        # The look stays ordered: its result, should it come, is still taken.
        incident.take(
            incident.held
            or CauseFound(
                ts=ts,
                netns=interface.netns,
                ifindex=interface.ifindex,
                target_ip=incident.target_ip,
                reason=UNKNOWN,
                confidence="inferred",
                remedy=UNKNOWN_REMEDY,
                evidence={**incident.told, **evidence},
            )
        )
        self._raise(interface, incident, ts, out)
        if incident.ended:
            self._clear(interface, incident, ts, out)

    def _end(self, interface: Interface, incident: Incident, ts: int, out: list[Notice]) -> None:
        if incident.reason is None:
            incident.ended = True
        else:
            self._clear(interface, incident, ts, out)

    def _raise(self, interface: Interface, incident: Incident, ts: int, out: list[Notice]) -> None:
        self._run.settle(incident)
        self._run.flags_raised += 1
        out.append(flag_notice("raised", interface, incident, ts))

    def _clear(self, interface: Interface, incident: Incident, ts: int, out: list[Notice]) -> None:
        del interface.incidents[incident.target_ip]
        self._doubtful.discard(incident)
        out.append(flag_notice("cleared", interface, incident, ts))

    def _doubt(self, incident: Incident, ts: int) -> None:
        """Is the incident's next request to be looked at closely?"""
        until = incident.last_unanswered_ts + CLOSER_LOOK_NS
        if incident.wants_closer_look and until > ts:
            self._doubtful.add(incident)
            self._closer_until = max(self._closer_until, until)
        else:
            self._doubtful.discard(incident)

    def _trim(self) -> None:
        while self._waiting and self._waiting[0][3].reason is not None:
            heapq.heappop(self._waiting)
        due = [entry[0] for entry in self._waiting[:1]]
        due += [entry[0] for entry in self._blind[:1]]
        if self._doubtful:
            due.append(self._closer_until)
        self.deadline = min(due, default=None)


def request_notice(event: Request, reason: str | None, confidence: str | None) -> RequestNotice:
    # Positional: keywords cost half a microsecond more, and this runs for every request.
    return RequestNotice(
        event.ts,
        event.interface,
        event.ifindex,
        event.netns,
        event.sender_ip,
        event.sender_mac,
        event.target_ip,
        event.verdict,
        reason,
        confidence,
        event.latency_ns,
        event.evidence,
        event.late or event.corrects,
        event.answered_by,
        event.answers,
        event.corrects,
    )


def flag_notice(state: str, interface: Interface, incident: Incident, ts: int) -> FlagNotice:
    return FlagNotice(
        ts=ts,
        state=state,
        interface=interface.name,
        ifindex=interface.ifindex,
        netns=interface.netns,
        target_ip=incident.target_ip,
        reason=incident.reason or UNKNOWN,
        confidence=incident.confidence,
        since=incident.since,
        unanswered=incident.unanswered,
        remedy=incident.remedy,
        remedy_kind=incident.remedy_kind,
        evidence=incident.evidence,
    )
