# SPDX-License-Identifier: Apache-2.0
"""All that a command pasted on the node could change, line by line, to compare."""

from __future__ import annotations

import re

from lab.netns import Netns

_SECTIONS = {
    "address": "ip -o addr show",
    "link": "ip -o link show",
    "rule": "ip -4 rule show",
    "route": "ip -4 route show table all",
    "nexthop": "ip nexthop show",
    "qdisc": "tc qdisc show",
    "filter": "for d in $(ls /proc/sys/net/ipv4/conf); do for p in ingress egress; do "
    'tc filter show dev $d $p 2>/dev/null | sed "s/^/$d $p /"; done; done',
    "nft": "nft -a list ruleset 2>/dev/null",
    "arptables": "arptables -S 2>/dev/null",
}
_COUNTER = re.compile(r"packets \d+ bytes \d+")


def snapshot(netns: Netns) -> set[str]:
    """Lines as ``SECTION: what the tool says``, and ``sysctl: KEY=VALUE``."""
    script = "; ".join(f'({tool}) | sed "s/^/{name}: /"' for name, tool in _SECTIONS.items())
    done = netns.run(["sh", "-c", script])
    values = netns.sysctls("net/ipv4/conf/*/*") | netns.sysctls("net/ipv4/neigh/*/*")
    values["net/ipv4/ip_forward"] = netns.sysctl("net/ipv4/ip_forward")
    lines = {_COUNTER.sub("", line).rstrip() for line in done.stdout.splitlines()}
    return lines | {f"sysctl: {key}={value}" for key, value in values.items()}
