/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verdict. A request opens a slot on the CPU that received it; what the
 * kernel does with it is noted there; and when the kernel is done with it the
 * slot is settled: counted, and handed over.
 *
 * The kernel decides within one softirq round (net/ipv4/arp.c, arp_process), so
 * a slot needs no lock and no time-out. The engines differ only in how they see
 * that a round is over.
 */
#ifndef ARPWHY_JUDGE_H
#define ARPWHY_JUDGE_H

#include "packet.h"
#include "trail.h"

struct slot {
	struct request_event rq;
	struct trail trail; /* directly after it: they leave as one */
	u64 skb;
	u64 head; /* the packet's memory, which clones share */
	u64 reply;
	u64 reply_ts;
	u8 processed; /* arp_process was seen to begin */
	u8 queued;    /* pneigh_enqueue was seen to take it */
	u8 pad[6];
};

struct place {
	struct exchange exchange;
	u64 at;
};

#define SETTLED_AT_ONCE 4
#define NOT_SEEN_YET	~0ull /* no reply's address */

BPF_RINGBUF_OUTPUT(events, RING_PAGES);
BPF_PERCPU_ARRAY(statistics, u64, 2);
BPF_TABLE("hash", struct count_key, struct count, counts, COUNT_ROWS);
BPF_PERCPU_ARRAY(rounds, struct round, 1);
BPF_PERCPU_ARRAY(slots, struct slot, SLOTS);
/* For what is settled outside a round, perhaps with one under way. */
BPF_PERCPU_ARRAY(aside, struct slot, 1);
/* What waits in the kernel's proxy queue, oldest first. */
BPF_TABLE("lru_hash", struct exchange, struct queue, deferred, 4096);
BPF_TABLE("lru_hash", struct place, struct request_event, waiting, 4096);

static __always_inline struct round *this_round(void)
{
	u32 zero = 0;

	return rounds.lookup(&zero);
}

static __always_inline void add_statistic(u32 which)
{
	u64 *n = statistics.lookup(&which);

	if (n)
		*n += 1;
}

static __always_inline void add_count(struct request_event *rq)
{
	struct count_key key = {
		.device = rq->device,
		.ifindex = rq->ifindex,
		.netns = rq->netns,
	};
	struct count none = {}, *count;
	u32 verdict = rq->verdict & 3;

	count = counts.lookup_or_try_init(&key, &none);
	if (!count) {
		add_statistic(STATISTIC_UNCOUNTED);
		return;
	}
	__sync_fetch_and_add(&count->requests[verdict], 1);
	if (rq->late)
		__sync_fetch_and_add(&count->settled, 1);
	count->last_ts[verdict] = rq->ts;
	if (verdict == VERDICT_UNANSWERED) {
		count->unanswered_sender_ip = rq->sender_ip;
		count->unanswered_target_ip = rq->target_ip;
	}
	__builtin_memcpy(count->interface, rq->interface,
			 sizeof(count->interface));
}

static __always_inline struct exchange exchange_of(struct request_event *rq)
{
	struct exchange exchange = {
		.device = rq->device,
		.sender_ip = rq->sender_ip,
		.target_ip = rq->target_ip,
	};

	return exchange;
}

static __always_inline void defer(struct request_event *rq)
{
	struct place place = {.exchange = exchange_of(rq)};
	struct queue empty = {}, *queue;

	queue = deferred.lookup_or_try_init(&place.exchange, &empty);
	if (!queue)
		return;
	place.at = queue->next;
	waiting.update(&place, rq);
	__sync_fetch_and_add(&queue->next, 1);
}

static __always_inline int is_deferred(struct request_event *rq)
{
	struct exchange exchange = exchange_of(rq);
	struct queue *queue = deferred.lookup(&exchange);

	return queue && queue->first != queue->next;
}

/* The oldest of its kind leaves the queue; gives when it came, 0: not known. */
static __always_inline u64 undefer(struct request_event *rq)
{
	struct place place = {.exchange = exchange_of(rq)};
	struct queue *queue = deferred.lookup(&place.exchange);
	struct request_event *asked;
	u64 ts = 0;

	if (!queue)
		return 0;
	place.at = queue->first;
	__sync_fetch_and_add(&queue->first, 1);
	asked = waiting.lookup(&place);
	if (asked)
		ts = asked->ts;
	waiting.delete(&place);
	return ts;
}

/* Did pneigh_enqueue take the request? Each engine has its way to know. */
static __always_inline int is_queued(struct slot *slot);

static __always_inline void settle(struct slot *slot)
{
	struct request_event *rq = &slot->rq;
	u64 came = rq->ts;
	long lost;

	if (rq->late) {
		came = undefer(rq);
		rq->ts = slot->reply ? slot->reply_ts : rq->ts;
	}
	if (!rq->sender_ip || rq->sender_ip == rq->target_ip)
		rq->verdict = VERDICT_IGNORED;
	else if (slot->reply && rq->dropped != DROPPED_REPLY)
		rq->verdict = VERDICT_ANSWERED;
	else if (!slot->reply && !rq->late && !rq->dropped && is_queued(slot))
		rq->verdict = VERDICT_DEFERRED;
	else
		rq->verdict = VERDICT_UNANSWERED;
	if (slot->reply && came && rq->dropped != DROPPED_REPLY)
		rq->latency_ns = slot->reply_ts - came;
	if (rq->verdict == VERDICT_DEFERRED)
		defer(rq);
	add_count(rq);
	if (rq->verdict == VERDICT_UNANSWERED) {
		note_conf(&slot->trail, rq);
		lost = events.ringbuf_output(
			rq, sizeof(slot->rq) + sizeof(slot->trail), 0);
	} else {
		lost = events.ringbuf_output(rq, sizeof(*rq), 0);
	}
	if (lost)
		add_statistic(STATISTIC_LOST);
}

/* The slot that was opened @nth, of those in use. */
static __always_inline struct slot *slot_at(struct round *round, u32 nth)
{
	u32 at = (round->first + nth) & (SLOTS - 1);

	return slots.lookup(&at);
}

/*
 * The kernel is done with what this CPU was at, all but the newest @keep. Says
 * if there is more: the verifier walks through every turn of the loop.
 */
static __always_inline int round_over(void)
{
	struct round *round = this_round();
	struct slot *slot;
	u32 i, zero = 0;

	if (!round)
		return 0;
	for (i = 0; i < SETTLED_AT_ONCE; i++) {
		if (round->aside) {
			round->aside = 0;
			slot = aside.lookup(&zero);
		} else if (round->open > round->keep) {
			slot = slot_at(round, 0);
			round->first++;
			round->open--;
		} else {
			break;
		}
		if (!slot)
			break;
		settle(slot);
		round->turn++;
	}
	if (round->open > round->keep)
		return 1;
	round->keep = 0;
	return 0;
}

/* The slot aside is to be settled now, and nothing of a round under way. */
static __always_inline void settle_only_aside(struct round *round)
{
	round->aside = 1;
	round->keep = round->open;
}

/* Fills the slot if this is a request to judge. */
static __always_inline int fill(struct slot *slot, struct sk_buff *skb,
				struct net_device *dev, struct arp_packet *arp)
{
	struct request_event *rq = &slot->rq;

	if (arp->op != OP_REQUEST || !TARGET_TRACED(arp->target_ip))
		return 0;
	__builtin_memset(slot, 0, sizeof(*slot));
	if (!device_traced(dev, rq))
		return 0;
	rq->kind = EVENT_REQUEST;
	rq->ts = bpf_ktime_get_ns();
	rq->sender_ip = arp->sender_ip;
	rq->target_ip = arp->target_ip;
	__builtin_memcpy(rq->sender_mac, arp->sender_mac, 6);
	slot->skb = (u64)skb;
	READ(slot->head, skb->head);
	note_packet(&slot->trail, skb, dev, arp);
	return 1;
}

/* A request has come in; its ARP header is at @at. */
static __always_inline struct slot *request_seen(struct round *round,
						 struct sk_buff *skb, void *at)
{
	struct arp_packet arp = {};
	struct net_device *dev = 0;
	struct slot *slot;

	if (round->open >= SLOTS) {
		add_statistic(STATISTIC_LOST);
		return 0;
	}
	if (!read_arp(skb, at, &arp))
		return 0;
	READ(dev, skb->dev);
	slot = slot_at(round, round->open);
	if (!slot || !fill(slot, skb, dev, &arp))
		return 0;
	round->open++;
	return slot;
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

/* Is this packet the reply to the slot's request? */
static __always_inline int replies(struct slot *slot, struct arp_packet *arp)
{
	return slot->rq.sender_ip == arp->target_ip &&
	       slot->rq.target_ip == arp->sender_ip;
}

/*
 * The open request that this reply answers: the one it was seen to answer (the
 * newest: memory is used again), or else the oldest that is still without one.
 * A reply that was seen to leave may belong to the pod's device by now.
 */
static __always_inline struct slot *asked_by(struct round *round, u64 reply,
					     u64 device, struct arp_packet *arp)
{
	u32 i, nth, oldest = SLOTS;
	struct slot *slot;

	for (i = 0; i < SLOTS; i++) {
		if (i >= round->open)
			break;
		nth = round->open - 1 - i;
		slot = slot_at(round, nth);
		if (!slot)
			break;
		if (slot->rq.dropped || !replies(slot, arp))
			continue;
		if (slot->reply == reply)
			return slot;
		if (!slot->reply && slot->rq.device == device)
			oldest = nth;
	}
	return oldest == SLOTS ? 0 : slot_at(round, oldest);
}

/* A reply goes out. Gives 0 if no open request asked for it. */
static __always_inline int reply_seen(struct round *round, struct sk_buff *skb,
				      struct net_device *dev,
				      struct arp_packet *arp)
{
	struct slot *slot = asked_by(round, NOT_SEEN_YET, (u64)dev, arp);

	if (!slot)
		return 0;
	slot->reply = (u64)skb;
	slot->reply_ts = bpf_ktime_get_ns();
	return 1;
}

#endif
