/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "shadow_rig.h"

#define MEMORY_ALIGN_BYTES 4096u

static void
note(void *ctx, uint64_t iova, uint64_t size_bytes)
{
	struct rig *rig = ctx;

	assert_true(rig->reports_count < RIG_REPORTS);
	rig->reports[rig->reports_count++] = (struct rig_report){.iova = iova, .size_bytes = size_bytes};
}

/* What is in it must not matter. */
static uint8_t *
dirty_memory(size_t size_bytes)
{
	uint8_t *memory = aligned_alloc(MEMORY_ALIGN_BYTES, size_bytes);

	memset(memory, 0xa5, size_bytes);
	return memory;
}

void
rig_open(struct rig *rig, struct guest *guest, uint32_t position)
{
	rig_open_translated(rig, guest, position, NULL);
}

void
rig_open_translated(struct rig *rig, struct guest *guest, uint32_t position,
		    const struct rp_vring_shadow_translation *translation)
{
	struct rp_vring_shadow_config config = {
		.guest = &guest->layout,
		.position = position,
		.reader = guest->reader,
		.memory_iova = RIG_IOVA,
		.translation = translation,
		.written = note,
		.ctx = rig,
	};
	struct rp_wire_why why = {0};

	memset(rig, 0, sizeof(*rig));
	rig->guest = guest;
	rig->memory_bytes = rp_vring_shadow_bytes(guest->layout.num, guest->layout.features);
	rig->memory = dirty_memory(rig->memory_bytes);
	rig->notes = calloc(guest->layout.num, sizeof(*rig->notes));
	config.memory = rig->memory;
	if (rp_vring_shadow_create(&config, &rig->shadow, &why) != 0)
		fail_msg("%s", why.text);
	rig_attach(rig);
	assert_int_equal(rig->layout.desc_iova, RIG_IOVA);
}

void
rig_close(struct rig *rig)
{
	assert_null(rp_vring_shadow_destroy(rig->shadow));
	free(rig->memory);
	free(rig->notes);
}

void
rig_attach(struct rig *rig)
{
	struct rp_vring_copy copy;
	uint64_t base;

	rp_vring_shadow_layout(rig->shadow, &rig->layout);
	assert_null(rig->layout.notes);
	rig->layout.notes = rig->notes;
	base = rig->layout.desc_iova;
	copy.parts[0] = rig->memory;
	copy.parts[1] = rig->memory + (rig->layout.avail_iova - base);
	copy.parts[2] = rig->memory + (rig->layout.used_iova - base);
	assert_int_equal(rp_vring_dev_init_copy(&rig->device, &rig->layout,
						rp_vring_position_fresh(rig->layout.features), &copy, NULL),
			 0);
}

void
rig_rebase(struct rig *rig)
{
	uint8_t *old = rig->memory;
	uint64_t iova = rig->layout.desc_iova + 0x100000;

	rig->memory = dirty_memory(rig->memory_bytes);
	assert_int_equal(rp_vring_shadow_rebase(rig->shadow, rig->memory, iova), 0);
	memset(old, 0x5a, rig->memory_bytes);
	free(old);
	rig_attach(rig);
	assert_int_equal(rig->layout.desc_iova, iova);
}

void
rig_forward(struct rig *rig, int count, bool kick)
{
	bool kicked = !kick;
	int rc = rp_vring_shadow_forward(rig->shadow, &kicked);

	if (rc != count)
		fail_msg("forward: %d, %s", rc, rp_vring_shadow_why(rig->shadow));
	assert_int_equal(kicked, kick);
}

void
rig_return(struct rig *rig, int count, bool call)
{
	bool called = !call;
	int rc = rp_vring_shadow_return(rig->shadow, &called);

	if (rc != count)
		fail_msg("return: %d, %s", rc, rp_vring_shadow_why(rig->shadow));
	assert_int_equal(called, call);
}

void
rig_pop(struct rig *rig)
{
	if (rp_vring_dev_pop(&rig->device, &rig->chain) != 1)
		fail_msg("pop: %s", rp_vring_dev_why(&rig->device));
}

void
rig_use(struct rig *rig, uint16_t head, uint32_t written_bytes)
{
	assert_int_equal(rp_vring_dev_push(&rig->device, head, written_bytes), 0);
}

void
rig_assert_part(const struct rig *rig, unsigned int index, uint64_t iova, uint64_t size_bytes)
{
	assert_true(index < (unsigned int)(rig->chain.out_count + rig->chain.in_count));
	assert_int_equal(rig->chain.spans[index].iova, iova);
	assert_int_equal(rig->chain.spans[index].size_bytes, size_bytes);
}

void
rig_assert_reports(struct rig *rig, const struct rig_report *expected)
{
	unsigned int i;

	for (i = 0; expected[i].size_bytes != 0; i++) {
		assert_true(i < rig->reports_count);
		assert_int_equal(rig->reports[i].iova, expected[i].iova);
		assert_int_equal(rig->reports[i].size_bytes, expected[i].size_bytes);
	}
	assert_int_equal(rig->reports_count, i);
	rig->reports_count = 0;
}

void
rig_drain(struct rig *rig, uint32_t position, unsigned int redone, bool call)
{
	uint32_t drained_at = ~position;
	unsigned int redone_count = ~redone;
	bool called = !call;

	assert_int_equal(rp_vring_shadow_drain(rig->shadow, &drained_at, &redone_count, &called), 0);
	assert_int_equal(drained_at, position);
	assert_int_equal(redone_count, redone);
	assert_int_equal(called, call);
}
