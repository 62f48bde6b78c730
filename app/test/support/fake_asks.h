/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_ASKS_H
#define FAKE_ASKS_H

#include "fake_accel.h"

/* What the fake accelerator says by itself, its questions above all. None of these is called under the fake's lock. */

void fake_asks_put(bool inside);
/* As rp_accel_ops. */
int fake_asks_translated(void *priv, uint64_t token, const struct rp_accel_translation *translation);
int fake_asks_page_respond(void *priv, uint32_t group, bool present);
int fake_asks_invalidate(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);

/* fake_wishes.c */
int fake_wishes_tell(void *priv, unsigned int index, bool page, struct rp_wire_why *why);
bool fake_wishes_page(void *priv, unsigned int index);

/* fake_region.c */
int fake_region_info(void *priv, uint32_t region, struct rp_accel_region *ret_region, struct rp_wire_why *why);
int fake_region_window(void *priv, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
		       struct rp_accel_window *ret_window, struct rp_wire_why *why);

/* fake_prepare.c; as rp_accel_ops */
int fake_prepare(void *priv, const struct rp_accel_queue_start *starts, unsigned int count, struct rp_wire_why *why);
void fake_prepare_forget(void *priv, unsigned int index);
/* Under the lock: whether such a start was prepared. */
bool fake_prepare_holds(const struct fake_accel_queue *queue, const struct rp_accel_queue_config *config);

/* fake_accel.c; under the lock. */
unsigned int fake_device_of(const void *priv);
struct fake_accel_queue *fake_queue_of(const void *priv, unsigned int index);

#endif
