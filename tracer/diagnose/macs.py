# SPDX-License-Identifier: Apache-2.0
"""What is warned of because of MAC addresses: the interface's, and the pod's entry for it."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.causes.remedy import Remedy, advise, link, propose
from tracer.diagnose.drift import Drift
from tracer.node.look import Look
from tracer.node.peer import Peer
from tracer.node.pod_link import CALICO_MAC
from tracer.node.survey import Surveyed

_CALICO_PREFIX = "cali"
# An address of a broadcast or of a multicast group (net/ipv4/arp.c, arp_constructor).
_OF_NO_HOST = "noarp"


def of_interface(surveyed: Surveyed) -> Iterator[Drift]:
    look = surveyed.looks[0]
    if look.mac not in (None, CALICO_MAC) and look.interface.startswith(_CALICO_PREFIX):
        yield Drift(
            "mac",
            None,
            f"The MAC address is {look.mac}, and Calico sets {CALICO_MAC}: a pod that has "
            "learnt the one asks in vain at the other.",
            _calicos_mac(look),
        )
    if look.mac is not None:
        yield from _entries(look, look.mac, surveyed.otherhost)


def _calicos_mac(look: Look) -> Remedy:
    """A pod that has the MAC address as it is in a permanent entry, as CNI plugins other than
    Calico write them, would never ask for another.
    """
    peer = look.peer
    if not isinstance(peer, Peer):
        return advise(
            "Find out who changed it: another CNI's pods may have it in permanent entries, and "
            f"this one could not be asked: it {peer}."
        )
    if any(entry == ("permanent", look.mac) for entry in peer.neighbours.values()):
        return advise(
            "Leave it: the pod has it in a permanent entry, and would not ask for another."
        )
    return propose(look, link(look, f"address {CALICO_MAC}"))


def _entries(look: Look, mac: str, count: int | None) -> Iterator[Drift]:
    """A pod that has a wrong entry for its gateway sends to it, and does not ask."""
    peer = look.peer
    packets = "1 IP packet" if count == 1 else f"{count} IP packets"
    so_far = f"{packets} came in for another MAC address so far." if count else ""
    if isinstance(peer, Peer):
        for ip, (state, entry) in peer.neighbours.items():
            if entry not in (None, mac) and state != _OF_NO_HOST:
                yield Drift(
                    "gateway_entry",
                    None,
                    f"The pod's {peer.name} has {entry} as the MAC address of {ip} ({state}), "
                    f"and the interface's is {mac}: the pod does not ask while that stands.",
                    advise(
                        "Find out who wrote the entry, or who changed the interface's MAC address "
                        "(udev, networkd, the CNI plugin): the entry is the pod's own."
                    ),
                    so_far,
                )
    elif count:
        yield Drift(
            "gateway_entry",
            None,
            "IP packets came in for a MAC address that is not the interface's: the pod's entry "
            "for its gateway is wrong, or was, and while it is, the pod does not ask. Which "
            f"it is was not to be read: it {peer}.",
            advise("See in the pod what ip neigh show tells, and whether the number grows."),
            so_far,
        )
