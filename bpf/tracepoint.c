// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fallback for kernels without function probes: raw tracepoints. A request
 * is seen as it is received, its reply as it is queued, and napi_poll, at the
 * end of the softirq round, says that the kernel is done with it: for backlog,
 * GRO and threaded NAPI alike.
 */

#include "judge.h"

/*
 * napi_poll's program, which settles: the others call it as their last act, for
 * each copy of the settling would cost 0.1 s to compile.
 */
BPF_PROG_ARRAY(programs, 1);
#define SETTLE_ASIDE(ctx) settle_now(ctx)

static __always_inline void settle_now(void *ctx)
{
	programs.call(ctx, 0);
}

#include "drop.h"
#include "closer.h"
#include "neighbour.h"

/* How far back in the proxy queue to look for a request just queued. */
#define QUEUE_TAIL 8

/*
 * pneigh_enqueue (net/core/neighbour.c) cannot be probed here; but what it took
 * stands at the tail of its table's queue.
 */
static __always_inline int is_queued(struct slot *slot)
{
	struct net_device *dev = (struct net_device *)slot->rq.device;
	struct sk_buff *skb = (struct sk_buff *)slot->skb, *next = 0;
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
	if ((u64)head == slot->head && next && was_enqueued(skb))
		return 1;
	/* arp_rcv clones what it shares with a packet socket. */
	READ(skb, table->proxy_queue.prev);
	for (i = 0; i < QUEUE_TAIL; i++) {
		if (!skb || (void *)skb == (void *)&table->proxy_queue)
			break;
		READ(head, skb->head);
		if ((u64)head == slot->head)
			return 1;
		READ(skb, skb->prev);
	}
	return 0;
}

/*
 * In a full house the older half was decided long ago: there are twice as many
 * slots as a list has packets that the kernel announces before it processes the
 * first (gro_normal_batch; see tracer/kernel/engines/tracepoint.py).
 */
static __always_inline void make_room(void *ctx, struct round *round)
{
	if (round->open < SLOTS)
		return;
	round->keep = SLOTS / 2;
	settle_now(ctx);
}

RAW_TRACEPOINT_PROBE(netif_receive_skb)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct round *round;
	void *data = 0;

	if (!is_arp(skb))
		return 0;
	round = this_round();
	/* The network header is not set yet: skb->data stands at it. */
	READ(data, skb->data);
	if (round && request_seen(round, skb, data))
		make_room(ctx, round);
	return 0;
}

RAW_TRACEPOINT_PROBE(net_dev_queue)
{
	struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
	struct arp_packet arp = {};
	struct net_device *dev = 0;
	struct round *round;
	struct slot *slot;

	if (!is_arp(skb))
		return 0;
	round = this_round();
	if (!round || !read_arp(skb, network_header(skb), &arp) ||
	    arp.op != OP_REPLY)
		return 0;
	READ(dev, skb->dev);
	if (reply_seen(round, skb, dev, &arp))
		return 0;
	/* No request of this round: one that was deferred? */
	slot = slot_at(round, round->open);
	if (!slot)
		return 0;
	__builtin_memset(slot, 0, sizeof(*slot));
	slot->rq.sender_ip = arp.target_ip;
	slot->rq.target_ip = arp.sender_ip;
	if (!TARGET_TRACED(slot->rq.target_ip) ||
	    !device_traced(dev, &slot->rq))
		return 0;
	if (!is_deferred(&slot->rq))
		return 0;
	slot->rq.kind = EVENT_REQUEST;
	slot->rq.late = LATE_SEEN;
	slot->rq.ts = bpf_ktime_get_ns();
	__builtin_memcpy(slot->rq.sender_mac, arp.target_mac, 6);
	slot->reply = (u64)skb;
	slot->reply_ts = slot->rq.ts;
	round->open++;
	make_room(ctx, round);
	return 0;
}

/*
 * The runner runs this too (BPF_PROG_TEST_RUN), on a CPU whose round stands
 * still: a device that receives in process context (tun) has no napi_poll.
 */
RAW_TRACEPOINT_PROBE(napi_poll)
{
	if (round_over())
		settle_now(ctx);
	return 0;
}

/*
 * Attached nowhere: the runner runs it, so that all counting is done here. The
 * oldest deferred request of an exchange was not answered, and its time is
 * over. args: the device; sender and target; it came before this time
 * (CLOCK_MONOTONIC, ns).
 */
int expire(struct bpf_raw_tracepoint_args *ctx)
{
	struct place place = {
		.exchange =
			{
				.device = ctx->args[0],
				.sender_ip = ctx->args[1] >> 32,
				.target_ip = ctx->args[1],
			},
	};
	struct queue *queue = deferred.lookup(&place.exchange);
	struct round *round = this_round();
	struct request_event *asked;
	struct slot *slot;
	u32 zero = 0;

	slot = aside.lookup(&zero);
	if (!queue || !slot || !round || queue->first == queue->next)
		return 0;
	place.at = queue->first;
	asked = waiting.lookup(&place);
	if (!asked || asked->ts >= ctx->args[2])
		return 0;
	__builtin_memset(slot, 0, sizeof(*slot));
	slot->rq = *asked;
	slot->rq.ts = bpf_ktime_get_ns();
	slot->rq.late = LATE_GIVEN_UP;
	settle_only_aside(round);
	settle_now(ctx);
	return 0;
}
