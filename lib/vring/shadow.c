/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "chain.h"
#include "dev.h"
#include "packed.h"
#include "ring.h"
#include "shadow.h"

#define MEMORY_ALIGN_BYTES 4096u

size_t
rp_vring_shadow_bytes(uint16_t num, uint64_t features)
{
	return rp_vring_drv_bytes(num, features);
}

static int
check_memory(const void *memory, uint64_t memory_iova, struct rp_wire_why *why)
{
	if ((uintptr_t)memory % MEMORY_ALIGN_BYTES == 0 && memory_iova % MEMORY_ALIGN_BYTES == 0)
		return 0;
	return rp_wire_why_set(why, -EINVAL,
			       "shadow: memory: is at %p for us and at 0x%" PRIx64
			       " for the device, expected multiples of %u",
			       memory, memory_iova, MEMORY_ALIGN_BYTES);
}

static int
take_guest(struct rp_vring_shadow *shadow, const struct rp_vring_shadow_config *config, struct rp_wire_why *why)
{
	struct rp_vring_layout layout = *config->guest;
	int rc;

	/* Its size is judged only by the init; notes for what cannot be are not worth a second check. */
	if (rp_vring_dev_needs_notes(layout.features) && layout.num <= RP_VRING_NUM_MAX) {
		shadow->notes = calloc((size_t)layout.num + 1, sizeof(*shadow->notes));
		if (shadow->notes == NULL)
			return rp_wire_why_set(why, -ENOMEM, "shadow: no memory for %u entries", layout.num);
	}
	layout.notes = shadow->notes;
	if (config->translation != NULL) {
		rc = rp_vring_shadow_reach_open(shadow, config->translation, layout.num, why);
		if (rc == 0)
			rc = rp_vring_dev_init_copy(&shadow->guest, &layout, config->position,
						    &shadow->reach->with.ring, why);
		shadow->guest.reach = rc == 0 ? &shadow->reach->tables : NULL;
		return rc;
	}
	rc = rp_vring_dev_init(&shadow->guest, &layout, config->position, config->reader, why);
	shadow->guest.spans = true;
	return rc;
}

static int
make_device(struct rp_vring_shadow *shadow, void *memory, uint64_t memory_iova, struct rp_wire_why *why)
{
	const struct rp_vring_layout *layout = &shadow->guest.layout;
	bool tables = shadow->reach != NULL && shadow->reach->with.indirect;
	int rc = rp_vring_drv_create(layout->num, memory, memory_iova,
				     layout->features | (tables ? VRING_INDIRECT_DESC_MASK : 0), &shadow->device);

	if (rc == 0)
		rc = rp_vring_shadow_book_open(&shadow->book, layout->num, layout->features);
	if (rc == 0)
		return 0;
	return rp_wire_why_set(why, rc, "shadow: no memory for a ring of %u entries", layout->num);
}

int
rp_vring_shadow_create(const struct rp_vring_shadow_config *config, struct rp_vring_shadow **ret_shadow,
		       struct rp_wire_why *why)
{
	struct rp_vring_shadow *shadow = calloc(1, sizeof(*shadow));
	int rc = check_memory(config->memory, config->memory_iova, why);

	if (shadow == NULL)
		return rp_wire_why_set(why, -ENOMEM, "shadow: no memory");
	if (rc == 0)
		rc = take_guest(shadow, config, why);
	if (rc == 0)
		rc = make_device(shadow, config->memory, config->memory_iova, why);
	if (rc < 0) {
		rp_vring_shadow_destroy(shadow);
		return rc;
	}
	if (shadow->reach == NULL)
		rp_vring_shadow_set_log(shadow, config->written, config->ctx);
	*ret_shadow = shadow;
	return 0;
}

struct rp_vring_shadow *
rp_vring_shadow_destroy(struct rp_vring_shadow *shadow)
{
	if (shadow == NULL)
		return NULL;
	rp_vring_shadow_book_close(&shadow->book);
	rp_vring_drv_destroy(shadow->device);
	free(shadow->reach);
	free(shadow->notes);
	free(shadow);
	return NULL;
}

bool
rp_vring_shadow_stalled(const struct rp_vring_shadow *shadow)
{
	return shadow->stalled;
}

bool
rp_vring_shadow_uses(const struct rp_vring_shadow *shadow, uint64_t iova, uint64_t size_bytes)
{
	return rp_vring_shadow_book_uses(&shadow->book, iova, size_bytes);
}

uint64_t
rp_vring_shadow_refused(const struct rp_vring_shadow *shadow)
{
	return shadow->refused_count;
}

void
rp_vring_shadow_layout(const struct rp_vring_shadow *shadow, struct rp_vring_layout *ret_layout)
{
	rp_vring_drv_layout(shadow->device, ret_layout);
}

void
rp_vring_shadow_set_log(struct rp_vring_shadow *shadow, rp_vring_shadow_written written, void *ctx)
{
	shadow->written = written;
	shadow->ctx = ctx;
}

unsigned int
rp_vring_shadow_out(const struct rp_vring_shadow *shadow)
{
	return shadow->book.out_count;
}

uint64_t
rp_vring_shadow_forwarded(const struct rp_vring_shadow *shadow)
{
	return shadow->forwarded_count;
}

uint64_t
rp_vring_shadow_returned(const struct rp_vring_shadow *shadow)
{
	return shadow->returned_count;
}

uint64_t
rp_vring_shadow_lost(const struct rp_vring_shadow *shadow)
{
	return shadow->lost_count;
}

const char *
rp_vring_shadow_why(const struct rp_vring_shadow *shadow)
{
	const char *guest_why = rp_vring_dev_why(&shadow->guest);

	return guest_why != NULL ? guest_why : shadow->device_why;
}

uint16_t
rp_vring_shadow_place(const struct rp_vring_shadow *shadow)
{
	const struct rp_vring_dev *guest = &shadow->guest;

	return guest->packed ? packed_place(guest->next_avail, guest->avail_wrap) : guest->next_avail;
}

int
rp_vring_shadow_rebase(struct rp_vring_shadow *shadow, void *memory, uint64_t memory_iova)
{
	const struct rp_vring_layout *layout = &shadow->guest.layout;
	struct shadow_chain *chain;
	struct rp_vring_drv *fresh;
	int rc = check_memory(memory, memory_iova, NULL);

	if (rc < 0 || shadow->drained || shadow->reach != NULL)
		return -EINVAL;
	rc = rp_vring_shadow_collect(shadow);
	if (rc == -EBADMSG)
		return rc;
	rc = rp_vring_drv_create(layout->num, memory, memory_iova, layout->features, &fresh);
	if (rc < 0)
		return rc;
	rp_vring_drv_destroy(shadow->device);
	shadow->device = fresh;
	shadow->device_why = NULL;
	for (chain = shadow_book_oldest(&shadow->book); chain != NULL; chain = shadow_book_next(&shadow->book, chain))
		rp_vring_shadow_hand_over(shadow, chain);
	return 0;
}

int
rp_vring_shadow_drain(struct rp_vring_shadow *shadow, uint32_t *ret_position, unsigned int *ret_redone, bool *ret_call)
{
	int rc;

	if (shadow->drained)
		return -EINVAL;
	rc = rp_vring_shadow_collect(shadow);
	if (rc != -EBADMSG)
		rc = rp_vring_dev_check(&shadow->guest);
	if (rc == 0)
		rc = shadow->guest.packed ? rp_vring_shadow_packed_rewind(shadow) :
					    rp_vring_shadow_split_rewind(shadow);
	if (rc < 0)
		return rc;
	*ret_call = rp_vring_dev_needs_interrupt(&shadow->guest) == 1;
	*ret_position = rp_vring_dev_position_used(&shadow->guest);
	*ret_redone = shadow->book.out_count;
	shadow->drained = true;
	return 0;
}
