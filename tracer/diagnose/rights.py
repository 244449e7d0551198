# SPDX-License-Identifier: Apache-2.0
"""Which right it is that something could not be read for the want of."""

from __future__ import annotations

import errno
import os

_NOT_PERMITTED, _DENIED = os.strerror(errno.EPERM), os.strerror(errno.EACCES)
# By what a look says that it could not read (tracer/node/reading.py).
_MISSING = {
    # net/netfilter/nfnetlink.c, nfnetlink_rcv
    f"nftables: {_NOT_PERMITTED}": ("CAP_NET_ADMIN",),
    # kernel/bpf/syscall.c, bpf_prog_query
    f"tcx: {_NOT_PERMITTED}": ("CAP_NET_ADMIN",),
    # A raw socket; net/ipv4/netfilter/arp_tables.c, do_arpt_get_ctl.
    f"arptables: {_NOT_PERMITTED}": ("CAP_NET_ADMIN", "CAP_NET_RAW"),
    # /proc/net/arp_tables_names is root's to read.
    f"arptables: {_DENIED}": ("CAP_DAC_READ_SEARCH",),
}


def missing(failure: str) -> tuple[str, ...]:
    """Empty: it is no right that is missing, or it is not known which."""
    return _MISSING.get(failure, ())


def named(failure: str) -> str:
    """The failure, and the right that it takes."""
    rights = missing(failure)
    return f"{failure} (needs {' and '.join(rights)})" if rights else failure
