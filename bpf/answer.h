/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Replies to what is not open any more: to a request that the kernel had
 * queued, or to one that it refused and a program answers through a packet
 * socket.
 */
#ifndef ARPWHY_ANSWER_H
#define ARPWHY_ANSWER_H

#include "judge.h"

/* How long after the request a program's answer is taken for its answer. */
#define ANSWERED_WITHIN 1000000000ull

/* Was it answered just now, with another address? */
static __always_inline int answers_again(struct slot *slot,
					 struct exchange *exchange)
{
	struct answer *answer = answered.lookup(exchange);
	struct request_event *rq = &slot->rq;

	if (!answer || slot->reply_ts - answer->asked_ts >= ANSWERED_WITHIN ||
	    !differ(answer->mac, slot->reply_mac))
		return 0;
	rq->ts = answer->asked_ts;
	rq->late = LATE_AGAIN;
	__builtin_memcpy(rq->other_mac, slot->reply_mac, 6);
	return 1;
}

/* Fills the slot aside if the reply answers something that is known. */
static __always_inline int fill_answered(struct slot *slot, struct sk_buff *skb,
					 struct net_device *dev,
					 struct arp_packet *arp)
{
	struct request_event *rq = &slot->rq, *asked;
	u64 now = bpf_ktime_get_ns();
	struct answer answer = {.ts = now};
	struct exchange exchange;

	rq->sender_ip = arp->target_ip;
	rq->target_ip = arp->sender_ip;
	if (!device_traced(dev, rq))
		return 0;
	rq->kind = EVENT_REQUEST;
	rq->late = LATE_SEEN;
	rq->ts = now;
	__builtin_memcpy(rq->sender_mac, arp->target_mac, 6);
	slot->reply = skb;
	slot->reply_ts = now;
	__builtin_memcpy(slot->reply_mac, arp->sender_mac, 6);
	if (is_deferred(rq))
		return 1;
	rq->answered_by = BY_USERSPACE;
	rq->device |= WAITS_FOR_PROGRAM;
	if (is_deferred(rq))
		return 1;
	rq->device &= ~WAITS_FOR_PROGRAM;
	exchange = exchange_of(rq);
	asked = refused.lookup(&exchange);
	if (!asked || now - asked->ts >= ANSWERED_WITHIN) {
		if (answers_again(slot, &exchange))
			return 1;
		__builtin_memcpy(answer.mac, arp->sender_mac, 6);
		early_answers.update(&exchange, &answer);
		/* Perhaps it was refused just now, on another CPU. */
		asked = refused.lookup(&exchange);
		if (!asked || now - asked->ts >= ANSWERED_WITHIN)
			return 0;
	}
	rq->ts = asked->ts;
	rq->late = LATE_CORRECTS;
	return !refused.delete(&exchange);
}

/* A reply that no open request asked for. Gives 1 if the slot aside is to be
 * settled. */
static __always_inline int stray_answers(struct round *round,
					 struct sk_buff *skb,
					 struct net_device *dev,
					 struct arp_packet *arp)
{
	struct slot *slot = take_aside(round);

	if (!slot)
		return 0;
	if (!fill_answered(slot, skb, dev, arp)) {
		give_aside_back(round);
		return 0;
	}
	return 1;
}

/*
 * Attached nowhere: the runner runs it, so that all counting is done here. The
 * oldest that waits of an exchange was not answered, and its time is over.
 * args: the device; sender and target; it came before this time
 * (CLOCK_MONOTONIC, ns).
 */
int expire(struct bpf_raw_tracepoint_args *ctx)
{
	struct exchange exchange = {
		.device = ctx->args[0],
		.sender_ip = ctx->args[1] >> 32,
		.target_ip = ctx->args[1],
	};
	struct queue *queue = deferred.lookup(&exchange);
	struct round *round = this_round();
	struct request_event *asked;
	struct place place;
	struct slot *slot;

	if (!queue || !round || queue->first == queue->next)
		return 0;
	place = place_of(&exchange, queue->first);
	asked = waiting.lookup(&place);
	if (!asked || asked->ts >= ctx->args[2])
		return 0;
	slot = take_aside(round);
	if (!slot)
		return 0;
	slot->rq = *asked;
	slot->rq.ts = bpf_ktime_get_ns();
	slot->rq.late = LATE_GIVEN_UP;
	settle_aside_now(ctx);
	return 0;
}

#endif
