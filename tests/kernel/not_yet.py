# SPDX-License-Identifier: Apache-2.0
"""Tests of what is not built yet: they are written to the contract, and fail today.

A line goes when its part is done; this file goes with the last.
"""

from __future__ import annotations

_ACCEPT = "an accept beside a rule for every interface is no advice yet"
_LEFT = "what is left without a default route is not told"
_SENDER = "diagnose asks for no rule that is for senders yet"
_NETWORK = "the broadcast address of a node's network is not named yet"

_CAUSES = "test_causes.py::test_every_engine_names_the_cause"
_DIAGNOSE = "test_diagnose.py::test_named_and_mended"
_MENDS = "test_mends.py::test_the_mend"
_BYSTANDER = "test_bystanders.py::test_a_bystander_is_answered_and_not_flagged"

_NOT_YET = {
    f"{_BYSTANDER}[answered_by_program]": "a program's first answer corrects: it is no first line",
    f"{_BYSTANDER}[answered_twice]": "that two answers came is not said yet",
    f"{_CAUSES}[filtered_in-nft_arp_input_everywhere]": _ACCEPT,
    f"{_CAUSES}[filtered_in-arptables_input_everywhere]": _ACCEPT,
    f"{_CAUSES}[filtered_out-nft_arp_output_everywhere]": _ACCEPT,
    f"{_CAUSES}[source_rejected-pod_address_is_broadcast]": _NETWORK,
    f"{_DIAGNOSE}[blackhole_table_for_pods]": _SENDER,
    f"{_DIAGNOSE}[blackhole_rule_for_pods]": _SENDER,
    f"{_DIAGNOSE}[blackhole_rule_for_pod]": _SENDER,
    f"{_DIAGNOSE}[blackhole_rule_unmarked]": _SENDER,
    f"{_DIAGNOSE}[pod_address_is_broadcast]": _NETWORK,
    f"{_MENDS}[filtered_in-nft_arp_input_everywhere]": _ACCEPT,
    f"{_MENDS}[filtered_in-arptables_input_everywhere]": _ACCEPT,
    f"{_MENDS}[filtered_out-nft_arp_output_everywhere]": _ACCEPT,
    f"{_MENDS}[no_route-unreachable_default]": _LEFT,
    f"{_MENDS}[no_route-throw_default]": _LEFT,
    f"{_MENDS}[source_rejected-pod_address_is_broadcast]": _NETWORK,
}


def why(test: str) -> str | None:
    """Why the test of that node id is expected to fail; None: it is not."""
    return next((why for part, why in _NOT_YET.items() if part in test), None)
