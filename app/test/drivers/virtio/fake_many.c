/* SPDX-License-Identifier: BSD-3-Clause */

/* A fake device's registers and vectors, many at a time: as its transport does one after the other. */

#include "fake_device.h"

static const struct rp_accel_transport_ops *one_ops;

static int
region_access_many(void *priv, struct rp_accel_transport_access *accesses, unsigned int count, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && i < count; i++)
		rc = accesses[i].write ? one_ops->region_write(priv, accesses[i].region, accesses[i].offset_bytes,
							       accesses[i].count_bytes, accesses[i].bytes, why) :
					 one_ops->region_read(priv, accesses[i].region, accesses[i].offset_bytes,
							      accesses[i].count_bytes, accesses[i].bytes, why);
	return rc;
}

static int
irq_set_many(void *priv, uint32_t vector, uint32_t count, const int *eventfds, struct rp_wire_why *why)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < count; i++)
		rc = one_ops->irq_set(priv, vector + i, eventfds[i], why);
	return rc;
}

static int
irq_access_many(void *priv, uint32_t vector, uint32_t vectors_count, const int *eventfds,
		struct rp_accel_transport_access *accesses, unsigned int count, int *ret_irq, struct rp_wire_why *why)
{
	struct fake_device *fake = priv;

	fake->flights_count++;
	*ret_irq = irq_set_many(priv, vector, vectors_count, eventfds, NULL);
	return region_access_many(priv, accesses, count, why);
}

struct rp_accel_transport
fake_many(const struct rp_accel_transport *one)
{
	static struct rp_accel_transport_ops many_ops;

	one_ops = one->ops;
	many_ops = *one->ops;
	many_ops.region_access_many = region_access_many;
	many_ops.irq_set_many = irq_set_many;
	many_ops.irq_access_many = irq_access_many;
	return (struct rp_accel_transport){.ops = &many_ops, .priv = one->priv};
}
