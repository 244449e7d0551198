# SPDX-License-Identifier: Apache-2.0
"""Notices of what the state holds."""

from __future__ import annotations

from tracer.events import Request
from tracer.notices import FlagNotice, Investigate, RequestNotice
from tracer.seen import Seen
from tracer.state.incident import UNKNOWN, Incident
from tracer.state.interface import Interface


def look_order(
    interface: Interface, sender_ip: str, target_ip: str, ts: int, seen: Seen
) -> Investigate:
    return Investigate(
        ts=ts,
        netns=interface.netns,
        ifindex=interface.ifindex,
        interface=interface.name,
        sender_ip=sender_ip,
        target_ip=target_ip,
        seen=seen,
    )


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
        event.seen,
        not event.is_new,
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
        sender_ip=incident.sender_ip,
        before_trace=incident.before_trace,
    )
