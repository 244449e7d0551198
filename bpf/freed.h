/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a packet was freed: the hooks of netfilter, tc and XDP free it in
 * functions that they share, so that only the stack tells them apart.
 */
#ifndef ARPWHY_FREED_H
#define ARPWHY_FREED_H

#include "packet.h"

#define FRAMES 24

struct frames {
	u64 ip[FRAMES];
	u32 in;
};

BPF_PERCPU_ARRAY(stacks, struct frames, 1);

/*
 * The innermost function of enum freed_in on the stack of a raw tracepoint.
 * FREED_IN is made from kallsyms by tracer/kernel/compiler.py; where the kernel
 * hides addresses it gives IN_UNKNOWN.
 */
static __always_inline u8 freed_in(void *ctx)
{
	u32 zero = 0, i, in;
	struct frames *stack = stacks.lookup(&zero);
	long length;

	if (!stack)
		return IN_UNKNOWN;
	length = bpf_get_stack(ctx, stack->ip, sizeof(stack->ip), 0);
	stack->in = IN_UNKNOWN;
	for (i = 0; i < FRAMES; i++) {
		COUNTED(i);
		if ((long)(i * sizeof(u64)) >= length)
			break;
		in = FREED_IN(stack->ip[i]);
		if (in) {
			stack->in = in;
			break;
		}
	}
	/* Read again: the verifier would follow each number by itself. */
	return *(volatile u32 *)&stack->in;
}

#endif
