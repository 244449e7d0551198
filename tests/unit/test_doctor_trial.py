# SPDX-License-Identifier: Apache-2.0
"""What the child says and the parent reads, also when the child dies half-way."""

from __future__ import annotations

from pathlib import Path

from tracer.doctor.facts import _exec_netns, _lockdown, _mounts, _seccomp
from tracer.doctor.trial import Bcc, EngineTrial, HookTrial, hooks_of, lines, parse
from tracer.kernel.prepared import ENGINES

BCC = Bcc("0.26.0", "0.26.0", None)
FENTRY = EngineTrial(
    "fentry", "refused", (HookTrial("fentry", "arp_rcv", False, False, "refused"),)
)


def test_what_is_said_is_what_is_read() -> None:
    said = "".join(lines([False, BCC, FENTRY])).encode()
    trial = parse(said, "it died")
    assert trial.bcc == BCC
    assert trial.addresses_hidden is False
    assert trial.engines[0] == FENTRY


def test_what_a_dead_child_did_not_say_was_not_tried() -> None:
    said = "".join(lines([True, BCC, FENTRY])).encode()
    trial = parse(said[:-7], "it died")
    assert trial.bcc == BCC
    assert [(engine.name, engine.why, engine.tried) for engine in trial.engines] == [
        (name, "it died", False) for name in ENGINES
    ]
    nothing = parse(b"", "it died")
    assert nothing.bcc.why == "it died"
    assert nothing.addresses_hidden is None


def test_without_bcc_that_is_the_reason() -> None:
    said = "".join(lines([Bcc(None, None, "no bcc")])).encode()
    assert {engine.why for engine in parse(said, "it died").engines} == {"no bcc"}


def test_every_hook_of_an_engine_and_those_of_the_closer_look() -> None:
    for engine in ENGINES.values():
        assert hooks_of(engine) == engine.hooks.steady + engine.hooks.closer
        assert {hook.place for hook in engine.hooks.closer} == {"fib_table_lookup", "consume_skb"}
        assert all(hook.optional for hook in engine.hooks.closer)


MOUNTINFO = """\
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
24 23 0:12 / /sys/kernel/tracing rw shared:7 - tracefs tracefs rw
29 23 0:31 / /sys/fs/bpf rw,nosuid master:3 shared:4 - bpf none rw,mode=700
27 1 254:0 / / rw - ext4 /dev/vda rw
"""


def test_mounts() -> None:
    assert _mounts(MOUNTINFO) == {
        "sysfs": ("/sys", "sysfs"),
        "tracefs": ("/sys/kernel/tracing", "tracefs"),
        "bpf": ("/sys/fs/bpf", "none"),
    }


def test_no_namespace_of_that_name_no_ip_netns_exec() -> None:
    assert _exec_netns(("/sys", "sysfs")) is None
    assert _exec_netns(("/sys", "arpwhy-no-such-namespace")) is None
    assert _exec_netns(None) is None


def test_lockdown(tmp_path: Path) -> None:
    assert _lockdown(tmp_path, mounted=False) == (None, "securityfs is not mounted")
    assert _lockdown(tmp_path, mounted=True) == ("not built in", None)
    assert _lockdown(tmp_path / "none", mounted=False) == ("not built in", None)
    (tmp_path / "lockdown").write_text("none [integrity] confidentiality\n")
    assert _lockdown(tmp_path, mounted=True) == ("integrity", None)


def test_seccomp() -> None:
    assert _seccomp("Name:\tx\nSeccomp:\t2\n") is True
    assert _seccomp("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n") is False
    assert _seccomp("Name:\tx\n") is None
