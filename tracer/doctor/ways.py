# SPDX-License-Identifier: Apache-2.0
"""No engine can run: what has to be done about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.doctor.facts import Facts


def ways(facts: Facts) -> tuple[str, ...]:
    """A phrase for each thing that stands in the way; () if an engine can run."""
    return () if facts.auto else tuple(_ways(facts))


def _ways(facts: Facts) -> Iterator[str]:
    known = False
    for way in (
        _privilege(facts),
        facts.trial.bcc.why,
        facts.libbpf_why,
        facts.btf_why and _btf(facts),
        facts.lockdown == "confidentiality"
        and "lockdown=confidentiality forbids it: boot with lockdown=integrity, or without",
    ):
        if way:
            known = True
            yield way
    if known:
        return
    refused = facts.trial.engines[-1].why or ""
    if facts.seccomp and "not permitted" in refused:
        yield (
            "a seccomp filter may forbid it (docker: --security-opt seccomp=unconfined; "
            "Kubernetes: seccompProfile type Unconfined)"
        )
    # The last engine asks least of the kernel.
    yield f"{facts.trial.engines[-1].name}: {refused}"


def _privilege(facts: Facts) -> str | None:
    if facts.own_userns:
        return "run as root outside of this user namespace (no rootless container)"
    if not facts.missing:
        return None
    names = " and ".join(facts.missing)
    if facts.uid != 0:
        return f"run as root, or with {names}"
    bare = [name.removeprefix("CAP_") for name in facts.missing]
    return (
        f"give this container {names} (docker: {' '.join(f'--cap-add {n}' for n in bare)}; "
        f"Kubernetes: securityContext.capabilities.add [{', '.join(bare)}])"
    )


def _btf(facts: Facts) -> str:
    if facts.btf_differs:
        return f"{facts.btf_why}; leave --btf out: this kernel has its own"
    if "--btf FILE" not in (facts.btf_why or ""):
        return f"{facts.btf_why}; give this kernel's BTF by --btf FILE"
    return f"{facts.btf_why} (github.com/aquasecurity/btfhub-archive has many)"
