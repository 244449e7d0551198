/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Why a request is not answered, as far as the packet and its device tell. What
 * the route lookup said is in closer.h.
 */
#ifndef ARPWHY_TRAIL_H
#define ARPWHY_TRAIL_H

#include "packet.h"

/* include/uapi/linux/ip.h, IPV4_DEVCONF_*: counted from 1. */
#define CONF(which)		     conf[IPV4_DEVCONF_##which - 1]
#define IPV4_DEVCONF_FORWARDING	     1
#define IPV4_DEVCONF_PROXY_ARP	     3
#define IPV4_DEVCONF_RP_FILTER	     8
#define IPV4_DEVCONF_ARPFILTER	     13
#define IPV4_DEVCONF_MEDIUM_ID	     14
#define IPV4_DEVCONF_ARP_IGNORE	     19
#define IPV4_DEVCONF_PROXY_ARP_PVLAN 25

/* What arp_rcv looks at (net/ipv4/arp.c), when the request comes in. */
static __always_inline void note_packet(struct trail *trail,
					struct sk_buff *skb,
					struct net_device *dev,
					struct arp_packet *arp)
{
	u8 byte = 0;

	READ(trail->device_flags, dev->flags);
	READ(byte, skb->__pkt_type_offset);
	trail->pkt_type = ARPWHY_SK_BUFF_PKT_TYPE(byte);
	if (!is_ethernet_ipv4(arp)) {
		trail->known |= KNOWN_HEADER;
		trail->hardware = arp->hardware;
		trail->protocol = arp->protocol;
		trail->hardware_len = arp->hardware_len;
		trail->protocol_len = arp->protocol_len;
	}
}

/*
 * The sysctls that arp_process and the route lookup go by. The device may be
 * gone by now, if the request was deferred: then nothing is told.
 */
static __always_inline void note_conf(struct trail *trail,
				      struct request_event *rq)
{
	struct net_device *dev = (struct net_device *)rq->device;
	struct ipv4_devconf *all = 0;
	struct neigh_parms *parms = 0;
	struct neigh_table *table = 0;
	struct in_device *in_dev = 0;
	struct net *net = 0;
	u32 ifindex = 0;

	READ(ifindex, dev->ifindex);
	READ(in_dev, dev->ip_ptr);
	READ(net, dev->nd_net);
	READ(all, net->ipv4_devconf_all);
	if (ifindex != rq->ifindex || !in_dev || !all)
		return;
	READ(trail->forwarding, in_dev->CONF(FORWARDING));
	READ(trail->proxy_arp, in_dev->CONF(PROXY_ARP));
	READ(trail->proxy_arp_all, all->CONF(PROXY_ARP));
	READ(trail->proxy_arp_pvlan, in_dev->CONF(PROXY_ARP_PVLAN));
	READ(trail->medium_id, in_dev->CONF(MEDIUM_ID));
	READ(trail->rp_filter, in_dev->CONF(RP_FILTER));
	READ(trail->rp_filter_all, all->CONF(RP_FILTER));
	READ(trail->arp_ignore, in_dev->CONF(ARP_IGNORE));
	READ(trail->arp_ignore_all, all->CONF(ARP_IGNORE));
	READ(trail->arp_filter, in_dev->CONF(ARPFILTER));
	READ(trail->arp_filter_all, all->CONF(ARPFILTER));
	READ(parms, in_dev->arp_parms);
	READ(table, parms->tbl);
	READ(trail->proxy_queue, table->proxy_queue.qlen);
	trail->known |= KNOWN_CONF;
}

#endif
