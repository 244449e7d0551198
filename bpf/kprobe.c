// SPDX-License-Identifier: GPL-2.0-only
/* The ARP path by kprobes, where trampolines are not to be had. */
#include "path.h"
#include "closer.h"
#include "neighbour.h"

int enter_arp_rcv(struct pt_regs *ctx)
{
	return on_arp_rcv((struct sk_buff *)PT_REGS_PARM1(ctx));
}

int enter_arp_process(struct pt_regs *ctx)
{
	return on_arp_process((struct sk_buff *)PT_REGS_PARM3(ctx));
}

int leave_arp(struct pt_regs *ctx)
{
	return on_return();
}

int enter_arp_ignore(struct pt_regs *ctx)
{
	return on_asked(ASKED_ARP_IGNORE);
}

int enter_pneigh_lookup(struct pt_regs *ctx)
{
	return on_asked(ASKED_PNEIGH_LOOKUP);
}

int enter_neigh_event_ns(struct pt_regs *ctx)
{
	return on_asked(ASKED_NEIGH_EVENT_NS);
}

int enter_pneigh_enqueue(struct pt_regs *ctx)
{
	return on_pneigh_enqueue((struct sk_buff *)PT_REGS_PARM3(ctx));
}

int enter_arp_xmit(struct pt_regs *ctx)
{
	return on_arp_xmit((struct sk_buff *)PT_REGS_PARM1(ctx));
}
