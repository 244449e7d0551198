# SPDX-License-Identifier: Apache-2.0
"""The queue of a bandwidth limit dropped the request or its reply."""

from __future__ import annotations

from dataclasses import replace

from tracer.causes import conditions
from tracer.causes.cause import EXAMPLE, Cause, Sample, device
from tracer.causes.remedy import Remedy, advise, see_on_node
from tracer.node.look import Look
from tracer.seen import Seen

# Queues that limit a rate. Somebody wants that: none is to be removed.
LIMITERS = frozenset({"tbf", "htb", "hfsc", "cake"})
# Of a drop on the other device: before Linux 5.17 none, and later not of every queue.
_NO_REASON = frozenset({None, "NOT_SPECIFIED"})
# Who frees what a queue refuses, where no reason is given (net/core/dev.c, __dev_xmit_skb).
_QUEUES_REFUSE = "kfree_skb_list"


def limiters(look: Look) -> list[str]:
    """The interface's root queue, if it limits a rate."""
    kinds = [name.removeprefix("tc qdisc ") for name in look.egress if "tc qdisc " in name]
    return [kind for kind in kinds if kind in LIMITERS]


def _observed(seen: Seen, look: Look) -> str | None:
    by_queue = (seen.drop_reason or "").startswith("QDISC_") or (
        seen.drop_reason in _NO_REASON and seen.drop_function == _QUEUES_REFUSE
    )
    if seen.dropped == "request" and (seen.redirected or seen.dropped_on is not None):
        if not by_queue and seen.drop_reason not in _NO_REASON:
            return None  # Something else on that device.
        on = f" of {seen.dropped_on}" if seen.dropped_on is not None else ""
        return f"the request was redirected, and the queue{on} dropped it{_why(seen)}"
    if seen.dropped is None or not by_queue or not (kinds := limiters(look)):
        return None
    return f"the {seen.dropped} was dropped by {look.interface}'s queue, {kinds[0]}{_why(seen)}"


def _why(seen: Seen) -> str:
    return "" if seen.drop_reason in _NO_REASON else f" ({seen.drop_reason})"


def _holds(look: Look) -> str | None:
    return None  # A limit that is there need not be used up.


def _remedy(look: Look, seen: Seen) -> Remedy:
    if seen.dropped == "request" and (seen.redirected or seen.dropped_on is not None):
        on = seen.dropped_on or "the device that the tc filter at ingress redirects to"
        queue = f"of {on}, through which what {look.interface}'s pod sends is led,"
        asked = see_on_node(
            look, f"tc -s filter show dev {device(look)} ingress", "tc -s qdisc show"
        )
    else:
        queue = f"{' '.join(limiters(look))} of {look.interface}".strip()
        asked = see_on_node(look, f"tc -s qdisc show dev {device(look)}")
    return advise(
        f"The limit in the queue {queue} is used up: raise it where it is written, the pod's "
        "annotations, or find what sends so much. Leave queue and filter as they are.",
        asked,
    )


CAUSE = Cause(
    name="rate_limited",
    condition=conditions.OUT,
    means=(
        "The request or its reply was dropped in the queue of a bandwidth limit: Calico's QoS "
        "controls, the CNI bandwidth plugin, an IFB."
    ),
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The request, redirected to another device (an IFB), is seen to be freed there; or a "
        "queue is seen to drop the request or the reply, and the interface's root queue is one "
        "that limits a rate (tbf, htb, hfsc, cake)."
    ),
    lasting=(
        "Usually an annotation of the pod: kubernetes.io/egress-bandwidth or ingress-bandwidth "
        "(the CNI bandwidth plugin), qos.projectcalico.org/egressBandwidth or ingressBandwidth "
        "(Felix). The limit is too small for what the pod sends or receives, and ARP waits in "
        "the same queue."
    ),
    field_reports=("projectcalico/calico#7698",),
    shown_by=("egress_limit_full", "ingress_limit_full", "ingress_limit_full_class"),
    samples=(
        Sample(
            when="what the pod sends is limited, on IFB",
            seen=Seen(dropped="request", redirected=True, dropped_on="IFB"),
        ),
        Sample(
            when="what the pod receives is limited",
            look=replace(EXAMPLE, egress=("tc qdisc tbf",)),
            seen=Seen(dropped="reply", drop_reason="QDISC_DROP"),
        ),
    ),
)
