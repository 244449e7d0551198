/* SPDX-License-Identifier: GPL-2.0-only */
/* Reading the kernel's structures, and which ones are of interest. */
#ifndef ARPWHY_PACKET_H
#define ARPWHY_PACKET_H

#include "event.h"

#define PROTOCOL_ARP	 __builtin_bswap16(0x0806)
#define PROTOCOL_IP	 __builtin_bswap16(0x0800)
#define PROTOCOL_VLAN	 __builtin_bswap16(0x8100)
#define PROTOCOL_VLAN_AD __builtin_bswap16(0x88a8)
#define HARDWARE_ETHER	 __builtin_bswap16(1)
#define HARDWARE_IEEE802 __builtin_bswap16(6)
#define OP_REQUEST	 __builtin_bswap16(1)
#define OP_REPLY	 __builtin_bswap16(2)

/* include/uapi/linux/if_packet.h, if.h */
#define PACKET_OTHERHOST 3
#define PACKET_LOOPBACK	 5
#define IFF_NOARP	 0x80

#define WORD(name, nth) (((const u64 *)(name))[nth])

/*
 * The compiler knows nothing of @i here: else it may count down from what the
 * verifier has no bound for.
 */
#define COUNTED(i) asm volatile("" : "+r"(i))

/*
 * For a user other than root bcc cannot see whether the kernel has it, and
 * makes it bpf_probe_read, which a socket filter may not call. Linux 5.5 has
 * it.
 */
#undef bpf_probe_read_kernel
#define READ(into, from) bpf_probe_read_kernel(&(into), sizeof(into), &(from))

/* An ARP packet of IPv4 over Ethernet: RFC 826. */
struct arp_packet {
	__be16 hardware;
	__be16 protocol;
	u8 hardware_len;
	u8 protocol_len;
	__be16 op;
	u8 sender_mac[6];
	__be32 sender_ip;
	u8 target_mac[6];
	__be32 target_ip;
} __attribute__((packed));

static __always_inline int is_arp(struct sk_buff *skb)
{
	__be16 protocol = 0;

	READ(protocol, skb->protocol);
	return protocol == PROTOCOL_ARP;
}

/*
 * NAME_TRACED, NETNS_TRACED and TARGET_TRACED are made from the options by
 * tracer/kernel/filters.py. Names are matched by the globs' fixed beginnings
 * here, so that an interface's very first request is seen; by the whole glob in
 * Python.
 */
static __always_inline int device_traced(struct net_device *dev,
					 struct request_event *rq)
{
	struct net *net = 0;

	READ(rq->interface, dev->name);
	if (!NAME_TRACED(rq->interface))
		return 0;
	READ(net, dev->nd_net);
	READ(rq->netns, net->ns_inum);
	if (!NETNS_TRACED(rq->netns))
		return 0;
	READ(rq->ifindex, dev->ifindex);
	rq->device = (u64)dev;
	return 1;
}

/*
 * Reads the ARP header at @from, wherever its addresses are said to be: a
 * request with wrong lengths is refused for just that, and judged by what
 * stands at the usual places. What is shorter than those is no request for a
 * target. Nor is anything read behind the linear part, at tail: a header that
 * lies in a page is read by tracepoint.c's arp_in, or once arp_rcv has pulled
 * it.
 */
static __always_inline int read_arp(struct sk_buff *skb, void *from,
				    struct arp_packet *arp)
{
	unsigned char *head = 0;
	u32 end = 0;

	READ(head, skb->head);
	READ(end, skb->tail);
	return (unsigned char *)from + sizeof(*arp) <= head + end &&
	       !bpf_probe_read_kernel(arp, sizeof(*arp), from);
}

/* What arp_rcv and arp_process take on an Ethernet device (net/ipv4/arp.c). */
static __always_inline int is_ethernet_ipv4(struct arp_packet *arp)
{
	return arp->hardware_len == 6 && arp->protocol_len == 4 &&
	       (arp->hardware == HARDWARE_ETHER ||
		arp->hardware == HARDWARE_IEEE802) &&
	       arp->protocol == PROTOCOL_IP;
}

static __always_inline void *network_header(struct sk_buff *skb)
{
	unsigned char *head = 0;
	u16 offset = 0;

	READ(head, skb->head);
	READ(offset, skb->network_header);
	return head + offset;
}

#endif
