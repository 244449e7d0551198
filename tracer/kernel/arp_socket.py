# SPDX-License-Identifier: Apache-2.0
"""A packet socket for ARP, for the sake of its filter: that runs right before arp_rcv.

It takes no packet. No other hook of a kernel without function probes runs for ARP alone
and knows the device that a request has come to in the end (net/packet/af_packet.c,
packet_rcv).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from pathlib import Path

ETH_P_ARP = 0x0806
_SO_ATTACH_BPF = 50  # include/uapi/asm-generic/socket.h
_LIBC = ctypes.CDLL(None, use_errno=True)


class ArpSocketError(Exception):
    """It cannot be had; the message is one line."""


def netns() -> int:
    """The inode of the network namespace that such a socket would be in."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def open_socket() -> socket.socket:
    """Not bound yet: it receives nothing. Raises ArpSocketError, without CAP_NET_RAW say."""
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except OSError as error:
        raise ArpSocketError(f"a packet socket is refused: {error.strerror}") from None


def attach(sock: socket.socket, program: int) -> None:
    """Let ``program``, a descriptor, see the ARP packets of every device from now on."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, struct.pack("=i", program))
    except OSError as error:
        raise ArpSocketError(f"the socket filter is refused: {error.strerror}") from None
    # Python's bind() wants the name of one device; index 0 stands for all.
    address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(ETH_P_ARP), 0, 0, 0, 0, b"")
    if _LIBC.bind(sock.fileno(), address, len(address)):
        why = os.strerror(ctypes.get_errno())
        raise ArpSocketError(f"the packet socket cannot be bound: {why}")
