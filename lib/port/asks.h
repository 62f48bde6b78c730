/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PORT_ASKS_H
#define PORT_ASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_accel_iommu.h"

/*
 * A device that asks for translations (rp_accel_iommu.h), on a port with access_platform.
 * Its rings are direct although their addresses are translated: what it asks is answered
 * from what the frontend told, or when the frontend was asked (iommu.h). Guest memory is
 * mapped for it page by page, when it requests a page, and not before.
 *
 * A device does not say for which ring it asks. So all of its questions are about the
 * guest's IOVAs, or all are about guest-physical addresses, which is how it has private
 * rings, and guests without an IOMMU. Between the two nothing of it runs, and it has
 * forgotten everything.
 */

struct rp_port;
struct rp_vhu_region;
struct port_accelerator;
struct port_asks;

/* Of an accelerator that is not open yet; without access_platform nothing. 0 or -ENOMEM. */
int port_asks_create(struct port_accelerator *accelerator);
void port_asks_destroy(struct port_accelerator *accelerator);
/* For opening it; NULL: it is not offered to ask. */
const struct rp_accel_iommu *port_asks_iommu(const struct port_accelerator *accelerator);
/* The device is closed: what it asked nobody wants to know. */
void port_asks_forget(struct port_accelerator *accelerator);

/* It asks for every address: guest memory is not mapped for it beforehand. */
bool port_asks_is(const struct port_accelerator *accelerator);
/* Its rings can be, or are, direct behind the guest's IOMMU. */
bool port_asks_directly(const struct rp_port *port, unsigned int accelerator);
bool port_asks_iovas(const struct rp_port *port, int accelerator);
/*
 * Before one of its queues starts: have its questions mean what that queue's addresses do. Its
 * others stop for that, and start again later. 0, or why it cannot be.
 */
int port_asks_settle(struct rp_port *port, unsigned int accelerator, struct rp_wire_why *why);

/* Inside a request: what the frontend takes back is used by no device when this returns. Waits for devices alone. */
void port_asks_invalidate(struct rp_port *port, uint64_t iova, uint64_t size_bytes);
/* All that was told is void: devices forget it, and what they wait for does not come. */
void port_asks_refuse(struct rp_port *port);
/* Guest memory that goes. 0, or a loss of the device. */
int port_asks_region_remove(struct port_accelerator *accelerator, const struct rp_vhu_region *region,
			    struct rp_wire_why *why);
/* Answer what waits, where that is known now. Never inside a request. */
void port_asks_run(struct rp_port *port);

#endif
