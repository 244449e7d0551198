# SPDX-License-Identifier: Apache-2.0
"""What is there and what is not, a line each. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tracer.doctor.facts import Facts


class State(StrEnum):
    OK = "ok"
    NO = "no"
    UNKNOWN = "unknown"
    NOTE = "note"  # neither good nor bad: arpwhy does without


@dataclass(frozen=True, slots=True)
class Check:
    """``text`` is for people: what was found and what it matters for."""

    group: str
    name: str
    state: State
    text: str


def checks(facts: Facts) -> Iterator[Check]:
    for group, make in (
        ("kernel", _kernel),
        ("this process", _process),
        ("installed", _installed),
        ("mounted", _mounted),
    ):
        for name, state, text in make(facts):
            yield Check(group, name, state, text)


_Line = tuple[str, State, str]


def _kernel(facts: Facts) -> Iterator[_Line]:
    if facts.btf_why:
        yield "BTF", State.NO, facts.btf_why
    elif facts.btf_differs:
        text = "is not this kernel's own, which is at /sys/kernel/btf/vmlinux"
        yield "BTF", State.NO, f"{facts.btf} {text}"
    else:
        yield "BTF", State.OK, f"{facts.btf}, {(facts.btf_size or 0) / 1e6:.1f} MB"
    yield "lockdown", *_lockdown(facts)
    sysctl = facts.sysctls
    unprivileged = sysctl["unprivileged_bpf_disabled"]
    yield (
        "unprivileged_bpf_disabled",
        State.NOTE,
        f"{_shown(unprivileged)}: matters not, BPF needs CAP_BPF in any case",
    )
    paranoid = sysctl["perf_event_paranoid"]
    yield (
        "perf_event_paranoid",
        State.NOTE,
        f"{_shown(paranoid)}: "
        + ("kprobe needs CAP_SYS_ADMIN" if kprobe_needs_root(facts) else "no obstacle to kprobe"),
    )
    yield "kptr_restrict", *_addresses(facts)


def _lockdown(facts: Facts) -> tuple[State, str]:
    """Confidentiality forbids kprobes and BPF's reading of kernel memory
    (include/linux/security.h, LOCKDOWN_KPROBES, LOCKDOWN_BPF_READ_KERNEL); integrity does not.
    """
    if facts.lockdown is None:
        return State.UNKNOWN, f"not known: {facts.lockdown_why}"
    if facts.lockdown == "confidentiality":
        return State.NO, "confidentiality: no BPF program may read kernel memory"
    return State.OK, facts.lockdown


def _addresses(facts: Facts) -> tuple[State, str]:
    """What kallsyms really gives; the sysctl only tells why (kernel/ksyms_common.c)."""
    restrict = facts.sysctls["kptr_restrict"]
    if facts.trial.addresses_hidden is None:
        return State.UNKNOWN, f"{_shown(restrict)}: addresses may be hidden"
    if not facts.trial.addresses_hidden:
        return State.OK, f"{_shown(restrict)}: addresses are shown"
    shows = "CAP_SYSLOG" if (restrict or 0) < 2 else "sysctl -w kernel.kptr_restrict=1"
    return State.NO, (
        f"{_shown(restrict)}: addresses are hidden, so the function that dropped a packet "
        f"is not named; {shows} shows them"
    )


def kprobe_needs_root(facts: Facts) -> bool:
    """Debian's and Ubuntu's kernels know levels above 2, and refuse perf_event_open()."""
    return (facts.sysctls["perf_event_paranoid"] or 0) > 2


def _process(facts: Facts) -> Iterator[_Line]:
    has = frozenset[str]() if facts.own_userns else facts.capabilities
    for name in ("CAP_BPF", "CAP_PERFMON"):
        if name in has or "CAP_SYS_ADMIN" in has:
            yield name, State.OK, "there" if name in has else "CAP_SYS_ADMIN stands for it"
        else:
            yield name, State.NO, "missing for every engine"
    if "CAP_SYS_ADMIN" in has:
        yield "CAP_SYS_ADMIN", State.OK, "there"
    elif kprobe_needs_root(facts):
        yield "CAP_SYS_ADMIN", State.NO, "missing for kprobe, see perf_event_paranoid"
    else:
        yield "CAP_SYS_ADMIN", State.NOTE, "not there, not needed"
    if "CAP_NET_RAW" in has:
        yield "CAP_NET_RAW", State.OK, "there"
    else:
        yield "CAP_NET_RAW", State.NOTE, "missing: tracepoint does not see unusual frames"
    if facts.own_userns:
        yield "user namespace", State.NO, "not the machine's: no capability in it counts"
    if facts.seccomp is None:
        yield "seccomp", State.UNKNOWN, "the kernel does not say"
    elif facts.seccomp:
        yield "seccomp", State.NOTE, "a filter is on: it may forbid bpf() or perf_event_open()"
    else:
        yield "seccomp", State.OK, "no filter"


def _installed(facts: Facts) -> Iterator[_Line]:
    bcc = facts.trial.bcc
    if bcc.why:
        yield "bcc", State.NO, bcc.why
    else:
        library = f"libbcc {bcc.library}" if bcc.library else "libbcc of unknown version"
        yield "bcc", State.OK, f"Python module {bcc.module or 'of unknown version'}, {library}"
    if facts.libbpf_why:
        yield "libbpf", State.NO, facts.libbpf_why
    else:
        yield "libbpf", State.OK, facts.libbpf or "of unknown version"
    yield "kernel headers", State.NOTE, "not needed: structs come from BTF"


def _mounted(facts: Facts) -> Iterator[_Line]:
    for name, kind in (("tracefs", "tracefs"), ("bpffs", "bpf")):
        if where := facts.mounts.get(kind):
            yield name, State.OK, f"{where}, not needed"
        elif facts.exec_netns:
            netns = facts.exec_netns
            text = f"hidden by `ip netns exec`: nsenter --net=/run/netns/{netns} keeps it"
            yield name, State.NOTE, f"{text}; not needed"
        else:
            yield name, State.NOTE, "not mounted, not needed"


def _shown(value: int | None) -> str:
    return "not there" if value is None else str(value)
