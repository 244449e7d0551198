/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hooks on the ARP path: arp_* in net/ipv4/arp.c, pneigh_* and neigh_* in
 * net/core/neighbour.c. ENTER, LEAVE, FIRST and THIRD (arguments) are those of
 * the kind of probe.
 */
#ifndef ARPWHY_FUNCTIONS_H
#define ARPWHY_FUNCTIONS_H

#include "path.h"
#include "closer.h"
#include "neighbour.h"

LEAVE(arp_process)
{
	return on_return();
}

LEAVE(arp_rcv)
{
	return on_return();
}

MAY_ENTER(arp_ignore)
{
	return on_asked(ASKED_ARP_IGNORE);
}

MAY_ENTER(pneigh_lookup)
{
	return on_asked(ASKED_PNEIGH_LOOKUP);
}

MAY_ENTER(neigh_event_ns)
{
	return on_asked(ASKED_NEIGH_EVENT_NS);
}

ENTER(arp_xmit)
{
	return on_arp_xmit((struct sk_buff *)FIRST);
}

/* (table, parameters, packet) */
ENTER(pneigh_enqueue)
{
	return on_pneigh_enqueue((struct sk_buff *)THIRD);
}

/* (namespace, socket, packet) */
ENTER(arp_process)
{
	return on_arp_process((struct sk_buff *)THIRD);
}

ENTER(arp_rcv)
{
	return on_arp_rcv((struct sk_buff *)FIRST);
}

#endif
