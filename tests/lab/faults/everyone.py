# SPDX-License-Identifier: Apache-2.0
"""Filters that drop the ARP of every interface, the uplink's too: they serve somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .netfilter import append, delete_table, make_table, take_out
from .registry import Saved, fault

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod


@fault(
    "the policy of an nft arp input chain drops the requests of every interface",
    undo=delete_table,
    whole_node=True,
    reason="filtered_in",
    remedy="advice",
)
def nft_arp_input_everywhere(lab: Lab, pod: Pod) -> Saved:
    rule = "arp operation reply counter accept"
    return make_table(lab, pod, "arp", "input", rule, policy="drop")


@fault(
    "a rule of an nft arp output chain drops the replies to every interface",
    undo=delete_table,
    whole_node=True,
    reason="filtered_out",
    remedy="advice",
)
def nft_arp_output_everywhere(lab: Lab, pod: Pod) -> Saved:
    rule = "arp operation reply counter drop"
    return make_table(lab, pod, "arp", "output", rule)


@fault(
    "a rule of an nft arp input chain drops the requests of all pods",
    undo=delete_table,
    whole_node=True,
    reason="filtered_in",
    remedy="advice",
)
def nft_arp_input_all_pods(lab: Lab, pod: Pod) -> Saved:
    rule = 'iifname "cali*" arp operation request counter drop'
    return make_table(lab, pod, "arp", "input", rule)


@fault(
    "nft netdev ingress of the pod's interface and of the uplink drops requests",
    undo=delete_table,
    reason="dropped_before_arp",
    remedy="advice",
)
def nft_netdev_ingress_devices(lab: Lab, pod: Pod) -> Saved:
    chain = f'ingress devices = {{ "{pod.interface}", "{lab.node.uplink}" }}'
    return make_table(lab, pod, "netdev", chain, "arp operation request counter drop")


@fault(
    "arptables drops the requests of every interface",
    undo=take_out,
    whole_node=True,
    reason="filtered_in",
    remedy="advice",
)
def arptables_input_everywhere(lab: Lab, _: Pod) -> Saved:
    return append(lab, "INPUT", "--opcode", "1", "-j", "DROP")
