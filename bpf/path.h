/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ARP path itself, for function probes of either kind: arp_rcv opens a
 * round, arp_process's return settles it. None of these functions runs for
 * anything but ARP.
 */
#ifndef ARPWHY_PATH_H
#define ARPWHY_PATH_H

#define SETTLE_ASIDE(ctx) round_over()

#include "judge.h"

static __always_inline int is_queued(struct slot *slot)
{
	return slot->queued;
}

static __always_inline int on_arp_rcv(struct sk_buff *skb)
{
	struct round *round = this_round();

	if (round)
		request_seen(round, skb, network_header(skb));
	return 0;
}

/*
 * Outside arp_rcv it is parp_redo that calls arp_process: the proxy queue's
 * timer, with a request that was deferred.
 */
static __always_inline int on_arp_process(struct sk_buff *skb)
{
	struct round *round = this_round();
	struct slot *slot;

	if (!round)
		return 0;
	if (round->open) {
		slot = slot_at(round, round->open - 1);
		if (slot)
			slot->processed = 1;
		return 0;
	}
	slot = request_seen(round, skb, network_header(skb));
	if (!slot)
		return 0;
	slot->rq.late = LATE_SEEN;
	slot->processed = 1;
	if (!is_deferred(&slot->rq))
		round->open = 0;
	return 0;
}

/* The request that arp_process is at, if it is one to judge. */
static __always_inline struct slot *under_way(void)
{
	struct round *round = this_round();

	return round && round->open ? slot_at(round, round->open - 1) : 0;
}

/* arp_process got as far as to call this (enum asked). */
static __always_inline int on_asked(u8 what)
{
	struct slot *slot = under_way();

	if (slot)
		slot->trail.asked = what;
	return 0;
}

static __always_inline int on_pneigh_enqueue(struct sk_buff *skb)
{
	struct slot *slot = under_way();

	if (slot)
		slot->queued = 1;
	return 0;
}

static __always_inline int on_arp_xmit(struct sk_buff *skb)
{
	struct round *round = this_round();
	struct arp_packet arp = {};
	struct net_device *dev = 0;

	if (!round || !round->open)
		return 0;
	if (!read_arp(skb, network_header(skb), &arp) || arp.op != OP_REPLY)
		return 0;
	READ(dev, skb->dev);
	reply_seen(round, skb, dev, &arp);
	return 0;
}

#endif
