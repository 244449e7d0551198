# SPDX-License-Identifier: Apache-2.0
"""Which version of a library this process has loaded."""

from __future__ import annotations

import re
from pathlib import Path


def loaded_version(name: str) -> str | None:
    """``"0.26.0"`` of ``libbcc``: of the file behind ``libbcc.so.0``; None if not loaded."""
    found = re.search(rf"/\S*/{name}\.so\S*", Path("/proc/self/maps").read_text())
    return Path(found[0]).resolve().name.partition(".so.")[2] or None if found else None
