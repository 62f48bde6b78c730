/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WINDOWS_H
#define WINDOWS_H

/* One device's memory that another one reaches. A part of port.h. */

#include "port.h"

/* windows.c */
extern const struct rp_dma_sections_ops port_sections_ops; /* ctx: the accelerator */
struct rp_dma_section_iommu port_accelerator_iommu(const struct port_accelerator *accelerator);
/* Before the accelerators are opened. 0, -EINVAL, -ENOMEM. */
int port_windows_open(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_why *why);
/* A device came or went, or the guest has got an IOMMU, or lost it. */
void port_windows_update(struct rp_port *port);
void port_windows_closing(struct rp_port *port, unsigned int accelerator);
void port_windows_make_way(struct rp_port *port, const struct rp_vhu_region *region); /* RAM comes */
void port_windows_retry(struct rp_port *port); /* RAM went */

#endif
