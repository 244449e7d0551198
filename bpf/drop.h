/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kfree_skb, the raw tracepoint: it runs for drops alone. (What arp_process
 * refuses it consumes, which is why no drop monitor shows it.)
 */
#ifndef ARPWHY_DROP_H
#define ARPWHY_DROP_H

#include "judge.h"

static __always_inline void note_drop(struct slot *slot, u8 what, u64 location,
				      u32 reason)
{
	slot->rq.dropped = what;
	slot->rq.drop_location = location;
	slot->rq.drop_reason = reason;
}

static __always_inline void reply_dropped(struct round *round, u64 skb,
					  struct net_device *dev,
					  struct arp_packet *arp, u64 location,
					  u32 reason)
{
	struct slot *slot = asked_by(round, skb, (u64)dev, arp);

	if (slot)
		note_drop(slot, DROPPED_REPLY, location, reason);
}

/* The newest first: an address that was freed may be another request's now. */
static __always_inline struct slot *slot_of(struct round *round, u64 skb,
					    u64 head)
{
	struct slot *slot;
	u32 i;

	for (i = 0; i < SLOTS; i++) {
		if (i >= round->open)
			break;
		slot = slot_at(round, round->open - 1 - i);
		if (!slot)
			break;
		if (slot->skb == skb || slot->head == head)
			return slot;
	}
	return 0;
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
					    struct sk_buff *skb,
					    struct net_device *dev,
					    struct arp_packet *arp,
					    u64 location, u32 reason)
{
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
		note_drop(slot, DROPPED_REQUEST, location, reason);
		return;
	}
	if (!came_in(skb, dev, arp))
		return;
	slot = aside.lookup(&zero);
	if (!slot || !fill(slot, skb, dev, arp))
		return;
	slot->rq.late = was_enqueued(skb) && is_deferred(&slot->rq);
	note_drop(slot, DROPPED_REQUEST, location, reason);
	settle_only_aside(round);
}

RAW_TRACEPOINT_PROBE(kfree_skb)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct arp_packet arp = {};
	struct net_device *dev = 0;
	struct round *round;
	u32 reason = 0;

	if (!is_arp(skb))
		return 0;
	/* A packet socket that is full drops its copy, not the request. */
	if (IN_PACKET_SOCKET(ctx->args[1]))
		return 0;
	if (!read_arp(network_header(skb), &arp))
		return 0;
	round = this_round();
	READ(dev, skb->dev);
	if (!round || !dev)
		return 0;
#ifdef ARPWHY_DROP_REASON
	reason = ctx->args[2];
#endif
	if (arp.op == OP_REPLY)
		reply_dropped(round, (u64)skb, dev, &arp, ctx->args[1], reason);
	else
		request_dropped(round, skb, dev, &arp, ctx->args[1], reason);
	if (round->aside)
		SETTLE_ASIDE(ctx);
	return 0;
}

#endif
