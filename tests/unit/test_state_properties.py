# SPDX-License-Identifier: Apache-2.0
"""What holds for any events at all, and what holds when the kernel's side loses some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.events import (
    CauseFound,
    Counters,
    Event,
    InterfaceCount,
    LinkGone,
    LinkSeen,
    Lost,
    Neighbour,
    NodeChanged,
    Request,
    Stopped,
    Tick,
    Verdict,
)
from tracer.notices import FlagNotice, Investigate, Notice, RequestNotice
from tracer.seen import Seen
from tracer.state import State
from tracer.state.incident import LOOK_LIMIT_NS

SECOND = 1_000_000_000
VERDICTS = tuple(Verdict)

netns = st.sampled_from([1, 2])
ifindex = st.sampled_from([7, 8])
device = st.sampled_from([0, 70, 71])
name = st.sampled_from(["cali7", "cali8"])
target = st.sampled_from(["169.254.1.1", "10.0.0.1"])
sender = st.sampled_from(["10.0.0.7", "10.0.0.8"])
seen = st.sampled_from([Seen(), Seen(proxy_arp=0), Seen(dropped="request")])
ts = st.integers(0, 200).map(lambda tenths: tenths * SECOND // 10)
few = st.integers(0, 5)

requests = st.builds(
    Request,
    ts=ts,
    netns=netns,
    ifindex=ifindex,
    device=device,
    interface=name,
    sender_ip=sender,
    sender_mac=st.just("aa:bb"),
    target_ip=target,
    verdict=st.sampled_from(VERDICTS),
    latency_ns=st.none() | st.integers(0, 10 * SECOND),
    late=st.just(False),
    seen=seen,
)
settlings = st.builds(
    lambda request, verdict: Request(
        request.ts,
        request.netns,
        request.ifindex,
        request.device,
        request.interface,
        request.sender_ip,
        request.sender_mac,
        request.target_ip,
        verdict,
        None,
        True,
    ),
    requests,
    st.sampled_from([Verdict.ANSWERED, Verdict.UNANSWERED]),
)
causes = st.builds(
    CauseFound,
    ts=ts,
    netns=netns,
    ifindex=ifindex,
    target_ip=target,
    reason=st.sampled_from(["no_route", "proxy_arp_off", "unknown", "reply_not_taken", ""]),
    confidence=st.sampled_from(["inferred", "observed"]),
    remedy=st.just("mend it"),
    also=st.sampled_from([(), ("no_route",)]),
    sender_ip=sender | st.just(""),
    asked_ts=ts,
    configured=st.booleans(),
)
neighbours = st.builds(
    Neighbour,
    ts=ts,
    netns=netns,
    ifindex=ifindex,
    device=device,
    interface=name,
    ip=st.sampled_from(["10.0.0.7", "10.0.0.8"]),
    old_state=st.sampled_from([None, "none", "stale"]),
    new_state=st.sampled_from(["none", "stale", "failed"]),
    mac=st.none(),
)
rows = st.builds(
    InterfaceCount,
    netns=netns,
    ifindex=ifindex,
    device=device,
    interface=name,
    answered=few,
    unanswered=few,
    deferred=few,
    ignored=few,
    last_answered_ts=ts,
    last_unanswered_ts=ts,
    last_sender_ip=sender,
    last_target_ip=target | st.just(""),
)
events: st.SearchStrategy[Event] = st.one_of(
    requests,
    requests,
    requests,
    settlings,
    causes,
    causes,
    neighbours,
    st.builds(Counters, ts=ts, interfaces=st.lists(rows, max_size=3).map(tuple)),
    st.builds(LinkSeen, ts=ts, netns=netns, ifindex=ifindex, interface=name),
    st.builds(LinkGone, ts=ts, netns=netns, ifindex=ifindex, interface=name),
    st.builds(NodeChanged, ts=ts, netns=netns),
    st.builds(Tick, ts=ts),
    st.builds(Lost, ts=ts, count=few),
)


class FlagRules:
    """Raised before cleared, cleared once, no two raised of one incident say the same."""

    def __init__(self) -> None:
        self.up: dict[tuple[int, int, str, str], FlagNotice] = {}
        self.raised = 0

    def check(self, notice: FlagNotice) -> None:
        key = (notice.netns, notice.ifindex, notice.target_ip, notice.sender_ip)
        before = self.up.get(key)
        if notice.state == "raised":
            self.raised += 1
            if before is not None:
                assert notice.reason != before.reason
                assert notice.since == before.since
                assert notice.unanswered >= before.unanswered
            self.up[key] = notice
        else:
            assert notice.state == "cleared"
            assert before is not None
            assert (notice.reason, notice.since) == (before.reason, before.since)
            del self.up[key]
        assert notice.unanswered >= (0 if notice.reason == "reply_not_taken" else 1)
        assert notice.remedy


def check_sums(state: State) -> None:
    totals = state.totals()
    interfaces = state.interfaces()
    assert totals.unanswered == sum(totals.unanswered_by_reason.values()) + totals.unattributed
    for verdict in VERDICTS:
        of_run = getattr(totals, verdict)
        of_interfaces = [getattr(interface, verdict) for interface in interfaces]
        assert all(count >= 0 for count in of_interfaces)
        # What interfaces that are gone had counted stays in the totals.
        assert of_run >= sum(of_interfaces)
    assert totals.requests == (
        totals.answered + totals.unanswered + totals.deferred + totals.ignored
    )
    assert state.latency().count >= sum(i.latency.count for i in interfaces)


@given(st.lists(events, max_size=60))
@settings(max_examples=300, deadline=None)
def test_anything_goes(stream: Sequence[Event]) -> None:
    state = State()
    rules = FlagRules()
    for event in stream:
        for notice in state.feed(event):
            if isinstance(notice, FlagNotice):
                rules.check(notice)
            if isinstance(notice, RequestNotice) and notice.reason is not None:
                assert notice.verdict is Verdict.UNANSWERED
        check_sums(state)
        up = {(f.netns, f.ifindex, f.target_ip, f.sender_ip): f.reason for f in state.flags()}
        assert up == {key: flag.reason for key, flag in rules.up.items()}
        deadline = state.deadline()
        assert deadline is not None or state.totals().unattributed == 0
        assert deadline is None or deadline > event.ts
    for notice in state.feed(Stopped(10**12)):
        if isinstance(notice, FlagNotice):
            rules.check(notice)
    assert state.totals().unattributed == 0
    assert state.totals().flags_raised == rules.raised
    assert state.deadline() is None


@given(st.lists(events, max_size=60))
@settings(max_examples=100, deadline=None)
def test_a_replay_says_the_same(stream: Sequence[Event]) -> None:
    live, replay = State(), State()
    assert [live.feed(e) for e in stream] == [replay.feed(e) for e in stream]
    assert live.totals() == replay.totals()
    assert live.interfaces() == replay.interfaces()


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=80))
@settings(max_examples=200, deadline=None)
def test_one_incident_one_look_until_it_is_answered(steps: list[tuple[bool, int]]) -> None:
    """Requests of one pod, no cause ever found: each incident is raised once as unknown
    and cleared once; looks never come closer than a second."""
    state = State()
    rules = FlagRules()
    now = 0
    looks: list[int] = []
    raised = cleared = 0
    for answered, tenths in steps:
        now += tenths * SECOND // 10
        verdict = Verdict.ANSWERED if answered else Verdict.UNANSWERED
        request = Request(now, 1, 7, 70, "cali7", "10.0.0.7", "aa", "169.254.1.1", verdict)
        for notice in state.feed(request):
            if isinstance(notice, FlagNotice):
                rules.check(notice)
                assert notice.reason == "unknown"
                raised += notice.state == "raised"
                cleared += notice.state == "cleared"
            if isinstance(notice, Investigate) and notice.seen.answered_in_a_row is None:
                looks.append(notice.ts)
    assert all(b - a >= LOOK_LIMIT_NS for a, b in pairwise(looks))
    assert raised - cleared == len(state.flags()) <= 1


@dataclass
class Pod:
    """The kernel's own truth of one interface: its counts never lose."""

    ifindex: int
    counts: Counter[Verdict] = field(default_factory=Counter)
    queued: int = 0
    last_answered: int = 0
    last_unanswered: int = 0

    def row(self) -> InterfaceCount:
        return InterfaceCount(
            1,
            self.ifindex,
            self.ifindex * 10,
            f"cali{self.ifindex}",
            self.counts[Verdict.ANSWERED],
            self.counts[Verdict.UNANSWERED],
            self.queued,
            self.counts[Verdict.IGNORED],
            self.last_answered,
            self.last_unanswered,
            "10.0.0.7",
            "169.254.1.1" if self.last_unanswered else "",
        )


class Kernel:
    """Counts and queues as the kernel side does; its ring may drop, its reader may lag."""

    def __init__(self) -> None:
        self.now = 0
        self.pods = {index: Pod(index) for index in (7, 8)}
        self.ring: list[Request] = []

    def judge(self, index: int, verdict: Verdict, settle: bool, kept: bool) -> None:
        pod = self.pods[index]
        self.now += 1
        late = settle and pod.queued > 0 and verdict in (Verdict.ANSWERED, Verdict.UNANSWERED)
        pod.queued -= late
        if verdict is Verdict.DEFERRED:
            pod.queued += 1
        else:
            pod.counts[verdict] += 1
        if verdict is Verdict.ANSWERED:
            pod.last_answered = self.now
        if verdict is Verdict.UNANSWERED:
            pod.last_unanswered = self.now
        if kept:
            self.ring.append(
                Request(
                    self.now,
                    1,
                    index,
                    index * 10,
                    f"cali{index}",
                    "10.0.0.7",
                    "aa:bb",
                    "169.254.1.1",
                    verdict,
                    late=late,
                )
            )

    def snapshot(self) -> Counters:
        return Counters(self.now, tuple(pod.row() for pod in self.pods.values()))


judged = st.tuples(st.sampled_from([7, 8]), st.sampled_from(VERDICTS), st.booleans(), st.booleans())
read = st.integers(1, 5)
steps = st.lists(st.one_of(judged, judged, judged, read, st.just("snapshot")), max_size=80)


def drive(kernel: Kernel, state: State, script: Sequence[object], lossy: bool) -> list[Notice]:
    said: list[Notice] = []
    for step in script:
        if isinstance(step, tuple):
            index, verdict, settle, kept = step
            kernel.judge(index, verdict, settle, kept or not lossy)
        elif isinstance(step, int):
            for _ in range(min(step, len(kernel.ring))):
                said += state.feed(kernel.ring.pop(0))
        else:
            said += state.feed(kernel.snapshot())
        check_sums(state)
    while kernel.ring:
        said += state.feed(kernel.ring.pop(0))
    return said


def check_exact(kernel: Kernel, state: State) -> None:
    seen = {interface.ifindex: interface for interface in state.interfaces()}
    for index, pod in kernel.pods.items():
        if index not in seen:
            assert not sum(pod.counts.values()) and not pod.queued
            continue
        interface = seen[index]
        assert interface.deferred == pod.queued
        for verdict in (Verdict.ANSWERED, Verdict.UNANSWERED, Verdict.IGNORED):
            assert getattr(interface, verdict) == pod.counts[verdict]
    totals = state.totals()
    for verdict in (Verdict.ANSWERED, Verdict.UNANSWERED, Verdict.IGNORED):
        assert getattr(totals, verdict) == sum(p.counts[verdict] for p in kernel.pods.values())


@given(steps)
@settings(max_examples=300, deadline=None)
def test_without_loss_every_count_is_exact_whenever_snapshots_come(
    script: Sequence[object],
) -> None:
    """Snapshots that run ahead of unread events count nothing twice."""
    kernel, state = Kernel(), State()
    drive(kernel, state, script, lossy=False)
    check_exact(kernel, state)


@given(steps)
@settings(max_examples=300, deadline=None)
def test_with_losses_counts_and_flags_are_exact_after_the_last_snapshot(
    script: Sequence[object],
) -> None:
    kernel, state = Kernel(), State()
    drive(kernel, state, script, lossy=True)
    state.feed(kernel.snapshot())
    check_exact(kernel, state)
    for order in [(pod.ifindex, "169.254.1.1") for pod in kernel.pods.values()]:
        state.feed(CauseFound(kernel.now, 1, *order, "no_route", "inferred", "mend it"))
    flagged = {flag.ifindex for flag in state.flags()}
    broken = {
        pod.ifindex for pod in kernel.pods.values() if pod.last_unanswered > pod.last_answered
    }
    assert flagged == broken
