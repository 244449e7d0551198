// SPDX-License-Identifier: GPL-2.0-only
/* The ARP path by BPF trampolines: the cheapest that the kernel offers. */
#define ENTER(function) int enter_##function(u64 *ctx)
#define LEAVE(function) int leave_##function(u64 *ctx)
#define FIRST		ctx[0]
#define THIRD		ctx[2]
#include "functions.h"
