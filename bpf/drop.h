/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kfree_skb, the raw tracepoint: it runs for drops alone. (What arp_process
 * refuses it consumes, which is why no drop monitor shows it.)
 */
#ifndef ARPWHY_DROP_H
#define ARPWHY_DROP_H

#include "freed.h"
#include "judge.h"

#define FAMILY_PACKET 17

/* include/net/dropreason-core.h, SKB_DROP_REASON_NOT_SPECIFIED */
#define REASON_UNSPECIFIED 2

/* A packet that was freed. */
struct freed {
	struct sk_buff *skb;
	struct net_device *dev;
	u64 location; /* where it was freed */
	u32 reason;
	u32 in; /* enum freed_in */
	unsigned char *head;
	int iif; /* through which device it came in; 0: not known yet */
};

static __always_inline int is_shared(struct sk_buff *skb)
{
	unsigned char *head = 0;
	u32 end = 0, references = 0;
	struct skb_shared_info *info;

	READ(head, skb->head);
	READ(end, skb->end);
	info = (struct skb_shared_info *)(head + end);
	READ(references, info->dataref);
	return (references & 0xffff) > 1;
}

/* Each engine has its way to tell a copy of a request from one not yet seen. */
static __always_inline int is_a_copy(struct freed *freed);

static __always_inline void note_drop(struct slot *slot, u8 what,
				      struct freed *freed)
{
	slot->rq.dropped = what;
	slot->rq.drop_location = freed->location;
	slot->rq.drop_reason = freed->reason;
	slot->trail.freed_in = freed->in;
	/* Where the stack cannot be read: before ARP, or in it. */
	if (freed->in == IN_UNKNOWN && what == DROPPED_REQUEST &&
	    !slot->rq.late &&
	    (slot->reached || reached_is_seen(slot->rq.netns)))
		slot->trail.freed_in = slot->reached
					       ? IN_ARP_RCV
					       : IN___NETIF_RECEIVE_SKB_CORE;
}

/*
 * What the pod's own namespace drops was delivered: __netif_receive_skb_core
 * has set skb_iif there by then (net/core/dev.c), which is 0 in what the node
 * sends, unless that is the request itself, turned round by BPF. Generic XDP
 * came before it until 5.4.
 */
static __always_inline void
reply_dropped(struct round *round, struct freed *freed, struct arp_packet *arp)
{
	struct slot *slot = answered_by(round, freed->skb, arp);

	if (!slot)
		slot = awaiting(round, freed->dev, arp);
	if (!slot)
		return;
	if (slot->skb != freed->skb &&
	    (freed->iif || freed->in == IN_DO_XDP_GENERIC))
		return;
	note_drop(slot, DROPPED_REPLY, freed);
}

/*
 * Did the packet come in through the device? __netif_receive_skb_core sets
 * skb_iif before anything can drop it (net/core/dev.c); earlier, in the
 * backlog's queue, it is 0 as for what the node itself sends.
 */
static __always_inline int came_in(struct freed *freed, struct arp_packet *arp)
{
	unsigned char *address = 0;
	u8 mac[6] = {}, different = 0;
	int i, ifindex = 0;

	READ(ifindex, freed->dev->ifindex);
	if (freed->iif)
		return freed->iif == ifindex;
	READ(address, freed->dev->dev_addr);
	READ(mac, *address);
	/* Of comparisons clang may make a call to bcmp, which BPF has not. */
	for (i = 0; i < 6; i++)
		different |= mac[i] ^ arp->sender_mac[i];
	return different;
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
	return cb.flags == 1;
}

/*
 * A copy in the queue of a packet socket, freed when that is closed. Where the
 * kernel hides the address of sock_rfree: one that belongs to a packet socket
 * of the device's own namespace. (What a pod sends may belong to the pod's
 * still.)
 */
static __always_inline int is_socket_copy(struct sk_buff *skb,
					  struct net_device *dev)
{
	struct net *ours = 0, *its = 0;
	struct sock *sk = 0;
	void *destructor = 0;
	u16 family = 0;

	READ(destructor, skb->destructor);
	if (SOCK_RFREE)
		return destructor == (void *)SOCK_RFREE;
	READ(sk, skb->sk);
	if (!destructor || !sk)
		return 0;
	READ(family, sk->sk_family);
	READ(its, sk->sk_net);
	READ(ours, dev->nd_net);
	return family == FAMILY_PACKET && its == ours;
}

static __always_inline int is_redirected(struct sk_buff *skb)
{
#ifdef ARPWHY_HAS_SK_BUFF_REDIRECTED
	u8 byte = 0;

	READ(byte, skb->__redirected_offset);
	return ARPWHY_SK_BUFF_REDIRECTED(byte);
#else
	return 0;
#endif
}

/* By its index: dev_get_by_index_rcu (net/core/dev.c). */
#define DEVICE_BUCKETS 256
#define BUCKET_LONGEST 16

static __always_inline struct net_device *device_of(struct net_device *other,
						    int ifindex)
{
#if defined(ARPWHY_HAS_NET_DEV_INDEX_HEAD) &&                                  \
	defined(ARPWHY_HAS_NET_DEVICE_INDEX_HLIST)
	struct net_device *dev = 0;
	unsigned long *heads = 0, node = 0;
	struct net *net = 0;
	int i, index = 0;

	READ(net, other->nd_net);
	READ(heads, net->dev_index_head);
	READ(node, heads[ifindex & (DEVICE_BUCKETS - 1)]);
	for (i = 0; i < BUCKET_LONGEST; i++) {
		COUNTED(i);
		if (!node)
			break;
		dev = (struct net_device *)(node - __builtin_offsetof(
							   struct net_device,
							   index_hlist));
		READ(index, dev->ifindex);
		if (index == ifindex)
			return dev;
		READ(node, *(unsigned long *)node);
	}
#endif
	return 0;
}

/*
 * tc sends what a limited pod sends through the queue of another device, an
 * IFB's say: dropped there, it is the pod's request all the same. A mirror's
 * copy is not marked as redirected. Gives the pod's device.
 */
static __always_inline struct net_device *redirected_from(struct freed *freed)
{
	int ifindex = 0;

	READ(ifindex, freed->dev->ifindex);
	if (!freed->iif || freed->iif == ifindex || !is_redirected(freed->skb))
		return 0;
	return device_of(freed->dev, freed->iif);
}

static __always_inline void note_queue(struct slot *slot, struct freed *freed)
{
	slot->trail.redirected = 1;
	READ(slot->trail.dropped_on, freed->dev->name);
}

/* Is this the slot's request, and not a copy whose loss means nothing? */
static __always_inline int is_the_request(struct slot *slot,
					  struct freed *freed)
{
	if (slot->skb == freed->skb)
		return 1;
	/* Generic XDP may have put it into other memory. */
	if (slot->head != freed->head)
		return freed->iif && slot->rq.device == (u64)freed->dev;
	/* arp_rcv works on a copy if a packet socket shares its packet. */
	if (freed->in != IN_UNKNOWN)
		return freed->in == IN_ARP_RCV || freed->in == IN_ARP_PROCESS;
	return (slot->reached || freed->reason > REASON_UNSPECIFIED) &&
	       slot->rq.device == (u64)freed->dev;
}

/* Nothing is open for it: it was dropped before, or elsewhere, or it waited. */
static __always_inline int fill_dropped(struct slot *slot, struct freed *freed,
					struct arp_packet *arp)
{
	struct net_device *from = redirected_from(freed);
	u64 *came, key = (u64)freed->skb;

	if (from) {
		if (!fill(slot, freed->skb, from, arp))
			return 0;
		note_queue(slot, freed);
		came = away.lookup(&key);
		if (came)
			slot->rq.ts = *came;
		away.delete(&key);
		return 1;
	}
	if (!came_in(freed, arp) || !fill(slot, freed->skb, freed->dev, arp))
		return 0;
	if (was_enqueued(freed->skb) && is_deferred(&slot->rq)) {
		slot->rq.late = LATE_SEEN;
		return 1;
	}
	return !is_a_copy(freed);
}

/* Gives 1 if the slot aside is to be settled. */
static __always_inline int request_dropped(struct round *round,
					   struct freed *freed,
					   struct arp_packet *arp)
{
	struct slot *slot;

	if (!TARGET_TRACED(arp->target_ip) ||
	    is_socket_copy(freed->skb, freed->dev))
		return 0;
	slot = slot_of(round, freed->skb, freed->head, freed->dev, arp);
	if (slot) {
		if (slot->reply || !is_the_request(slot, freed))
			return 0;
		slot->copy_dropped = slot->skb != freed->skb;
		note_drop(slot, DROPPED_REQUEST, freed);
		if (slot->rq.device != (u64)freed->dev &&
		    is_redirected(freed->skb))
			note_queue(slot, freed);
		return 0;
	}
	slot = take_aside(round);
	if (!slot)
		return 0;
	if (!fill_dropped(slot, freed, arp)) {
		give_aside_back(round);
		return 0;
	}
	note_drop(slot, DROPPED_REQUEST, freed);
	return 1;
}

/*
 * An IP packet that ip_rcv drops since it is for another MAC address: the entry
 * that a pod has for its gateway is wrong.
 */
static __always_inline void count_elsewhere(struct sk_buff *skb,
					    struct net_device *dev)
{
	struct remark none = {}, *remark;
	struct request_event where = {};
	struct other_mac key = {};
	unsigned char *head = 0;
	u16 offset = 0;
	u8 byte = 0;

	READ(byte, skb->__pkt_type_offset);
	if (ARPWHY_SK_BUFF_PKT_TYPE(byte) != PACKET_OTHERHOST ||
	    !device_traced(dev, &where))
		return;
	READ(head, skb->head);
	READ(offset, skb->mac_header);
	READ(key.mac, *(head + offset));
	key.device = where.device;
	__builtin_memcpy(none.interface, where.interface, 16);
	remark = elsewhere.lookup_or_try_init(&key, &none);
	if (remark)
		__sync_fetch_and_add(&remark->count, 1);
}

HOOK(kfree_skb)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct freed freed = {.skb = skb, .location = ctx->args[1]};
	struct arp_packet arp = {};
	__be16 protocol = 0;
	struct round *round;

	READ(protocol, skb->protocol);
	if (protocol != PROTOCOL_ARP && protocol != PROTOCOL_IP)
		return 0;
	READ(freed.dev, skb->dev);
	if (!freed.dev)
		return 0;
	if (protocol == PROTOCOL_IP) {
		count_elsewhere(skb, freed.dev);
		return 0;
	}
	/* A packet socket that is full drops its copy, not the request. */
	if (IN_PACKET_SOCKET(freed.location))
		return 0;
	if (!read_arp(skb, network_header(skb), &arp))
		return 0;
	round = this_round();
	if (!round)
		return 0;
#ifdef ARPWHY_DROP_REASON
	freed.reason = ctx->args[2];
#endif
	freed.in = freed_in(ctx);
	READ(freed.head, skb->head);
	READ(freed.iif, skb->skb_iif);
	if (arp.op == OP_REPLY)
		reply_dropped(round, &freed, &arp);
	else if (request_dropped(round, &freed, &arp))
		settle_aside_now(ctx);
	return 0;
}

#endif
