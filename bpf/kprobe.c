// SPDX-License-Identifier: GPL-2.0-only
/* The ARP path by kprobes, where trampolines are not to be had. */
#define ENTER(function) int enter_##function(struct pt_regs *ctx)
#define LEAVE(function) int leave_##function(struct pt_regs *ctx)
#define FIRST		PT_REGS_PARM1(ctx)
#define THIRD		PT_REGS_PARM3(ctx)
#include "functions.h"
