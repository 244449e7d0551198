# SPDX-License-Identifier: Apache-2.0
"""Tests of what is not built yet: they are written to the contract, and fail today.

A line goes when its part is done; this file goes with the last.
"""

from __future__ import annotations

_NOT_YET = {
    "[answered_by_program]": "the first answer of a program corrects, and is not said as the first",
    "[answered_twice]": "that two answers came is not said yet",
    "test_two_senders_on_one_link": "an incident does not belong to its sender yet",
    "test_a_reply_that_the_pod_does_not_take": "reply_not_taken is not built yet",
    "test_a_pod_whose_gateway_entry_is_wrong": "diagnose does not say it yet, trace does",
    "test_a_second_fault_is_told_from_the_first": "changes of the node are not listened to yet",
    "nft_arp_input_everywhere]": "an accept beside a rule for every interface is no advice yet",
    "arptables_input_everywhere]": "an accept beside a rule for every interface is no advice yet",
    "nft_arp_output_everywhere]": "an accept beside a rule for every interface is no advice yet",
    "test_the_mend[filtered_out-arptables_output]": "what its accept rule costs is not asked",
    "main_rule_missing]": "a default route that is there, but not used, is not named yet",
    "pod_address_is_broadcast]": "the broadcast address of a node's network is not named yet",
    "test_the_mend[no_route-unreachable_default]": "what is left without a default is not told",
    "test_the_mend[no_route-throw_default]": "what is left without a default is not told",
    "test_a_link_that_is_down_is_never_unknown": "the end does not wait for first looks yet",
}


def why(test: str) -> str | None:
    """Why the test of that node id is expected to fail; None: it is not."""
    return next((why for part, why in _NOT_YET.items() if part in test), None)
