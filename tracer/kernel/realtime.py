# SPDX-License-Identifier: Apache-2.0
"""PREEMPT_RT: may softirqs of one CPU interrupt each other there?

What one CPU is at is kept without a lock, for a softirq round is not interrupted by
another. On PREEMPT_RT that holds by a lock in local_bh_disable, which can be configured
away since 6.18 (CONFIG_PREEMPT_RT_NEEDS_BH_LOCK, kernel/softirq.c).
"""

from __future__ import annotations

import gzip
import platform
from pathlib import Path

REALTIME = Path("/sys/kernel/realtime")
OPTION = "CONFIG_PREEMPT_RT_NEEDS_BH_LOCK"


def why_not() -> str | None:
    """None, or one line on why no engine can judge on this kernel."""
    try:
        if REALTIME.read_text().strip() != "1":
            return None
    except OSError:
        return None
    return _without_lock(_config())


def _without_lock(config: str | None) -> str | None:
    """Kernels before the option have the lock; they do not mention it."""
    if config is None or f"# {OPTION} is not set" not in config:
        return None
    return (
        "this PREEMPT_RT kernel lets softirqs of one CPU interrupt each other: "
        f"requests could be taken for one another (it needs {OPTION}=y)"
    )


def _config() -> str | None:
    """The kernel's configuration, None if it is not to be had."""
    try:
        return gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        pass
    try:
        return Path(f"/boot/config-{platform.release()}").read_text()
    except OSError:
        return None
