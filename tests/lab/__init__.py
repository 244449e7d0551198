# SPDX-License-Identifier: Apache-2.0
"""A Calico node and its pods in network namespaces, to break, mend and measure.

See docs/lab.md. Everything here needs root; :func:`missing` says what else it lacks.
Kept to Python 3.9 at run time, so that it works in the guests with older userlands.
"""

from __future__ import annotations

from .bench import INCIDENT, Lab, down
from .errors import LabError, Unavailable
from .faults import FAULTS, Fault
from .names import GATEWAY, HOST_MAC, interface_name
from .netns import Netns, missing
from .pod import Pod
from .traffic import Tally

__all__ = [
    "FAULTS",
    "GATEWAY",
    "HOST_MAC",
    "INCIDENT",
    "Fault",
    "Lab",
    "LabError",
    "Netns",
    "Pod",
    "Tally",
    "Unavailable",
    "down",
    "interface_name",
    "missing",
]
