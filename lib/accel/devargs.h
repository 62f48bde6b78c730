/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ACCEL_DEVARGS_H
#define ACCEL_DEVARGS_H

#include "rp_accel.h"

struct rte_kvargs;

/* A device argument string after parsing: known keys only, each once, each with a value. */
struct rp_accel_devargs {
	const struct rp_accel_driver *driver;
	struct rte_kvargs *kvargs;
	const struct rp_accel_iommu *iommu; /* who opens it; NULL: translates nothing */
};

/* 0 or -EBADMSG; on failure nothing is held. */
int accel_devargs_parse(const struct rp_accel_registry *registry, const char *text, struct rp_accel_devargs *ret_args,
			struct rp_wire_why *why);

void accel_devargs_release(struct rp_accel_devargs *args);

#endif
