# SPDX-License-Identifier: Apache-2.0
"""ARP frames (RFC 826 over Ethernet), as bytes."""

from __future__ import annotations

import socket
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"
ZERO_MAC = "00:00:00:00:00:00"
REQUEST = 1
REPLY = 2
ETH_P_ARP = 0x0806
ETH_P_ALL = 0x0003


def mac_bytes(mac: str) -> bytes:
    """Six bytes of ``ee:ee:ee:ee:ee:ee``."""
    raw = bytes.fromhex(mac.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"not a MAC address: {mac}")
    return raw


def arp(
    operation: int,
    *,
    sender_mac: str,
    sender_ip: str,
    target_ip: str,
    target_mac: str = ZERO_MAC,
    destination: str = BROADCAST,
) -> bytes:
    """A whole frame of 42 bytes, unpadded as the kernel sends it on a veth."""
    return b"".join(
        (
            mac_bytes(destination),
            mac_bytes(sender_mac),
            struct.pack("!HHHBBH", ETH_P_ARP, 1, 0x0800, 6, 4, operation),
            mac_bytes(sender_mac),
            socket.inet_aton(sender_ip),
            mac_bytes(target_mac),
            socket.inet_aton(target_ip),
        )
    )


def sender_ip(frame: bytes) -> str:
    """The sender's address in an ARP frame, behind a VLAN tag if it has one."""
    start = 32 if frame[12:14] == b"\x81\x00" else 28
    return socket.inet_ntoa(frame[start : start + 4])
