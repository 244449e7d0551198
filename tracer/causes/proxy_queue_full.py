# SPDX-License-Identifier: Apache-2.0
"""proxy_delay is on, and the proxy queue was full."""

from __future__ import annotations

import shlex

from tracer.causes import conditions
from tracer.causes.cause import Cause
from tracer.causes.remedy import Change, OwnLink, Remedy, propose
from tracer.node import sysctl
from tracer.node.look import Look
from tracer.seen import Seen


def _observed(seen: Seen, look: Look) -> str | None:
    if seen.dropped != "request" or seen.dropped_in != "arp_process" or seen.header is not None:
        return None
    if not seen.proxy_queue:
        return None
    limit = "" if look.proxy_qlen is None else f", and proxy_qlen is {look.proxy_qlen}"
    return f"arp_process dropped the request: {seen.proxy_queue} in the proxy queue{limit}"


def _holds(look: Look) -> str | None:
    return None  # How full the queue was is no configuration.


def _remedy(look: Look, seen: Seen) -> Remedy:
    # Old kernels divide by a proxy_delay that becomes 0 under a proxied request
    # (net/core/neighbour.c, pneigh_enqueue, before Linux 6.1): no proxy meanwhile.
    settings = " ".join(
        (
            sysctl.setting(look.interface, "proxy_arp", 0),
            shlex.quote(f"net.ipv4.neigh.{look.interface.replace('.', '/')}.proxy_delay=0"),
            sysctl.setting(look.interface, "proxy_arp", 1),
        )
    )
    return propose(look, Change(f"sysctl -w {settings}", OwnLink()))


CAUSE = Cause(
    name="proxy_queue_full",
    condition=conditions.OUT,
    means="Proxied replies wait (proxy_delay is on), and their queue (proxy_qlen) was full.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The kernel drops the request in arp_process, which it does for a well-formed one only "
        "when the proxy queue is longer than proxy_qlen; the queue's length is read in the same "
        "moment."
    ),
    lasting=(
        "Calico's Felix sets proxy_delay to 0 once, when the interface comes up; the kernel's "
        "default is 80 (0.8 s) with proxy_qlen 64. Usually a reload of /etc/sysctl.d has set it "
        "back since: take net.ipv4.neigh.*.proxy_delay out there. "
        "net.ipv4.neigh.default.proxy_delay=0 covers new interfaces."
    ),
    field_reports=("projectcalico/felix#164", "projectcalico/felix#183"),
    shown_by=("proxy_queue_full", "proxy_queue_full_zero"),
    drops="request",
)
