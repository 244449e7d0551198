# SPDX-License-Identifier: Apache-2.0
"""Frames sent by PACKET_TX_RING: all but the first bytes lie in a page, not in the packet's
head, as a user-space network stack sends them (net/packet/af_packet.c, tpacket_fill_skb)."""

from __future__ import annotations

import mmap
import socket
import struct
import time

from .pod import Pod

_SOL_PACKET, _PACKET_TX_RING, _PACKET_VERSION = 263, 13, 10
_BLOCK, _SLOT, _BLOCKS = 4096, 2048, 8
_SLOTS = _BLOCKS * _BLOCK // _SLOT
_DATA = 32  # TPACKET_HDRLEN - sizeof(struct sockaddr_ll), aligned, of version 1
_SEND_REQUEST = 1  # TP_STATUS_SEND_REQUEST


def send(pod: Pod, frame: bytes, count: int, pause_s: float = 0.005) -> None:
    """The frame, ``count`` times, from the pod's eth0."""

    def open_inside() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, struct.pack("I", 0))
        ring = struct.pack("IIII", _BLOCK, _BLOCKS, _SLOT, _SLOTS)
        sock.setsockopt(_SOL_PACKET, _PACKET_TX_RING, ring)
        sock.bind(("eth0", 0))
        return sock

    protection = mmap.PROT_READ | mmap.PROT_WRITE
    with pod.call(open_inside) as sock:
        size = _BLOCK * _BLOCKS
        with mmap.mmap(sock.fileno(), size, mmap.MAP_SHARED, protection) as slots:
            for number in range(count):
                at = number % _SLOTS * _SLOT
                slots[at + _DATA : at + _DATA + len(frame)] = frame
                slots[at + 8 : at + 16] = struct.pack("II", len(frame), len(frame))
                slots[at : at + 8] = struct.pack("Q", _SEND_REQUEST)
                sock.send(b"")
                time.sleep(pause_s)
