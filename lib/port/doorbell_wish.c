/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A device in software cannot sleep while somebody may store into a doorbell's page. One that says
 * so (rp_accel.h, queue_doorbell) is told whether anybody may, and says whether it would like that:
 * when a queue was idle for seconds it would rather be woken, and the page is taken back; under
 * load it would like the page, and that is offered again, at the pace of every offer (doorbell.c).
 *
 * It is told "page" before an offer goes out, and "eventfd" only when nobody has the page. A queue
 * that starts is taken to be in use, and nothing is said before that is known to be otherwise:
 * a device that was told nothing listens to everything.
 */

#include <errno.h>

#include "port.h"

static const struct rp_accel *
listener(const struct rp_port *port, const struct port_queue *queue)
{
	const struct rp_accel *accel;

	if (!port_accelerator_usable(port, queue->accelerator))
		return NULL;
	accel = &port->accelerators[queue->accelerator].accel;
	return accel->ops->queue_doorbell != NULL ? accel : NULL;
}

int
port_doorbell_tell(struct rp_port *port, struct port_queue *queue, bool page)
{
	enum port_doorbell_told now = page ? PORT_DOORBELL_TOLD_PAGE : PORT_DOORBELL_TOLD_EVENTFD;
	const struct rp_accel *accel = listener(port, queue);
	struct rp_wire_why why = {0};
	int rc;

	if (accel == NULL || queue->doorbell.told == now)
		return 0;
	rc = accel->ops->queue_doorbell(accel->priv, queue->accelerator_queue, page, &why);
	/* One that watches always need not be told again. */
	queue->doorbell.told = now;
	if (rc == 0 || rc == -ENOTSUP || rc == -EINVAL)
		return 0;
	port_accelerator_fail(port, (unsigned int)queue->accelerator, rc, &why);
	return rc;
}

bool
port_doorbell_untold(const struct rp_port *port, const struct port_queue *queue)
{
	return queue->running && !port_doorbell_outstanding(queue) &&
	       queue->doorbell.told != PORT_DOORBELL_TOLD_EVENTFD && !port_doorbell_is_wanted(port, queue) &&
	       listener(port, queue) != NULL;
}

void
port_doorbell_heard(struct rp_port *port, unsigned int accelerator)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];
		const struct rp_accel *accel = listener(port, queue);

		if (port_queue_is_on(queue, accelerator) && accel != NULL)
			queue->doorbell.unwanted = !accel->ops->queue_wants_page(accel->priv, queue->accelerator_queue);
	}
}

void
port_doorbell_watch_all(struct rp_port *port)
{
	unsigned int i;

	/* One that was told nothing since its start was told of the ring before. */
	for (i = 0; i < port->queues_count; i++)
		port_doorbell_tell(port, &port->queues[i], true);
}
