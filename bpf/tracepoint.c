// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fallback for kernels without function probes: raw tracepoints. A request
 * is seen as it is received, its reply as it is queued, and napi_poll, at the
 * end of the softirq round, says that the kernel is done with it: for backlog,
 * GRO and threaded NAPI alike. In between, a packet socket's filter sees what
 * comes to the ARP layer.
 */
#include "judge.h"
#include "drop.h"
#include "answer.h"
#include "closer.h"
#include "neighbour.h"

/*
 * The programs that settle: the others call them as their last act, for each
 * copy of the settling would take time to compile.
 */
enum {
	SETTLE_ROUND,
	SETTLE_ASIDE,
	SETTLERS,
};
BPF_PROG_ARRAY(programs, SETTLERS);

static __always_inline void settle_aside_now(void *ctx)
{
	programs.call(ctx, SETTLE_ASIDE);
}

static __always_inline void settle_to(void *ctx, struct round *round, u32 slot)
{
	round->settle_to = slot;
	programs.call(ctx, SETTLE_ROUND);
}

/* In the namespace of the packet socket, arp_in's. */
static __always_inline int reached_is_seen(u32 netns)
{
	return netns == ARP_IN_NETNS;
}

/* arp_rcv comes after arp_in, or before it where ARP_IN_COMES_LATE. */
static __always_inline int may_be_in_arp(struct slot *slot)
{
	return reached_is_seen(slot->rq.netns) &&
	       slot->reached == !ARP_IN_COMES_LATE;
}

/* How far back in the proxy queue to look for a request just queued. */
#define QUEUE_TAIL 8

/*
 * pneigh_enqueue (net/core/neighbour.c) cannot be probed here; but what it took
 * stands at the tail of its table's queue.
 */
static __always_inline int is_queued(struct slot *slot)
{
	struct net_device *dev = (struct net_device *)slot->rq.device;
	struct sk_buff *skb = slot->skb, *next = 0;
	struct neigh_parms *parms = 0;
	struct neigh_table *table = 0;
	struct in_device *in_dev = 0;
	unsigned char *head = 0;
	u32 length = 0;
	int i;

	READ(in_dev, dev->ip_ptr);
	READ(parms, in_dev->arp_parms);
	READ(table, parms->tbl);
	READ(length, table->proxy_queue.qlen);
	if (!length)
		return 0;
	READ(head, skb->head);
	READ(next, skb->next);
	if (head == slot->head && next && was_enqueued(skb))
		return 1;
	/* arp_rcv clones what it shares with a packet socket. */
	READ(skb, table->proxy_queue.prev);
	for (i = 0; i < QUEUE_TAIL; i++) {
		COUNTED(i);
		if (!skb || (void *)skb == (void *)&table->proxy_queue)
			break;
		READ(head, skb->head);
		if (head == slot->head)
			return 1;
		READ(skb, skb->prev);
	}
	return 0;
}

static __always_inline void note_taken(struct slot *slot)
{
	if (reached_is_seen(slot->rq.netns) && !slot->reached &&
	    !slot->rq.dropped && !slot->rq.late && !slot->trail.taken_in)
		slot->trail.taken_in = IN___NETIF_RECEIVE_SKB_CORE;
}

/*
 * What came in has a slot since then, unless its header could not be read, or
 * the kernel skipped our program. A copy shares its memory.
 */
static __always_inline int is_a_copy(struct freed *freed)
{
	struct round *round = this_round();

	return freed->iif && round && round->unread != (u64)freed->skb &&
	       is_shared(freed->skb);
}

/* One that came through an IFB has come before. */
static __always_inline void came_before(struct slot *slot)
{
	u64 key = (u64)slot->skb, *came = away.lookup(&key);

	if (!came)
		return;
	slot->rq.ts = *came;
	away.delete(&key);
}

/* What a VLAN's or bond's device gets has come in through another one. */
static __always_inline int is_upper(struct net_device *dev)
{
	struct rtnl_link_ops *ops = 0;
	char *kind = 0, name[4] = {};

	READ(ops, dev->rtnl_link_ops);
	READ(kind, ops->kind);
	READ(name, *kind);
	return (name[0] == 'v' && name[1] == 'l') ||
	       (name[0] == 'b' && name[1] == 'o') ||
	       (name[0] == 't' && name[1] == 'e');
}

/* Its reply has left already: what comes late could not open a slot before. */
static __always_inline void take_stray_reply(struct round *round,
					     struct slot *slot)
{
	if (round->stray_ts && round->stray_sender_ip == slot->rq.sender_ip &&
	    round->stray_target_ip == slot->rq.target_ip) {
		slot->reply = UNSEEN_REPLY;
		slot->reply_ts = round->stray_ts;
		slot->rq.ts =
			round->unread ? round->unread_ts : round->stray_ts;
	}
	round->stray_ts = 0;
}

/*
 * The filter of a packet socket for ARP: packet_rcv runs it right before
 * arp_rcv, or before a list's arp_rcv (the newest packet socket comes first:
 * net/core/ dev.c, dev_add_pack). Since packet sockets are kept by namespace
 * (6.15), it runs right after arp_rcv. It takes no packet.
 */
int arp_in(struct __sk_buff *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx;
	struct arp_packet arp = {};
	struct round *round = this_round();
	struct request_event where = {};
	struct net_device *dev = 0;
	struct slot *slot;
	unsigned char *head = 0;

	if (!round || bpf_skb_load_bytes(ctx, 0, &arp, sizeof(arp)))
		return 0;
	if (!TARGET_TRACED(arp.target_ip)) {
		count_unjudged(skb, &arp);
		return 0;
	}
	if (arp.op != OP_REQUEST)
		return 0;
	READ(head, skb->head);
	READ(dev, skb->dev);
	slot = slot_of(round, skb, head, dev, &arp);
	/* Generic XDP may have put it into another packet. */
	if (slot && (slot->skb == skb || !slot->reached)) {
		if (slot->rq.device == (u64)dev) {
			slot->reached = 1;
			return 0;
		}
		/* An rx handler has given it to another device. */
		slot->trail.taken_in = IN___NETIF_RECEIVE_SKB_CORE;
	} else if (round->unread != (u64)skb && ARP_IN_COMES_LATE &&
		   !is_upper(dev)) {
		/*
		 * The kernel has skipped the program that sees it come in, and
		 * that which sees its reply: it cannot be judged.
		 */
		if (device_traced(dev, &where))
			add_statistic(STATISTIC_SKIPPED);
		return 0;
	}
	slot = open_slot(round, skb, &arp);
	if (slot) {
		slot->reached = 1;
		came_before(slot);
		take_stray_reply(round, slot);
	}
	round->unread = 0;
	return 0;
}

static __always_inline int is_ifb(struct net_device *dev)
{
	struct rtnl_link_ops *ops = 0;
	char *kind = 0, name[4] = {};

	READ(ops, dev->rtnl_link_ops);
	READ(kind, ops->kind);
	READ(name, *kind);
	return name[0] == 'i' && name[1] == 'f' && name[2] == 'b' && !name[3];
}

/* tc sends a request through an IFB: it will come in again. */
static __always_inline void goes_through(struct round *round,
					 struct sk_buff *skb,
					 struct net_device *dev,
					 struct arp_packet *arp)
{
	unsigned char *head = 0;
	u64 key = (u64)skb;
	struct slot *slot;

	if (!TARGET_TRACED(arp->target_ip) || !open_slots(round) ||
	    !is_ifb(dev) || !is_redirected(skb))
		return;
	READ(head, skb->head);
	slot = slot_of(round, skb, head, 0, arp);
	if (!slot || slot->reached)
		return;
	slot->moved = 1;
	away.update(&key, &slot->rq.ts);
}

HOOK(net_dev_queue)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct arp_packet arp = {};
	struct net_device *dev = 0;
	struct round *round;

	if (!is_arp(skb))
		return 0;
	round = this_round();
	if (!round || !read_arp(skb, network_header(skb), &arp))
		return 0;
	READ(dev, skb->dev);
	if (arp.op != OP_REPLY) {
		goes_through(round, skb, dev, &arp);
		return 0;
	}
	if (!TARGET_TRACED(arp.sender_ip) || reply_seen(round, skb, dev, &arp))
		return 0;
	/* Of a request that arp_in is to see yet? */
	if (ARP_IN_COMES_LATE) {
		round->stray_ts = bpf_ktime_get_ns();
		round->stray_sender_ip = arp.target_ip;
		round->stray_target_ip = arp.sender_ip;
		if (round->unread)
			return 0;
	}
	/* No request of this round: one that was deferred? */
	if (stray_answers(round, skb, dev, &arp))
		settle_aside_now(ctx);
	return 0;
}

HOOK(napi_poll)
{
	struct round *round = this_round();

	/* Netpoll, with no budget to receive anything, may be in the middle. */
	if (!round || !ctx->args[2])
		return 0;
	round->unread = 0;
	round->stray_ts = 0;
	if (!round->flushing && open_slots(round))
		settle_to(ctx, round, round->end);
	return 0;
}

int settles_round(struct bpf_raw_tracepoint_args *ctx)
{
	struct round *round = this_round();

	if (!round)
		return 0;
	if (settle_round(round))
		programs.call(ctx, SETTLE_ROUND);
	round->flushing = 0;
	return 0;
}

int settles_aside(struct bpf_raw_tracepoint_args *ctx)
{
	struct round *round = this_round();

	if (round)
		settle_aside(round);
	return 0;
}

/*
 * Attached nowhere: the runner runs it, on a CPU whose round stands still. A
 * device that receives in process context (tun), or a tasklet's (IFB), has no
 * napi_poll.
 */
int flush(struct bpf_raw_tracepoint_args *ctx)
{
	struct round *round = this_round();

	if (!round || round->flushing)
		return 0;
	round->flushing = 1;
	settle_to(ctx, round, round->end);
	return 0;
}

/*
 * In a full house the older half was decided long ago: there are twice as many
 * slots as a list has packets that the kernel announces before it processes the
 * first (gro_normal_batch; see tracer/kernel/engines/tracepoint.py).
 */
static __always_inline void make_room(void *ctx, struct round *round, u32 most)
{
	if (open_slots(round) >= most && !round->flushing)
		settle_to(ctx, round, round->end - SLOTS / 2);
}

/* A frame of a VLAN is for the VLAN's device, which arp_in knows. */
static __always_inline int is_tagged(struct sk_buff *skb)
{
#ifdef ARPWHY_HAS_SK_BUFF_VLAN_TCI
	u16 tci = 0;

	READ(tci, skb->vlan_tci);
	return ARP_IN_NETNS && tci & 0xfff;
#else
	return 0;
#endif
}

HOOK(netif_receive_skb)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct arp_packet arp = {};
	__be16 protocol = 0;
	struct round *round;
	struct slot *slot;
	void *data = 0;

	READ(protocol, skb->protocol);
	if (protocol != PROTOCOL_ARP && protocol != PROTOCOL_VLAN &&
	    protocol != PROTOCOL_VLAN_AD)
		return 0;
	round = this_round();
	if (!round)
		return 0;
	/* The network header is not set yet: skb->data stands at it. */
	READ(data, skb->data);
	if (protocol != PROTOCOL_ARP || is_tagged(skb) ||
	    !read_arp(skb, data, &arp)) {
		/* arp_in opens its slot, and has no room to make. */
		round->unread = (u64)skb;
		round->unread_ts = bpf_ktime_get_ns();
		round->stray_ts = 0;
		make_room(ctx, round, SLOTS / 2 + 1);
		return 0;
	}
	slot = open_slot(round, skb, &arp);
	if (!slot)
		return 0;
	came_before(slot);
	make_room(ctx, round, SLOTS);
	return 0;
}
