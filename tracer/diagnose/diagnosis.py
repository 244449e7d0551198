# SPDX-License-Identifier: Apache-2.0
"""A survey, judged. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tracer.causes import CAUSES, Seen
from tracer.causes.cause import Cause, device
from tracer.causes.remedy import Remedy, advise
from tracer.diagnose import drift, macs, rights
from tracer.diagnose.conditions import State, states
from tracer.diagnose.drift import Drift
from tracer.node.look import Look
from tracer.node.survey import Survey, Surveyed

_UNKNOWN = "unknown"
_SOURCE = "source_rejected"
_ORDER = {cause.name: number for number, cause in enumerate(CAUSES)}
_BY_NAME = {cause.name: cause for cause in CAUSES}


@dataclass(frozen=True, slots=True)
class Problem:
    """``look``: that by which it was found; with ``sender_ip`` "": whoever asks."""

    cause: Cause
    because: str
    remedy: Remedy
    look: Look

    @property
    def reason(self) -> str:
        return self.cause.name


@dataclass(frozen=True, slots=True)
class Found:
    """One interface, judged. ``problems``: in the kernel's order; the first is the reason.

    ``unread``: what could not be read, with the right that is missing; ``missing``: those.
    """

    interface: str
    ifindex: int
    senders: tuple[str, ...]
    conditions: dict[str, State]
    problems: tuple[Problem, ...]
    warnings: tuple[Drift, ...]
    unread: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def reason(self) -> str | None:
        return self.problems[0].reason if self.problems else None

    @property
    def judged(self) -> bool:
        """Whether it can be said that there is no problem, if there is none."""
        return not self.unread and State.UNREAD not in self.conditions.values()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``there``: the names of the other interfaces of the namespace, which were not asked for."""

    netns: int
    target_ip: str
    interfaces: tuple[Found, ...]
    not_pods: tuple[tuple[str, str], ...] = ()  # (name, why it is not judged)
    there: tuple[str, ...] = ()

    @property
    def problems(self) -> bool:
        return any(found.problems for found in self.interfaces)

    @property
    def judged(self) -> bool:
        return all(found.judged for found in self.interfaces)


def diagnose(survey: Survey) -> Diagnosis:
    found = tuple(_found(surveyed, survey) for surveyed in survey.interfaces)
    return Diagnosis(survey.netns, survey.target_ip, found, survey.not_pods, survey.there)


def _found(surveyed: Surveyed, survey: Survey) -> Found:
    looks = surveyed.looks
    problems = _once([*_no_way_back(surveyed), *(each for look in looks for each in _of(look))])
    problems.sort(key=lambda problem: _ORDER[problem.reason])
    reasons = [problem.reason for problem in problems]
    failing = [problem.cause.condition for problem in problems]
    warnings = tuple(
        warning
        for warning in (*drift.of_interface(surveyed, survey), *macs.of_interface(surveyed))
        if not (warning.name == "no_host_route" and _SOURCE in reasons)
        and warning.name not in reasons
    )
    failures = tuple(dict.fromkeys(failure for look in looks for failure in look.failures))
    return Found(
        interface=surveyed.interface,
        ifindex=surveyed.ifindex,
        senders=tuple(look.sender_ip for look in looks if look.sender_ip),
        conditions=states(looks, failing, {warning.condition or "" for warning in warnings}),
        problems=tuple(problems),
        warnings=warnings,
        unread=tuple(map(rights.named, failures)),
        missing=tuple(dict.fromkeys(right for each in failures for right in rights.missing(each))),
    )


def _of(look: Look) -> Iterator[Problem]:
    for cause in CAUSES:
        if cause.name == _UNKNOWN:
            continue
        because = cause.holds(look)
        if because is not None:
            remedy = cause.remedy(look, Seen())
            yield Problem(cause, because, remedy, look)


def _no_way_back(surveyed: Surveyed) -> Iterator[Problem]:
    """No cause can judge a sender that nobody knows; but of what the node has no route to,
    and has never heard, rp_filter lets nothing in: net/ipv4/fib_frontend.c,
    __fib_validate_source.
    """
    look = surveyed.looks[0]
    strictness = max(look.rp_filter_interface or 0, look.rp_filter_all or 0)
    if look.sender_ip or not strictness or surveyed.led_to is not False or not look.up:
        return
    yield Problem(
        cause=_BY_NAME[_SOURCE],
        because=(
            f"rp_filter is {strictness}, and no /32 route leads to {look.interface}: no sender "
            "there is valid"
        ),
        remedy=advise(
            "Give the pod its route, once it is known which address it has: ip route replace "
            f"POD_ADDRESS/32 dev {device(look)} scope link."
        ),
        look=look,
    )


def _once(problems: list[Problem]) -> list[Problem]:
    """One for several senders that the same mends."""
    found: dict[tuple[str, Remedy], Problem] = {}
    for each in problems:
        found.setdefault((each.reason, each.remedy), each)
    return list(found.values())
