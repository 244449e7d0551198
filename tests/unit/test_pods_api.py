# SPDX-License-Identifier: Apache-2.0
"""Recorded conversations with a real API server, over real sockets, by the real client."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("kubernetes", reason="the package kubernetes is not installed")

from pods.cluster import certificates
from pods.player import Answer, Player, recorded

from tracer.options import Options, PodOptions
from tracer.pods import PodsError, api, open_pods, opening
from tracer.pods.api import Api
from tracer.pods.credentials import Credentials
from tracer.pods.index import Index, Pod
from tracer.pods.trouble import Cut, Garbage, Gone, Trouble, Unreached
from tracer.pods.watcher import Watcher

NGINX = "calic440f455693"
LATE = Pod("default", "late", ("192.168.156.4",))


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mounted service account, and beside it the server's certificate."""
    directory = tmp_path_factory.mktemp("account")
    certificates(directory)
    (directory / "token").write_text("first\n")
    return directory


@pytest.fixture
def play(account: Path) -> Iterator[Callable[..., tuple[Player, Api]]]:
    players = []

    def start(*answers: Answer) -> tuple[Player, Api]:
        player = Player(answers, account)
        players.append(player)
        (account / "token").write_text("first\n")
        return player, Api(Credentials(environ=environ(player.port), account=account), "worker-1")

    yield start
    for player in players:
        player.die()


def environ(port: int) -> dict[str, str]:
    return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}


def trouble(talk: Callable[[], object]) -> Trouble:
    with pytest.raises(Trouble) as raised:
        talk()
    return raised.value


def watched(api: Api, version: str = "1") -> list[object]:
    with api.watch(version, 5) as changes:
        return list(changes)


def test_a_list_and_a_watch(play: Callable[..., tuple[Player, Api]]) -> None:
    there, later = recorded("pods")
    player, api = play(there, later)
    page = api.pods()
    assert {pod.name: pod.addresses for pod in page.pods} == {
        "nginx": ("192.168.156.1",),
        "vm": ("192.168.156.2",),
        "job": (),
    }
    assert page.listed == 4
    assert [(change.pod, change.gone) for change in watched(api, page.version)] == [
        (Pod("default", "late"), False),
        (LATE, False),  # of two, the IPv4 one
        (Pod("default", "late"), False),  # it failed
        (Pod("default", "late"), False),
        (Pod("default", "late"), True),
        (None, False),  # the bookmark
    ]
    # What was asked is what the real server was asked.
    assert player.asked == [there.query, {**later.query, "timeoutSeconds": "5"}]
    assert player.tokens == ["bearer first"] * 2


def test_refusals_are_told_in_the_servers_words(play: Callable[..., tuple[Player, Api]]) -> None:
    _, api = play(*recorded("refused"))
    said = [str(trouble(lambda: watched(api))), *(str(trouble(api.pods)) for _ in range(2))]
    assert "403" in said[0]
    assert "cannot watch resource" in said[0]
    assert "cannot list resource" in said[1]
    assert said[2] == "the API server says 401: Unauthorized"


def test_410_as_an_event_and_as_a_status(play: Callable[..., tuple[Player, Api]]) -> None:
    _, api = play(*recorded("expired"))
    assert isinstance(trouble(lambda: watched(api)), Gone)
    assert isinstance(trouble(lambda: api.pods("token")), Gone)


def test_a_cut_in_mid_line_loses_the_half_line_alone(
    play: Callable[..., tuple[Player, Api]],
) -> None:
    whole = recorded("pods")[1]
    _, api = play(whole.but(then="cut"))
    seen = []

    def talk() -> None:
        with api.watch("1", 5) as changes:
            for change in changes:
                seen.append(change)  # noqa: PERF402 - until it breaks off

    assert isinstance(trouble(talk), Cut)
    assert 2 <= len(seen) < 6


def test_garbage_silence_and_a_full_server(
    play: Callable[..., tuple[Player, Api]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_WATCH_S", 0.2)
    there, later = recorded("pods")
    busy = there.but(status=429, headers={"Retry-After": "17"}, body="slow down")
    html = there.but(body="<html>log in</html>")
    _, client = play(html, later.but(body="{]\n"), later.but(then="hang"), busy)
    assert isinstance(trouble(client.pods), Garbage)
    assert isinstance(trouble(lambda: watched(client)), Garbage)
    silent = trouble(lambda: watched(client))
    assert isinstance(silent, Cut)
    assert str(silent) == "no answer in time"
    assert trouble(client.pods).retry_after_s == 17
    reset = trouble(client.pods)  # no answers are left
    assert not isinstance(reset, Unreached), "a list may have reached it"


def test_nobody_there_and_somebody_else(
    play: Callable[..., tuple[Player, Api]], account: Path, tmp_path: Path
) -> None:
    player, client = play()
    certificates(tmp_path)
    (tmp_path / "token").write_text("first")
    other = Api(Credentials(environ=environ(player.port), account=tmp_path), "worker-1")
    distrust = trouble(other.pods)
    assert isinstance(distrust, Unreached)
    assert "certificate is not to be trusted" in str(distrust)
    assert player.asked == [], "our token was not sent to it"
    player.die()
    dead = trouble(client.pods)
    assert isinstance(dead, Unreached)
    assert str(dead) == f"https://127.0.0.1:{player.port}: connection refused"


def test_a_new_token_is_read_after_a_401(
    play: Callable[..., tuple[Player, Api]], account: Path
) -> None:
    """And the lines that are said: one, and one."""
    unauthorized = recorded("refused")[2]
    there, later = recorded("pods")
    player, client = play(there, unauthorized, later.but(then="hang"))
    said: list[str] = []
    stop = threading.Event()
    pods = Index(("cali",))

    def pause(seconds: float) -> None:
        if seconds:  # after the refusal
            (account / "token").write_text("second")

    thread = threading.Thread(
        target=Watcher(client, pods, "worker-1", said.append, stop, pause=pause).run
    )
    thread.start()
    player.wait(3)
    deadline = time.monotonic() + 10
    while len(said) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    began = time.monotonic()
    client.interrupt()
    thread.join(5)
    assert time.monotonic() - began < 1, "a watch that waits is ended at once"
    assert player.tokens == ["bearer first", "bearer first", "bearer second"]
    assert len(said) == 2
    assert "401" in said[0]
    assert pods.by_interface(NGINX) == {"namespace": "default", "name": "nginx"}


def options(mode: str, kubeconfig: str | None = None) -> Options:
    return Options(("cali*",), None, None, False, None, PodOptions(mode, kubeconfig=kubeconfig))


def test_auto_is_off_without_a_service_account() -> None:
    said: list[str] = []
    with open_pods(options("auto"), said.append) as pods:
        assert pods(NGINX) is None
    assert said == []
    assert not [t for t in threading.enumerate() if t.name == "pods"]


def test_kubernetes_must_have_a_client_and_a_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(PodsError, match=r"no such file$"):
        open_pods(options("kubernetes", str(tmp_path / "none")), print)
    (tmp_path / "bad").write_text("a: [")
    with pytest.raises(PodsError, match=r"^no names of pods: [^\n]+$"):
        open_pods(options("kubernetes", str(tmp_path / "bad")), print)
    monkeypatch.setattr(opening, "client_is_there", lambda: False)
    with pytest.raises(PodsError, match=r"pip install 'arpwhy\[kubernetes\]'$"):
        open_pods(options("kubernetes"), print)
    monkeypatch.setattr(Credentials, "in_cluster", True)
    said: list[str] = []
    open_pods(options("auto"), said.append)
    assert len(said) == 1


def test_the_client_is_not_imported_before_it_is_used() -> None:
    code = "import sys, tracer.cli.trace; sys.exit('kubernetes' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
