# SPDX-License-Identifier: Apache-2.0
"""Names and addresses as Calico gives them."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection

GATEWAY = "169.254.1.1"
HOST_MAC = "ee:ee:ee:ee:ee:ee"

FIRST_POD_ADDRESS = ipaddress.IPv4Address("192.168.156.1")
POD_NETWORK = ipaddress.IPv4Network("192.168.0.0/16")


def interface_name(namespace: str, pod: str, prefix: str = "cali") -> str:
    """The host side's name: the prefix and 11 hex digits of sha1("<namespace>.<pod>").

    Source: projectcalico/calico, WorkloadEndpoint naming (VethNameForWorkload).
    """
    digest = hashlib.sha1(f"{namespace}.{pod}".encode(), usedforsecurity=False).hexdigest()
    return prefix + digest[:11]


def free_address(used: Collection[str]) -> str:
    """The lowest pod address from 192.168.156.1 up that is not in ``used``."""
    address = FIRST_POD_ADDRESS
    while str(address) in used:
        address += 1
    if address not in POD_NETWORK:
        raise ValueError(f"no free pod address in {POD_NETWORK}")
    return str(address)
