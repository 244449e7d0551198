# SPDX-License-Identifier: Apache-2.0
"""The C that bcc compiles, and the engines that say which."""

from __future__ import annotations

import re

import pytest

from tracer.kernel import source
from tracer.kernel.engines import fentry, kprobe, tracepoint
from tracer.kernel.engines.engine import Engine, Kind
from tracer.kernel.engines.names import NAMES

ENGINES = (fentry.ENGINE, kprobe.ENGINE, tracepoint.ENGINE)
engines = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)


def test_names_are_those_of_the_engines() -> None:
    assert tuple(engine.name for engine in ENGINES) == NAMES


@engines
def test_each_header_is_pulled_in_once(engine: Engine) -> None:
    text = source.assemble(engine.source)
    assert '#include "' not in text
    assert text.count("struct request_event {") == 1


@engines
def test_every_program_of_a_hook_is_there(engine: Engine) -> None:
    text = source.assemble(engine.source)
    for hook in engine.hooks:
        forms = {
            Kind.RAW_TRACEPOINT: rf"RAW_TRACEPOINT_PROBE\({hook.place}\)|int {hook.program}\(",
            Kind.FENTRY: rf"^KFUNC_PROBE\({hook.place},",
            Kind.FEXIT: rf"^KRETFUNC_PROBE\({hook.place},",
            Kind.KPROBE: rf"^int {hook.program}\(struct pt_regs",
            Kind.KRETPROBE: rf"^int {hook.program}\(struct pt_regs",
        }
        assert re.search(forms[hook.kind], text, re.MULTILINE), hook


@engines
def test_requests_begin_at_the_hook_that_is_attached_last(engine: Engine) -> None:
    assert engine.hooks[-1].place in ("arp_rcv", "netif_receive_skb")
    assert engine.hooks[-1].kind not in (Kind.FEXIT, Kind.KRETPROBE)


def test_function_probes_leave_the_data_path_alone() -> None:
    """Only functions and tracepoints that run for ARP, neighbours or drops."""
    for engine in (fentry.ENGINE, kprobe.ENGINE):
        for hook in engine.hooks:
            assert hook.place.startswith(("arp_", "pneigh_", "neigh_", "kfree_skb")), hook
