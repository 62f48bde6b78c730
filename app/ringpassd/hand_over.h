/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RPD_HAND_OVER_H
#define RPD_HAND_OVER_H

#include "config.h"
#include "ports.h"

/**
 * @file
 * ringpassd is replaced while its ports' frontends stay connected and hardware serves their
 * rings (rp_port_hand_over.h).
 *
 * Theory of operation: the old daemon packs each port that it can into one parcel, gives it
 * to the service manager's descriptor store, leaves those ports without a word, and ends. The
 * new one finds the parcel, makes ports of it, destroys it, and then opens what it could not
 * make a port of as ever: its frontend finds the connection closed, and connects anew.
 *
 * A port is the same one when its description is, key by key: one whose configuration has changed
 * begins anew. One that came by RPC is in no configuration and is taken as it was described, also
 * when it begins anew; but not if it has windows.
 *
 * Threads: the event loop's.
 */

/** What became of a port. @param reason NULL: it goes on; else why not. */
typedef void (*rpd_hand_over_told)(void *ctx, const struct rpd_port *entry, const char *reason);

/**
 * Pack every port that can be, and put them into the store. Then rpd_ports_leave() ends them;
 * until then nothing else of the ports may be called.
 *
 * @param told called for each port that has a frontend.
 * @return 0, or what rpd_service_put_parcel() says: then the ports go on here.
 */
int rpd_hand_over_give(struct rpd_ports *ports, struct rpd_service *service, rpd_hand_over_told told, void *ctx,
		       struct rp_wire_why *why);

/**
 * Make the ports that a predecessor packed, and those of the configuration.
 *
 * @param config the ports that are to be.
 * @param event what became of it, for the log.
 * @param ret_where set when a port of the configuration cannot be: where it stands.
 * @return 0, or what rpd_ports_add() says of a port of the configuration.
 */
int rpd_hand_over_adopt(struct rpd_ports *ports, struct rpd_service *service, const struct rpd_config *config,
			void (*event)(void *ctx, const struct rp_port_event *event), void *ctx, const char **ret_where,
			struct rp_wire_why *why);

#endif
