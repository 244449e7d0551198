# SPDX-License-Identifier: Apache-2.0
"""A look at many interfaces at once, for whatever sends behind each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tracer.node import addresses, netns, pod_link, routes
from tracer.node.link import Link
from tracer.node.look import Look
from tracer.node.moment import Moment
from tracer.node.peer import peer_of
from tracer.node.reading import Reading

_HOST = 32
# Of one interface. A pod has one address; a machine behind a tap may have more.
_MOST_SENDERS = 16
# Calico's eBPF dataplane makes it on every node.
_EBPF_DEVICE = "bpfin.cali"


@dataclass(frozen=True, slots=True)
class Surveyed:
    """One interface. ``looks``: one a sender, or one whose sender is not known.

    ``host_routes``: the addresses X of the routes X/32 that lead to it. ``led_to``: some
    route leads to it; None if that could not be read. ``otherhost`` as the link's. The looks'
    ``peer`` is only read where there is something to ask of it.
    """

    interface: str
    ifindex: int
    looks: tuple[Look, ...]
    host_routes: tuple[str, ...]
    led_to: bool | None
    otherhost: int | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """``rp_filter_default`` is conf/default's. ``default_route``: a unicast one, in whatever
    table. ``ebpf``: Calico's eBPF dataplane is on this node. None: could not be read.
    ``not_pods``: names of wanted ones that are no pod's link, and why; not looked at.
    ``there``: names of those that were not wanted.
    """

    netns: int
    target_ip: str
    interfaces: tuple[Surveyed, ...]
    rp_filter_default: int | None
    default_route: bool | None
    ebpf: bool
    not_pods: tuple[tuple[str, str], ...] = ()
    there: tuple[str, ...] = ()


def survey(wanted: Callable[[str], bool], target_ip: str) -> Survey:
    """The interfaces of the thread's network namespace whose names are wanted, by name.

    What cannot be read is in each look's ``failures``. Raises OSError where the kernel
    tells of no interfaces at all.
    """
    inode = netns.own()
    with Moment() as moment:
        links = moment.read_links()
        named = sorted((each for each in links.values() if wanted(each.name)), key=_by_name)
        reasons = {each.ifindex: _why_not(moment, each) for each in named}
        chosen = [each for each in named if reasons[each.ifindex] is None]
        ways = _Ways(moment)
        spaces: dict[int, tuple[str, int]] = {}
        return Survey(
            netns=inode,
            target_ip=target_ip,
            interfaces=tuple(
                _surveyed(moment, inode, link, ways, spaces, target_ip) for link in chosen
            ),
            rp_filter_default=_default_rp_filter(moment),
            default_route=ways.default,
            ebpf=any(link.name == _EBPF_DEVICE for link in links.values()),
            not_pods=tuple((each.name, why) for each in named if (why := reasons[each.ifindex])),
            there=tuple(sorted(each.name for each in links.values() if not wanted(each.name))),
        )


class _Ways:
    """What the node's tables say of who is behind which interface."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self.failure: str | None = None
        self.default: bool | None = None
        self.hosts: dict[int, list[str]] = {}
        self.neighbours: dict[int, list[str]] = {}
        try:
            self._read()
        except OSError as error:
            self.failure = f"routes and neighbours: {error.strerror or error}"

    def _read(self) -> None:
        default = False
        lengths = frozenset({0, _HOST})
        for route in routes.of_type(self._moment.route, routes.UNICAST, lengths=lengths):
            if not route.network.prefixlen:
                default = True
            else:
                found = self.hosts.setdefault(route.ifindex, [])
                if (address := str(route.network.network_address)) not in found:
                    found.append(address)
        self.default = default
        for each in addresses.neighbours(self._moment.route):
            if each.mac is not None:
                self.neighbours.setdefault(each.ifindex, []).append(each.ip)

    def senders(self, ifindex: int) -> list[str]:
        return self.hosts.get(ifindex) or self.neighbours.get(ifindex) or []

    def lead_to(self, ifindex: int) -> bool | None:
        if ifindex in self.hosts:
            return True
        try:
            ways = routes.of_type(self._moment.route, routes.UNICAST, ifindex=ifindex)
            return next(ways, None) is not None
        except OSError:
            return None


def _surveyed(
    moment: Moment,
    inode: int,
    link: Link,
    ways: _Ways,
    spaces: dict[int, tuple[str, int]],
    target_ip: str,
) -> Surveyed:
    senders = ways.senders(link.ifindex)
    looks = []
    peer = peer_of(moment.route, link.ifindex, spaces) if _to_be_entered(link) else None
    for sender in senders[:_MOST_SENDERS] or [""]:
        reading = Reading(moment, link.ifindex, link.name, sender, target_ip)
        reading.read(filters=True)
        reading.found["peer"] = peer
        if ways.failure is not None:
            reading.failures.append(ways.failure)
        if len(senders) > _MOST_SENDERS:
            reading.failures.append(f"{len(senders) - _MOST_SENDERS} more senders: not looked at")
        looks.append(reading.look(inode))
    return Surveyed(
        interface=link.name,
        ifindex=link.ifindex,
        looks=tuple(looks),
        host_routes=tuple(ways.hosts.get(link.ifindex, ())),
        led_to=ways.lead_to(link.ifindex),
        otherhost=link.otherhost,
    )


def _to_be_entered(link: Link) -> bool:
    """Without the counter packets for another MAC address may have come from any pod."""
    return link.otherhost != 0 or link.mac != pod_link.CALICO_MAC


def _why_not(moment: Moment, link: Link) -> str | None:
    try:
        return pod_link.why_not(link, lambda: moment.gateways)
    except OSError:
        return None  # Judged: the look then says what could not be read.


def _default_rp_filter(moment: Moment) -> int | None:
    try:
        return moment.setting("default", "rp_filter")
    except (OSError, ValueError):
        return None


def _by_name(link: Link) -> str:
    return link.name
