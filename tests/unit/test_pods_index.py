# SPDX-License-Identifier: Apache-2.0
"""Whose an interface is: by Calico's name for it, or by its addresses."""

from __future__ import annotations

import json

import pytest

from tracer.pods import index
from tracer.pods.index import Index, Pod
from tracer.pods.names import interface_name, says_whose
from tracer.pods.trouble import Garbage, Gone, Trouble
from tracer.pods.wire import change, page

NGINX = {"namespace": "default", "name": "nginx"}
NAME = "calic440f455693"


def of(**status: object) -> dict[str, object]:
    return {"metadata": {"namespace": "d", "name": "p"}, "spec": {}, "status": status}


def test_the_name_is_calicos() -> None:
    assert interface_name("default", "nginx", "cali") == NAME
    whose = says_whose(("cali", "azv"))
    assert whose(NAME)
    assert whose("azv0123456789a")
    assert not any(map(whose, ("tap0a1b2c3d-4e", "cali1", NAME + "0", "eth0", "calic440f45569g")))


def test_each_prefix_finds_it() -> None:
    pods = Index(("cali", "azv"))
    pods.put(Pod("default", "nginx"))
    assert pods.by_interface(NAME) == pods.by_interface("azvc440f455693") == NGINX
    assert pods.by_interface("tapc440f455693") is None


def test_addresses_are_a_living_pods_alone() -> None:
    pods = Index(("cali",))
    pods.put(Pod("default", "nginx", ("10.0.0.1",)))
    assert pods.by_addresses(["10.0.0.7", "10.0.0.1"]) == NGINX
    pods.put(Pod("default", "other", ("10.0.0.1",)))
    assert pods.by_addresses(["10.0.0.1"]) is None, "two claim it"
    pods.put(Pod("default", "other", ()))
    assert pods.by_addresses(["10.0.0.1"]) == NGINX
    pods.drop(Pod("default", "nginx"))
    assert pods.by_addresses(["10.0.0.1"]) is None
    assert pods.by_interface(NAME) == NGINX, "its interface may have outlived it"
    pods.put(Pod("default", "nginx", ("10.0.0.2",)))
    assert pods.by_addresses(["10.0.0.2"]) == NGINX


def test_a_new_list_is_all_there_is() -> None:
    pods = Index(("cali",))
    pods.replace([Pod("default", "nginx", ("10.0.0.1",)), Pod("default", "old", ("10.0.0.2",))])
    pods.replace([Pod("default", "new", ("10.0.0.2",)), Pod("default", "nginx", ("10.0.0.1",))])
    assert pods.by_addresses(["10.0.0.2"]) == {"namespace": "default", "name": "new"}
    assert pods.by_addresses(["10.0.0.1"]) == NGINX


def test_the_gone_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_REMEMBERED", 2)
    pods = Index(("cali",))
    for number in range(5):
        pods.put(Pod("n", f"p{number}", ("10.0.0.1",)))
        pods.drop(Pod("n", f"p{number}"))
    known = [pods.by_interface(interface_name("n", f"p{n}", "cali")) for n in range(5)]
    assert [each is not None for each in known] == [False, False, False, True, True]


def test_what_is_kept_of_a_pod() -> None:
    ips = [{"ip": "fd00::1"}, {"ip": "10.0.0.1"}]
    texts = [
        of(phase="Running", podIP="fd00::1", podIPs=ips),
        of(phase="Succeeded", podIP="10.0.0.1"),
        of(),
        {**of(podIP="192.0.2.1"), "spec": {"hostNetwork": True}},
    ]
    read = page(json.dumps({"metadata": {"resourceVersion": "7"}, "items": texts}).encode())
    assert read == ([Pod("d", "p", ("10.0.0.1",)), Pod("d", "p"), Pod("d", "p")], 4, "7", "")


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b"null", b'{"items":[{}],"metadata":{}}'])
def test_garbage(text: bytes) -> None:
    with pytest.raises(Garbage):
        page(text)
    with pytest.raises(Garbage):
        change(text)


def test_an_error_in_a_watch() -> None:
    for code, kind in ((410, Gone), (500, Trouble)):
        status = {"type": "ERROR", "object": {"code": code, "message": "a\nb\x1b"}}
        with pytest.raises(kind, match=rf"^the API server says {code}: a b\\x1b$"):
            change(json.dumps(status).encode())
