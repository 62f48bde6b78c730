/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_asks.h"

/* What the fake accelerator is told of rings before it has them. */

bool
fake_prepare_holds(const struct fake_accel_queue *queue, const struct rp_accel_queue_config *config)
{
	return queue->prepared && queue->said.num == config->num && queue->said.desc_iova == config->desc_iova &&
	       queue->said.avail_iova == config->avail_iova && queue->said.used_iova == config->used_iova &&
	       queue->said.call_fd == config->call_fd;
}

int
fake_prepare(void *priv, const struct rp_accel_queue_start *starts, unsigned int count, struct rp_wire_why *why)
{
	const struct fake_accel *fake = fake_take();
	int error = fake->prepare_error;
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct fake_accel_queue *queue = fake_queue_of(priv, starts[i].queue);

		assert_false(queue->running);
		queue->prepared = true;
		queue->said = starts[i].config;
	}
	fake_give();
	return error == 0 ? 0 : rp_wire_why_set(why, error, "no answer");
}

void
fake_prepare_forget(void *priv, unsigned int index)
{
	struct fake_accel_queue *queue;

	fake_take();
	queue = fake_queue_of(priv, index);
	queue->forgets += queue->prepared;
	queue->prepared = false;
	fake_give();
}
