# SPDX-License-Identifier: Apache-2.0
"""May this process load BPF programs at all?"""

from __future__ import annotations

from pathlib import Path

# include/uapi/linux/capability.h
_CAP_SYS_ADMIN = 21
_NEEDED = {"CAP_BPF": 39, "CAP_PERFMON": 38}


def missing_capabilities() -> list[str]:
    """Names of the capabilities that tracing needs and this process has not.

    CAP_BPF and CAP_PERFMON let it load and attach; CAP_SYS_ADMIN stands for both
    (bpf_capable() and perfmon_capable(), include/linux/capability.h).
    """
    status = Path("/proc/self/status").read_text()
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    if effective >> _CAP_SYS_ADMIN & 1:
        return []
    return [name for name, number in _NEEDED.items() if not effective >> number & 1]
