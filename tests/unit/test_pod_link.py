# SPDX-License-Identifier: Apache-2.0
"""Which interfaces are no pod's link."""

from __future__ import annotations

import pytest

from tracer.node.link import Link
from tracer.node.pod_link import why_not


def link(name: str, kind: str | None, *, loopback: bool = False, no_arp: str | None = None) -> Link:
    return Link(
        ifindex=7,
        name=name,
        up=True,
        carrier=True,
        noarp=False,
        mac=None,
        master=None,
        master_kind=None,
        xdp=None,
        kind=kind,
        loopback=loopback,
        no_arp=no_arp,
    )


@pytest.mark.parametrize(
    ("seen", "gateways", "why"),
    [
        (link("lo", None, loopback=True), [], "it is the loopback"),
        (link("eth0", None), [], "it is no virtual interface"),
        (link("uplink0", "veth"), [7], "a default route with a gateway leaves through it"),
        (link("uplink0", "veth"), [8], None),
        (link("tap1", "tun"), [], None),
        (link("cali5f1e1d00000", "veth"), [7], None),
        (
            link("cali5f1e1d00000", "netkit", no_arp="netkit in mode l3"),
            [],
            "nobody asks by ARP there (netkit in mode l3)",
        ),
        (link("cali5f1e1d0000g", "veth"), [7], "a default route with a gateway leaves through it"),
    ],
)
def test_why_not(seen: Link, gateways: list[int], why: str | None) -> None:
    assert why_not(seen, lambda: gateways) == why


def test_the_routes_of_a_pods_link_are_not_read() -> None:
    def unread() -> list[int]:
        raise AssertionError

    assert why_not(link("cali5f1e1d00000", "veth"), unread) is None
