# SPDX-License-Identifier: Apache-2.0
"""What is not as Calico would have set it, or may be in the way, and is not fatal yet.

Felix writes an interface's settings once, when it comes up; whatever writes later wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tracer.causes import Seen, proxy_queue_full
from tracer.causes.cause import device
from tracer.causes.remedy import Remedy, advise, propose, see_on_node, setting
from tracer.node.look import Look
from tracer.node.survey import Survey, Surveyed

# Felix's own chain: it drops replies that claim a pod's address, not the gateway's.
_CALICO_TABLE = " calico-arp "


@dataclass(frozen=True, slots=True)
class Drift:
    """``name`` is for programs. ``condition`` is the one that it is about, if any.

    ``text``: sentences without the interface's name; ``so_far``: one more, of a number that
    grows, which makes no other judgement.
    """

    name: str
    condition: str | None
    text: str
    remedy: Remedy
    so_far: str = field(default="", compare=False)

    @property
    def whole(self) -> str:
        return f"{self.text} {self.so_far}".rstrip()


def of_interface(surveyed: Surveyed, survey: Survey) -> Iterator[Drift]:
    look = surveyed.looks[0]
    yield from _in_the_way(look, survey)
    yield from _ways(surveyed, survey)
    yield from _sysctls(look, survey)


def _in_the_way(look: Look, survey: Survey) -> Iterator[Drift]:
    if look.xdp is not None:
        yield Drift(
            "xdp",
            "in",
            f"XDP program ({look.xdp}): in the way of what comes in. Whether it passes ARP on "
            "is not to be seen from here.",
            advise(see_on_node(look, f"ip -d link show dev {device(look)}")),
        )
    places = {
        "ingress": (look.ingress, "in", "what comes in"),
        "egress": (look.egress, "out", "what goes out"),
        "arp_input": (look.arp_input, "in", "the ARP packets that come in"),
        "arp_output": (look.arp_output, "out", "the ARP packets that go out"),
    }
    for name, (filters, condition, what) in places.items():
        certain = (
            look.ingress_drops,
            look.egress_drops,
            look.arp_input_drops,
            look.arp_output_drops,
        )
        foreign = [each for each in filters if each not in certain and not _calicos(each, survey)]
        if foreign:
            yield Drift(
                name,
                condition,
                f"{', '.join(foreign)}: in the way of {what}.",
                advise("Whether ARP is dropped there, arpwhy trace tells."),
            )


def _calicos(name: str, survey: Survey) -> bool:
    """Its eBPF dataplane's programs, which pass ARP on, and its own ARP table."""
    return _CALICO_TABLE in name or (survey.ebpf and name.startswith(("tc filter bpf ", "tcx ")))


def _ways(surveyed: Surveyed, survey: Survey) -> Iterator[Drift]:
    look = surveyed.looks[0]
    route = look.route
    if not surveyed.host_routes and surveyed.led_to is not None:
        text = "No /32 route leads there, as Calico gives every pod one"
        if not surveyed.led_to:
            text += ": the node cannot reach the pod, and rejects it where rp_filter is on"
        yield Drift(
            "no_host_route",
            "source",
            f"{text}.",
            advise(
                "See whether the pod is there, and who removed its route (networkd and "
                "NetworkManager remove those that they did not write)."
            ),
        )
    if survey.default_route is False and route is not None and route.ok:
        yield Drift(
            "no_default_route",
            None,
            f"There is no default route. {look.target_ip} is covered by another, as long as "
            "that is there.",
            advise(see_on_node(look, f"ip route get fibmatch {look.target_ip}")),
        )
    if look.target_owner is not None:
        yield Drift(
            "target_is_local",
            None,
            f"The node itself has {look.target_ip}, on {look.target_owner}: it answers as for "
            "any address of its own, and not by proxy.",
            advise(
                "See whether it is meant to have it: with arp_ignore or arp_filter on, it would "
                "not answer the pods."
            ),
        )


def _sysctls(look: Look, survey: Survey) -> Iterator[Drift]:
    if look.route_localnet == 0:
        yield _sysctl(look, "route_localnet", "route_localnet is 0, and Calico sets 1.", 1)
    default, own = survey.rp_filter_default, look.rp_filter_interface
    as_in_ebpf_mode = survey.ebpf and own == 0
    if None not in (default, own) and own != default and not as_in_ebpf_mode:
        text = (
            f"rp_filter is {own}, and Calico sets that of net.ipv4.conf.default, which is "
            f"{default}; 0 where pods may send from any address."
        )
        if own == 0:
            yield Drift(
                "rp_filter",
                None,
                text,
                advise(
                    "See whether the pod may send from any address (Calico's annotation "
                    "cni.projectcalico.org/allowedSourcePrefixes): then leave it."
                ),
            )
        else:
            yield _sysctl(look, "rp_filter", text, default or 0)
    if look.proxy_arp_interface == 0 and look.proxy_arp_all:
        yield _sysctl(
            look,
            "proxy_arp",
            "proxy_arp is on through net.ipv4.conf.all only, and Calico sets the interface's.",
            1,
            "proxy_arp",
        )
    if look.proxy_arp_interface == 0 and not look.proxy_arp_all and look.proxy_entry:
        yield _sysctl(
            look,
            "proxy_arp",
            f"proxy_arp is off; {look.target_ip} is answered by an entry of ip neigh show proxy "
            "alone.",
            1,
            "proxy_arp",
        )
    if look.medium_id:
        yield _sysctl(
            look,
            "medium_id",
            f"medium_id is {look.medium_id}, and Calico leaves it at 0.",
            0,
            "medium_id",
        )
    if look.proxy_delay:
        yield Drift(
            "proxy_delay",
            "out",
            f"proxy_delay is {look.proxy_delay}, and Calico sets 0: replies come up to "
            f"{look.proxy_delay / 100:g} s late, and none while more than {look.proxy_qlen} wait.",
            proxy_queue_full.CAUSE.remedy(look, Seen()),
        )


def _sysctl(look: Look, name: str, text: str, value: int, condition: str | None = None) -> Drift:
    return Drift(name, condition, text, propose(look, setting(look, name, value)))
