# SPDX-License-Identifier: Apache-2.0
"""What one look at the node read. Plain data: the causes judge it, tests write it."""

from __future__ import annotations

import errno as errnos
from dataclasses import dataclass

from tracer.node.peer import Peer

# Stands in for a sender that is not known: an address of TEST-NET-1 (RFC 5737), which no pod
# has. The kernel looks up the target before it validates the sender.
STAND_IN = "192.0.2.1"


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """The kernel's answer to a route question, or its refusal.

    ``errno`` is 0 when ``ok``. ``type`` is the route's kind by iproute2's name
    (``unicast``, ``local``, ...). ``gateway`` is None for a route on the link.
    """

    ok: bool
    errno: int = 0
    out_interface: str | None = None
    out_ifindex: int | None = None
    type: str | None = None
    table: int | None = None
    gateway: str | None = None

    @property
    def error(self) -> str | None:
        """The errno's name, such as ENETUNREACH; None when ``ok``."""
        return None if self.ok else errnos.errorcode.get(self.errno, str(self.errno))


@dataclass(frozen=True, slots=True)
class Refusal:
    """The route or rule by which a lookup failed, or was led where there is no proxy.

    ``kind`` is ``route`` or ``rule``, ``name`` what ``ip KIND del`` takes: it means this one and
    no other. ``error`` is that of the lookup, None for one that succeeds. ``serves``: whom it
    is for beyond the pod that asked, None: nobody. ``keeper``: who wrote it and may write it
    again (``kernel``, ``bird``), None: somebody by hand. ``without``: why the lookup would not
    serve without it either; None: it would. ``table``: of a route, or of what a rule refuses.
    """

    kind: str
    name: str
    error: str | None = None
    serves: str | None = None
    keeper: str | None = None
    without: str | None = None
    table: int | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Unserved:
    """A route that would serve, and why no lookup gets to it: ``dead``, ``no carrier``,
    ``suppressed`` (by the rule ``by``), ``no rule``; ``down``: what is named is no route but an
    interface with an address, whose routes went with it.
    """

    what: str
    why: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Dropping:
    """The rule of a chain that certainly drops the packets. ``chain`` is named as in Look.

    ``handle``: as ``nft -a list ruleset`` shows it; None: the chain's policy, or arptables.
    ``others``: it drops those of other interfaces too, as far as it is known.
    ``without``: without it the chain would let these pass.
    """

    chain: str
    handle: int | None = None
    others: bool = True
    without: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """The node as one look saw it. None: could not be read, ``failures`` says why.

    Sysctls are the interface's own values unless named ``all``; the kernel's effective
    proxy_arp and arp_filter are the interface's OR all's, its rp_filter and arp_ignore the
    larger of both, its forwarding the interface's alone (include/linux/inetdevice.h).
    ``medium_id_out`` is that of the device through which ``route`` leaves.
    ``proxy_delay`` is in 1/100 s, ``proxy_qlen`` in packets.

    ``up``, ``carrier``, ``noarp``: the interface's IFF_UP, IFF_LOWER_UP (at once what the
    operational state of RFC 2863 follows later), IFF_NOARP. ``master``, ``master_kind``: the
    bridge, bond, VRF, ... that it belongs to (kind as ``ip -d link`` names it). ``xdp``:
    ``native``, ``generic`` or ``offloaded``, where a program is attached. ``ingress`` and
    ``egress``: what hangs in the packet's way there, as its tool would name it
    (``tc filter bpf pref 100``, ``nft netdev table chain``); ``arp_input``, ``arp_output``:
    chains of netfilter's ARP hooks (``nft arp table chain``, ``arptables INPUT``).
    Chains that certainly let every such packet of the interface pass are left out.
    ``arp_input_drops``, ``ingress_drops``: the one of them that drops every request that
    comes in by the interface, if one does for certain; ``arp_output_drops``,
    ``egress_drops``: every reply that goes out by it. ``droppings``: by which rule each of
    the chains drops.

    ``route`` is the answer to what arp_process itself asks, ip_route_input_noref: the
    target from the sender through the interface. ``route_from_node`` asks for the target
    alone, as the node's own traffic would; only asked where ``route`` failed, or forwarding
    is off, under which a failed lookup fails as forwarding itself does.
    ``sender_route`` asks for the sender as the node's own traffic would; its type is
    ``local`` when the node owns the address, on ``sender_owner``. None for a sender
    that is not known (``sender_ip`` ""): ``route`` then asks from an address that no pod
    has, and tells of the target alone.
    ``refused_by`` is the route or rule that refuses the target, or the route that leads it
    where there is no proxy for it (not unicast, or through the interface itself), where one
    was found; ``sender_refused_by`` that which refuses the sender. ``unserved``: what would
    lead to the target, where no lookup gets to it.
    ``sender_others``: each sign that the sender is another's address than the pod's
    (tracer/node/claims.py); only read where the sender's way is not to the interface.
    ``proxy_entry``: the target is proxied for there by ``ip neigh add proxy``, for which
    proxy_arp and medium_id need not allow it (net/ipv4/arp.c, arp_process: pneigh_lookup).
    ``arp_listeners``: programs that listen for ARP there, and may answer.
    ``peer``: the pod's end, or why it could not be looked at; None: it was not asked for.
    ``target_owner`` is the interface that owns the target, where the node does.
    ``netns_path`` is a file to enter another network namespace by; None: the caller's, or
    ``astray``: none was found.
    """

    netns: int
    ifindex: int
    interface: str
    sender_ip: str
    target_ip: str
    netns_path: str | None = None
    astray: bool = False
    up: bool | None = None
    carrier: bool | None = None
    noarp: bool | None = None
    mac: str | None = None
    master: str | None = None
    master_kind: str | None = None
    xdp: str | None = None
    ingress: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    arp_input: tuple[str, ...] = ()
    arp_output: tuple[str, ...] = ()
    ingress_drops: str | None = None
    egress_drops: str | None = None
    arp_input_drops: str | None = None
    arp_output_drops: str | None = None
    droppings: tuple[Dropping, ...] = ()
    proxy_arp_interface: int | None = None
    proxy_arp_all: int | None = None
    proxy_arp_pvlan: int | None = None
    medium_id: int | None = None
    medium_id_out: int | None = None
    forwarding: int | None = None
    ip_forward: int | None = None
    rp_filter_interface: int | None = None
    rp_filter_all: int | None = None
    arp_ignore_interface: int | None = None
    arp_ignore_all: int | None = None
    arp_filter_interface: int | None = None
    arp_filter_all: int | None = None
    route_localnet: int | None = None
    accept_local: int | None = None
    proxy_delay: int | None = None
    proxy_qlen: int | None = None
    route: RouteAnswer | None = None
    route_from_node: RouteAnswer | None = None
    sender_route: RouteAnswer | None = None
    refused_by: Refusal | None = None
    sender_refused_by: Refusal | None = None
    unserved: Unserved | None = None
    sender_owner: str | None = None
    sender_others: tuple[str, ...] | None = None
    target_owner: str | None = None
    proxy_entry: bool | None = None
    arp_listeners: tuple[str, ...] | None = None
    peer: Peer | str | None = None
    failures: tuple[str, ...] = ()

    def evidence(self) -> dict[str, str | int | bool]:
        """What was read, flat; what was not is left out, and ``unread`` tells why.

        Of what is there beyond the conditions that always count, only what is not as usual.
        """
        seen: dict[str, str | int | bool | None] = {
            "netns_path": self.netns_path,
            "proxy_arp": self.proxy_arp_interface,
            "proxy_arp_all": self.proxy_arp_all,
            "forwarding": self.forwarding,
            "ip_forward": self.ip_forward,
            "rp_filter": self.rp_filter_interface,
            "rp_filter_all": self.rp_filter_all,
        }
        seen |= self._unusual()
        if self.route is not None:
            sender = self.sender_ip or STAND_IN
            seen["route_question"] = (
                f"ip route get {self.target_ip} from {sender} iif {self.interface}"
            )
            seen["route_ok"] = self.route.ok
            seen["route_error"] = self.route.error
            seen["route_type"] = self.route.type
            seen["route_out"] = self.route.out_interface
            seen["route_gateway"] = self.route.gateway
            seen["route_table"] = self.route.table
        if self.route_from_node is not None:
            seen["route_from_node_ok"] = self.route_from_node.ok
            seen["route_from_node_error"] = self.route_from_node.error
        way = self.sender_route
        if way is not None and (not way.ok or way.out_ifindex != self.ifindex):
            seen["sender_route_error"] = way.error
            seen["sender_route_type"] = way.type
            seen["sender_route_out"] = way.out_interface
        refused, sender_refused = self.refused_by, self.sender_refused_by
        seen["refused_by"] = None if refused is None else str(refused)
        seen["sender_refused_by"] = None if sender_refused is None else str(sender_refused)
        seen["sender_owner"] = self.sender_owner
        seen["sender_others"] = "; ".join(self.sender_others or ()) or None
        seen["target_owner"] = self.target_owner
        seen["unread"] = "; ".join(self.failures) or None
        return {name: value for name, value in seen.items() if value is not None}

    def _unusual(self) -> dict[str, str | int | bool | None]:
        """What a healthy pod's interface does not have."""
        local = self.target_owner is not None
        master = None if self.master is None else f"{self.master_kind or ''} {self.master}".strip()
        return {
            "up": False if self.up is False else None,
            "carrier": False if self.up and self.carrier is False else None,
            "noarp": self.noarp or None,
            "master": master,
            "xdp": self.xdp,
            "proxy_arp_pvlan": self.proxy_arp_pvlan or None,
            "medium_id": self.medium_id or None,
            "medium_id_out": self.medium_id_out if self.medium_id else None,
            "arp_ignore": self.arp_ignore_interface if local else None,
            "arp_ignore_all": self.arp_ignore_all if local else None,
            "arp_filter": self.arp_filter_interface if local else None,
            "arp_filter_all": self.arp_filter_all if local else None,
            "proxy_delay": self.proxy_delay or None,
            "proxy_qlen": self.proxy_qlen if self.proxy_delay else None,
            "proxy_entry": self.proxy_entry or None,
            "arp_listeners": ", ".join(self.arp_listeners or ()) or None,
            "ingress": ", ".join(self.ingress) or None,
            "egress": ", ".join(self.egress) or None,
            "arp_input": ", ".join(self.arp_input) or None,
            "arp_output": ", ".join(self.arp_output) or None,
            "ingress_drops": self.ingress_drops,
            "egress_drops": self.egress_drops,
            "arp_input_drops": self.arp_input_drops,
            "arp_output_drops": self.arp_output_drops,
        }
