# SPDX-License-Identifier: Apache-2.0
"""Rendered Kubernetes objects, and what is asked of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import yaml

from tracer.cli.export import command

Object = dict[str, Any]
Objects = dict[tuple[str, str], Object]

# Custom resources; kubernetes-validate has Kubernetes's own kinds.
_OPERATOR = "monitoring.coreos.com/v1"

_CHART = Path(__file__).resolve().parents[2] / "deploy/helm/arpwhy/Chart.yaml"
_OLDEST = yaml.safe_load(_CHART.read_text())["kubeVersion"].removeprefix(">=").removesuffix("-0")


def objects(text: str) -> Objects:
    """By kind and name; no two may have the same."""
    loaded = [each for each in yaml.safe_load_all(text) if each]
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in loaded}
    assert len(by_name) == len(loaded)
    return by_name


def valid(rendered: Objects) -> None:
    """Kubernetes knows all their fields, the oldest that the chart is for and the newest."""
    for each in rendered.values():
        if each["apiVersion"] != _OPERATOR:
            for version in (_OLDEST, kubernetes_validate.latest_version()):
                kubernetes_validate.validate(each, version, strict=True)


def pod(rendered: Objects, name: str = "arpwhy") -> Object:
    """The spec of the DaemonSet's pods."""
    spec: Object = rendered["DaemonSet", name]["spec"]["template"]["spec"]
    return spec


def container(rendered: Objects, name: str = "arpwhy") -> Object:
    (only,) = pod(rendered, name)["containers"]
    made: Object = only
    return made


def arguments(of: Object, **variables: str) -> list[str]:
    """The container's, as the kubelet fills them in."""
    args: list[str] = of["args"]
    for name, value in variables.items():
        args = [argument.replace(f"$({name})", value) for argument in args]
    return args


def understood(args: Sequence[str]) -> dict[str, Any]:
    """What ``arpwhy`` makes of them. Raises click's UsageError."""
    assert args[0] == "export"
    return command.make_context("export", list(args[1:])).params


def environment_variables() -> set[str]:
    """Those that ``arpwhy export`` reads its options from."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    return {
        name
        for option in options
        for name in ([option.envvar] if isinstance(option.envvar, str) else option.envvar or ())
    }
