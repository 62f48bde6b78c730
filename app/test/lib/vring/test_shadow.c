/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "shadow_rig.h"

/* A shadow's life: what it refuses, a private ring elsewhere, and its end. */

#define NUM 8u
#define A UINT64_C(0xfedcba9876540000)
#define TABLE_AT (GUEST_BUFFERS_AT + 0x80000u)
#define TABLE ((uint64_t)GUEST_IOVA + TABLE_AT)
#define PACKED_FRESH 0x80008000u

static struct rig rig;
static struct packed_guest driver;

static uint8_t aligned[65536] __attribute__((aligned(4096)));

static void
assert_refused(struct guest *guest, const struct rp_vring_shadow_config *config, int rc, const char *words)
{
	struct rp_vring_shadow *shadow = (struct rp_vring_shadow *)guest;
	struct rp_wire_why why = {0};

	assert_int_equal(rp_vring_shadow_create(config, &shadow, &why), rc);
	assert_ptr_equal(shadow, guest);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
}

static void
what_cannot_be_is_refused(void **state)
{
	struct guest *guest = *state;
	struct rp_vring_shadow_config config = {
		.guest = &guest->layout,
		.reader = guest->reader,
		.memory = aligned,
		.memory_iova = RIG_IOVA,
	};

	guest_start(guest, NUM, 0, F_IN_ORDER);
	config.memory = aligned + 64;
	assert_refused(guest, &config, -EINVAL, "memory");
	config.memory = aligned;
	config.memory_iova = RIG_IOVA + 2048;
	assert_refused(guest, &config, -EINVAL, "memory");
	config.memory_iova = RIG_IOVA;
	config.position = 0x10000;
	assert_refused(guest, &config, -EBADMSG, "position");
	config.position = 0;
	guest->layout.num = 7;
	assert_refused(guest, &config, -EBADMSG, "num");
	guest->layout.num = 65535;
	assert_refused(guest, &config, -EBADMSG, "num");
	guest->layout.num = 0;
	assert_refused(guest, &config, -EBADMSG, "num");
	guest->layout.num = NUM;
	guest->layout.used_iova = 4;
	assert_refused(guest, &config, -EBADMSG, "used ring");
	packed_start(&driver, guest, NUM, 0, true, 0);
	config.position = 0x80008001;
	assert_refused(guest, &config, -EBADMSG, "position");
	assert_null(rp_vring_shadow_destroy(NULL));
}

static void
its_ring_is_like_the_guests(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, NUM, 77, F_INDIRECT_DESC | F_EVENT_IDX | UINT64_C(1) << 32);
	guest->layout.notes = NULL;
	rig_open(&rig, guest, 77);
	assert_int_equal(rig.layout.num, NUM);
	assert_true(rig.layout.features == guest->layout.features);
	assert_true(rig.layout.avail_iova > rig.layout.desc_iova && rig.layout.used_iova > rig.layout.avail_iova);
	assert_true(rig.layout.used_iova + 6 + 8 * NUM <= RIG_IOVA + rig.memory_bytes);
	assert_int_equal(rig.memory_bytes % 4096, 0);
	assert_int_equal(rp_vring_shadow_out(rig.shadow), 0);
	assert_null(rp_vring_shadow_why(rig.shadow));
	assert_int_equal(guest_used_index(guest), 77);
	rig_close(&rig);
}

/* Three chains are out in an order that differs from that of their names. */
static void
start_split(struct guest *guest, uint16_t *heads)
{
	uint16_t i;

	guest_start(guest, NUM, 65535, F_INDIRECT_DESC);
	rig_open(&rig, guest, 65535);
	guest_desc(guest, 3, A, 10, NEXT, 0);
	guest_desc(guest, 0, A + 0x1000, 20, WRITE, 0);
	guest_desc(guest, 1, A + 0x2000, 30, NEXT, 2);
	guest_desc(guest, 2, TABLE, 16, INDIRECT, 0);
	guest_desc_at(guest, TABLE_AT, 0, A + 0x3000, 40, WRITE, 0);
	guest_desc(guest, 7, A + 0x4000, 50, WRITE, 0);
	guest_offer(guest, 3);
	guest_offer(guest, 1);
	guest_offer(guest, 7);
	rig_forward(&rig, 3, true);
	for (i = 0; i < 3; i++) {
		rig_pop(&rig);
		heads[i] = rig.chain.head;
	}
}

static void
what_is_out_is_forwarded_again(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[3];
	uint32_t id, len;

	start_split(guest, heads);
	rig_use(&rig, heads[2], 50);
	rig_rebase(&rig);
	/* The one that the device used in the old place is the guest's, which hears of it now. */
	assert_int_equal(guest_used_index(guest), 0);
	rig_return(&rig, 0, true);
	rig_forward(&rig, 0, true);
	assert_int_equal(rp_vring_shadow_out(rig.shadow), 2);
	assert_int_equal(rp_vring_shadow_forwarded(rig.shadow), 3);
	rig_pop(&rig);
	rig_assert_part(&rig, 0, A, 10);
	rig_assert_part(&rig, 1, A + 0x1000, 20);
	heads[0] = rig.chain.head;
	rig_pop(&rig);
	rig_assert_part(&rig, 0, A + 0x2000, 30);
	assert_int_equal(rig.chain.table.iova, TABLE);
	rig_use(&rig, rig.chain.head, 40);
	rig_use(&rig, heads[0], 20);
	rig.reports_count = 0;
	rig_return(&rig, 2, true);
	assert_int_equal(rig.reports[0].iova, A + 0x3000);
	assert_int_equal(rig.reports[1].iova, A + 0x1000);
	guest_used(guest, 0, &id, &len);
	assert_int_equal(id, 1);
	assert_int_equal(len, 40);
	guest_used(guest, 1, &id, &len);
	assert_int_equal(id, 3);
	assert_int_equal(len, 20);
	rig_close(&rig);
}

static void
into_the_same_memory(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[3];

	start_split(guest, heads);
	rig_use(&rig, heads[0], 0);
	assert_int_equal(rp_vring_shadow_rebase(rig.shadow, rig.memory, RIG_IOVA), 0);
	rig_attach(&rig);
	rig_return(&rig, 0, true);
	rig_pop(&rig);
	rig_assert_part(&rig, 0, A + 0x2000, 30);
	rig_close(&rig);
}

/* A device that lied is believed again when it begins again. */
static void
a_rebase_forgives_the_device(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[3];
	bool flag;

	start_split(guest, heads);
	rig_use(&rig, heads[2], 51);
	assert_int_equal(rp_vring_shadow_return(rig.shadow, &flag), -EPROTO);
	rig_rebase(&rig);
	assert_null(rp_vring_shadow_why(rig.shadow));
	assert_int_equal(rp_vring_shadow_out(rig.shadow), 3);
	rig_pop(&rig);
	rig_use(&rig, rig.chain.head, 20);
	rig_return(&rig, 1, true);
	rig_close(&rig);
}

static void
a_rebase_that_is_refused(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[3];

	start_split(guest, heads);
	assert_int_equal(rp_vring_shadow_rebase(rig.shadow, aligned + 1, RIG_IOVA), -EINVAL);
	assert_int_equal(rp_vring_shadow_rebase(rig.shadow, aligned, RIG_IOVA + 1), -EINVAL);
	rig_use(&rig, heads[1], 40);
	rig_return(&rig, 1, true);
	rig_close(&rig);
}

static void
a_device_that_lied_is_drained(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[3];

	start_split(guest, heads);
	rig_use(&rig, heads[0], 1);
	rig_use(&rig, heads[1], 41);
	rig_use(&rig, heads[2], 1);
	rig_drain(&rig, 0, 2, true);
	rig_close(&rig);
}

static void
after_the_end(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[3];
	unsigned int redone = 99;
	uint32_t position = 99;
	bool flag = true;

	start_split(guest, heads);
	rig_drain(&rig, 65535, 3, false);
	assert_int_equal(rp_vring_shadow_drain(rig.shadow, &position, &redone, &flag), -EINVAL);
	assert_int_equal(position, 99);
	assert_int_equal(redone, 99);
	assert_int_equal(rp_vring_shadow_forward(rig.shadow, &flag), -EINVAL);
	assert_false(flag);
	flag = true;
	assert_int_equal(rp_vring_shadow_return(rig.shadow, &flag), -EINVAL);
	assert_false(flag);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, true), -EINVAL);
	assert_int_equal(rp_vring_shadow_rebase(rig.shadow, rig.memory, RIG_IOVA), -EINVAL);
	assert_int_equal(rp_vring_shadow_forwarded(rig.shadow), 3);
	rig_close(&rig);
}

static void
a_broken_ring_is_not_drained(void **state)
{
	struct guest *guest = *state;
	unsigned int redone = 99;
	uint32_t position = 99;
	uint16_t heads[3];
	bool flag = true;

	start_split(guest, heads);
	guest_offer(guest, NUM + 1);
	assert_int_equal(rp_vring_shadow_forward(rig.shadow, &flag), -EBADMSG);
	flag = true;
	assert_int_equal(rp_vring_shadow_drain(rig.shadow, &position, &redone, &flag), -EBADMSG);
	assert_true(flag);
	assert_int_equal(position, 99);
	assert_int_equal(redone, 99);
	rig_close(&rig);
}

/* The guest's memory moved: it is found again, or the ring is broken, also when all that is left is to drain. */
static void
memory_that_goes(void **state)
{
	struct guest *guest = *state;
	unsigned int redone;
	uint32_t position;
	uint16_t heads[3];
	bool flag;

	start_split(guest, heads);
	guest_unmap(guest, GUEST_IOVA, GUEST_BYTES);
	guest_map(guest, GUEST_IOVA, 0, GUEST_BYTES, RP_DMA_READ | RP_DMA_WRITE);
	rig_use(&rig, heads[0], 1);
	rig_return(&rig, 1, true);
	guest_unmap(guest, GUEST_IOVA, GUEST_BYTES);
	assert_int_equal(rp_vring_shadow_drain(rig.shadow, &position, &redone, &flag), -EBADMSG);
	assert_non_null(rp_vring_shadow_why(rig.shadow));
	rig_close(&rig);
}

/* Where a shadow ended another one begins. */
static void
one_after_the_other(void **state)
{
	struct guest *guest = *state;
	uint16_t id, heads[2], i;
	uint32_t len;

	packed_start(&driver, guest, NUM, 0, true, 0);
	rig_open(&rig, guest, PACKED_FRESH);
	for (i = 0; i < 3; i++)
		packed_offer(&driver, A + i, 10, (uint16_t)(i + 4), WRITE);
	rig_forward(&rig, 3, true);
	rig_pop(&rig);
	rig_pop(&rig);
	rig_use(&rig, rig.chain.head, 2);
	rig_drain(&rig, 0x80018001, 2, true);
	rig_close(&rig);
	rig_open(&rig, guest, 0x80018001);
	rig_forward(&rig, 2, true);
	for (i = 0; i < 2; i++) {
		rig_pop(&rig);
		heads[i] = rig.chain.head;
		rig_assert_part(&rig, 0, A + 2 * (uint64_t)i, 10);
	}
	rig_use(&rig, heads[0], 1);
	rig_use(&rig, heads[1], 3);
	rig_return(&rig, 2, true);
	packed_read(guest, 0, &id, &len);
	assert_true(id == 5 && len == 2);
	packed_read(guest, 1, &id, &len);
	assert_true(id == 4 && len == 1);
	packed_read(guest, 2, &id, &len);
	assert_true(id == 6 && len == 3);
	rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(what_cannot_be_is_refused),
		WITH_GUEST(its_ring_is_like_the_guests),
		WITH_GUEST(what_is_out_is_forwarded_again),
		WITH_GUEST(into_the_same_memory),
		WITH_GUEST(a_rebase_forgives_the_device),
		WITH_GUEST(a_rebase_that_is_refused),
		WITH_GUEST(a_device_that_lied_is_drained),
		WITH_GUEST(after_the_end),
		WITH_GUEST(a_broken_ring_is_not_drained),
		WITH_GUEST(memory_that_goes),
		WITH_GUEST(one_after_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
