# SPDX-License-Identifier: Apache-2.0
"""What Prometheus makes of a target that it has discovered: asked of its own promtool."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml


def relabelled(
    directory: Path, job: Mapping[str, Any], labels: Mapping[str, str]
) -> dict[str, str]:
    """The labels of a target of that scrape job, discovered with ``labels``; {} if dropped."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool: not installed (Debian: prometheus)")
    discovered = [{"targets": ["192.0.2.7:16925"], "labels": dict(labels)}]
    without = {key: value for key, value in job.items() if not key.endswith("_sd_configs")}
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump({"scrape_configs": [{**without, "static_configs": discovered}]}))
    argv = ["promtool", "check", "service-discovery", "--timeout=1s", str(file), job["job_name"]]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (target,) = json.loads(done.stdout)
    left: dict[str, str] = target.get("labels") or {}
    return {name: value for name, value in left.items() if not name.startswith("__")}
