/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kfree_skb, the raw tracepoint: it runs for drops alone. (What arp_process
 * refuses it consumes, which is why no drop monitor shows it.)
 */
#ifndef ARPWHY_DROP_H
#define ARPWHY_DROP_H

#include "freed.h"
#include "judge.h"

/* A packet that was freed. */
struct freed {
	struct sk_buff *skb;
	struct net_device *dev;
	u64 location; /* where it was freed */
	u32 reason;
	u32 in; /* enum freed_in */
};

static __always_inline void note_drop(struct slot *slot, u8 what,
				      struct freed *freed)
{
	slot->rq.dropped = what;
	slot->rq.drop_location = freed->location;
	slot->rq.drop_reason = freed->reason;
	slot->trail.freed_in = freed->in;
}

static __always_inline void
reply_dropped(struct round *round, struct freed *freed, struct arp_packet *arp)
{
	struct slot *slot =
		asked_by(round, (u64)freed->skb, (u64)freed->dev, arp);

	if (slot)
		note_drop(slot, DROPPED_REPLY, freed);
}

/*
 * Did the packet come in through the device? __netif_receive_skb_core sets
 * skb_iif before anything can drop it (net/core/dev.c); earlier, in the
 * backlog's queue, it is 0 as for what the node itself sends.
 */
static __always_inline int came_in(struct sk_buff *skb, struct net_device *dev,
				   struct arp_packet *arp)
{
	unsigned char *address = 0;
	u8 mac[6] = {};
	int i, iif = 0, ifindex = 0;

	READ(iif, skb->skb_iif);
	READ(ifindex, dev->ifindex);
	if (iif)
		return iif == ifindex;
	READ(address, dev->dev_addr);
	READ(mac, *address);
	for (i = 0; i < 6; i++)
		if (mac[i] != arp->sender_mac[i])
			return 1;
	return 0;
}

/*
 * Did it come out of the proxy queue? pneigh_enqueue sets LOCALLY_ENQUEUED, 1,
 * in struct neighbour_cb after an unsigned long (net/core/neighbour.c).
 */
static __always_inline int was_enqueued(struct sk_buff *skb)
{
	struct {
		unsigned long sched_next;
		u32 flags;
	} cb = {};

	READ(cb, skb->cb);
	return cb.flags & 1;
}

static __always_inline void request_dropped(struct round *round,
					    struct freed *freed,
					    struct arp_packet *arp)
{
	struct sk_buff *skb = freed->skb;
	unsigned char *head = 0;
	void *destructor = 0;
	struct slot *slot;
	u32 zero = 0;

	/* A copy in the queue of a packet socket, freed when that is closed. */
	READ(destructor, skb->destructor);
	if (destructor == (void *)SOCK_RFREE)
		return;
	READ(head, skb->head);
	slot = slot_of(round, (u64)skb, (u64)head);
	if (slot) {
		note_drop(slot, DROPPED_REQUEST, freed);
		return;
	}
	if (!came_in(skb, freed->dev, arp))
		return;
	slot = aside.lookup(&zero);
	if (!slot || !fill(slot, skb, freed->dev, arp))
		return;
	if (was_enqueued(skb) && is_deferred(&slot->rq))
		slot->rq.late = LATE_SEEN;
	note_drop(slot, DROPPED_REQUEST, freed);
	settle_only_aside(round);
}

RAW_TRACEPOINT_PROBE(kfree_skb)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct freed freed = {.skb = skb, .location = ctx->args[1]};
	struct arp_packet arp = {};
	struct round *round;

	if (!is_arp(skb))
		return 0;
	/* A packet socket that is full drops its copy, not the request. */
	if (IN_PACKET_SOCKET(freed.location))
		return 0;
	if (!read_arp(skb, network_header(skb), &arp))
		return 0;
	round = this_round();
	READ(freed.dev, skb->dev);
	if (!round || !freed.dev)
		return 0;
#ifdef ARPWHY_DROP_REASON
	freed.reason = ctx->args[2];
#endif
	freed.in = freed_in(ctx);
	if (arp.op == OP_REPLY)
		reply_dropped(round, &freed, &arp);
	else
		request_dropped(round, &freed, &arp);
	if (round->aside)
		SETTLE_ASIDE(ctx);
	return 0;
}

#endif
