/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <linux/pci_regs.h>

#include "rp_wire_fd.h"
#include "vfu_eventfd.h"
#include "vfu_pci.h"

/*
 * A guest's masks work as the client's do in server_irq.c: whoever signals a
 * vector is handed an eventfd that keeps the signal, and what it kept is passed on
 * once irq_changed() has returned with the client's again. Whoever was given it may
 * have made it blocking.
 */

int
vfu_pci_vectors_init(struct vfu_pci_vectors *vectors, uint32_t count)
{
	uint32_t i;

	vectors->vectors = calloc(count, sizeof(*vectors->vectors));
	if (vectors->vectors == NULL)
		return -ENOMEM;
	vectors->count = count;
	for (i = 0; i < count; i++)
		vectors->vectors[i] = (struct vfu_pci_vector){.client_fd = -1, .parked_fd = -1};
	return 0;
}

void
vfu_pci_vectors_fini(struct vfu_pci_vectors *vectors)
{
	uint32_t i;

	for (i = 0; i < vectors->count; i++)
		rp_wire_fd_close(&vectors->vectors[i].parked_fd);
	free(vectors->vectors);
	*vectors = (struct vfu_pci_vectors){.count = 0};
}

static struct vfu_pci_vector *
find_vector(const struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number)
{
	if (irq_index >= RP_VFU_PCI_IRQS_COUNT || number >= pci->irqs[irq_index].count)
		return NULL;
	return &pci->irqs[irq_index].vectors[number];
}

static int
effective_fd(const struct vfu_pci_vector *vector)
{
	return vector->masked ? vector->parked_fd : vector->client_fd;
}

/*
 * Where somebody signals, masked or not, there must be something to signal. A guest can
 * mask every vector with one bit, so those that nobody listens to cost no descriptor.
 * Unmasked for want of one it signals too often, which is legal.
 */
static void
make_parked(struct vfu_pci_vector *vector)
{
	if (!vector->masked || vector->parked_fd >= 0)
		return;
	vector->parked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vector->masked = vector->parked_fd >= 0;
}

static void
tell_change(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number, int before_fd)
{
	int fd = effective_fd(&pci->irqs[irq_index].vectors[number]);

	if (fd != before_fd && pci->ops.irq_changed != NULL)
		pci->ops.irq_changed(pci->ctx, irq_index, number, fd);
}

/* Pass on what was kept. Whoever signalled it has let go of the descriptor. */
static void
deliver(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number)
{
	struct vfu_pci_vector *vector = &pci->irqs[irq_index].vectors[number];

	if (vector->masked || vector->client_fd < 0 || vector->parked_fd < 0)
		return;
	if (rp_wire_caller_drain(vector->parked_fd, NULL) > 0)
		(void)rp_vfu_server_irq_trigger(pci->server, irq_index, number);
	rp_wire_fd_close(&vector->parked_fd);
}

void
vfu_pci_vector_mask(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number, bool masked)
{
	struct vfu_pci_vector *vector = &pci->irqs[irq_index].vectors[number];
	int before_fd = effective_fd(vector);

	if (vector->masked == masked)
		return;
	vector->masked = masked;
	if (vector->client_fd >= 0)
		make_parked(vector);
	tell_change(pci, irq_index, number, before_fd);
	deliver(pci, irq_index, number);
}

void
vfu_pci_vector_pend(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number)
{
	struct vfu_pci_vector *vector = &pci->irqs[irq_index].vectors[number];
	int before_fd = effective_fd(vector);

	if (vector->parked_fd < 0)
		vector->parked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rp_vfu_eventfd_signal(rp_vfu_server_caller(pci->server), vector->parked_fd);
	tell_change(pci, irq_index, number, before_fd);
	deliver(pci, irq_index, number);
}

bool
vfu_pci_vector_is_pending(const struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number)
{
	const struct vfu_pci_vector *vector = &pci->irqs[irq_index].vectors[number];

	if (vector->parked_fd < 0 || rp_wire_caller_drain(vector->parked_fd, NULL) <= 0)
		return false;
	rp_vfu_eventfd_signal(rp_vfu_server_caller(pci->server), vector->parked_fd);
	return true;
}

void
vfu_pci_vectors_reset(struct rp_vfu_pci *pci)
{
	uint32_t index, number;

	for (index = 0; index < RP_VFU_PCI_IRQS_COUNT; index++) {
		for (number = 0; number < pci->irqs[index].count; number++) {
			struct vfu_pci_vector *vector = &pci->irqs[index].vectors[number];
			int before_fd = effective_fd(vector);

			vector->masked = false;
			tell_change(pci, index, number, before_fd);
			rp_wire_fd_close(&vector->parked_fd);
		}
	}
}

/* The level is told whenever somebody can hear it. */
static void
intx_signal(struct rp_vfu_pci *pci)
{
	if (!pci->intx_asserted || pci->intx_disabled || pci->intx_signalling || pci->server == NULL)
		return;
	/* It masks itself, which is no change to answer. */
	pci->intx_signalling = true;
	(void)rp_vfu_server_irq_trigger(pci->server, RP_VFU_PCI_INTX_IRQ, 0);
	pci->intx_signalling = false;
}

void
vfu_pci_irq_changed(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number, int eventfd)
{
	struct vfu_pci_vector *vector = find_vector(pci, irq_index, number);
	int before_fd;

	if (irq_index == RP_VFU_PCI_INTX_IRQ && eventfd >= 0)
		intx_signal(pci);
	if (vector == NULL)
		return;
	before_fd = effective_fd(vector);
	vector->client_fd = eventfd;
	if (eventfd >= 0)
		make_parked(vector);
	tell_change(pci, irq_index, number, before_fd);
	deliver(pci, irq_index, number);
}

int
rp_vfu_pci_irq_trigger(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t vector)
{
	struct vfu_pci_vector *found = find_vector(pci, irq_index, vector);
	int before_fd;

	if (found == NULL || pci->server == NULL)
		return -EINVAL;
	before_fd = effective_fd(found);
	make_parked(found);
	tell_change(pci, irq_index, vector, before_fd);
	if (!found->masked)
		return rp_vfu_server_irq_trigger(pci->server, irq_index, vector);
	rp_vfu_eventfd_signal(rp_vfu_server_caller(pci->server), found->parked_fd);
	return 0;
}

int
rp_vfu_pci_irq_fd(const struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t vector)
{
	const struct vfu_pci_vector *found = find_vector(pci, irq_index, vector);

	return found == NULL ? -1 : effective_fd(found);
}

int
rp_vfu_pci_intx(struct rp_vfu_pci *pci, bool asserted)
{
	bool rose = asserted && !pci->intx_asserted;

	if (!pci->intx)
		return -EINVAL;
	pci->intx_asserted = asserted;
	pci->bytes[PCI_STATUS] =
		(uint8_t)((pci->bytes[PCI_STATUS] & ~PCI_STATUS_INTERRUPT) | (asserted ? PCI_STATUS_INTERRUPT : 0));
	if (rose)
		intx_signal(pci);
	return 0;
}

void
vfu_pci_intx_update(struct rp_vfu_pci *pci)
{
	bool was_disabled = pci->intx_disabled;

	pci->intx_disabled = (vfu_pci_get(pci->bytes + PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE) != 0;
	if (was_disabled && !pci->intx_disabled)
		intx_signal(pci);
}
