# SPDX-License-Identifier: Apache-2.0
"""The reply was built, and dropped on its way out."""

from __future__ import annotations

from dataclasses import replace

from tracer.causes import conditions, hooks
from tracer.causes.cause import EXAMPLE, Cause, Sample, device
from tracer.causes.remedy import Remedy, advise, no_queue, propose, see_on_node
from tracer.node.look import Look
from tracer.seen import Seen

_QUEUE = frozenset({"QDISC_DROP", "QDISC_OVERLIMIT", "QDISC_CONGESTED", "QDISC_EDT_HORIZON"})


def _observed(seen: Seen, look: Look) -> str | None:
    if seen.reply_taken:
        return "the reply was built, and a tc action took it"
    if seen.dropped != "reply" or seen.dropped_by_netfilter:
        return None
    by = seen.drop_function or seen.dropped_in or "the kernel"
    why = f" ({seen.drop_reason})" if seen.drop_reason not in (None, "NOT_SPECIFIED") else ""
    return f"the reply was built, and {by} dropped it{why}"


def _holds(look: Look) -> str | None:
    if _queue_drops(look):
        return f"{look.egress_drops} drops whatever is sent through {look.interface}"
    return None  # Another filter or queue that is there need not drop.


def _queue_drops(look: Look) -> bool:
    return look.egress_drops is not None and look.egress_drops.startswith("tc qdisc ")


def _remedy(look: Look, seen: Seen) -> Remedy:
    filters = [name for name in look.egress if name.startswith("tc filter")]
    by_look = seen.dropped is None and _queue_drops(look)
    if seen.reply_taken:
        return hooks.traffic_control(look, look.egress, "egress")
    if not by_look and (seen.drop_reason == "TC_EGRESS" or (seen.drop_reason is None and filters)):
        return hooks.traffic_control(look, look.egress, "egress")
    if by_look or seen.drop_reason in _QUEUE or "qdisc" in (seen.drop_function or ""):
        kinds = {name.removeprefix("tc qdisc ") for name in look.egress if "tc qdisc " in name}
        return propose(look, no_queue(look, frozenset(kinds)))
    return advise(
        f"See what {look.interface} and the pod's end of it drop: filters, queues, counters.",
        see_on_node(
            look,
            f"tc -s qdisc show dev {device(look)}",
            f"tc -s filter show dev {device(look)} egress",
            f"ip -s -s link show dev {device(look)}",
        ),
    )


CAUSE = Cause(
    name="reply_dropped",
    condition=conditions.OUT,
    means=(
        "The reply was built and then dropped on its way out: by tc egress, a queue, the device, "
        "or the pod's end of the link."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "A reply to the request is seen to be freed before it reached the pod, and not by "
        "netfilter; the drop's reason and function tell by what."
    ),
    lasting=(
        "Usually a tc program or queue that something else put on cali*: a second CNI's or a "
        "traffic agent's program, or the limit of the bandwidth plugin "
        "(kubernetes.io/egress-bandwidth, ingress-bandwidth in the pod's annotations), too small "
        "for its load. Correct it where it is written; on the interface it comes again with the "
        "next pod."
    ),
    field_reports=(),
    shown_by=("tc_egress_drop", "qdisc_drops", "qdisc_blackhole"),
    samples=(
        Sample(
            when="by the only tc filter",
            look=replace(EXAMPLE, egress=("tc filter bpf pref 100",)),
            seen=Seen(drop_reason="TC_EGRESS"),
        ),
        Sample(
            when="by a queue",
            look=replace(EXAMPLE, egress=("tc qdisc pfifo",)),
            seen=Seen(drop_reason="QDISC_DROP"),
        ),
        Sample(when="by a queue that limits the rate", seen=Seen(drop_reason="QDISC_DROP")),
        Sample(when="otherwise"),
    ),
    drops="reply",
)
