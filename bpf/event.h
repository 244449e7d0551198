/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel side hands over. This is the one declaration: Python parses
 * it (tracer/kernel/layout.py) and bcc compiles it. Keep the structs flat.
 */
#ifndef ARPWHY_EVENT_H
#define ARPWHY_EVENT_H

enum event_kind {
	EVENT_REQUEST = 1,
	EVENT_NEIGHBOUR = 2,
};

enum verdict {
	VERDICT_ANSWERED = 0,
	VERDICT_UNANSWERED = 1,
	VERDICT_DEFERRED = 2,
	VERDICT_IGNORED = 3,
};

/* What the kernel was seen to drop on the way of one request. */
enum dropped {
	DROPPED_NOTHING = 0,
	DROPPED_REQUEST = 1,
	DROPPED_REPLY = 2,
};

/* Does this settle a request that was deferred before? */
enum late {
	LATE_NOT = 0,
	LATE_SEEN = 1,
	LATE_GIVEN_UP = 2, /* neither reply nor refusal was seen in time */
	LATE_CORRECTS = 3, /* it had been told, and counted, as unanswered */
	LATE_AGAIN = 4,	   /* and as answered: another one answers too */
};

enum answered_by {
	BY_KERNEL = 0,
	BY_USERSPACE = 1, /* a program's packet socket */
	BY_BPF = 2,	  /* it turned the request itself into the reply */
};

/*
 * The innermost function of the ARP path that a packet was freed below: each
 * name is the kernel's, in capitals.
 */
enum freed_in {
	IN_UNKNOWN = 0,
	IN_DO_XDP_GENERIC = 1,
	IN___NETIF_RECEIVE_SKB_CORE = 2,
	IN_ARP_RCV = 3,
	IN_ARP_PROCESS = 4,
	IN_ARP_XMIT = 5,
	IN___DEV_QUEUE_XMIT = 6,
	IN_NET_RX_ACTION = 7, /* by a driver, before the stack */
	IN_NAPI_THREADED_POLL = 8,
};

/* Which parts of a trail are filled. */
enum known {
	KNOWN_CONF = 1,	  /* the device's and all's sysctls */
	KNOWN_TARGET = 2, /* fib_table_lookup for the target */
	KNOWN_SOURCE = 4, /* fib_table_lookup for the sender */
	KNOWN_ROUTE = 8,  /* what ip_route_input_noref gave, perhaps nothing */
	KNOWN_HEADER = 16,
};

/* How far arp_process got, of those that were seen. */
enum asked {
	ASKED_NOTHING = 0,
	ASKED_ARP_IGNORE = 1,
	ASKED_PNEIGH_LOOKUP = 2,
	ASKED_NEIGH_EVENT_NS = 3,
};

enum statistic {
	STATISTIC_LOST = 0,	 /* events for which there was no room */
	STATISTIC_UNCOUNTED = 1, /* requests that found the counts full */
	STATISTIC_SKIPPED = 2, /* requests that a skipped program has missed */
};

/* The NUD state of a neighbour entry that was not seen before. */
enum neighbour_state {
	NEIGHBOUR_UNSEEN = 255,
};

struct request_event {
	u32 kind;
	u32 ifindex;
	u64 device; /* the net_device: tells a reused index apart */
	u64 ts;	    /* CLOCK_MONOTONIC, ns: when the verdict's request came */
	u64 latency_ns;	   /* request to reply; 0: no reply, or not known */
	u64 drop_location; /* where the kernel freed what it dropped */
	u32 drop_reason;   /* enum skb_drop_reason; 0: not told */
	u32 netns;	   /* inode */
	__be32 sender_ip;
	__be32 target_ip;
	u8 sender_mac[6];
	u8 verdict;	 /* enum verdict */
	u8 dropped;	 /* enum dropped */
	u8 late;	 /* enum late */
	u8 answered_by;	 /* enum answered_by */
	u8 other_mac[6]; /* that another answer gave; 0: there was none */
	char interface[16];
};

/*
 * What more is told of a request that was not answered: it follows the
 * request_event in the same sample. Sysctls are those of the moment when the
 * verdict fell; devices are indexes, errors negative errnos.
 */
struct trail {
	u32 known; /* enum known */
	s32 target_error;
	u32 target_table;
	u32 target_out;
	s32 source_error;
	u32 source_out;
	s32 route_error;
	u32 route_out;
	s32 forwarding;
	s32 proxy_arp;
	s32 proxy_arp_all;
	s32 proxy_arp_pvlan;
	s32 medium_id;
	s32 medium_id_out;
	s32 rp_filter;
	s32 rp_filter_all;
	s32 arp_ignore;
	s32 arp_ignore_all;
	s32 arp_filter;
	s32 arp_filter_all;
	u32 proxy_queue;  /* packets in the proxy queue */
	u32 device_flags; /* IFF_* */
	u16 route_type;	  /* RTN_*; 0: it was given none */
	__be16 hardware;
	__be16 protocol;
	u8 hardware_len;
	u8 protocol_len;
	u8 pkt_type;   /* PACKET_* */
	u8 freed_in;   /* enum freed_in: of what was dropped */
	u8 taken_in;   /* enum freed_in: where it was consumed before ARP */
	u8 asked;      /* enum asked */
	u8 redirected; /* by tc, to another device's queue */
	u8 pad[3];
	char dropped_on[16]; /* that device, if it was dropped there */
};

struct neighbour_event {
	u32 kind;
	u32 ifindex;
	u64 device;
	u64 ts; /* CLOCK_MONOTONIC, ns */
	u32 netns;
	__be32 ip;
	u8 old_state; /* NUD bits, or NEIGHBOUR_UNSEEN */
	u8 new_state;
	u8 mac[6];
	char interface[16];
};

/* The exact counts: a row an interface. */
struct count_key {
	u64 device;
	u32 ifindex;
	u32 netns;
};

struct count {
	u64 requests[4]; /* by enum verdict; a deferred one twice in the end */
	u64 settled;	 /* of the deferred ones: answered or refused since */
	u64 corrected;	 /* answered, after they were counted as unanswered */
	u64 last_ts[4];	 /* by enum verdict; CLOCK_MONOTONIC, ns */
	__be32 unanswered_sender_ip; /* of the last one unanswered */
	__be32 unanswered_target_ip;
	char interface[16];
};

/*
 * What a CPU is at. Slots from begin on, up to end, are in use: what opens one
 * counts end, what settles one counts begin, so that neither is disturbed by
 * the other in the middle of it.
 */
struct round {
	u32 begin;
	u32 end;
	u32 settle_to; /* what is before it is being settled */
	u32 flushing;  /* so from outside a round: that may be interrupted */
	u64 busy;      /* the slot aside is in use: that too */
	u64 unread; /* a packet whose ARP header cannot be read where it is */
	u64 unread_ts;
	u64 stray_ts;		/* when a reply to it left; 0: none did */
	__be32 stray_sender_ip; /* the request's */
	__be32 stray_target_ip;
	u64 turn; /* slots settled so far: tells a round that stands still */
};

/* Who asks for whom: requests that are alike in it share a queue. */
struct exchange {
	u64 device;
	__be32 sender_ip;
	__be32 target_ip;
};

/* What was answered, and with which address; 0: not seen. */
struct answer {
	u64 asked_ts;
	u64 ts;
	u8 mac[6];
	u8 pad[2];
};

struct queue {
	u32 first;
	u32 next;
};

/* One of them, waiting. */
struct place {
	u64 device; /* of its exchange */
	__be32 sender_ip;
	__be32 target_ip;
	u64 at; /* of queue's count */
};

/* Requests for addresses that are not to be judged. */
struct other_target {
	u64 device;
	__be32 target_ip;
	u32 netns;
};

/* IP frames for a MAC address that is not the interface's. */
struct other_mac {
	u64 device;
	u8 mac[6];
	u8 pad[2];
};

struct remark {
	u64 count;
	char interface[16];
};

#endif
