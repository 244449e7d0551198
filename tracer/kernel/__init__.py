# SPDX-License-Identifier: Apache-2.0
"""The kernel side: its types and symbols, and the programs loaded into it."""
