# SPDX-License-Identifier: Apache-2.0
"""Forwarding is off on the interface."""

from __future__ import annotations

from tracer.causes.cause import Cause, command
from tracer.causes.seen import Seen
from tracer.node import sysctl
from tracer.node.look import Look


def _observed(seen: Seen, look: Look) -> str | None:
    return None


def _holds(look: Look) -> str | None:
    if look.forwarding != 0:
        return None
    if look.route is not None and look.route.ok and look.route.type == "local":
        return None  # The node's own address: answered without forwarding.
    return f"net.ipv4.conf.{look.interface}.forwarding is 0"


def _remedy(look: Look, seen: Seen) -> str:
    if look.ip_forward == 0:
        # Writing it writes every interface's (net/ipv4/devinet.c, inet_forward_change).
        return command(look, "sysctl -w net.ipv4.ip_forward=1")
    return command(look, f"sysctl -w {sysctl.setting(look.interface, 'forwarding', 1)}")


CAUSE = Cause(
    name="forwarding_off",
    means="Forwarding is off on the interface, so the kernel proxies for no other address.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised="",
    lasting=(
        "Usually ip_forward=0 (or conf.*.forwarding=0) in /etc/sysctl.d, set by a hardening "
        "profile or written again by TuneD's reapply_sysctl after Calico had set it: correct it "
        "there. Writing ip_forward writes every interface's forwarding."
    ),
    field_reports=(
        "projectcalico/cni-plugin#283",
        "projectcalico/felix#187",
        "redhat-performance/tuned#816",
    ),
    shown_by=("forwarding_off", "forwarding_off_all"),
)
