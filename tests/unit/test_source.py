# SPDX-License-Identifier: Apache-2.0
"""The C that bcc compiles, and the engines that say which."""

from __future__ import annotations

import re

import pytest

from tracer.kernel import source
from tracer.kernel.engines import fentry, kprobe, tracepoint
from tracer.kernel.engines.engine import Engine
from tracer.kernel.engines.names import NAMES
from tracer.kernel.hooks import Kind

ENGINES = (fentry.ENGINE, kprobe.ENGINE, tracepoint.ENGINE)
engines = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)


def test_names_are_those_of_the_engines() -> None:
    assert tuple(engine.name for engine in ENGINES) == NAMES


@engines
def test_each_header_is_pulled_in_once(engine: Engine) -> None:
    text = source.assemble(engine.source)
    assert '#include "' not in text
    assert text.count("struct request_event {") == 1


COMMON = [
    "kfree_skb",
    "neigh_update",
    "neigh_update_done",
    "neigh_timer_handler",
    "neigh_event_send_done",
    "neigh_event_send_dead",
    "neigh_cleanup_and_release",
]


@pytest.mark.parametrize(
    ("engine", "enter", "leave"),
    [(fentry.ENGINE, Kind.FENTRY, Kind.FEXIT), (kprobe.ENGINE, Kind.KPROBE, Kind.KRETPROBE)],
)
def test_hooks_of_function_probes(engine: Engine, enter: Kind, leave: Kind) -> None:
    hooks = engine.hooks
    own = [hook for hook in hooks.steady if hook.kind is not Kind.RAW_TRACEPOINT]
    assert [hook.place for hook in hooks.steady[: -len(own)]] == COMMON
    assert [(hook.kind, hook.place) for hook in own if not hook.optional] == [
        (leave, "arp_process"),
        (leave, "arp_rcv"),
        (enter, "arp_xmit"),
        (enter, "pneigh_enqueue"),
        (enter, "arp_process"),
        (enter, "arp_rcv"),  # where a request begins
    ]
    assert [(hook.kind, hook.place) for hook in own if hook.optional] == [
        (enter, "arp_ignore"),
        (enter, "pneigh_lookup"),
        (enter, "neigh_event_ns"),
    ]
    assert [hook.place for hook in hooks.closer] == ["fib_table_lookup", "consume_skb"]
    assert [hook.place for hook in hooks.answers] == ["net_dev_queue"]


def test_hooks_of_tracepoints() -> None:
    hooks = tracepoint.ENGINE.hooks
    own = ["net_dev_queue", "napi_poll", "netif_receive_skb"]
    assert [hook.place for hook in hooks.steady] == COMMON + own
    assert {hook.kind for hook in hooks.steady} == {Kind.RAW_TRACEPOINT}
    assert [hook.place for hook in hooks.closer] == ["fib_table_lookup", "consume_skb"]
    assert not hooks.answers


@engines
def test_every_program_of_a_hook_is_there(engine: Engine) -> None:
    text = source.assemble(engine.source)
    for hook in (*engine.hooks.steady, *engine.hooks.closer, *engine.hooks.answers):
        form = rf"^int {hook.program}\(|^\w+\({hook.place}\)\n{{"
        assert re.search(form, text, re.MULTILINE), hook


def test_function_probes_leave_the_data_path_alone() -> None:
    """Only functions and tracepoints that run for ARP, neighbours or drops."""
    for engine in (fentry.ENGINE, kprobe.ENGINE):
        for hook in engine.hooks.steady:
            assert hook.place.startswith(("arp_", "pneigh_", "neigh_", "kfree_skb")), hook
