# SPDX-License-Identifier: Apache-2.0
"""What the doctor concludes from what was found, and how it says it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tracer.doctor.checks import State, checks
from tracer.doctor.facts import Facts
from tracer.doctor.record import record
from tracer.doctor.text import summary, text
from tracer.doctor.trial import Bcc, EngineTrial, HookTrial, Trial, without
from tracer.doctor.ways import ways
from tracer.kernel.prepared import ENGINES

NAMES = ("fentry", "kprobe", "tracepoint")
HOOK = HookTrial("raw_tracepoint", "kfree_skb", False, True)


def engines(**why: str) -> tuple[EngineTrial, ...]:
    """All can run, but those for which there is a reason."""
    return tuple(
        without(ENGINES[name], why[name], tried=True)
        if name in why
        else EngineTrial(name, None, (HOOK,))
        for name in NAMES
    )


HEALTHY = Facts(
    release="6.1.0",
    machine="x86_64",
    uid=0,
    btf="/sys/kernel/btf/vmlinux",
    btf_size=5_512_345,
    btf_why=None,
    btf_differs=False,
    lockdown="none",
    lockdown_why=None,
    sysctls={"unprivileged_bpf_disabled": 2, "perf_event_paranoid": 3, "kptr_restrict": 0},
    capabilities=frozenset(
        {"CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SYSLOG", "CAP_NET_RAW"}
    ),
    missing=(),
    own_userns=False,
    seccomp=False,
    libbpf="1.1.2",
    libbpf_why=None,
    mounts={"tracefs": "/sys/kernel/tracing", "bpf": "/sys/fs/bpf", "sysfs": "/sys"},
    exec_netns=None,
    trial=Trial(Bcc("0.26.0", "0.26.0", None), False, engines()),
)


def with_engines(facts: Facts, **why: str) -> Facts:
    return replace(facts, trial=replace(facts.trial, engines=engines(**why)))


def all_blocked(facts: Facts, why: str) -> Facts:
    blocked = tuple(without(ENGINES[name], why, tried=False) for name in NAMES)
    return replace(facts, trial=replace(facts.trial, engines=blocked))


def found(facts: Facts, name: str) -> tuple[State, str]:
    return next((check.state, check.text) for check in checks(facts) if check.name == name)


def test_a_healthy_machine() -> None:
    assert HEALTHY.auto == "fentry"
    assert ways(HEALTHY) == ()
    assert summary(HEALTHY) == "auto takes fentry"
    assert {check.state for check in checks(HEALTHY)} == {State.OK, State.NOTE}


def test_auto_takes_the_first_that_can_and_says_why_none_before() -> None:
    facts = with_engines(HEALTHY, fentry="refused", kprobe="not there")
    assert facts.auto == "tracepoint"
    assert summary(facts) == "auto takes tracepoint; fentry: refused; kprobe: not there"
    assert summary(with_engines(HEALTHY, tracepoint="whatever")) == "auto takes fentry"
    assert ways(facts) == ()


def test_one_reason_for_all_is_said_once() -> None:
    facts = with_engines(HEALTHY, fentry="no", kprobe="no", tracepoint="no")
    assert facts.auto is None
    assert summary(facts) == "auto takes none: no"


NO_CAPABILITIES = all_blocked(
    replace(HEALTHY, capabilities=frozenset(), missing=("CAP_BPF", "CAP_PERFMON"), uid=1000),
    "CAP_BPF and CAP_PERFMON missing",
)
NO_LIBBPF = replace(HEALTHY, libbpf=None, libbpf_why="libbpf is not installed: apt-get it")
NO_BTF_WHY = "cannot read BTF from X: none; give this kernel's BTF by --btf FILE"
REFUSED = with_engines(
    HEALTHY,
    fentry="refused",
    kprobe="refused",
    tracepoint="could not open bpf map: Operation not permitted",
)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (NO_CAPABILITIES, ["run as root, or with CAP_BPF and CAP_PERFMON"]),
        (
            replace(NO_CAPABILITIES, uid=0, missing=("CAP_PERFMON",)),
            [
                "give this container CAP_PERFMON (docker: --cap-add PERFMON; "
                "Kubernetes: securityContext.capabilities.add [PERFMON])"
            ],
        ),
        (
            replace(NO_CAPABILITIES, own_userns=True),
            ["run as root outside of this user namespace (no rootless container)"],
        ),
        (NO_LIBBPF, ["libbpf is not installed: apt-get it"]),
        (
            replace(all_blocked(HEALTHY, NO_BTF_WHY), btf_why=NO_BTF_WHY, btf_differs=None),
            [f"{NO_BTF_WHY} (github.com/aquasecurity/btfhub-archive has many)"],
        ),
        (
            replace(all_blocked(HEALTHY, "F: bad"), btf="F", btf_why="F: bad", btf_differs=True),
            ["F: bad; leave --btf out: this kernel has its own"],
        ),
        (
            replace(REFUSED, lockdown="confidentiality"),
            ["lockdown=confidentiality forbids it: boot with lockdown=integrity, or without"],
        ),
        (REFUSED, ["tracepoint: could not open bpf map: Operation not permitted"]),
        (
            replace(REFUSED, seccomp=True),
            [
                "a seccomp filter may forbid it (docker: --security-opt seccomp=unconfined; "
                "Kubernetes: seccompProfile type Unconfined)",
                "tracepoint: could not open bpf map: Operation not permitted",
            ],
        ),
    ],
)
def test_the_way_to_get_there(facts: Facts, expected: list[str]) -> None:
    assert facts.auto is None
    assert list(ways(facts)) == expected


def test_several_things_missing_are_all_named() -> None:
    trial = replace(NO_CAPABILITIES.trial, bcc=Bcc(None, None, "bcc is not installed"))
    facts = replace(NO_CAPABILITIES, trial=trial)
    assert list(ways(facts)) == [
        "run as root, or with CAP_BPF and CAP_PERFMON",
        "bcc is not installed",
    ]


def test_capabilities_by_engine() -> None:
    two = replace(HEALTHY, capabilities=frozenset({"CAP_BPF", "CAP_PERFMON"}))
    assert found(two, "CAP_BPF") == (State.OK, "there")
    assert found(two, "CAP_SYS_ADMIN") == (
        State.NO,
        "missing for kprobe, see perf_event_paranoid",
    )
    calm = replace(two, sysctls={**two.sysctls, "perf_event_paranoid": 2})
    assert found(calm, "CAP_SYS_ADMIN") == (State.NOTE, "not there, not needed")
    old = replace(HEALTHY, capabilities=frozenset({"CAP_SYS_ADMIN"}))
    assert found(old, "CAP_NET_RAW") == (
        State.NOTE,
        "missing: tracepoint does not see unusual frames",
    )
    assert found(old, "CAP_PERFMON") == (State.OK, "CAP_SYS_ADMIN stands for it")
    inside = replace(HEALTHY, own_userns=True)
    assert found(inside, "CAP_BPF") == (State.NO, "missing for every engine")


def test_what_ip_netns_exec_hides() -> None:
    facts = replace(HEALTHY, mounts={"sysfs": "/sys"}, exec_netns="blue")
    state, said = found(facts, "tracefs")
    assert state is State.NOTE
    assert "hidden by `ip netns exec`: nsenter --net=/run/netns/blue keeps it" in said
    assert found(replace(facts, exec_netns=None), "bpffs")[1] == "not mounted, not needed"


def test_what_is_not_known_is_said_so() -> None:
    hidden = replace(HEALTHY, lockdown=None, lockdown_why="securityfs is not mounted")
    assert found(hidden, "lockdown") == (State.UNKNOWN, "not known: securityfs is not mounted")
    sysctls = dict.fromkeys(HEALTHY.sysctls)
    assert found(replace(HEALTHY, sysctls=sysctls), "perf_event_paranoid")[1] == (
        "not there: no obstacle to kprobe"
    )
    unread = replace(HEALTHY.trial, addresses_hidden=None)
    assert found(replace(HEALTHY, trial=unread), "kptr_restrict")[0] is State.UNKNOWN


def test_hidden_addresses_and_what_shows_them() -> None:
    hidden = replace(HEALTHY, trial=replace(HEALTHY.trial, addresses_hidden=True))
    for level, shows in ((0, "CAP_SYSLOG"), (1, "CAP_SYSLOG"), (2, "kernel.kptr_restrict=1")):
        facts = replace(hidden, sysctls={**HEALTHY.sysctls, "kptr_restrict": level})
        state, said = found(facts, "kptr_restrict")
        assert state is State.NO
        assert said.startswith(f"{level}: addresses are hidden")
        assert said.endswith(f"{shows} shows them")


CASES = {
    "healthy": HEALTHY,
    "blocked": NO_CAPABILITIES,
    "refused": REFUSED,
    "no libbpf": NO_LIBBPF,
    "netns": replace(HEALTHY, mounts={}, exec_netns="blue-node"),
}


@pytest.mark.parametrize("facts", CASES.values(), ids=CASES)
def test_text_stays_under_80_columns(facts: Facts) -> None:
    said = text(facts)
    assert max(map(len, said.splitlines())) < 80
    assert " ".join(said.split()).endswith(summary(facts))
    assert "\x1b" not in said
    assert "\x1b[31m" in text(replace(facts, lockdown="confidentiality"), colour=True)


def test_a_row_a_hook_a_column_an_engine() -> None:
    hooks = (
        HOOK,
        HookTrial("kretprobe", "arp_rcv", False, False, "refused"),
        HookTrial("kprobe", "neigh_event_ns", True, False, "not there"),
    )
    trials = (
        without(ENGINES["fentry"], "why", tried=False),
        EngineTrial("kprobe", None, hooks),
        EngineTrial("tracepoint", None, (HOOK,)),
    )
    facts = replace(HEALTHY, trial=replace(HEALTHY.trial, engines=trials))
    rows = [line.split() for line in text(facts).splitlines()]
    assert ["kfree_skb", "??", "ok", "ok"] in rows
    assert ["arp_rcv()", "return", "??", "no"] in rows
    assert ["*", "neigh_event_ns()", "??", "no"] in rows
    said = " ".join(text(facts).split())
    assert "?? fentry not tried: why" in said
    assert "ok kprobe can run, without arp_rcv (refused), neigh_event_ns (not there)" in said


def test_nothing_tried_is_no_table() -> None:
    assert "kfree_skb" not in text(NO_CAPABILITIES)
    assert "not tried: CAP_BPF and CAP_PERFMON missing" in " ".join(text(NO_CAPABILITIES).split())


def test_a_file_name_cannot_write_to_the_terminal() -> None:
    assert "\x1b" not in text(replace(HEALTHY, btf="/a\x1b[2Jb"))


def test_the_record() -> None:
    facts = with_engines(HEALTHY, fentry="refused")
    said = json.loads(json.dumps(record(facts, 1_700_000_000_123_456_789)))
    assert said["type"] == "doctor"
    assert said["ts"] == "2023-11-14T22:13:20.123456789Z"
    assert (said["engine"], said["ways"]) == ("kprobe", [])
    assert [(e["name"], e["can_run"], e["why"]) for e in said["engines"]] == [
        ("fentry", False, "refused"),
        ("kprobe", True, None),
        ("tracepoint", True, None),
    ]
    assert said["engines"][1]["hooks"] == [
        {
            "kind": "raw_tracepoint",
            "place": "kfree_skb",
            "optional": False,
            "attached": True,
            "why": None,
        }
    ]
    assert {
        "group": "kernel",
        "name": "BTF",
        "state": "ok",
        "text": "/sys/kernel/btf/vmlinux, 5.5 MB",
    } in said["checks"]
    assert record(NO_CAPABILITIES, 0)["engine"] is None


def test_every_field_is_documented() -> None:
    documented = (Path(__file__).resolve().parents[2] / "docs/doctor.md").read_text()
    said = record(HEALTHY, 0)
    engine = said["engines"][0]
    for fields in (said, said["checks"][0], engine, engine["hooks"][0]):
        assert [name for name in fields if f"`{name}`" not in documented] == []
