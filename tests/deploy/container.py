# SPDX-License-Identifier: Apache-2.0
"""The container of deploy/kubernetes' DaemonSet, run by crun: what a kubelet has a runtime do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import yaml
from image import OWN_MOUNTS, TOP, Image
from lab.exporter import Exporter
from lab.netns import Netns

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_ENVIRONMENT = {
    "HOST_IP": "127.0.0.1",
    "ARPWHY_NODE_NAME": "node",
    # An API that is away.
    "KUBERNETES_SERVICE_HOST": "127.0.0.1",
    "KUBERNETES_SERVICE_PORT": "9",
}
# crun 1.8 does not run where cgroup v1 and v2 are both mounted, also if it is to manage none.
_RUN = """
bundle=$1 buildah=$2 container=$3
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$($buildah mount "$container")" "$bundle/rootfs"
exec crun --root "$bundle/state" --cgroup-manager=disabled run --bundle "$bundle" "arpwhy-$$"
"""


class DaemonSet(Exporter):
    """Its exporter in ``netns``, the node's. ``bundle``: a directory to make.

    Arguments, rights and mounts are the manifest's; what is hidden of /proc and /sys is what
    the runtime hides by default.
    """

    def __init__(self, netns: Netns, image: Image, bundle: Path) -> None:
        super().__init__(netns)
        [daemonset] = yaml.safe_load_all((TOP / "deploy/kubernetes/daemonset.yaml").read_text())
        pod = daemonset["spec"]["template"]["spec"]
        [container] = pod["containers"]
        (bundle / "rootfs").mkdir(parents=True)
        account = bundle / "account"
        account.mkdir()
        (account / "token").write_text("token")
        (account / "ca.crt").write_bytes(Path(certifi.where()).read_bytes())
        subprocess.run(["crun", "spec"], cwd=bundle, check=True)
        path = bundle / "config.json"
        config = json.loads(path.read_text())
        _restrict(config, pod, container)
        config["process"] |= {
            "terminal": False,
            "args": [*image.config["Entrypoint"], *map(_expanded, container["args"])],
            "env": [*image.config["Env"], *(f"{k}={v}" for k, v in _ENVIRONMENT.items())],
        }
        config["mounts"] += [
            *_temporary(pod, container),
            {"destination": _SERVICE_ACCOUNT, "source": str(account), "options": ["bind", "ro"]},
        ]
        path.write_text(json.dumps(config))
        script = [*OWN_MOUNTS, "sh", "-ec", _RUN, "run"]
        self.argv = [*script, str(bundle), image.buildah, image.container]


def _expanded(argument: str) -> str:
    for name, value in _ENVIRONMENT.items():
        argument = argument.replace(f"$({name})", value)
    return argument


def _restrict(config: dict[str, Any], pod: dict[str, Any], container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert context["capabilities"]["drop"] == ["ALL"]
    rights = [f"CAP_{name}" for name in context["capabilities"]["add"]]
    process, kernel = config["process"], config["linux"]
    process["user"] = {"uid": context["runAsUser"], "gid": context["runAsGroup"]}
    # Kubernetes knows no ambient ones.
    process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), rights)
    process["noNewPrivileges"] = not context["allowPrivilegeEscalation"]
    config["root"] = {"path": "rootfs", "readonly": context["readOnlyRootFilesystem"]}
    shared = {"cgroup", "network"} if pod["hostNetwork"] else {"cgroup"}
    kernel["namespaces"] = [each for each in kernel["namespaces"] if each["type"] not in shared]
    # Those of a cgroup, of which it gets none here.
    del kernel["resources"]
    config["mounts"] = [each for each in config["mounts"] if each["type"] != "cgroup"]


def _temporary(pod: dict[str, Any], container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        size = volumes[mount["name"]]["sizeLimit"].removesuffix("i")
        yield {
            "destination": mount["mountPath"],
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777", f"size={size}"],
        }
