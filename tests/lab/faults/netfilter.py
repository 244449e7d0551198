# SPDX-License-Identifier: Apache-2.0
"""nftables rules that drop the request or the reply; a table of its own for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod


def _add(lab: Lab, pod: Pod, family: str, chain: str, rule: str) -> Saved:
    table = "lab_" + re.sub(r"[^A-Za-z0-9]", "_", f"{chain.split(maxsplit=1)[0]}_{pod.interface}")
    text = (
        f"table {family} {table} {{\nchain drops {{\n"
        f"type filter hook {chain} priority 0;\n"
        f"{rule} counter drop\n}}\n}}\n"
    )
    lab.node.tool(["nft", "-f", "-"], package="nftables", stdin=text)
    return {"family": family, "table": table}


def _delete(lab: Lab, _: Pod, saved: Saved) -> None:
    lab.node.tool(["nft", "delete", "table", saved["family"], saved["table"]], package="nftables")


@fault("nft netdev ingress drops the request", undo=_delete)
def nft_netdev_ingress(lab: Lab, pod: Pod) -> Saved:
    return _add(lab, pod, "netdev", f'ingress device "{pod.interface}"', "arp operation request")


@fault("nft arp input drops the request", undo=_delete)
def nft_arp_input(lab: Lab, pod: Pod) -> Saved:
    return _add(lab, pod, "arp", "input", f'iifname "{pod.interface}" arp operation request')


@fault("nft arp output drops the reply", undo=_delete)
def nft_arp_output(lab: Lab, pod: Pod) -> Saved:
    return _add(lab, pod, "arp", "output", f'oifname "{pod.interface}" arp operation reply')
