# SPDX-License-Identifier: Apache-2.0
"""The exporter: metrics, health and a status page over the pure state, by HTTP."""
