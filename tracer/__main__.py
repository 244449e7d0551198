# SPDX-License-Identifier: Apache-2.0
"""``python -m tracer`` is ``arpwhy``."""

from tracer.cli import main

main(prog_name="arpwhy")
