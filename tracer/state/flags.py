# SPDX-License-Identifier: Apache-2.0
"""When a flag goes up, changes its reason and comes down; when a look is ordered."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from tracer.events import CauseFound, InterfaceCount, Request
from tracer.notices import Notice
from tracer.seen import NOTHING_SEEN, Seen
from tracer.state.incident import LOOK_LIMIT_NS, SECOND, UNKNOWN, UNKNOWN_REMEDY, Incident
from tracer.state.interface import MOST_INCIDENTS, Interface
from tracer.state.rechecks import Rechecks
from tracer.state.run import Run
from tracer.state.streak import STREAK_NS, Streak
from tracer.state.telling import flag_notice, look_order, request_notice

CLOSER_LOOK_NS = 5 * SECOND
"""How long a closer look is kept up for the next request: a pod asks again each second."""
AWAITED_NS = SECOND // 4
"""How much longer a flag waits that would be ``unknown``: the pod asks again after a second."""
BLIND_NS = 2 * SECOND
"""A link state under which no request can be seen is flagged when it has lasted so long."""
FORGOTTEN_NS = 60 * SECOND
"""A sender that has asked no more for so long, while another is answered, has gone."""
NOT_TAKEN = "reply_not_taken"

LATE = "the look-up of the cause did not come back in time"
VANISHED = "the interface went away before the cause was looked up"
STOPPED = "tracing stopped before the cause was looked up"
SNAPSHOT = Seen(seen_in="the kernel's counters: the events were lost")


class Flags:
    """The incidents of all interfaces. Every method appends its notices to ``out``."""

    def __init__(self, run: Run) -> None:
        self._run = run
        # Incidents by when what waits for their cause waits no longer; stale once that is
        # no more Incident.wait_until.
        self._waiting: list[tuple[int, int, Interface, Incident]] = []
        # Blind interfaces by when that is flagged; stale once they see again.
        self._blind: list[tuple[int, int, Interface]] = []
        self._number = 0  # neither interfaces nor incidents compare
        # Incidents whose next request is to be looked at closely, until closer_until.
        self._doubtful: set[Incident] = set()
        self._closer_until = 0
        self._rechecks = Rechecks()
        # Incidents of pods that are answered and ask on.
        self._asking: dict[Incident, Interface] = {}
        self.deadline: int | None = None

    @property
    def closer_look_wanted(self) -> bool:
        return bool(self._doubtful)

    @property
    def awaits_looks(self) -> bool:
        """Would another moment bring the cause of what has none yet?"""
        return any(
            incident.wait_until == due and incident.looking_since is not None
            for due, _, _, incident in self._waiting
        )

    def unanswered(
        self, interface: Interface, event: Request, counted: bool, out: list[Notice]
    ) -> None:
        """``counted``: the event added one; False if a snapshot had counted it before."""
        interface.streaks.pop((event.target_ip, event.sender_ip), None)
        incident = self._of(interface, event.target_ip, event.sender_ip)
        facts = event.seen.facts()
        opened = incident is None
        if incident is None:
            incident = self._open(interface, event.target_ip, event.sender_ip, event.ts)
            if incident is None:
                self._run.attribute(None, int(counted))
                out.append(request_notice(event, None, None))
                return
        elif incident.of_answers:
            self._asking.pop(incident, None)
            incident.of_answers = False
            incident.doubt(event.ts)
        elif incident.reason is not None and incident.contradicts(facts):
            incident.doubt(event.ts)
        incident.ended = False
        incident.last_unanswered_ts = max(incident.last_unanswered_ts, event.ts)
        incident.last_seen = event.seen
        incident.unanswered += 1 if counted or opened else 0
        self._run.attribute(incident, int(counted))

        if incident.settled:
            out.append(request_notice(event, incident.reason, incident.confidence))
        else:
            out.append(request_notice(event, None, None))
        news = incident.is_news(facts, event.ts)
        if opened or news or incident.look_again(event.ts):
            self._order(interface, incident, event.ts, out, event.seen)
        elif not incident.settled and incident.wait_until is None:
            self._await(interface, incident, event.ts + LOOK_LIMIT_NS)
        self._doubt(incident, event.ts)
        self._trim()

    def answered(
        self, interface: Interface, event: Request, asks_on: Streak | None, out: list[Notice]
    ) -> None:
        """``asks_on``: the answers up to this one, which should have been enough."""
        for incident in list(interface.incidents.values()):
            if incident.target_ip != event.target_ip or incident.of_answers:
                continue
            if incident.sender_ip not in (event.sender_ip, ""):
                # Another sender, who asks no more: nobody will tell how it fares.
                if event.ts - incident.last_unanswered_ts >= FORGOTTEN_NS and not incident.of_link:
                    self._end(interface, incident, event.ts, out)
            elif event.ts >= incident.seen_by_snapshot_ts or event.late:
                # Or it was read late: the kernel's counters told of a newer unanswered one.
                self._end(interface, incident, event.ts, out)
        if asks_on is not None and asks_on.look_due(event.ts):
            seen = Seen(
                answered_in_a_row=asks_on.count,
                answered_for_ms=(asks_on.newest_ts - asks_on.since) // 1_000_000,
                sender_mac=event.sender_mac,
            )
            out.append(look_order(interface, event.sender_ip, event.target_ip, event.ts, seen))

    def found(self, interface: Interface, cause: CauseFound, out: list[Notice]) -> None:
        if cause.reason in ("", NOT_TAKEN):
            self._looked_into_pod(interface, cause, out)
            return
        incident = self._of(interface, cause.target_ip, cause.sender_ip)
        if incident is None or incident.of_answers:
            return
        incident.looking_since = None
        if incident.reason is not None and incident.changed_ts > cause.asked_ts > 0:
            # It may have read what is so no more.
            self._order_for_change(interface, incident, cause.ts, out)
            return
        if cause.reason == UNKNOWN and incident.reason is None and incident.wants_closer_look:
            incident.held = cause
            return
        if incident.doubted_ts >= 0 and cause.asked_ts == incident.change_look_ts:
            stands = incident.after_change(cause)
            if stands is None:
                return
            if stands:
                incident.doubted_ts = -1
                self._settle(incident)
                self._trim()
                return
        said = incident.take(cause)
        self._doubt(incident, cause.ts)
        if said:
            self._raise(interface, incident, cause.ts, out)
            if incident.ended:
                self._clear(interface, incident, cause.ts, out)
        elif incident.settled:
            self._settle(incident)
        self._trim()

    def _looked_into_pod(self, interface: Interface, cause: CauseFound, out: list[Notice]) -> None:
        key = (cause.target_ip, cause.sender_ip)
        incident, streak = interface.incidents.get(key), interface.streaks.get(key)
        if incident is not None and not incident.of_answers:
            return
        if cause.reason == "":
            if incident is not None:
                self._clear(interface, incident, cause.ts, out)
                self._trim()
            return
        if streak is None or cause.ts - streak.newest_ts > STREAK_NS:
            return
        if incident is None:
            incident = self._open(interface, *key, streak.since)
            if incident is None:
                return
            incident.of_answers = True
            self._asking[incident] = interface
        if incident.take(cause):
            self._raise(interface, incident, cause.ts, out)
        self._trim()

    def node_changed(self, interfaces: Iterable[Interface], ts: int) -> None:
        """Routes, rules, addresses, links or filters are otherwise than when they were read."""
        for interface in interfaces:
            for incident in interface.incidents.values():
                if incident.reason is not None and not incident.of_answers:
                    incident.node_changed(ts)
                    self._rechecks.add(interface, incident)
        self._rechecks.set(ts)
        self._trim()

    def _order_for_change(
        self, interface: Interface, incident: Incident, ts: int, out: list[Notice]
    ) -> None:
        """A look at the node as it is: what an earlier request's path was says nothing of it."""
        seen = Seen(link=interface.blind) if incident.of_link else NOTHING_SEEN
        if incident.last_unanswered_ts > incident.changed_ts:
            seen = incident.last_seen
        else:
            incident.change_look_ts = ts
        self._order(interface, incident, ts, out, seen)

    def counted_by_kernel(
        self, interface: Interface, row: InterfaceCount, ts: int, extra: int, out: list[Notice]
    ) -> None:
        """Opens or ends what lost events would have; ``extra`` unanswered ones were lost.

        The interface's last_*_ts are those of events, so a row that is newer tells of a
        lost one.
        """
        newest = max(interface.last_answered_ts, interface.last_unanswered_ts)
        target, sender = row.last_target_ip, row.last_sender_ip
        incident = self._of(interface, target, sender) if target else None
        if incident is not None and incident.of_answers:
            incident = None
        if target and row.last_unanswered_ts > max(newest, row.last_answered_ts):
            opened = incident is None
            if incident is None:
                incident = self._open(interface, target, sender, row.last_unanswered_ts)
            if incident is not None:
                incident.ended = False
                incident.seen_by_snapshot_ts = row.last_unanswered_ts
                incident.last_unanswered_ts = row.last_unanswered_ts
                incident.unanswered += max(1, extra) if opened else extra
                self._run.attribute(incident, extra)
                if opened:
                    self._order(interface, incident, ts, out, SNAPSHOT)
                return
        if incident is not None:
            incident.unanswered += extra
        self._run.attribute(incident, extra)
        lost_answer = row.last_answered_ts > max(row.last_unanswered_ts, interface.last_answered_ts)
        if lost_answer and len(interface.incidents) == 1:
            # More than one: the row does not say which target was answered.
            (only,) = interface.incidents.values()
            if row.last_answered_ts > only.last_unanswered_ts and not only.of_answers:
                self._end(interface, only, ts, out)

    def vanished(self, interface: Interface, ts: int, out: list[Notice]) -> None:
        interface.blind = None
        for incident in list(interface.incidents.values()):
            if incident.reason is None:
                self._give_up(interface, incident, ts, VANISHED, out)
            if incident in interface.incidents.values():
                self._clear(interface, incident, ts, out)
        self._trim()

    def expire(self, ts: int, out: list[Notice]) -> None:
        """What is due at ``ts``: first looks that took too long, blind interfaces."""
        while self._waiting and self._waiting[0][0] <= ts:
            due, _, interface, incident = heapq.heappop(self._waiting)
            if incident.wait_until != due:
                continue
            incident.wait_until = None
            if incident.reason is not None:
                self._run.count_as_unknown(incident)
            elif incident.held is not None and not incident.awaited:
                # The pod's second request is due just now, and may tell.
                incident.awaited = True
                self._run.count_as_unknown(incident)
                self._await(interface, incident, ts + AWAITED_NS)
            else:
                self._give_up(interface, incident, ts, LATE, out)
        while self._blind and self._blind[0][0] <= ts:
            due, _, interface = heapq.heappop(self._blind)
            if interface.blind is not None and interface.blind_since + BLIND_NS == due:
                self._flag_blind(interface, ts, out)
        if self._closer_until <= ts:
            self._doubtful.clear()
        if self._rechecks.due is not None and self._rechecks.due <= ts:
            for interface, incident in self._rechecks.take(ts):
                self._order_for_change(interface, incident, ts, out)
        for incident, interface in list(self._asking.items()):
            if self._silent_at(incident, interface) <= ts:
                self._clear(interface, incident, ts, out)
        self._trim()

    def _silent_at(self, incident: Incident, interface: Interface) -> int:
        """When a pod that was answered and asked on will have asked no more."""
        streak = interface.streaks.get((incident.target_ip, incident.sender_ip))
        return STREAK_NS + (incident.since if streak is None else streak.newest_ts)

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
            there = [each for each in interface.incidents.values() if each.target_ip == target_ip]
            if not there and (
                opened := self._open(interface, target_ip, "", interface.blind_since)
            ):
                started = self._run.started_ts
                opened.before_trace = started is not None and interface.blind_since <= started
                there = [opened]
            for incident in there:
                self._asking.pop(incident, None)
                incident.of_answers = False
                incident.of_link = True
                self._order(interface, incident, ts, out, Seen(link=interface.blind))

    def stop(self, ts: int, out: list[Notice]) -> None:
        while self._waiting:
            due, _, interface, incident = heapq.heappop(self._waiting)
            if incident.wait_until != due:
                continue
            if incident.reason is None:
                self._give_up(interface, incident, ts, STOPPED, out)
            else:
                self._run.count_as_unknown(incident)
        self._blind.clear()
        self._doubtful.clear()
        self._rechecks.clear()
        self._asking.clear()
        self._trim()

    def _of(self, interface: Interface, target_ip: str, sender_ip: str) -> Incident | None:
        """The incident that a request, or what was found out of one, belongs to."""
        incidents = interface.incidents
        if (incident := incidents.get((target_ip, sender_ip))) is not None:
            return incident
        if (incident := incidents.get((target_ip, ""))) is not None:
            # A link's, who asked was not known until now.
            del incidents[target_ip, ""]
            incident.sender_ip = sender_ip
            incidents[target_ip, sender_ip] = incident
            return incident
        if not sender_ip:
            return next((each for each in incidents.values() if each.target_ip == target_ip), None)
        return None

    def _open(
        self, interface: Interface, target_ip: str, sender_ip: str, since: int
    ) -> Incident | None:
        if len(interface.incidents) >= MOST_INCIDENTS:
            return None
        incident = Incident(target_ip, sender_ip, since)
        interface.incidents[target_ip, sender_ip] = incident
        return incident

    def _order(
        self,
        interface: Interface,
        incident: Incident,
        ts: int,
        out: list[Notice],
        seen: Seen,
    ) -> None:
        incident.look_ordered(ts)
        if not incident.settled and incident.wait_until is None:
            self._await(interface, incident, ts + LOOK_LIMIT_NS)
            self._trim()
        out.append(look_order(interface, incident.sender_ip, incident.target_ip, ts, seen))

    def _await(self, interface: Interface, incident: Incident, due: int) -> None:
        self._number += 1
        incident.wait_until = due
        heapq.heappush(self._waiting, (due, self._number, interface, incident))

    def _give_up(
        self,
        interface: Interface,
        incident: Incident,
        ts: int,
        because: str,
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
                seen=Seen.of(incident.told),
                because=because,
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

    def _settle(self, incident: Incident) -> None:
        incident.wait_until = None
        self._run.settle(incident)

    def _raise(self, interface: Interface, incident: Incident, ts: int, out: list[Notice]) -> None:
        self._settle(incident)
        self._run.flags_raised += 1
        out.append(flag_notice("raised", interface, incident, ts))

    def _clear(self, interface: Interface, incident: Incident, ts: int, out: list[Notice]) -> None:
        del interface.incidents[incident.target_ip, incident.sender_ip]
        incident.wait_until = None
        self._run.count_as_unknown(incident)  # what came in doubt
        self._doubtful.discard(incident)
        self._asking.pop(incident, None)
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
        while self._waiting and self._waiting[0][3].wait_until != self._waiting[0][0]:
            heapq.heappop(self._waiting)
        due = [entry[0] for entry in self._waiting[:1]]
        due += [entry[0] for entry in self._blind[:1]]
        due += [self._silent_at(*each) for each in self._asking.items()]
        if self._doubtful:
            due.append(self._closer_until)
        if self._rechecks.due is not None:
            due.append(self._rechecks.due)
        self.deadline = min(due, default=None)
