/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_UPLINK_H
#define SA_UPLINK_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "rp_wire_why.h"
#include "sa_switch.h"

/**
 * @file
 * The ethdev that connects the switch to the outside: one queue each way.
 *
 * Theory of operation: who has nothing else to do sleeps until a packet comes, where the driver announces
 * packets by a descriptor (its receive interrupt). That is armed before the sleep, and the ethdev is looked at once
 * more, as what came before is not announced. A driver without, or whose descriptor
 * is of no known kind or cannot be waited for, must be asked again and again.
 *
 * Threads: create and destroy: the control side, with the gate closed; the rest:
 * the data path.
 */

struct sa_uplink;

/**
 * Configure and start an ethdev port.
 * @param pool for received packets; its mbufs have room for struct sa_packet.
 * @return 0, -ENOMEM, -ENODEV, or what the ethdev says.
 */
int sa_uplink_create(uint16_t ethdev_port, struct rte_mempool *pool, struct sa_port *port,
		     struct sa_uplink **ret_uplink, struct rp_wire_why *why);
/** Stops the ethdev; it stays probed. NULL is allowed. @return NULL. */
struct sa_uplink *sa_uplink_destroy(struct sa_uplink *uplink);

/** @return what is readable when a packet came while it was armed, borrowed; -1: this driver announces nothing. */
int sa_uplink_fd(const struct sa_uplink *uplink);
/** Nobody can wait for it: as if this driver announced nothing. */
void sa_uplink_ignore(struct sa_uplink *uplink);
/** Have the next packet announced. @return false: it is not. */
bool sa_uplink_arm(struct sa_uplink *uplink);
/** And no more. */
void sa_uplink_disarm(struct sa_uplink *uplink);
/** The descriptor is readable. */
void sa_uplink_heard(struct sa_uplink *uplink);

/** @param ret_mbufs room for SA_BURST; the caller owns what is returned. @return how many. */
unsigned int sa_uplink_receive(struct sa_uplink *uplink, struct rte_mbuf **ret_mbufs);
/** Queue a packet; takes a reference of its own. */
void sa_uplink_send(struct sa_uplink *uplink, struct rte_mbuf *mbuf);
void sa_uplink_flush(struct sa_uplink *uplink);

#endif
