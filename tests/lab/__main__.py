# SPDX-License-Identifier: Apache-2.0
"""scripts/lab: the lab for people who want to play."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

try:
    import pyroute2  # noqa: F401
except ImportError:
    sys.exit("lab: pyroute2 is missing: run scripts/setup (Debian: apt install python3-pyroute2)")

from . import state as states
from .bench import INCIDENT, Lab, down
from .errors import LabError
from .faults import FAULTS


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 could not (one line on stderr), 2 usage."""
    options = _parser().parse_args(argv)
    try:
        if options.command != "faults" and os.geteuid() != 0:
            raise LabError("needs root: network namespaces")
        options.run(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/lab",
        description="A Calico node and its pods in network namespaces, to break and mend.",
    )
    parser.add_argument("--name", default="arpwhy", help="the lab's name (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("up", help="make it")
    command.add_argument("--pods", type=_positive, default=5, metavar="N", help="default: 5")
    command.add_argument(
        "--incident", action="store_true", help="and a pod with the names of the incident"
    )
    command.add_argument(
        "--here",
        action="store_true",
        help="the node is this network namespace, whose sysctls are changed: for a virtual"
        " machine of its own",
    )
    command.set_defaults(run=_up)

    command = commands.add_parser("status", help="its pods, and what is broken")
    command.set_defaults(run=_status)

    command = commands.add_parser("break", help="break one thing ('faults' lists them)")
    command.add_argument("fault", metavar="FAULT")
    command.add_argument("pod", metavar="POD", nargs="?", help="default: the first")
    command.set_defaults(run=_break)

    command = commands.add_parser("mend", help="mend everything, or one fault, or one pod's")
    command.add_argument("fault", metavar="FAULT", nargs="?")
    command.add_argument("pod", metavar="POD", nargs="?")
    command.set_defaults(run=_mend)

    command = commands.add_parser("ask", help="ARP requests from a pod for its gateway")
    command.add_argument("pod", metavar="POD", nargs="?", help="default: the first")
    command.add_argument("-c", "--count", type=_positive, default=1, metavar="N")
    command.add_argument("-i", "--interval", type=float, default=0.0, metavar="SECONDS")
    command.set_defaults(run=_ask)

    command = commands.add_parser("faults", help="what can be broken")
    command.set_defaults(run=_faults)

    command = commands.add_parser("down", help="remove it, or what a killed one left")
    command.set_defaults(run=_down)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_positive.__name__ = "number from 1 up"  # argparse says: invalid number from 1 up value


def _self(options: argparse.Namespace) -> str:
    return "scripts/lab" if options.name == "arpwhy" else f"scripts/lab --name {options.name}"


def _attach(options: argparse.Namespace) -> Lab:
    try:
        return Lab.attach(options.name)
    except LabError as error:
        raise LabError(f"{error}; try: {_self(options)} up") from None


def _attach_to_change(options: argparse.Namespace) -> Lab:
    lab = _attach(options)
    owner = lab.state.owner
    if owner is not None and states.alive(owner):
        raise LabError(f"lab {lab.name} belongs to process {owner[0]}, which still runs")
    return lab


def _show(lab: Lab) -> None:
    print(f"lab {lab.name}: node {lab.node.netns}, {len(lab.pods)} pods")
    for pod in lab.pods:
        broken = [r["fault"] for r in lab.state.faults if r["pod"] in (None, pod.name)]
        suffix = f"  broken: {', '.join(broken)}" if broken else ""
        print(f"  {pod.name:10} {pod.interface:15} {pod.address:15}{suffix}".rstrip())


def _up(options: argparse.Namespace) -> None:
    lab = Lab(options.name, options.pods, here=options.here)
    lab.up()
    try:
        if options.incident:
            lab.add_pod(**INCIDENT)
    except BaseException:
        lab.close()
        raise
    _show(lab)
    pod = lab.pods[-1].name
    print("Try:")
    enter = "" if options.here else f"nsenter --net={lab.node.path} "
    print(f"  {enter}arpwhy trace    # in another terminal")
    print(f"  {_self(options)} ask {pod}")
    print(f"  {_self(options)} break proxy_arp_off {pod}")


def _status(options: argparse.Namespace) -> None:
    _show(_attach(options))


def _break(options: argparse.Namespace) -> None:
    lab = _attach_to_change(options)
    pod = lab.pod(options.pod) if options.pod else lab.pods[0]
    lab.break_(options.fault, pod)
    fault = FAULTS[options.fault]
    where = "all pods" if fault.whole_node else f"{pod.name} ({pod.interface})"
    print(f"broken for {where}: {fault.about}")
    print(f"Try: {_self(options)} ask {pod.name}; {_self(options)} mend")


def _mend(options: argparse.Namespace) -> None:
    lab = _attach_to_change(options)
    mended = lab.mend(options.fault, lab.pod(options.pod) if options.pod else None)
    for record in mended:
        print(f"mended: {record['fault']} ({record['pod'] or 'all pods'})")
    if not mended:
        print("nothing was broken")


def _ask(options: argparse.Namespace) -> None:
    lab = _attach(options)
    pod = lab.pod(options.pod) if options.pod else lab.pods[0]
    tally = pod.ask(options.count, interval=options.interval, settle=0.5)
    print(f"{pod.name} ({pod.interface}): sent {tally.sent}, replies {tally.replies}")
    if tally.sent < options.count:
        print("eth0 of the pod is down")


def _faults(_: argparse.Namespace) -> None:
    for name, fault in sorted(FAULTS.items()):
        notes = "  [whole node]" if fault.whole_node else ""
        notes += "  [answered all the same]" if fault.answers and not fault.delays else ""
        print(f"{name:28} {fault.about}{notes}")


def _down(options: argparse.Namespace) -> None:
    print(f"lab {options.name} " + ("removed" if down(options.name) else "was not up"))


if __name__ == "__main__":
    sys.exit(main())
