# SPDX-License-Identifier: Apache-2.0
"""The status page: order, escaping, what changes its ETag, and that nothing is computed twice."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import pytest

from tracer.causes import CAUSES
from tracer.events import (
    CauseFound,
    LinkSeen,
    Lost,
    Neighbour,
    Started,
    Verdict,
)
from tracer.events import Request as ArpRequest
from tracer.export.page import Page
from tracer.export.page.page import FRESH_NS
from tracer.export.response import Request, Response
from tracer.export.snapshot import Snapshot
from tracer.seen import Seen
from tracer.state import State

SECOND = 1_000_000_000
BEGAN = 1_763_974_800 * SECOND  # 2025-11-24 09:00:00 UTC
NETNS = 4026531840
HOSTILE = "cali<b>&\"'x"  # 11 bytes, as the kernel takes them
CONTROL = "c\x1b[31m\udcff\u202e"


class Node:
    """A state, and the page over it; ``snapshots`` counts how often the state was asked."""

    def __init__(self) -> None:
        self.state = State()
        self.started = Started(BEGAN, "0.1.0", "tracepoint", "6.18.5", (), ("169.254.1.1",))
        self.state.feed(self.started)
        self.pods: dict[str, Mapping[str, str]] = {}
        self.snapshots = 0
        self.now_ns = 1_000 * SECOND
        self.page = Page(self._snapshot, pods=self.pods.get, node="node<1>")

    def _snapshot(self) -> Snapshot:
        self.snapshots += 1
        return Snapshot.of(self.state, self.started, BEGAN)

    def link(self, index: int, name: str) -> None:
        self.state.feed(LinkSeen(BEGAN, NETNS, index, name))

    def ask(self, index: int, name: str, verdict: Verdict, second: int = 1) -> None:
        latency = 60_000 if verdict is Verdict.ANSWERED else None
        ts = BEGAN + second * SECOND
        self.state.feed(
            ArpRequest(
                ts, NETNS, index, index, name, "10.0.0.1", "02", "169.254.1.1", verdict, latency
            )
        )

    def flag(
        self,
        index: int,
        name: str,
        second: int = 1,
        remedy: str = "sysctl -w a=1",
        kind: str = "command",
    ) -> None:
        self.ask(index, name, Verdict.UNANSWERED, second)
        self.state.feed(
            CauseFound(
                BEGAN + second * SECOND + 3_000_000,
                NETNS,
                index,
                "169.254.1.1",
                "proxy_arp_off",
                "observed",
                remedy,
                Seen(forwarding=1),
                kind,
                because=f"proxy_arp of {name} is 0",
            )
        )

    def later(self) -> None:
        """Time passes: what was computed is no longer fresh."""
        self.now_ns += FRESH_NS

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        return self.page.respond(Request("GET", path, headers=headers or {}))

    def status(self) -> dict[str, Any]:
        self.later()
        response = self.get("/status/now.json")
        assert response.status == 200
        return dict(json.loads(response.body))

    def html(self) -> str:
        self.later()
        return self.get("/").body.decode()


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    made = Node()
    monkeypatch.setattr("tracer.export.page.page.time.monotonic_ns", lambda: made.now_ns)
    yield made
    made.page.close()


class Reader(HTMLParser):
    """Tags with their attributes, and the texts outside style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._within = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within not in ("style", "script") and data.strip():
            self.texts.append(data.strip())


# -- what is said ------------------------------------------------------------------------------


def test_the_longest_without_a_reply_comes_first_and_keeps_its_place(node: Node) -> None:
    for index, second in ((2, 50), (3, 10), (4, 30)):
        node.flag(index, f"cali{index}", second)
    for second in range(51, 70):
        node.ask(2, "cali2", Verdict.UNANSWERED, second)
    status = node.status()
    assert [flag["interface"] for flag in status["flags"]] == ["cali3", "cali4", "cali2"]
    assert [flag["unanswered"] for flag in status["flags"]] == ["1", "1", "20"]


def test_a_link_state_that_no_request_met_comes_after_those_that_ask(node: Node) -> None:
    node.state.feed(LinkSeen(BEGAN, NETNS, 9, "cali9", "down"))
    node.flag(2, "cali2", 50)
    node.state.feed(
        CauseFound(BEGAN + 51 * SECOND, NETNS, 9, "169.254.1.1", "link_down", "inferred", "up.")
    )
    flags = node.status()["flags"]
    assert [(flag["reason"], flag["unanswered"]) for flag in flags] == [
        ("proxy_arp_off", "1"),
        ("link_down", "0"),
    ]


def test_interfaces_are_flagged_ones_then_by_pod_then_by_name(node: Node) -> None:
    node.link(2, "cali2")
    node.ask(3, "cali3", Verdict.ANSWERED)
    node.ask(4, "cali4", Verdict.ANSWERED)
    node.flag(5, "cali5")
    node.pods["cali4"] = {"namespace": "a", "name": "web"}
    rows = node.status()["interfaces"]
    assert [(row["interface"], row["state"], row["pod"]) for row in rows] == [
        ("cali5", "flagged", ""),
        ("cali4", "ok", "a/web"),
        ("cali2", "quiet", ""),
        ("cali3", "ok", ""),
    ]


@pytest.mark.parametrize(
    ("asked", "flagged", "level", "headline", "quiet"),
    [
        (0, 0, "quiet", "No request seen yet", "7 have not asked yet"),
        (6, 0, "ok", "No interface is flagged", "1 has not asked yet"),
        (0, 1, "flagged", "1 of 7 interfaces gets no reply", "6 have not asked yet"),
        (5, 2, "flagged", "2 of 7 interfaces get no reply", ""),
    ],
)
def test_the_headline(
    node: Node, asked: int, flagged: int, level: str, headline: str, quiet: str
) -> None:
    for index in range(7):
        name = f"cali{index}"
        if index < asked:
            node.ask(index, name, Verdict.ANSWERED)
        elif index < asked + flagged:
            node.flag(index, name)
        else:
            node.link(index, name)
    status = node.status()
    assert (status["level"], status["headline"], status["quiet"]) == (level, headline, quiet)


def test_a_flag_has_what_is_needed_to_mend_it(node: Node) -> None:
    node.flag(2, "cali2", remedy="ip route add x\nip route add y")
    node.state.feed(Neighbour(BEGAN, NETNS, 2, 2, "cali2", "10.0.0.1", None, "failed", None))
    node.pods["cali2"] = {"namespace": "shop", "name": "web-1"}
    (flag,) = node.status()["flags"]
    assert flag["pod"] == "shop/web-1"
    assert flag["means"].startswith("Neither the interface's nor all's proxy_arp is on")
    assert flag["because"] == "proxy_arp of cali2 is 0"
    assert flag["evidence"] == "forwarding=1"
    assert (flag["advice"], flag["commands"]) == ("", "ip route add x\nip route add y")
    assert flag["since"] == BEGAN // 1_000_000 + 1000
    assert (flag["neighbours"], flag["failures"]) == ("10.0.0.1 failed", "1 failure")


def test_advice_is_not_to_be_copied(node: Node) -> None:
    node.flag(2, "cali2", remedy="Find out whose it is.\nip route del x", kind="advice")
    (flag,) = node.status()["flags"]
    assert (flag["advice"], flag["commands"]) == ("Find out whose it is. ip route del x", "")


def test_lost_events_are_said(node: Node) -> None:
    assert node.status()["lost"] == ""
    node.state.feed(Lost(BEGAN, 7))
    assert node.status()["lost"].startswith("7 events were lost")


def test_many_neighbours_are_cut_and_failed_ones_come_first(node: Node) -> None:
    for host, state in ((1, "reachable"), (2, "stale"), (3, "reachable"), (4, "failed")):
        ip = f"10.0.0.{host}"
        node.state.feed(Neighbour(BEGAN, NETNS, 2, 2, "cali2", ip, None, state, None))
    (row,) = node.status()["interfaces"]
    assert row["neighbours"] == "10.0.0.4 failed, 10.0.0.2 stale, 10.0.0.1 reachable, 1 more"


# -- hostile names ----------------------------------------------------------------------------


def test_hostile_names_are_texts_and_nothing_else(node: Node) -> None:
    node.flag(2, HOSTILE, remedy=f"sysctl -w '{HOSTILE}'")
    node.ask(3, CONTROL, Verdict.ANSWERED)
    node.pods[CONTROL] = {"namespace": "</script><script>alert(1)", "name": "\ud800\x00"}
    html = node.html()
    html.encode()
    reader = Reader(html)
    assert "b" in {tag for tag, _ in reader.tags}  # the template's own
    assert not [
        attrs for tag, attrs in reader.tags if tag == "b" and attrs not in ({}, {"class": "age"})
    ]
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert reader.texts.count(HOSTILE) == 2  # the flag and its row
    assert "node<1>" in reader.texts
    assert f"sysctl -w '{HOSTILE}'" in reader.texts
    assert "c\\x1b[31m\\xff\\u202e" in reader.texts
    assert "</script><script>alert(1)/\\ud800\\x00" in reader.texts
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", html)


def test_json_of_hostile_names_is_ascii_and_printable(node: Node) -> None:
    node.ask(3, CONTROL, Verdict.ANSWERED)
    node.later()
    body = node.get("/status/now.json").body
    assert body.isascii()
    assert json.loads(body)["interfaces"][0]["interface"] == "c\\x1b[31m\\xff\\u202e"


# -- resources --------------------------------------------------------------------------------


def test_the_policy_allows_the_page_s_own_style_and_script_alone(node: Node) -> None:
    response = node.get("/")
    html = response.body.decode()
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert not re.search(r"""(src|href|action)\s*=\s*["']?(https?:|//)""", html)
    assert " style=" not in html
    assert not re.search(r"<[^>]*\son\w+=", html)


def test_each_reason_is_explained_and_linked(node: Node) -> None:
    node.flag(2, "cali2")
    reader = Reader(node.html())
    ids = {attrs["id"] for tag, attrs in reader.tags if tag == "details" and "id" in attrs}
    assert ids == {f"reason-{cause.name}" for cause in CAUSES}
    assert ("a", "#reason-proxy_arp_off") in [(tag, a.get("href")) for tag, a in reader.tags]


def test_ids_are_used_once(node: Node) -> None:
    node.flag(2, "cali2")
    node.flag(3, "cali3")
    ids = [attrs["id"] for _, attrs in Reader(node.html()).tags if "id" in attrs]
    assert sorted(ids) == sorted(set(ids))


def test_the_same_status_has_the_same_etag_and_is_not_sent_again(node: Node) -> None:
    node.ask(2, "cali2", Verdict.ANSWERED)
    first = node.get("/status/now.json")
    node.later()
    etag = first.headers["ETag"]
    again = node.get("/status/now.json", {"if-none-match": etag})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag)
    assert int(again.headers["Arpwhy-Time"]) > 1_700_000_000_000
    node.ask(2, "cali2", Verdict.ANSWERED, 2)
    node.later()
    changed = node.get("/status/now.json", {"if-none-match": etag})
    assert changed.status == 200
    assert changed.headers["ETag"] != etag


def test_all_viewers_share_one_computation_until_it_is_no_longer_fresh(node: Node) -> None:
    for _ in range(11):
        node.get("/status/now.json")
        node.get("/")
    assert node.snapshots == 1
    node.later()
    node.get("/status/now.json")
    assert node.snapshots == 2


@pytest.mark.parametrize("path", ["/", "/status/now.json"])
def test_gzip_is_for_who_takes_it(node: Node, path: str) -> None:
    packed = node.get(path, {"accept-encoding": "gzip, deflate, br"})
    plain = node.get(path)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert len(gzip.decompress(packed.body)) == len(plain.body)


def test_there_is_no_other_page(node: Node) -> None:
    assert node.get("/status").status == 404


def test_ten_interfaces_are_under_100_kilobytes(node: Node) -> None:
    for index in range(10):
        node.flag(index, f"cali{index}")
    assert len(node.html()) < 100_000
