# SPDX-License-Identifier: Apache-2.0
"""Addresses that the kernel refuses before it looks up any route."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address

from tracer.node.look import Look

_LIMITED_BROADCAST = IPv4Address("255.255.255.255")
_NONE = IPv4Address("0.0.0.0")


def martian_sender(look: Look) -> str | None:
    """What is wrong with the sender's address (net/ipv4/route.c, ip_route_input_slow)."""
    return _martian(look.sender_ip, look.route_localnet)


def martian_target(look: Look) -> str | None:
    """What is wrong with the target's (net/ipv4/arp.c, arp_process, and as above)."""
    return _martian(look.target_ip, look.route_localnet)


def _martian(text: str, route_localnet: int | None) -> str | None:
    """Of 0.0.0.0/8 only 0.0.0.0 since Linux 5.3. Loopback: unless route_localnet is on, the
    interface's or all's; of it only the former is read, so that only Calico's 1 is certain.
    """
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return None  # not known
    if address.is_multicast:
        return "a multicast address"
    if address == _LIMITED_BROADCAST:
        return "the limited broadcast address"
    if address == _NONE:
        return "no address"
    if address.is_loopback and route_localnet == 0:
        return "a loopback address, and route_localnet is 0"
    return None
