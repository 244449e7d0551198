# SPDX-License-Identifier: Apache-2.0
"""Looking for causes beside the event path."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable

from tracer.events import CauseFound
from tracer.evidence import Evidence
from tracer.investigator import Investigator
from tracer.notices import Investigate
from tracer.seen import Seen

ORDER = Investigate(1, 1, 7, "cali1", "10.0.0.2", "169.254.1.1", Seen(dropped="reply"))


def found(order: Investigate) -> CauseFound:
    return CauseFound(
        2, order.netns, order.ifindex, order.target_ip, "no_route", "inferred", "ip route add"
    )


def wait_for_answers(investigator: Investigator) -> list[CauseFound]:
    assert select.select([investigator], [], [], 5.0)[0], "no answer came"
    return investigator.answers()


def test_an_order_is_answered() -> None:
    investigator = Investigator(lambda: found)
    investigator.order(ORDER)
    assert wait_for_answers(investigator) == [found(ORDER)]
    assert investigator.answers() == []
    investigator.close()


def test_a_slow_look_does_not_hold_up_the_caller() -> None:
    release = threading.Event()

    def prepare() -> Callable[[Investigate], CauseFound]:
        def investigate(order: Investigate) -> CauseFound:
            assert release.wait(5)
            return found(order)

        return investigate

    investigator = Investigator(prepare)
    investigator.order(ORDER)
    assert investigator.answers() == []
    release.set()
    assert len(wait_for_answers(investigator)) == 1
    investigator.close()


def test_an_error_of_ours_is_said_and_the_next_order_is_answered() -> None:
    def investigate(order: Investigate) -> CauseFound:
        if order.ifindex == 7:
            raise KeyError("oops")
        return found(order)

    investigator = Investigator(lambda: investigate)
    investigator.order(ORDER)
    (answer,) = wait_for_answers(investigator)
    assert answer.reason == "unknown"
    assert answer.evidence == Evidence(Seen(dropped="reply"), {"error": "KeyError: 'oops'"})
    investigator.order(Investigate(1, 1, 8, "cali2", "10.0.0.3", "169.254.1.1", Seen()))
    (answer,) = wait_for_answers(investigator)
    assert answer.reason == "no_route"
    investigator.close()
