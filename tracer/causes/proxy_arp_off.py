# SPDX-License-Identifier: Apache-2.0
"""Neither the interface's nor all's proxy_arp is on."""

from __future__ import annotations

from tracer.causes import conditions
from tracer.causes.cause import Cause
from tracer.causes.remedy import Remedy, propose, setting
from tracer.causes.target_route import target_route
from tracer.node.look import Look
from tracer.seen import Seen


def _observed(seen: Seen, look: Look) -> str | None:
    if not seen.refused or seen.proxy_arp != 0 or seen.proxy_arp_all != 0:
        return None
    # The kernel gets as far as asking for proxy_arp only with a unicast route through
    # another interface (net/ipv4/arp.c, arp_process and arp_fwd_proxy).
    if seen.asked != "pneigh_lookup" and seen.given_route != "unicast":
        return None
    if seen.given_out == look.ifindex or seen.forwarding == 0:
        return None
    return "the request got as far as proxy_arp, which was 0 on the interface and on all"


def _holds(look: Look) -> str | None:
    if look.proxy_arp_interface != 0 or look.proxy_arp_all != 0 or look.proxy_entry:
        return None
    route = target_route(look)
    if route is None or route.type != "unicast":
        return None
    if route.out_ifindex == look.ifindex:
        return None
    return f"net.ipv4.conf.{look.interface}.proxy_arp and net.ipv4.conf.all.proxy_arp are 0"


def _remedy(look: Look, seen: Seen) -> Remedy:
    return propose(look, setting(look, "proxy_arp", 1))


CAUSE = Cause(
    name="proxy_arp_off",
    condition=conditions.PROXY_ARP,
    means="Neither the interface's nor all's proxy_arp is on: the kernel answers for itself only.",
    observed=_observed,
    holds=_holds,
    remedy=_remedy,
    recognised=(
        "The kernel gives the request a unicast route through another device, or asks for a proxy "
        "neighbour entry (pneigh_lookup), which it does only after proxy_arp or medium_id "
        "refused; the sysctls are read in the same moment."
    ),
    lasting=(
        "Calico's Felix sets it once, when the interface comes up. Usually a udev rule, "
        "NetworkManager or a reload of /etc/sysctl.d (net.ipv4.conf.*.proxy_arp=0) has set it "
        "back since. In /etc/sysctl.d write the interfaces that are meant instead of the *: "
        "net.ipv4.conf.default.proxy_arp=0 and a line for each uplink leave cali* alone. A udev "
        "rule of your own that runs sysctl for new interfaces: begin it with "
        'KERNEL!="cali*". Against NetworkManager: unmanaged-devices=interface-name:cali* below '
        "[keyfile] in /etc/NetworkManager/conf.d/calico.conf. Restarting calico-node writes it "
        "again on every interface."
    ),
    field_reports=(
        "projectcalico/calico#8689",
        "projectcalico/felix#1362",
        "projectcalico/calico#5257",
    ),
    shown_by=("proxy_arp_off", "proxy_arp_off_everywhere"),
)
