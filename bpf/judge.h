/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verdict. A request opens a slot on the CPU that received it; what the
 * kernel does with it is noted there; and when the kernel is done with it the
 * slot is settled: counted, and handed over.
 *
 * The kernel decides within one softirq round (net/ipv4/arp.c, arp_process), so
 * a slot needs no lock and no time-out. The engines differ in how they see what
 * the kernel does, and that a round is over.
 */
#ifndef ARPWHY_JUDGE_H
#define ARPWHY_JUDGE_H

#include "hook.h"
#include "packet.h"
#include "trail.h"

struct slot {
	struct request_event rq;
	struct trail trail; /* directly after it: they leave as one */
	struct sk_buff *skb;
	unsigned char *head; /* the packet's memory, which clones share */
	struct sk_buff *reply;
	u64 reply_ts;
	u8 reached;   /* it was seen to come to the ARP layer */
	u8 processed; /* arp_process was seen to begin */
	u8 queued;    /* pneigh_enqueue was seen to take it */
	u8 hopeless;  /* arp_rcv refuses it for what stands in it */
	u8 moved;     /* to another device, or queue: judged there */
	u8 copy_dropped;
	u8 reply_mac[6];
	u8 pad[4];
};

/*
 * What an engine provides, besides its hooks; and, from its Python, SLOTS: how
 * many requests of a CPU can be open at a time, a power of 2.
 */

/* Settles the slot aside, by settle_aside: the caller's last act. */
static __always_inline void settle_aside_now(void *ctx);

/* Did pneigh_enqueue take the request? */
static __always_inline int is_queued(struct slot *slot);

/* In that namespace a slot's @reached is set. */
static __always_inline int reached_is_seen(u32 netns);

/* May arp_rcv be at the slot's request? */
static __always_inline int may_be_in_arp(struct slot *slot);

/* It was seen to come in, and not to reach ARP, though nothing dropped it. */
static __always_inline void note_taken(struct slot *slot);

#define SETTLED_AT_ONCE 4
/* Of a reply that left before its request's slot was opened. */
#define UNSEEN_REPLY ((struct sk_buff *)~0ul)
/* In a device's address, which is even. */
#define WAITS_FOR_PROGRAM 1ull
/* How long a program that answered is waited for when the kernel refuses. */
#define PROGRAM_REMEMBERED 60000000000ull

BPF_RINGBUF_OUTPUT(events, RING_PAGES);
BPF_PERCPU_ARRAY(statistics, u64, 3);
BPF_TABLE("hash", struct count_key, struct count, counts, COUNT_ROWS);
BPF_PERCPU_ARRAY(rounds, struct round, 1);
BPF_PERCPU_ARRAY(slots, struct slot, SLOTS);
/* For what is settled outside a round, perhaps with one under way. */
BPF_PERCPU_ARRAY(aside, struct slot, 1);
/* Refused, newest of its kind: a program may answer it yet. */
BPF_TABLE("lru_hash", struct exchange, struct request_event, refused, 1024);
/* A program's answer to a request that was not settled then. */
BPF_TABLE("lru_hash", struct exchange, struct answer, early_answers, 1024);
/* The newest of its kind that was answered: another may answer it too. */
BPF_TABLE("lru_hash", struct exchange, struct answer, answered, 4096);
/* Who is answered by programs, and when that was last seen. */
BPF_TABLE("lru_hash", struct other_target, u64, answering, 1024);
/* Requests that wait in the queue of another device, and when they came. */
BPF_TABLE("lru_hash", u64, u64, away, 4096);
/* For remarks, not verdicts. */
BPF_TABLE("lru_hash", struct other_target, struct remark, unjudged, 1024);
BPF_TABLE("lru_hash", struct other_mac, struct remark, elsewhere, 1024);
/*
 * What waits, oldest first: in the kernel's proxy queue, or (by
 * WAITS_FOR_PROGRAM in its device) for a program that is known to answer.
 */
BPF_TABLE("lru_hash", struct exchange, struct queue, deferred, 4096);
BPF_TABLE("lru_hash", struct place, struct request_event, waiting, 4096);

static __always_inline struct round *this_round(void)
{
	u32 zero = 0;

	return rounds.lookup(&zero);
}

static __always_inline u32 open_slots(struct round *round)
{
	u32 open = round->end - round->begin;

	return open > SLOTS ? 0 : open;
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
	if (rq->late == LATE_CORRECTS)
		__sync_fetch_and_add(&count->corrected, 1);
	else if (rq->late)
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

static __always_inline struct place place_of(struct exchange *exchange, u64 at)
{
	struct place place = {
		.device = exchange->device,
		.sender_ip = exchange->sender_ip,
		.target_ip = exchange->target_ip,
		.at = at,
	};

	return place;
}

static __always_inline void defer(struct request_event *rq)
{
	struct exchange exchange = exchange_of(rq);
	struct queue empty = {}, *queue;
	struct place place;

	queue = deferred.lookup_or_try_init(&exchange, &empty);
	if (!queue)
		return;
	place = place_of(&exchange, queue->next);
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
	struct exchange exchange = exchange_of(rq);
	struct queue *queue = deferred.lookup(&exchange);
	struct request_event *asked;
	struct place place;
	u64 ts = 0;

	if (!queue)
		return 0;
	place = place_of(&exchange, queue->first);
	__sync_fetch_and_add(&queue->first, 1);
	asked = waiting.lookup(&place);
	if (asked)
		ts = asked->ts;
	waiting.delete(&place);
	return ts;
}

static __always_inline struct other_target whose(struct request_event *rq)
{
	struct other_target whose = {
		.device = rq->device & ~WAITS_FOR_PROGRAM,
		.target_ip = rq->target_ip,
		.netns = rq->netns,
	};

	return whose;
}

/* A program has answered what the kernel refused. */
static __always_inline void take_early_answer(struct slot *slot,
					      struct answer *early)
{
	struct request_event *rq = &slot->rq;
	struct exchange exchange = exchange_of(rq);
	struct other_target key = whose(rq);

	rq->answered_by = BY_USERSPACE;
	rq->verdict = VERDICT_ANSWERED;
	rq->latency_ns = early->ts - rq->ts;
	slot->reply_ts = early->ts;
	__builtin_memcpy(slot->reply_mac, early->mac, 6);
	answering.update(&key, &early->ts);
	early_answers.delete(&exchange);
}

/*
 * The kernel refused the request. Has a program answered it, or will it? Gives
 * 1 if that is still to be seen.
 */
static __always_inline int left_to_program(struct slot *slot)
{
	struct request_event *rq = &slot->rq;
	struct exchange exchange = exchange_of(rq);
	struct other_target key = whose(rq);
	struct answer *early = early_answers.lookup(&exchange);
	u64 *seen_ts;

	if (early && early->ts >= rq->ts) {
		take_early_answer(slot, early);
		return 0;
	}
	seen_ts = answering.lookup(&key);
	if (!seen_ts || bpf_ktime_get_ns() - *seen_ts > PROGRAM_REMEMBERED)
		return 0;
	rq->device |= WAITS_FOR_PROGRAM;
	defer(rq);
	return 1;
}

/*
 * The refusal was told: a program may answer yet. Or it has, on another CPU,
 * since it was looked for: who takes the request out of the map tells of that.
 */
static __always_inline int was_answered_meanwhile(struct slot *slot)
{
	struct request_event *rq = &slot->rq;
	struct exchange exchange = exchange_of(rq);
	struct answer *early;

	refused.update(&exchange, rq);
	early = early_answers.lookup(&exchange);
	if (!early || early->ts < rq->ts || refused.delete(&exchange))
		return 0;
	rq->late = LATE_CORRECTS;
	take_early_answer(slot, early);
	rq->ts = slot->reply_ts;
	return 1;
}

/* What waited has come to its end; gives when it had come, 0: not known. */
static __always_inline u64 has_waited(struct slot *slot)
{
	struct request_event *rq = &slot->rq;
	u64 came = undefer(rq);
	struct other_target key;

	if (!(rq->device & WAITS_FOR_PROGRAM)) {
		rq->ts = slot->reply ? slot->reply_ts : rq->ts;
		return came;
	}
	/* Nothing was told of it before: it is no late one. */
	rq->device &= ~WAITS_FOR_PROGRAM;
	rq->ts = came ?: rq->ts;
	rq->late = LATE_NOT;
	if (!slot->reply) {
		key = whose(rq);
		answering.delete(&key);
	}
	return came;
}

/* Not if either is not known. */
static __always_inline int differ(u8 *mac, u8 *other)
{
	u32 i, set = 0, other_set = 0, different = 0;

	for (i = 0; i < 6; i++) {
		set |= mac[i];
		other_set |= other[i];
		different |= mac[i] ^ other[i];
	}
	return set && other_set && different;
}

/* It is answered; or twice, if a program was faster. */
static __always_inline void note_answer(struct slot *slot, u64 asked_ts)
{
	struct request_event *rq = &slot->rq;
	struct exchange exchange = exchange_of(rq);
	struct answer *early = early_answers.lookup(&exchange);
	struct answer answer = {.asked_ts = asked_ts, .ts = slot->reply_ts};

	__builtin_memcpy(answer.mac, slot->reply_mac, 6);
	if (early && early->ts >= asked_ts && differ(early->mac, answer.mac)) {
		__builtin_memcpy(rq->other_mac, early->mac, 6);
		early_answers.delete(&exchange);
	}
	answered.update(&exchange, &answer);
}

/* Counts it, but for a second answer, and hands it over. */
static __always_inline void tell(struct slot *slot, u64 asked_ts)
{
	struct request_event *rq = &slot->rq;
	long lost;

	if (rq->late != LATE_AGAIN) {
		add_count(rq);
		if (rq->verdict == VERDICT_ANSWERED)
			note_answer(slot, asked_ts);
	}
	if (rq->verdict == VERDICT_UNANSWERED) {
		note_conf(&slot->trail, rq);
		note_taken(slot);
		lost = events.ringbuf_output(
			rq, sizeof(slot->rq) + sizeof(slot->trail), 0);
	} else {
		lost = events.ringbuf_output(rq, sizeof(*rq), 0);
	}
	if (lost)
		add_statistic(STATISTIC_LOST);
}

static __always_inline void settle(struct slot *slot)
{
	struct request_event *rq = &slot->rq;
	u64 came = rq->ts;
	u8 late = rq->late;
	struct other_target key;

	if (slot->moved)
		return;
	if (late == LATE_CORRECTS || late == LATE_AGAIN)
		rq->ts = slot->reply_ts;
	else if (late)
		came = has_waited(slot);
	if (slot->reply && rq->answered_by == BY_USERSPACE) {
		key = whose(rq);
		answering.update(&key, &slot->reply_ts);
	}
	if (!rq->sender_ip || rq->sender_ip == rq->target_ip)
		rq->verdict = VERDICT_IGNORED;
	else if (slot->reply && rq->dropped != DROPPED_REPLY)
		rq->verdict = VERDICT_ANSWERED;
	else if (!slot->reply && !late && !rq->dropped && is_queued(slot))
		rq->verdict = VERDICT_DEFERRED;
	else
		rq->verdict = VERDICT_UNANSWERED;
	if (slot->reply && came && late != LATE_AGAIN &&
	    rq->dropped != DROPPED_REPLY)
		rq->latency_ns = slot->reply_ts - came;
	if (rq->verdict == VERDICT_DEFERRED)
		defer(rq);
	if (rq->verdict == VERDICT_UNANSWERED && !late && left_to_program(slot))
		return;
	came = came ?: rq->ts;
	tell(slot, came);
	if (rq->verdict == VERDICT_UNANSWERED && !late &&
	    was_answered_meanwhile(slot))
		tell(slot, came);
}

/* The slot that was opened @nth, of those in use. */
static __always_inline struct slot *slot_at(struct round *round, u32 nth)
{
	u32 at = (round->begin + nth) & (SLOTS - 1);

	return slots.lookup(&at);
}

/*
 * The kernel is done with what this CPU has open, up to @round->settle_to.
 * Gives 1 if there is more: the verifier walks through every turn of the loop.
 */
static __always_inline int settle_round(struct round *round)
{
	u32 i, left = round->settle_to - round->begin;
	struct slot *slot;

	for (i = 0; i < SETTLED_AT_ONCE; i++) {
		COUNTED(i);
		if (!left || left > SLOTS)
			break;
		slot = slot_at(round, 0);
		if (slot)
			settle(slot);
		round->begin++;
		round->turn++;
		left--;
	}
	return left && left <= SLOTS;
}

/*
 * The slot aside, emptied; 0 if a settling was interrupted just now. It is to
 * be settled, by itself, or given back.
 */
static __always_inline struct slot *take_aside(struct round *round)
{
	struct slot *slot;
	u32 zero = 0;

	slot = aside.lookup(&zero);
	if (!slot)
		return 0;
	if (round->busy) {
		add_statistic(STATISTIC_LOST);
		return 0;
	}
	round->busy = 1;
	__builtin_memset(slot, 0, sizeof(*slot));
	return slot;
}

static __always_inline void give_aside_back(struct round *round)
{
	round->busy = 0;
}

static __always_inline void settle_aside(struct round *round)
{
	struct slot *slot;
	u32 zero = 0;

	slot = aside.lookup(&zero);
	if (slot)
		settle(slot);
	round->turn++;
	round->busy = 0;
}

static __always_inline int is_hopeless(struct trail *trail)
{
	return trail->pkt_type == PACKET_OTHERHOST ||
	       trail->pkt_type == PACKET_LOOPBACK ||
	       trail->device_flags & IFF_NOARP || trail->known & KNOWN_HEADER;
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
	slot->skb = skb;
	READ(slot->head, skb->head);
	note_packet(&slot->trail, skb, dev, arp);
	slot->hopeless = is_hopeless(&slot->trail);
	return 1;
}

/* Opens a slot, if this is a request to judge. */
static __always_inline struct slot *
open_slot(struct round *round, struct sk_buff *skb, struct arp_packet *arp)
{
	struct net_device *dev = 0;
	u32 open = open_slots(round);
	struct slot *slot;

	READ(dev, skb->dev);
	slot = slot_at(round, open);
	if (open >= SLOTS) {
		if (arp->op == OP_REQUEST && TARGET_TRACED(arp->target_ip))
			add_statistic(STATISTIC_LOST);
		return 0;
	}
	if (!slot || !fill(slot, skb, dev, arp))
		return 0;
	round->end = round->begin + open + 1;
	return slot;
}

/* A request has come in; its ARP header is at @at. */
static __always_inline struct slot *request_seen(struct round *round,
						 struct sk_buff *skb, void *at)
{
	struct arp_packet arp = {};

	return read_arp(skb, at, &arp) ? open_slot(round, skb, &arp) : 0;
}

/* A request for an address that is not to be judged: not for one's own. */
static __always_inline void count_unjudged(struct sk_buff *skb,
					   struct arp_packet *arp)
{
	struct request_event where = {};
	struct net_device *dev = 0;
	struct remark none = {}, *remark;
	struct other_target key;

	if (arp->op != OP_REQUEST || TARGET_TRACED(arp->target_ip) ||
	    !arp->sender_ip || arp->sender_ip == arp->target_ip)
		return;
	READ(dev, skb->dev);
	if (!device_traced(dev, &where))
		return;
	where.target_ip = arp->target_ip;
	key = whose(&where);
	__builtin_memcpy(none.interface, where.interface, 16);
	remark = unjudged.lookup_or_try_init(&key, &none);
	if (remark)
		__sync_fetch_and_add(&remark->count, 1);
}

static __always_inline int asks_as(struct slot *slot, struct arp_packet *arp)
{
	return slot->rq.sender_ip == arp->sender_ip &&
	       slot->rq.target_ip == arp->target_ip;
}

/*
 * Numbers of slots while they are looked through. The verifier would follow
 * each by itself, through all that comes after the loop; of a byte that is
 * where no register is spilled to it knows nothing.
 */
struct search {
	u64 aligned;
	u8 pad;
	volatile u8 first;
	volatile u8 second;
};

static __always_inline struct slot *found(struct round *round,
					  struct search *search)
{
	u32 nth = search->first;

	if (nth == SLOTS)
		nth = search->second;
	return nth == SLOTS ? 0 : slot_at(round, nth);
}

/*
 * The request that this packet is, by its address, or else by its memory, which
 * its copies share, or else (of @dev) one like it that has not reached ARP. The
 * newest first, and never without its content: what was freed may be another
 * packet's now.
 */
static __always_inline struct slot *
slot_of(struct round *round, struct sk_buff *skb, unsigned char *head,
	struct net_device *dev, struct arp_packet *arp)
{
	struct search search = {.first = SLOTS, .second = SLOTS};
	u32 i, nth, open = open_slots(round);
	struct slot *slot;

	for (i = 0; i < SLOTS; i++) {
		COUNTED(i);
		if (i >= open)
			break;
		nth = open - 1 - i;
		slot = slot_at(round, nth);
		if (!slot)
			break;
		if (slot->moved || !asks_as(slot, arp))
			continue;
		if (slot->skb == skb) {
			search.first = nth;
			break;
		}
		if (slot->head == head && search.first == SLOTS)
			search.first = nth;
		if (!slot->reached && slot->rq.device == (u64)dev &&
		    search.second == SLOTS)
			search.second = nth;
	}
	return found(round, &search);
}

/* Is this packet the reply to the slot's request? */
static __always_inline int replies(struct slot *slot, struct arp_packet *arp)
{
	return slot->rq.sender_ip == arp->target_ip &&
	       slot->rq.target_ip == arp->sender_ip;
}

/* What arp_rcv refuses for what stands in it, or what was dropped, gets none.
 */
static __always_inline int may_get_reply(struct slot *slot,
					 struct arp_packet *arp)
{
	return (!slot->rq.dropped || slot->copy_dropped) && !slot->hopeless &&
	       !slot->moved && replies(slot, arp);
}

/* The open request that this packet answered: the newest, memory is used again.
 */
static __always_inline struct slot *
answered_by(struct round *round, struct sk_buff *reply, struct arp_packet *arp)
{
	struct search search = {.first = SLOTS, .second = SLOTS};
	u32 i, nth, open = open_slots(round);
	struct slot *slot;

	for (i = 0; i < SLOTS; i++) {
		COUNTED(i);
		if (i >= open)
			break;
		nth = open - 1 - i;
		slot = slot_at(round, nth);
		if (!slot)
			break;
		if (slot->reply == reply && may_get_reply(slot, arp)) {
			search.first = nth;
			break;
		}
	}
	return found(round, &search);
}

/*
 * The open request of @dev that awaits this reply: the newest that arp_rcv may
 * be at, or else the oldest.
 */
static __always_inline struct slot *
awaiting(struct round *round, struct net_device *dev, struct arp_packet *arp)
{
	struct search search = {.first = SLOTS, .second = SLOTS};
	u32 i, nth, open = open_slots(round);
	struct slot *slot;

	for (i = 0; i < SLOTS; i++) {
		COUNTED(i);
		if (i >= open)
			break;
		nth = open - 1 - i;
		slot = slot_at(round, nth);
		if (!slot)
			break;
		if (slot->reply || slot->rq.device != (u64)dev ||
		    !may_get_reply(slot, arp))
			continue;
		search.second = nth;
		if (may_be_in_arp(slot)) {
			search.first = nth;
			break;
		}
	}
	return found(round, &search);
}

/* A reply goes out. Gives 0 if no open request asked for it. */
static __always_inline int reply_seen(struct round *round, struct sk_buff *skb,
				      struct net_device *dev,
				      struct arp_packet *arp)
{
	struct slot *slot = awaiting(round, dev, arp);

	if (!slot)
		return 0;
	if (slot->skb == skb)
		slot->rq.answered_by = BY_BPF;
	/* What was dropped was a copy, then. */
	slot->rq.dropped = DROPPED_NOTHING;
	slot->reply = skb;
	slot->reply_ts = bpf_ktime_get_ns();
	__builtin_memcpy(slot->reply_mac, arp->sender_mac, 6);
	return 1;
}

#endif
