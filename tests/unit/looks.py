# SPDX-License-Identifier: Apache-2.0
"""A healthy node as a look reads it, for tests to break in one field."""

from __future__ import annotations

from tracer.node.look import Look, RouteAnswer

POD, UPLINK = 7, 2  # indexes

UNICAST = RouteAnswer(
    ok=True,
    out_interface="eth0",
    out_ifindex=UPLINK,
    type="unicast",
    table=254,
    gateway="192.0.2.1",
)
TO_POD = RouteAnswer(
    ok=True, out_interface="calic577831ffc7", out_ifindex=POD, type="unicast", table=254
)
LOCAL = RouteAnswer(ok=True, out_interface="lo", out_ifindex=1, type="local", table=255)

HEALTHY = Look(
    netns=4026531833,
    ifindex=POD,
    interface="calic577831ffc7",
    sender_ip="192.168.156.177",
    target_ip="169.254.1.1",
    proxy_arp_interface=1,
    proxy_arp_all=0,
    forwarding=1,
    ip_forward=1,
    rp_filter_interface=1,
    rp_filter_all=0,
    route=UNICAST,
)

WHOLE = Look(
    netns=4026531833,
    ifindex=POD,
    interface="calic577831ffc7",
    sender_ip="192.168.156.177",
    target_ip="169.254.1.1",
    up=True,
    carrier=True,
    noarp=False,
    mac="ee:ee:ee:ee:ee:ee",
    proxy_arp_interface=1,
    proxy_arp_all=0,
    proxy_arp_pvlan=0,
    medium_id=0,
    medium_id_out=0,
    forwarding=1,
    ip_forward=1,
    rp_filter_interface=1,
    rp_filter_all=0,
    arp_ignore_interface=0,
    arp_ignore_all=0,
    arp_filter_interface=0,
    arp_filter_all=0,
    route_localnet=1,
    accept_local=0,
    proxy_delay=0,
    proxy_qlen=64,
    route=UNICAST,
    sender_route=TO_POD,
    sender_others=(),
)
"""Everything read, and nothing wrong."""


def refused(number: int) -> RouteAnswer:
    return RouteAnswer(ok=False, errno=number)
