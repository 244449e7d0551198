# SPDX-License-Identifier: Apache-2.0
"""Calico's names of interfaces.

projectcalico/calico, libcalico-go/lib/names/workloadendpoint.go and the CNI plugin: the
prefix and the first 11 hex digits of sha1("<namespace>.<pod>").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

_DIGITS = 11


def interface_name(namespace: str, pod: str, prefix: str) -> str:
    """``default``, ``nginx``, ``cali``: ``calic440f455693``."""
    digest = hashlib.sha1(f"{namespace}.{pod}".encode(), usedforsecurity=False).hexdigest()
    return prefix + digest[:_DIGITS]


def says_whose(prefixes: Sequence[str]) -> Callable[[str], bool]:
    """Whether an interface's name is one that Calico computed from its pod's."""
    any_prefix = "|".join(map(re.escape, prefixes))
    pattern = re.compile(f"(?:{any_prefix})[0-9a-f]{{{_DIGITS}}}")
    return lambda interface: pattern.fullmatch(interface) is not None
