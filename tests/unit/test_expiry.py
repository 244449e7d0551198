# SPDX-License-Identifier: Apache-2.0
"""When a deferred request is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer import expiry
from tracer.events import Request, Verdict
from tracer.expiry import Expiry

SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def sysctls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cali1").mkdir()
    (tmp_path / "cali1" / "proxy_delay").write_text("80\n")
    monkeypatch.setattr(expiry, "NEIGH_SYSCTLS", tmp_path)


def deferred(interface: str = "cali1") -> Request:
    return Request(
        0, 1, 7, 9, interface, "10.0.0.2", "02:00:00:00:00:01", "169.254.1.1", Verdict.DEFERRED
    )


def test_proxy_delay_is_in_hundredths_of_a_second() -> None:
    assert expiry.proxy_delay_ns("cali1") == 800_000_000


def test_due_a_second_after_the_longest_delay() -> None:
    waiting = Expiry()
    request = deferred()
    waiting.add(request, 5 * SECOND)
    assert waiting.next_due() == 6_800_000_000
    assert waiting.due(6_799_999_999) == []
    assert waiting.due(6_800_000_000) == [(5 * SECOND, request)]
    assert waiting.next_due() is None


def test_several_in_the_order_of_their_time() -> None:
    waiting = Expiry()
    later, sooner = deferred(), deferred()
    waiting.add(later, 3 * SECOND)
    waiting.add(sooner, 2 * SECOND)
    assert waiting.due(10 * SECOND) == [(2 * SECOND, sooner), (3 * SECOND, later)]


def test_an_interface_whose_sysctls_cannot_be_read() -> None:
    waiting = Expiry()
    waiting.add(deferred("cali2"), 0)
    assert waiting.next_due() == 11 * SECOND
