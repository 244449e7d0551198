# SPDX-License-Identifier: Apache-2.0
"""What the machine and this process are: read, not judged."""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tracer.doctor.library import loaded_version
from tracer.doctor.trial import Trial
from tracer.doctor.trial import run as try_engines
from tracer.kernel.btf import VMLINUX, Btf, BtfError
from tracer.kernel.libbpf import Libbpf, LibbpfError
from tracer.permission import missing_capabilities

# include/uapi/linux/capability.h
_CAPABILITIES = {
    "CAP_BPF": 39,
    "CAP_PERFMON": 38,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYSLOG": 34,
    "CAP_NET_RAW": 13,
}
_SYSCTLS = ("unprivileged_bpf_disabled", "perf_event_paranoid", "kptr_restrict")
_SECURITY = Path("/sys/kernel/security")
_WHOLE_RANGE = ["0", "0", str(2**32 - 1)]


@dataclass(frozen=True, slots=True)
class Facts:
    """``btf_differs``: it is not the running kernel's own; None: there is none to compare.
    ``capabilities`` has those that matter, effective. ``missing``: those without which
    nothing can be tried. ``own_userns``: they count in a user namespace only.
    ``lockdown`` None: not known, and ``lockdown_why``. ``seccomp``: a filter is on; None:
    not known. ``mounts``: file system type -> where it is seen. ``exec_netns``: the
    namespace for which ``ip netns exec`` has put another /sys here.
    """

    release: str
    machine: str
    uid: int
    btf: str
    btf_size: int | None
    btf_why: str | None
    btf_differs: bool | None
    lockdown: str | None
    lockdown_why: str | None
    sysctls: Mapping[str, int | None]
    capabilities: frozenset[str]
    missing: tuple[str, ...]
    own_userns: bool
    seccomp: bool | None
    libbpf: str | None
    libbpf_why: str | None
    mounts: Mapping[str, str]
    exec_netns: str | None
    trial: Trial

    @property
    def auto(self) -> str | None:
        """The engine that ``--engine auto`` takes; None if there is none that can run."""
        if self.libbpf_why:  # what reads the events
            return None
        return next((engine.name for engine in self.trial.engines if engine.why is None), None)


def read(btf_file: str | None) -> Facts:
    """Takes about a second: the engines are tried."""
    missing = tuple(missing_capabilities())
    btf_size, btf_why = _btf(btf_file)
    own_userns = Path("/proc/self/uid_map").read_text().split() != _WHOLE_RANGE
    blocked = btf_why
    if own_userns:
        blocked = "capabilities do not count in this user namespace"
    elif missing:
        blocked = f"{' and '.join(missing)} missing"
    status = Path("/proc/self/status").read_text()
    mounts = _mounts(Path("/proc/self/mountinfo").read_text())
    lockdown, lockdown_why = _lockdown(_SECURITY, "securityfs" in mounts)
    libbpf, libbpf_why = _libbpf()
    return Facts(
        release=os.uname().release,
        machine=os.uname().machine,
        uid=os.geteuid(),
        btf=btf_file or VMLINUX,
        btf_size=btf_size,
        btf_why=btf_why,
        btf_differs=_differs(Path(btf_file or VMLINUX), Path(VMLINUX)),
        lockdown=lockdown,
        lockdown_why=lockdown_why,
        sysctls={name: _number(Path("/proc/sys/kernel") / name) for name in _SYSCTLS},
        capabilities=_capabilities(status),
        missing=missing,
        own_userns=own_userns,
        seccomp=_seccomp(status),
        libbpf=libbpf,
        libbpf_why=libbpf_why,
        mounts={kind: place for kind, (place, _) in mounts.items()},
        exec_netns=_exec_netns(mounts.get("sysfs")),
        trial=try_engines(btf_file, blocked),
    )


def _btf(file: str | None) -> tuple[int | None, str | None]:
    path = file or VMLINUX
    try:
        Btf.load(path)
        return Path(path).stat().st_size, None
    except (BtfError, OSError) as error:
        return None, str(error)


def _differs(file: Path, own: Path) -> bool | None:
    if not own.exists():
        return None
    try:
        return file != own and not filecmp.cmp(file, own, shallow=False)
    except OSError:
        return True


def _capabilities(status: str) -> frozenset[str]:
    effective = int(status.split("CapEff:")[1].split(maxsplit=1)[0], 16)
    return frozenset(name for name, bit in _CAPABILITIES.items() if effective >> bit & 1)


def _seccomp(status: str) -> bool | None:
    """Mode 2 is a filter (include/uapi/linux/seccomp.h); a kernel may not say."""
    found = re.search(r"^Seccomp:\s*(\d)", status, re.MULTILINE)
    return found[1] != "0" if found else None


def _lockdown(security: Path, mounted: bool) -> tuple[str | None, str | None]:
    """The level in brackets, as in ``none [integrity] confidentiality``, or why none is known."""
    try:
        text = (security / "lockdown").read_text()
    except FileNotFoundError:
        if mounted or not security.exists():  # the kernel has no securityfs, or no such file
            return "not built in", None
        return None, "securityfs is not mounted"
    except OSError as error:
        return None, error.strerror
    level = text.partition("[")[2].partition("]")[0]
    return level or text.strip(), None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _libbpf() -> tuple[str | None, str | None]:
    try:
        Libbpf()
    except LibbpfError as error:
        return None, str(error)
    return loaded_version("libbpf"), None


def _mounts(mountinfo: str) -> dict[str, tuple[str, str]]:
    """File system type -> (where, source): the last mount of each; proc(5) has the format."""
    found = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, source = after.split(" ")[:2]
        if kind in ("sysfs", "tracefs", "bpf", "securityfs"):
            found[kind] = before.split(" ")[4], source
    return found


def _exec_netns(sysfs: tuple[str, str] | None) -> str | None:
    """``ip netns exec NAME`` mounts a sysfs whose source is NAME (iproute2, lib/namespace.c)."""
    if sysfs is None or sysfs[0] != "/sys" or sysfs[1] in ("sysfs", "none", "sys"):
        return None
    return sysfs[1] if (Path("/run/netns") / sysfs[1]).exists() else None
