# SPDX-License-Identifier: Apache-2.0
"""Others than the kernel that answer for the gateway, or listen as if they did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .. import state as states
from ..errors import LabError
from . import bpf_answer
from .registry import Saved, fault
from .routing import DEFAULT, no_default_but, swap_back
from .sysctls import CONF, change

if TYPE_CHECKING:
    from ..bench import Lab
    from ..pod import Pod

_PROGRAM = str(Path(__file__).with_name("responder.py"))
_PATIENCE_S = 10.0
OTHER_MAC = "02:00:5e:00:53:02"  # locally administered; no interface of a lab has it


def start(lab: Lab, interface: str, mac: str = "") -> list[int]:
    """The program, answering already; what names its process."""
    process = lab.node.popen(
        [sys.executable, _PROGRAM, interface, mac], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as said:
        if said.readline() != "ready\n":
            raise LabError("the responder did not start")
    return states.identity(process.pid)


def end(process: list[int]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    if states.alive(process):
        os.kill(process[0], signal.SIGTERM)
    while states.alive(process) and time.monotonic() < deadline:
        time.sleep(0.005)


def _kernel_again(lab: Lab, _: Pod, saved: Saved) -> None:
    end(saved["process"])
    lab.node.set_sysctls(saved["sysctls"], gone_ok=True)


@fault(
    "proxy_arp is 0 on the pod's interface, and a program answers in its place",
    undo=_kernel_again,
    touches="proxy_arp",
    answers=1,
)
def answered_by_program(lab: Lab, pod: Pod) -> Saved:
    return {
        "sysctls": change(pod, f"{CONF}/{pod.interface}/proxy_arp", 0),
        "process": start(lab, pod.interface),
    }


@fault(
    "a program answers, with another MAC address, beside the kernel",
    undo=_kernel_again,
    answers=2,
)
def answered_twice(lab: Lab, pod: Pod) -> Saved:
    return {"sysctls": {}, "process": start(lab, pod.interface, OTHER_MAC)}


def _kernel_instead_of_bpf(lab: Lab, pod: Pod, saved: Saved) -> None:
    bpf_answer.detach(lab, pod)
    lab.node.set_sysctls(saved, gone_ok=True)


@fault(
    "proxy_arp is 0 on the pod's interface, and a tc program answers in its place",
    undo=_kernel_instead_of_bpf,
    touches="proxy_arp",
    answers=1,
)
def answered_by_bpf(lab: Lab, pod: Pod) -> Saved:
    bpf_answer.attach(lab, pod)
    return change(pod, f"{CONF}/{pod.interface}/proxy_arp", 0)


def _unheard(lab: Lab, pod: Pod, saved: Saved) -> None:
    end(saved["process"])
    swap_back(lab, pod, saved["routes"])


@fault(
    "no default route, and a program listens for ARP on the pod's interface",
    undo=_unheard,
    touches=DEFAULT,
    whole_node=True,
    reason="no_route",
    remedy="advice",
)
def no_default_route_and_a_listener(lab: Lab, pod: Pod) -> Saved:
    """It may answer soon: nothing of the whole node's is to be changed meanwhile."""
    return {"routes": no_default_but(lab), "process": start(lab, pod.interface, "-")}
