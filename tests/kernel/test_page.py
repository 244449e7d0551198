# SPDX-License-Identifier: Apache-2.0
"""The status page in a real Chromium: a real exporter on a node whose gateways fail for real.

The browser is inside the node's network namespace and comes by plain http to an address that
is not loopback, as an operator's does: no secure context, so no clipboard of the new kind.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import PATIENCE_S
from lab import Lab, web
from lab.pod import Pod
from lab.tracer import command
from lab.wiring import NODE_ADDRESS

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright (PyPI)")
expect = playwright.expect

CHROMIUM = shutil.which("chromium")
LISTEN = f"{NODE_ADDRESS}:16925"  # of the lab's node, where nobody else is
URL = f"http://{LISTEN}/"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "cali<b>&\"'x"
START_S = 60.0
SEEN_S = 2.0  # after its first unanswered request a flag is on the page

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if CHROMIUM is None:
        pytest.skip("no chromium (Debian: chromium)")
    with Lab("page", pods=2) as made:
        made.add_pod("hostile", interface=HOSTILE)
        yield made


class Exporter:
    """``arpwhy export`` in the lab's node, to be stopped and started again."""

    def __init__(self, lab: Lab, engine: str) -> None:
        self._lab = lab
        self._argv = [*command(), "export", "--engine", engine, "--listen", LISTEN]
        self.start()

    def start(self) -> None:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        self._process = self._lab.node.popen(self._argv, **quiet)
        deadline = time.monotonic() + START_S
        while not self._lab.node.call(self._answers):
            assert self._process.poll() is None, "the exporter ended"
            assert time.monotonic() < deadline, "the exporter does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(START_S) == 0

    @staticmethod
    def _answers() -> bool:
        with contextlib.suppress(OSError):
            web.fetch(URL)
            return True
        return False


@pytest.fixture(scope="module")
def exporter(lab: Lab, any_engine: str) -> Iterator[Exporter]:
    started = Exporter(lab, any_engine)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def browser(lab: Lab) -> Iterator[Any]:
    # The driver and Chromium are children of this thread: they stay where it was.
    with lab.in_node():
        driver = playwright.sync_playwright().start()
        try:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        except BaseException:
            driver.stop()
            raise
    yield browser
    browser.close()
    driver.stop()


@pytest.fixture
def open_page(browser: Any, exporter: Exporter) -> Iterator[Open]:
    """Opens the page; at the end nothing was complained of, and nobody else was asked."""
    with contextlib.ExitStack() as stack:
        complaints: list[str] = []

        def open_one(*, lost: bool = False, **options: Any) -> Any:
            context = browser.new_context(**options)
            stack.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
            if not lost:  # a request without an answer is an error on the console
                page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
            page.on(
                "request",
                lambda asked: asked.url.startswith(URL) or complaints.append(asked.url),
            )
            page.goto(URL)
            return page

        yield open_one
        assert complaints == []


def flag_of(page: Any, pod: Pod) -> Any:
    return page.locator("#flags article").filter(has_text=pod.interface)


def row_of(page: Any, pod: Pod) -> Any:
    return page.get_by_role("row").filter(has_text=pod.interface)


def patience(seconds: float = PATIENCE_S) -> dict[str, float]:
    return {"timeout": seconds * 1000}


def test_a_fault_appears_in_time_is_mended_as_the_page_says_and_goes(
    lab: Lab, open_page: Open
) -> None:
    pod = lab.pods[0]
    page = open_page()
    pod.ask(3)
    expect(row_of(page, pod)).to_contain_text("ok", **patience())
    expect(flag_of(page, pod)).to_have_count(0)
    with lab.broken("proxy_arp_off", pod):
        asked = pod.ask(1, settle=0)
        expect(flag_of(page, pod)).to_be_visible(**patience())
        took_s = (time.time_ns() - asked.first_sent_ns) / 1e9
        assert took_s < SEEN_S
        pod.ask(6)
        flag = flag_of(page, pod)
        expect(flag.locator("[data-text=unanswered]")).to_have_text("7", **patience())
        expect(flag.locator("[data-text=reason]")).to_have_text("proxy_arp_off")
        expect(row_of(page, pod)).to_contain_text("flagged")
        expect(page.locator("#said")).to_have_text("1 of 3 interfaces gets no reply")
        assert page.title().startswith("1 of 3 interfaces gets no reply")
        assert row_of(page, pod).locator("svg").get_attribute("aria-label") == (
            "10 requests in 5 min, 7 unanswered"
        )
        # By the page's button, to be pasted.
        flag.get_by_role("button").click()
        expect(flag.get_by_role("button")).to_have_text("Copied")
        page.locator("#filter").focus()
        page.keyboard.press("Control+V")
        mend = page.locator("#filter").input_value()
        assert mend == f"sysctl -w net.ipv4.conf.{pod.interface}.proxy_arp=1"
        assert not page.evaluate("isSecureContext")
        page.locator("#filter").fill("")
        assert lab.node.run(mend.split()).returncode == 0
        pod.ask(2)
        expect(flag_of(page, pod)).to_have_count(0, **patience())
        expect(row_of(page, pod)).to_contain_text("ok")
        expect(page.locator("#said")).to_have_text("No interface is flagged")


def test_advice_has_no_button(lab: Lab, open_page: Open) -> None:
    pod = lab.pods[0]
    page = open_page()
    with lab.broken("no_default_route"):
        pod.ask(2)
        flag = flag_of(page, pod)
        expect(flag.locator(".advice")).to_contain_text(".", **patience())
        expect(flag.get_by_role("button")).to_have_count(0)
    for each in lab.pods:
        each.ask(1)
        expect(flag_of(page, each)).to_have_count(0, **patience())


def test_an_update_leaves_the_reader_alone(lab: Lab, open_page: Open) -> None:
    pod, other = lab.pods[:2]
    page = open_page()
    with lab.broken("proxy_arp_off", pod), lab.broken("proxy_arp_off", other):
        pod.ask(2)
        flag = flag_of(page, pod)
        expect(flag).to_be_visible(**patience())
        flag.locator("summary").click()
        page.locator("#filter").fill(pod.interface)
        flag.locator("pre").evaluate("element => getSelection().selectAllChildren(element)")
        selected = page.evaluate("String(getSelection())")
        assert pod.interface in selected
        flag.get_by_role("button").focus()
        pod.ask(3)
        other.ask(2)
        expect(flag.locator("[data-text=unanswered]")).to_have_text("5", **patience())
        expect(page.locator("#said")).to_have_text("2 of 3 interfaces get no reply")
        assert flag.locator("details").get_attribute("open") is not None
        assert page.evaluate("String(getSelection())") == selected
        assert page.evaluate("document.activeElement.className").startswith("copy")
        expect(flag_of(page, other)).to_be_hidden()
        expect(row_of(page, other)).to_be_hidden()
        expect(page.locator("#shown")).to_have_text("1 of 3")
    for each in (pod, other):
        each.ask(1)
        expect(flag_of(page, each)).to_have_count(0, **patience())


def test_a_hostile_name_is_a_text_in_both_pages_and_nothing_scrolls_sideways(
    lab: Lab, open_page: Open
) -> None:
    pod = lab.pod("hostile")
    with lab.broken("no_default_route", pod):
        page = open_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
        pod.ask(3)
        flag = flag_of(page, pod)
        expect(flag.locator("[data-text=reason]")).to_have_text("no_route", **patience())
        expect(flag.locator("h3 code")).to_have_text(HOSTILE)
        assert page.locator("#flags b:not(.age)").count() == 0
        width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width == [360, 360]
        # As it is served, with no script to make it so.
        plain = open_page(java_script_enabled=False)
        expect(row_of(plain, pod).locator("code")).to_have_text(HOSTILE)
        expect(flag_of(plain, pod).locator("[data-text=reason]")).to_have_text("no_route")
        assert cells(plain) == cells(page)
        expect(plain.get_by_role("button")).to_have_count(0)
    pod.ask(1)
    expect(flag_of(page, pod)).to_have_count(0, **patience())


def cells(page: Any) -> list[list[str]]:
    rows = page.locator("#interfaces tr")
    return [rows.nth(i).locator("td, th").all_text_contents() for i in range(rows.count())]


def test_a_lost_server_is_said_and_found_again(
    lab: Lab, open_page: Open, exporter: Exporter
) -> None:
    pod = lab.pods[0]
    page = open_page(lost=True)
    offline = page.locator("#offline")
    expect(offline).to_be_hidden()
    exporter.stop()
    try:
        expect(offline).to_contain_text("No answer from the server (since ", **patience())
    finally:
        exporter.start()
    expect(offline).to_be_hidden(**patience())
    with lab.broken("proxy_arp_off", pod):
        pod.ask(2)
        expect(flag_of(page, pod)).to_be_visible(**patience())
    pod.ask(1)
    expect(flag_of(page, pod)).to_have_count(0, **patience())
