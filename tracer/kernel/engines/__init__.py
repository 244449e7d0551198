# SPDX-License-Identifier: Apache-2.0
"""The engines: ways to see the kernel's ARP path. Each says itself if it can run.

They share the judging (bpf/judge.h) and differ in the hooks. A new engine is one file
here, one in bpf/, and a name in names.py.
"""
