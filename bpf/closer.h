/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The closer look: what the route lookup said to a request. These two raw
 * tracepoints run for packets of every protocol, so they are attached only
 * while a flag is up whose cause was not yet observed (tracer/state/flags.py).
 *
 * arp_process frees what it refuses by consume_skb, with the route that
 * ip_route_input_noref gave it still on it.
 */
#ifndef ARPWHY_CLOSER_H
#define ARPWHY_CLOSER_H

#include "drop.h"

#ifdef ARPWHY_CLOSER

#define DST_NOREF 1ul /* include/linux/skbuff.h, SKB_DST_NOREF */

/* Its fate is known: nothing that comes later is about it. */
static __always_inline int is_done(struct slot *slot)
{
	return slot->trail.known & KNOWN_ROUTE || slot->trail.taken_in ||
	       slot->rq.dropped || slot->hopeless || slot->moved;
}

/* fib_table_lookup(table, flow, next hop, error): net/ipv4/fib_trie.c */
CLOSER_HOOK(fib_table_lookup)
{
	struct flowi4 *flow = (struct flowi4 *)ctx->args[1];
	struct fib_nh_common *hop = (struct fib_nh_common *)ctx->args[2];
	struct round *round = this_round();
	struct net_device *dev = 0;
	__be32 source = 0, target = 0;
	struct trail *trail;
	struct slot *slot;
	u32 i, out = 0, open;

	if (!round || !open_slots(round))
		return 0;
	READ(source, flow->saddr);
	READ(target, flow->daddr);
	if (hop) {
		READ(dev, hop->nhc_dev);
		READ(out, dev->ifindex);
	}
	open = open_slots(round);
	/*
	 * The oldest that arp_process is not done with; or the newest, which it
	 * is at, where what came to an end is known.
	 */
	for (i = 0; i < SLOTS; i++) {
		COUNTED(i);
		if (i >= open)
			break;
		slot = slot_at(round, ARP_IN_COMES_LATE ? open - 1 - i : i);
		if (!slot)
			break;
		trail = &slot->trail;
		if (is_done(slot) ||
		    (reached_is_seen(slot->rq.netns) && !may_be_in_arp(slot)))
			continue;
		/* Of several tables the last one asked decides. */
		if (slot->rq.target_ip == target &&
		    slot->rq.sender_ip == source) {
			trail->known |= KNOWN_TARGET;
			trail->target_table = ctx->args[0];
			trail->target_error = ctx->args[3];
			trail->target_out = out;
			break;
		}
		/* The sender's validation: __fib_validate_source. */
		if (slot->rq.sender_ip == target &&
		    slot->rq.target_ip == source) {
			trail->known |= KNOWN_SOURCE;
			trail->source_error = ctx->args[3];
			trail->source_out = out;
			break;
		}
	}
	return 0;
}

static __always_inline void note_route(struct trail *trail, struct sk_buff *skb)
{
	unsigned long refdst = 0;
	struct in_device *in_dev = 0;
	struct net_device *dev = 0;
	struct rtable *route;
	short error = 0;

	trail->known |= KNOWN_ROUTE;
	READ(refdst, skb->_skb_refdst);
	route = (struct rtable *)(refdst & ~DST_NOREF);
	if (!route)
		return;
	READ(trail->route_type, route->rt_type);
	READ(error, route->dst_error);
	trail->route_error = error;
	READ(dev, route->dst_dev);
	READ(trail->route_out, dev->ifindex);
	READ(in_dev, dev->ip_ptr);
	READ(trail->medium_id_out, in_dev->CONF(MEDIUM_ID));
}

/* What a tc action steals or redirects on its way out is consumed, too. */
static __always_inline void note_reply(struct round *round, struct sk_buff *skb,
				       struct net_device *dev,
				       struct arp_packet *arp, u8 in)
{
	struct slot *slot;

	if (in != IN___DEV_QUEUE_XMIT || answered_by(round, skb, arp))
		return;
	slot = awaiting(round, dev, arp);
	if (slot)
		slot->trail.taken_in = in;
}

/*
 * For where the stack cannot be read. arp_rcv works on a copy if a packet
 * socket comes after it.
 */
static __always_inline int was_in_arp_process(struct slot *slot,
					      struct sk_buff *skb)
{
	if (slot->processed || slot->trail.known & KNOWN_TARGET)
		return 1;
	return ARP_IN_COMES_LATE ? slot->skb != skb : slot->reached;
}

CLOSER_HOOK(consume_skb)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct net_device *dev = 0;
	struct arp_packet arp = {};
	unsigned char *head = 0;
	struct round *round;
	struct trail *trail;
	struct slot *slot;
	u8 in;

	/* First what is in the cache: few packets come while a request is open.
	 */
	round = this_round();
	if (!round || !open_slots(round) || !is_arp(skb))
		return 0;
	READ(dev, skb->dev);
	if (!dev || !read_arp(skb, network_header(skb), &arp) ||
	    is_socket_copy(skb, dev))
		return 0;
	in = freed_in(ctx);
	if (arp.op == OP_REPLY) {
		note_reply(round, skb, dev, &arp, in);
		return 0;
	}
	READ(head, skb->head);
	slot = slot_of(round, skb, head, 0, &arp);
	if (!slot || slot->reply || is_done(slot))
		return 0;
	trail = &slot->trail;
	if (in == IN_UNKNOWN && was_in_arp_process(slot, skb))
		in = IN_ARP_PROCESS;
	if (in == IN_ARP_PROCESS)
		note_route(trail, skb);
	else if (slot->reached)
		return 0;
	/* An rx handler, a bridge's say, has made it another device's. */
	else if ((u64)dev != slot->rq.device)
		trail->taken_in = IN___NETIF_RECEIVE_SKB_CORE;
	else if (in == IN_DO_XDP_GENERIC || in == IN___NETIF_RECEIVE_SKB_CORE)
		trail->taken_in = in;
	return 0;
}

#endif
#endif
