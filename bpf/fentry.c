// SPDX-License-Identifier: GPL-2.0-only
/* The ARP path by BPF trampolines: the cheapest that the kernel offers. */
#define ENTER(function)                                                        \
	KFUNC_PROBE(function, void *first, void *second, void *third)
#define LEAVE(function) KRETFUNC_PROBE(function, void *first)
#define FIRST		first
#define THIRD		third
#include "functions.h"
