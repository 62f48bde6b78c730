/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fake_asks.h"

/* How the fake accelerator wants to be kicked. */

int
fake_wishes_tell(void *priv, unsigned int index, bool page, struct rp_wire_why *why)
{
	struct fake_accel *fake = fake_take();
	struct fake_accel_queue *queue = fake_queue_of(priv, index);
	int rc = 0;

	queue->tells++;
	if (fake->tell_error != 0)
		rc = rp_wire_why_set(why, fake->tell_error, "not to be told");
	else if (!fake->has_wishes)
		rc = rp_wire_why_set(why, -ENOTSUP, "it has no wishes");
	else
		queue->told = page ? FAKE_TOLD_PAGE : FAKE_TOLD_EVENTFD;
	fake_give();
	return rc;
}

bool
fake_wishes_page(void *priv, unsigned int index)
{
	bool wants;

	fake_take();
	wants = !fake_queue_of(priv, index)->woken;
	fake_give();
	return wants;
}
