# SPDX-License-Identifier: Apache-2.0
"""IPv4 sysctls of the network namespace that the calling thread is in.

/proc/sys/net shows the namespace of the thread that opens the file, not of the process
(net/sysctl_net.c, net_ctl_header_lookup: current->nsproxy->net_ns).
"""

from __future__ import annotations

import shlex
from pathlib import Path

IPV4 = Path("/proc/sys/net/ipv4")


def read(path: Path) -> int:
    """The number in a sysctl file. Raises OSError if it is not there or not readable."""
    return int(path.read_text(encoding="ascii"))


def of_interface(interface: str, name: str) -> Path:
    return IPV4 / "conf" / interface / name


def of_neighbours(interface: str, name: str) -> Path:
    return IPV4 / "neigh" / interface / name


def setting(interface: str, name: str, value: int) -> str:
    """``net.ipv4.conf.IF.NAME=VALUE`` as sysctl(8) takes it on a shell's command line.

    A dot in the interface's name is written as a slash (sysctl(8)). The name may come
    from inside a container, so what a shell would interpret is quoted.
    """
    key = f"net.ipv4.conf.{interface.replace('.', '/')}.{name}={value}"
    return shlex.quote(key)
