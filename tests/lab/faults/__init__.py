# SPDX-License-Identifier: Apache-2.0
"""One function per fault, registered in FAULTS. To add one: write it in the file of its
subject (or a new one, imported here) under ``@fault``; test_lab.py then tests it."""

from __future__ import annotations

from . import (  # noqa: F401 - they register
    addresses,
    asks_as,
    copies,
    defaults,
    everyone,
    frames,
    in_the_pod,
    limits,
    link,
    netfilter,
    proxy_queue,
    qdisc,
    responders,
    routing,
    sender,
    sysctls,
    tags,
    target,
    tc,
    twins,
    xdp,
)
from .registry import FAULTS, Fault, Record, fault

__all__ = ["FAULTS", "Fault", "Record", "fault"]
