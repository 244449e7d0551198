/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The other direction: the node resolving the pod. Each neigh tracepoint looks
 * whether the entry's NUD state is another than when last seen.
 */
#ifndef ARPWHY_NEIGHBOUR_H
#define ARPWHY_NEIGHBOUR_H

#include "hook.h"
#include "packet.h"

#define FAMILY_INET 2
#define STATE_NONE  0

BPF_TABLE("lru_hash", u64, u8, nud_states, 16384);

static __always_inline void neighbour_seen(struct neighbour *n, int gone)
{
	struct neighbour_event event = {.kind = EVENT_NEIGHBOUR};
	struct request_event where = {};
	struct neigh_table *table = 0;
	struct net_device *dev = 0;
	u64 key = (u64)n;
	int family = 0;
	u8 *old;

	READ(table, n->tbl);
	READ(family, table->family);
	if (family != FAMILY_INET)
		return;
	READ(dev, n->dev);
	if (!device_traced(dev, &where))
		return;
	if (!gone)
		READ(event.new_state, n->nud_state);
	old = nud_states.lookup(&key);
	event.old_state = old ? *old : NEIGHBOUR_UNSEEN;
	if (gone)
		nud_states.delete(&key);
	else if (event.old_state != event.new_state)
		nud_states.update(&key, &event.new_state);
	if (event.old_state == event.new_state ||
	    (event.old_state == NEIGHBOUR_UNSEEN &&
	     event.new_state == STATE_NONE))
		return;
	event.device = where.device;
	event.ifindex = where.ifindex;
	event.netns = where.netns;
	event.ts = bpf_ktime_get_ns();
	READ(event.ip, n->primary_key);
	READ(event.mac, n->ha);
	__builtin_memcpy(event.interface, where.interface,
			 sizeof(event.interface));
	if (events.ringbuf_output(&event, sizeof(event), 0))
		add_statistic(STATISTIC_LOST);
}

/*
 * neigh_update comes before a change, to know the old state; the others after
 * it. They are there since 5.0 (include/trace/events/neigh.h), and all begin
 * with the entry.
 */
HOOK_AT(neigh_update, neighbour_changes)
HOOK_AT(neigh_update_done, neighbour_changes)
HOOK_AT(neigh_timer_handler, neighbour_changes)
HOOK_AT(neigh_event_send_done, neighbour_changes)
HOOK_AT(neigh_event_send_dead, neighbour_changes)
int neighbour_changes(struct bpf_raw_tracepoint_args *ctx)
{
	neighbour_seen((struct neighbour *)ctx->args[0], 0);
	return 0;
}

HOOK_AT(neigh_cleanup_and_release, neighbour_goes)
int neighbour_goes(struct bpf_raw_tracepoint_args *ctx)
{
	neighbour_seen((struct neighbour *)ctx->args[0], 1);
	return 0;
}

#endif
