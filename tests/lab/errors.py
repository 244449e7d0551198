# SPDX-License-Identifier: Apache-2.0
"""What the lab raises; the text of each is one line for the person at the terminal."""

from __future__ import annotations


class LabError(Exception):
    """The lab could not do what it was asked."""


class Unavailable(LabError):  # noqa: N818 - a state of the machine, not of the program
    """A tool or a kernel feature that a fault needs is not here."""
