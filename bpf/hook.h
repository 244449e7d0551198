/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the programs run. Each hook is declared by one of these words, in front
 * of its program and nowhere else: tracer/kernel/hooks.py reads them from this
 * text. They are attached in its order, so the one at which a request begins
 * comes last: none is seen to begin that cannot be seen to end.
 */
#ifndef ARPWHY_HOOK_H
#define ARPWHY_HOOK_H

/* A tracepoint, for as long as the trace runs. */
#define HOOK(tracepoint) RAW_TRACEPOINT_PROBE(tracepoint)

/* A program that stands by itself, at one more tracepoint. */
#define HOOK_AT(tracepoint, program)

/* Attached with the closer look only. */
#define CLOSER_HOOK(tracepoint) RAW_TRACEPOINT_PROBE(tracepoint)

/* With the closer look, and while programs are known to answer. */
#define ANSWERS_HOOK(tracepoint) RAW_TRACEPOINT_PROBE(tracepoint)

/*
 * ENTER(function), LEAVE(function): a kernel function's begin and end, where
 * the engine probes functions; MAY_ENTER(function): evidence only, so a kernel
 * that has no such function, or does not let it be probed, does without.
 */
#define MAY_ENTER(function) ENTER(function)

#endif
