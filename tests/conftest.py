# SPDX-License-Identifier: Apache-2.0
"""Puts the lab (tests/lab) where every test can import it as ``lab``."""

import sys
from pathlib import Path

_TESTS = str(Path(__file__).resolve().parent)
if _TESTS not in sys.path:
    sys.path.insert(0, _TESTS)
