# SPDX-License-Identifier: Apache-2.0
"""responder.py INTERFACE [MAC|-]: a program that answers ARP requests for the gateway, as
parprouted, farpd, MetalLB or Calico's raw-socket responder do. Answers with this MAC, else
with the interface's; with "-" it only listens. Says "ready" once it does.

Run by itself, not imported: it depends on nothing."""

import socket
import struct
import sys

GATEWAY = socket.inet_aton("169.254.1.1")
ETH_P_ARP = 0x0806
OUTGOING = 4  # PACKET_OUTGOING of linux/if_packet.h


def main(interface: str, mac: str = "") -> None:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
    sock.bind((interface, ETH_P_ARP))
    ours = bytes.fromhex(mac.replace(":", "")) if mac not in ("", "-") else sock.getsockname()[4]
    print("ready", flush=True)
    while True:
        frame, origin = sock.recvfrom(2048)
        asked = frame[20:22] == b"\0\1" and frame[38:42] == GATEWAY
        if mac == "-" or origin[2] == OUTGOING or not asked:
            continue
        head = frame[6:12] + ours + struct.pack("!HHHBBH", ETH_P_ARP, 1, 0x0800, 6, 4, 2)
        sock.send(head + ours + GATEWAY + frame[22:28] + frame[28:32])


if __name__ == "__main__":
    main(*sys.argv[1:])
