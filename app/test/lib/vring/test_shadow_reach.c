/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "shadow_rig.h"

/* A guest whose addresses are translated: what the device gets, who waits, and what is refused. */

#define NUM 8u
#define PAGE 0x1000u
#define PAGES 64u
#define IOVA UINT64_C(0xfff00000)
#define DEVICE UINT64_C(0x9000000) /* page k of the IOVAs is there, or where it was put */
#define TABLES_IOVA UINT64_C(0x7e0000000000)

enum knowledge {
	KNOWN,
	UNKNOWN, /* asked for, and not answered */
	FORBIDDEN,
};

struct iommu {
	struct guest *guest;
	enum knowledge pages[PAGES];
	uint64_t places[PAGES]; /* in the device's addresses */
	unsigned int asked[PAGES];
	unsigned int asked_ahead[PAGES];
	struct rp_vring_shadow_translation translation;
	struct rig rig;
};

static struct iommu iommu;
static struct packed_guest driver;

static int
translate(void *ctx, uint64_t iova, uint64_t size_bytes, uint32_t access_mask, bool ahead,
	  struct rp_vring_shadow_place *ret_place)
{
	uint64_t page = (iova - IOVA) / PAGE, rest = PAGE - iova % PAGE;

	assert_ptr_equal(ctx, &iommu);
	assert_true(page < PAGES && size_bytes > 0);
	assert_true(access_mask == RP_DMA_READ || access_mask == RP_DMA_WRITE);
	iommu.asked[page]++;
	iommu.asked_ahead[page] += ahead;
	if (iommu.pages[page] != KNOWN)
		return iommu.pages[page] == UNKNOWN ? -EAGAIN : -EFAULT;
	ret_place->device_iova = iommu.places[page] + iova % PAGE;
	ret_place->hva = iommu.guest->memory + GUEST_BUFFERS_AT + (iova - IOVA);
	ret_place->size_bytes = size_bytes < rest ? size_bytes : rest;
	return 0;
}

/* Every page by itself in the device's addresses, but for those of `together`. */
static void
prepare(struct guest *guest, bool indirect)
{
	unsigned int i;

	memset(&iommu, 0, sizeof(iommu));
	iommu.guest = guest;
	for (i = 0; i < PAGES; i++)
		iommu.places[i] = DEVICE + (uint64_t)i * 2 * PAGE;
	iommu.translation = (struct rp_vring_shadow_translation){
		.translate = translate,
		.ctx = &iommu,
		.ring.parts = {guest->memory + GUEST_DESC_AT, guest->memory + GUEST_AVAIL_AT,
			       guest->memory + GUEST_USED_AT},
		.avail_writable = true,
		.indirect = indirect,
		.tables = aligned_alloc(16, rp_vring_shadow_tables_bytes(NUM)),
		.tables_iova = TABLES_IOVA,
	};
}

static void
start_split(struct guest *guest, bool indirect, uint64_t features)
{
	prepare(guest, indirect);
	guest_start(guest, NUM, 0, features);
	rig_open_translated(&iommu.rig, guest, 0, &iommu.translation);
}

static void
start_packed(struct guest *guest, bool indirect, uint64_t features)
{
	prepare(guest, indirect);
	packed_start(&driver, guest, NUM, 0, true, features);
	rig_open_translated(&iommu.rig, guest, 0x80008000u, &iommu.translation);
}

static void
finish(void)
{
	rig_close(&iommu.rig);
	free(iommu.translation.tables);
}

/* The device reads a table of ours, where it is told that it is. */
static void
follow(void)
{
	struct rig *rig = &iommu.rig;
	uint64_t at = rig->chain.table.iova - TABLES_IOVA;

	assert_true(rig->chain.table.size_bytes > 0);
	assert_true(at + rig->chain.table.size_bytes <= rp_vring_shadow_tables_bytes(NUM));
	assert_int_equal(rp_vring_dev_follow(&rig->device, &rig->chain, (uint8_t *)iommu.translation.tables + at), 0);
}

static void
assert_used(const struct guest *guest, uint16_t position, uint32_t id, uint32_t len)
{
	uint32_t used_id, used_len;

	guest_used(guest, position, &used_id, &used_len);
	assert_int_equal(used_id, id);
	assert_int_equal(used_len, len);
}

/* Inside a page it stays one descriptor, with another address. */
static void
one_part(void **state)
{
	struct guest *guest = *state;

	start_split(guest, true, 0);
	guest_desc(guest, 3, IOVA + 5 * PAGE + 16, 64, WRITE, 0);
	guest_offer(guest, 3);
	rig_forward(&iommu.rig, 1, true);
	rig_pop(&iommu.rig);
	assert_int_equal(iommu.rig.chain.table.size_bytes, 0);
	assert_int_equal(iommu.rig.chain.in_count, 1);
	rig_assert_part(&iommu.rig, 0, iommu.places[5] + 16, 64);
	assert_false(rp_vring_shadow_stalled(iommu.rig.shadow));
	assert_true(rp_vring_shadow_uses(iommu.rig.shadow, IOVA + 5 * PAGE, PAGE));
	assert_true(rp_vring_shadow_uses(iommu.rig.shadow, 0, UINT64_MAX));
	assert_false(rp_vring_shadow_uses(iommu.rig.shadow, IOVA + 4 * PAGE, PAGE));
	assert_false(rp_vring_shadow_uses(iommu.rig.shadow, IOVA + 6 * PAGE, PAGE));
	rig_use(&iommu.rig, iommu.rig.chain.head, 64);
	rig_return(&iommu.rig, 1, true);
	assert_used(guest, 0, 3, 64);
	assert_false(rp_vring_shadow_uses(iommu.rig.shadow, 0, UINT64_MAX));
	finish();
}

/* What lies apart becomes several parts; what lies together by chance is one again. */
static void
several_parts(void **state)
{
	struct guest *guest = *state;

	start_split(guest, true, 0);
	iommu.places[2] = iommu.places[1] + PAGE;
	guest_desc(guest, 1, IOVA + PAGE - 100, 2 * PAGE + 200, NEXT, 2); /* pages 0 to 3 */
	guest_desc(guest, 2, IOVA + 9 * PAGE, 2 * PAGE, WRITE, 0);
	guest_offer(guest, 1);
	rig_forward(&iommu.rig, 1, true);
	rig_pop(&iommu.rig);
	follow();
	assert_int_equal(iommu.rig.chain.out_count, 3);
	assert_int_equal(iommu.rig.chain.in_count, 2);
	rig_assert_part(&iommu.rig, 0, iommu.places[0] + PAGE - 100, 100);
	rig_assert_part(&iommu.rig, 1, iommu.places[1], 2 * PAGE);
	rig_assert_part(&iommu.rig, 2, iommu.places[3], 100);
	rig_assert_part(&iommu.rig, 3, iommu.places[9], PAGE);
	rig_assert_part(&iommu.rig, 4, iommu.places[10], PAGE);
	rig_use(&iommu.rig, iommu.rig.chain.head, 2 * PAGE);
	rig_return(&iommu.rig, 1, true);
	assert_used(guest, 0, 1, 2 * PAGE);
	finish();
}

/* A device without tables gets descriptors, when it has room for them; a chain that never will have it comes back. */
static void
without_tables(void **state)
{
	struct guest *guest = *state;

	start_split(guest, false, 0);
	guest_desc(guest, 0, IOVA, 5 * PAGE, WRITE, 0);
	guest_offer(guest, 0);
	guest_desc(guest, 1, IOVA + 8 * PAGE, 4 * PAGE, WRITE, 0);
	guest_offer(guest, 1);
	rig_forward(&iommu.rig, 1, true);
	assert_true(rp_vring_shadow_stalled(iommu.rig.shadow));
	rig_pop(&iommu.rig);
	assert_int_equal(iommu.rig.chain.in_count, 5);
	rig_use(&iommu.rig, iommu.rig.chain.head, 1);
	rig_return(&iommu.rig, 1, true);
	rig_forward(&iommu.rig, 1, true);
	assert_false(rp_vring_shadow_stalled(iommu.rig.shadow));
	rig_pop(&iommu.rig);
	assert_int_equal(iommu.rig.chain.in_count, 4);
	rig_use(&iommu.rig, iommu.rig.chain.head, 1);
	rig_return(&iommu.rig, 1, true);
	guest_desc(guest, 2, IOVA, (NUM + 1) * PAGE, WRITE, 0);
	guest_offer(guest, 2);
	rig_forward(&iommu.rig, 1, false);
	assert_int_equal(rp_vring_shadow_refused(iommu.rig.shadow), 1);
	assert_used(guest, 2, 2, 0);
	finish();
}

/* Nothing is taken that waits, and what is behind it is asked for as well. */
static void
a_miss_stalls(void **state)
{
	struct guest *guest = *state;
	uint16_t i;

	start_split(guest, true, 0);
	iommu.pages[1] = iommu.pages[2] = iommu.pages[12] = UNKNOWN;
	guest_desc(guest, 0, IOVA, 64, WRITE, 0);
	guest_desc(guest, 1, IOVA + PAGE, 2 * PAGE, WRITE, 0);
	guest_desc(guest, 2, IOVA + 10 * PAGE, 64, WRITE, 0);
	guest_desc(guest, 3, IOVA + 12 * PAGE, 64, WRITE, 0);
	for (i = 0; i < 4; i++)
		guest_offer(guest, i);
	rig_forward(&iommu.rig, 1, true);
	assert_true(rp_vring_shadow_stalled(iommu.rig.shadow));
	/* Both pages at once, and what the others need. */
	assert_true(iommu.asked[1] > 0 && iommu.asked_ahead[1] == 0);
	assert_true(iommu.asked[12] > 0 && iommu.asked_ahead[12] == iommu.asked[12]);
	assert_false(rp_vring_shadow_uses(iommu.rig.shadow, IOVA + PAGE, 2 * PAGE));
	iommu.pages[1] = KNOWN;
	rig_forward(&iommu.rig, 0, false);
	assert_true(iommu.asked[2] > 0);
	iommu.pages[2] = KNOWN;
	rig_forward(&iommu.rig, 2, true);
	assert_true(rp_vring_shadow_stalled(iommu.rig.shadow));
	/* It ends as it is: what waits is still the guest's to offer. */
	rig_drain(&iommu.rig, 0, 3, false);
	finish();
}

static void
refused(void **state)
{
	struct guest *guest = *state;

	start_split(guest, true, F_IN_ORDER);
	iommu.pages[7] = FORBIDDEN;
	guest_desc(guest, 0, IOVA, 64, WRITE, 0);
	guest_desc(guest, 1, IOVA + 6 * PAGE, 2 * PAGE, WRITE, 0);
	guest_desc(guest, 2, IOVA + PAGE, 64, WRITE, 0);
	guest_offer(guest, 0);
	guest_offer(guest, 1);
	guest_offer(guest, 2);
	/* In order it is not its turn before the first one came back. */
	rig_forward(&iommu.rig, 1, true);
	assert_true(rp_vring_shadow_stalled(iommu.rig.shadow));
	assert_int_equal(rp_vring_shadow_refused(iommu.rig.shadow), 0);
	rig_pop(&iommu.rig);
	rig_use(&iommu.rig, iommu.rig.chain.head, 64);
	rig_return(&iommu.rig, 1, true);
	rig_forward(&iommu.rig, 2, true);
	assert_int_equal(rp_vring_shadow_refused(iommu.rig.shadow), 1);
	rig_return(&iommu.rig, 0, true);
	assert_used(guest, 0, 0, 64);
	assert_used(guest, 1, 1, 0);
	rig_drain(&iommu.rig, 2, 1, false);
	finish();
}

/* The guest's own table is read here, each of its entries translated, and the device gets another table. */
static void
tables_of_the_guest(void **state)
{
	struct guest *guest = *state;

	start_split(guest, true, F_INDIRECT_DESC);
	guest_desc_at(guest, GUEST_BUFFERS_AT + 20 * PAGE, 0, IOVA + 21 * PAGE, 12, NEXT, 1);
	guest_desc_at(guest, GUEST_BUFFERS_AT + 20 * PAGE, 1, IOVA + 23 * PAGE, 100, WRITE, 0);
	guest_desc(guest, 0, IOVA + 20 * PAGE, 32, INDIRECT, 0);
	iommu.pages[20] = UNKNOWN;
	guest_offer(guest, 0);
	rig_forward(&iommu.rig, 0, false);
	assert_true(rp_vring_shadow_stalled(iommu.rig.shadow));
	iommu.pages[20] = KNOWN;
	rig_forward(&iommu.rig, 1, true);
	rig_pop(&iommu.rig);
	follow();
	assert_int_equal(iommu.rig.chain.out_count, 1);
	assert_int_equal(iommu.rig.chain.in_count, 1);
	rig_assert_part(&iommu.rig, 0, iommu.places[21], 12);
	rig_assert_part(&iommu.rig, 1, iommu.places[23], 100);
	/* What the device reads counts, too. */
	assert_true(rp_vring_shadow_uses(iommu.rig.shadow, IOVA + 21 * PAGE, 1));
	assert_true(rp_vring_shadow_uses(iommu.rig.shadow, IOVA + 23 * PAGE, 1));
	rig_use(&iommu.rig, iommu.rig.chain.head, 100);
	rig_return(&iommu.rig, 1, true);
	assert_used(guest, 0, 0, 100);
	finish();
}

static void
packed(void **state)
{
	struct guest *guest = *state;
	uint16_t id;
	uint32_t len;

	start_packed(guest, true, 0);
	iommu.pages[30] = FORBIDDEN;
	packed_offer(&driver, IOVA + PAGE / 2, PAGE, 5, WRITE);
	packed_offer(&driver, IOVA + 30 * PAGE, PAGE, 6, WRITE);
	packed_offer(&driver, IOVA + 31 * PAGE, 8, 7, WRITE);
	rig_forward(&iommu.rig, 3, true);
	assert_int_equal(rp_vring_shadow_refused(iommu.rig.shadow), 1);
	/* The refused one came back first: it is in the first place. */
	packed_read(guest, 0, &id, &len);
	assert_int_equal(id, 6);
	assert_int_equal(len, 0);
	rig_pop(&iommu.rig);
	follow();
	assert_int_equal(iommu.rig.chain.in_count, 2);
	rig_assert_part(&iommu.rig, 1, iommu.places[1], PAGE / 2);
	rig_use(&iommu.rig, iommu.rig.chain.head, PAGE);
	rig_return(&iommu.rig, 1, true);
	packed_read(guest, 1, &id, &len);
	assert_int_equal(id, 5);
	assert_int_equal(len, PAGE);
	/* And the last one is put back where the guest's ring stands. */
	rig_drain(&iommu.rig, 0x80028002u, 1, false);
	packed_read(guest, 2, &id, &len);
	assert_int_equal(id, 7);
	assert_int_equal(len, 8);
	finish();
}

/* Tables of all sizes come and go, more than there is room for at one moment. */
static void
room_comes_back(void **state)
{
	struct guest *guest = *state;
	unsigned int i, out = 0, seed = 3;
	uint16_t heads[NUM], free_heads[NUM], free_count = NUM;

	start_split(guest, true, 0);
	for (i = 0; i < NUM; i++)
		free_heads[i] = (uint16_t)i;
	for (i = 0; i < 5000; i++) {
		if (free_count > 0 && rand_r(&seed) % 2 == 0) {
			uint16_t head = free_heads[--free_count];

			guest_desc(guest, head, IOVA, (1 + (uint32_t)rand_r(&seed) % PAGES) * PAGE, WRITE, 0);
			guest_offer(guest, head);
		}
		assert_true(rp_vring_shadow_forward(iommu.rig.shadow, &(bool){false}) >= 0);
		while (rp_vring_dev_pop(&iommu.rig.device, &iommu.rig.chain) == 1)
			heads[out++] = iommu.rig.chain.head;
		assert_true(out > 0 || free_count == NUM);
		if (out > 0) {
			unsigned int which = (unsigned int)rand_r(&seed) % out;
			uint32_t id, len;

			rig_use(&iommu.rig, heads[which], 1);
			heads[which] = heads[--out];
			assert_int_equal(rp_vring_shadow_return(iommu.rig.shadow, &(bool){false}), 1);
			guest_used(guest, (uint16_t)(guest_used_index(guest) - 1), &id, &len);
			free_heads[free_count++] = (uint16_t)id;
		}
	}
	finish();
}

static void
what_cannot_be(void **state)
{
	struct guest *guest = *state;
	struct rp_vring_shadow_config config;
	struct rp_vring_shadow *shadow;
	struct rp_wire_why why = {0};

	start_split(guest, true, 0);
	assert_int_equal(rp_vring_shadow_rebase(iommu.rig.shadow, iommu.rig.memory, RIG_IOVA), -EINVAL);
	config = (struct rp_vring_shadow_config){
		.guest = &guest->layout,
		.memory = iommu.rig.memory,
		.memory_iova = RIG_IOVA,
		.translation = &iommu.translation,
	};
	iommu.translation.tables_iova++;
	assert_int_equal(rp_vring_shadow_create(&config, &shadow, &why), -EINVAL);
	assert_non_null(strstr(why.text, "tables"));
	finish();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(one_part),	   WITH_GUEST(several_parts),	WITH_GUEST(without_tables),
		WITH_GUEST(a_miss_stalls), WITH_GUEST(refused),		WITH_GUEST(tables_of_the_guest),
		WITH_GUEST(packed),	   WITH_GUEST(room_comes_back), WITH_GUEST(what_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
