// SPDX-License-Identifier: GPL-2.0-only
/* The ARP path by BPF trampolines: the cheapest that the kernel offers. */
#include "path.h"
#include "closer.h"
#include "neighbour.h"

KFUNC_PROBE(arp_rcv, struct sk_buff *skb)
{
	return on_arp_rcv(skb);
}

KRETFUNC_PROBE(arp_rcv, struct sk_buff *skb)
{
	return on_return();
}

KFUNC_PROBE(arp_process, struct net *net, struct sock *sk, struct sk_buff *skb)
{
	return on_arp_process(skb);
}

KRETFUNC_PROBE(arp_process, struct net *net)
{
	return on_return();
}

KFUNC_PROBE(arp_ignore, struct in_device *in_dev)
{
	return on_asked(ASKED_ARP_IGNORE);
}

KFUNC_PROBE(pneigh_lookup, struct neigh_table *tbl)
{
	return on_asked(ASKED_PNEIGH_LOOKUP);
}

KFUNC_PROBE(neigh_event_ns, struct neigh_table *tbl)
{
	return on_asked(ASKED_NEIGH_EVENT_NS);
}

KFUNC_PROBE(pneigh_enqueue, struct neigh_table *tbl, struct neigh_parms *parms,
	    struct sk_buff *skb)
{
	return on_pneigh_enqueue(skb);
}

KFUNC_PROBE(arp_xmit, struct sk_buff *skb)
{
	return on_arp_xmit(skb);
}
