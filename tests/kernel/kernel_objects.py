# SPDX-License-Identifier: Apache-2.0
"""BPF programs, links, probes and filters that are in the kernel, asked by other tools."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab import Netns

# What a tracer may load; a container's cgroup programs come and go by themselves.
_TRACING = {"raw_tracepoint", "kprobe", "tracing", "tracepoint", "perf_event"}
_PROBES = (
    "/sys/kernel/tracing/kprobe_events",
    "/sys/kernel/debug/tracing/kprobe_events",
)


def _bpftool(kind: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["bpftool", "-j", kind, "show"], capture_output=True, text=True, timeout=30, check=True
    )
    shown = json.loads(done.stdout or "[]")
    return shown if isinstance(shown, list) else []


def programs() -> set[tuple[str, int]]:
    """Type and id of each tracing program."""
    return {(each["type"], each["id"]) for each in _bpftool("prog") if each["type"] in _TRACING}


def links() -> set[tuple[str, int]]:
    """("link", id) of each BPF link."""
    return {("link", each["id"]) for each in _bpftool("link")}


def held_by(process: Path) -> set[int]:
    """Ids of the programs that this process (a /proc directory) holds, or its links do."""
    found = set()
    try:
        for info in (process / "fdinfo").iterdir():
            for line in info.read_text().splitlines():
                if line.startswith("prog_id:"):
                    found.add(int(line.split(":")[1]))
    except OSError:
        pass  # it ended
    return found


def programs_left(but_of: Iterable[int] = ()) -> set[tuple[str, int]]:
    """Programs that no living process holds, or that one of ``but_of`` (pids) does.

    Others on this machine may trace at the same time: what they hold is theirs. A
    kprobe's program is held by its perf event alone, so those all count.
    """
    exempt = {str(pid) for pid in but_of}
    held: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        if process.name not in exempt:
            held |= held_by(process)
    return {each for each in programs() if each[1] not in held}


def probes() -> list[str]:
    """Probes that were made through tracefs and stay until somebody removes them."""
    found = []
    for path in map(Path, _PROBES):
        if path.is_file():
            found += [line for line in path.read_text().splitlines() if "arpwhy" in line]
    return found


def namespaces() -> set[str]:
    """Names under /run/netns."""
    root = Path("/run/netns")
    return {path.name for path in root.iterdir()} if root.is_dir() else set()


def traffic_control(netns: Netns) -> dict[str, str]:
    """All qdiscs, filters and XDP programs of a namespace's interfaces, as their tools say."""
    names = netns.run(["ls", "/proc/self/net/dev_snmp6"]).stdout.split()
    names = names or [
        line.split(":")[0].strip()
        for line in netns.run(["cat", "/proc/self/net/dev"]).stdout.splitlines()[2:]
    ]
    commands = [["tc", "qdisc", "show"], ["bpftool", "-j", "net", "show"]]
    for name in names:
        for where in ("ingress", "egress", "root"):
            commands += [["tc", "filter", "show", "dev", name, where]]
    return {" ".join(args): netns.run(args).stdout for args in commands}


def children(pid: int) -> dict[int, str]:
    """Living children of a process: pid and command line."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == pid and stat[0] != "Z":
                words = (process / "cmdline").read_bytes()
                found[int(process.name)] = words.replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found


def alive(pid: int) -> bool:
    """Whether a process of this number runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
