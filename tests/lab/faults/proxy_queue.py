# SPDX-License-Identifier: Apache-2.0
"""proxy_delay is on, and the queue of the requests that wait for it is full."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .. import links
from .registry import Saved, fault
from .sysctls import CONF

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_TEN_HOURS = 3_600_000  # USER_HZ ticks of 10 ms
_ELSEWHERE = "192.0.2.1"  # answered by proxy as the gateway is, and nobody's target
_SETTLE_S = 0.1
_PURGER = "labpurge"


def _fill(lab: Lab, pod: Pod, length: int) -> Saved:
    """The kernel queues while ``proxy_queue.qlen > proxy_qlen`` is false
    (net/core/neighbour.c, pneigh_enqueue): one more than proxy_qlen. The wait of each is
    random up to proxy_delay: that none ends while this is broken, it is long."""
    neigh = f"net/ipv4/neigh/{pod.interface}"
    delay, qlen = f"{neigh}/proxy_delay", f"{neigh}/proxy_qlen"
    saved = {key: lab.node.sysctl(key) for key in (delay, qlen)}
    lab.node.set_sysctls({qlen: length, delay: _TEN_HOURS})
    pod.ask(length + 1, _ELSEWHERE, settle=_SETTLE_S)
    return saved


def _purge(lab: Lab) -> None:
    """An interface that goes down takes along what its namespace has in the proxy queue
    (net/core/neighbour.c, __neigh_ifdown): one made for that."""

    def inside(ipr: Any) -> None:
        ipr.link("add", kind="veth", ifname=_PURGER, peer={"ifname": f"{_PURGER}1"})
        number = links.index(ipr, _PURGER)
        ipr.link("set", index=number, state="up")
        ipr.link("del", index=number)

    lab.node.netlink(inside)


def _empty(lab: Lab, pod: Pod, saved: Saved) -> None:
    proxy_arp = f"{CONF}/{pod.interface}/proxy_arp"  # off meanwhile: as for proxy_delay
    old = lab.node.sysctl(proxy_arp)
    lab.node.set_sysctls({proxy_arp: 0})
    time.sleep(0.01)
    _purge(lab)
    lab.node.set_sysctls({**saved, proxy_arp: old})


@fault("proxy_delay is on and 4 requests wait where 3 may", undo=_empty, touches="proxy queue")
def proxy_queue_full(lab: Lab, pod: Pod) -> Saved:
    return _fill(lab, pod, 3)


@fault(
    "proxy_delay is on, proxy_qlen is 0 and one request waits", undo=_empty, touches="proxy queue"
)
def proxy_queue_full_zero(lab: Lab, pod: Pod) -> Saved:
    return _fill(lab, pod, 0)
