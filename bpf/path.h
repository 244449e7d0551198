/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ARP path itself, for function probes of either kind: arp_rcv opens a
 * round, arp_process's return settles it. None of these functions runs for
 * anything but ARP.
 */
#ifndef ARPWHY_PATH_H
#define ARPWHY_PATH_H

#include "judge.h"
#include "drop.h"
#include "answer.h"

static __always_inline void settle_aside_now(void *ctx)
{
	struct round *round = this_round();

	if (round)
		settle_aside(round);
}

/* Unseen: what does not reach ARP has no slot. */
static __always_inline int reached_is_seen(u32 netns)
{
	return 1;
}

static __always_inline int may_be_in_arp(struct slot *slot)
{
	return 1;
}

static __always_inline int is_queued(struct slot *slot)
{
	return slot->queued;
}

static __always_inline void note_taken(struct slot *slot)
{
}

/*
 * What is dropped before ARP has no slot. A macvlan's copy for its broadcast
 * queue is known by the function that drops it; where that is not known (the
 * kernel hides addresses, or the module came after us), by that the memory is
 * shared and no reason is given.
 */
static __always_inline int is_a_copy(struct freed *freed)
{
	if (IN_COPYING(freed->location))
		return 1;
	return IN_MODULE(freed->location) &&
	       freed->reason <= REASON_UNSPECIFIED && is_shared(freed->skb);
}

static __always_inline int on_arp_rcv(struct sk_buff *skb)
{
	struct round *round = this_round();
	struct arp_packet arp = {};
	struct slot *slot;

	if (!round)
		return 0;
	if (!read_arp(skb, network_header(skb), &arp)) {
		round->unread = (u64)skb;
		return 0;
	}
	slot = open_slot(round, skb, &arp);
	if (slot)
		slot->reached = 1;
	else
		count_unjudged(skb, &arp);
	return 0;
}

/*
 * Outside arp_rcv it is parp_redo that calls arp_process: the proxy queue's
 * timer, with a request that was deferred. Within it, arp_rcv has pulled a
 * header that lay in a page by now.
 */
static __always_inline int on_arp_process(struct sk_buff *skb)
{
	struct round *round = this_round();
	struct slot *slot;
	u32 open;

	if (!round)
		return 0;
	open = open_slots(round);
	if (open) {
		slot = slot_at(round, open - 1);
		if (slot)
			slot->processed = 1;
		return 0;
	}
	slot = request_seen(round, skb, network_header(skb));
	if (!slot)
		return 0;
	slot->processed = 1;
	slot->reached = 1;
	if (round->unread) {
		round->unread = 0;
		return 0;
	}
	slot->rq.late = LATE_SEEN;
	if (!is_deferred(&slot->rq))
		round->end = round->begin;
	return 0;
}

/* At arp_process's return, and at arp_rcv's for what did not get that far. */
static __always_inline int on_return(void)
{
	struct round *round = this_round();

	if (!round)
		return 0;
	round->unread = 0;
	round->settle_to = round->end;
	settle_round(round);
	return 0;
}

/* The request that arp_process is at, if it is one to judge. */
static __always_inline struct slot *under_way(void)
{
	struct round *round = this_round();
	u32 open = round ? open_slots(round) : 0;

	return open ? slot_at(round, open - 1) : 0;
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

	if (!round || !open_slots(round))
		return 0;
	if (!read_arp(skb, network_header(skb), &arp) || arp.op != OP_REPLY)
		return 0;
	READ(dev, skb->dev);
	reply_seen(round, skb, dev, &arp);
	return 0;
}

/*
 * This one runs for packets of every protocol: attached for as long as a
 * program is known to answer where the kernel does not.
 */
ANSWERS_HOOK(net_dev_queue)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct arp_packet arp = {};
	struct net_device *dev = 0;
	struct round *round;

	if (!is_arp(skb))
		return 0;
	round = this_round();
	if (!round || !read_arp(skb, network_header(skb), &arp) ||
	    arp.op != OP_REPLY || !TARGET_TRACED(arp.sender_ip))
		return 0;
	READ(dev, skb->dev);
	/* The kernel's own. */
	if (answered_by(round, skb, &arp))
		return 0;
	if (stray_answers(round, skb, dev, &arp))
		settle_aside_now(ctx);
	return 0;
}

#endif
