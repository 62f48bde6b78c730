/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rp_vring_drv.h"
#include "guest.h"

#define IOVA 0x10000000u
#define MEMORY_BYTES (1u << 20)

/* A ring, and a device that writes whatever it likes to it. */
struct bench {
	uint8_t *memory;
	struct rp_vring_drv *ring;
	struct rp_vring_layout layout;
	uint16_t used_index;
};

static int
setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	bench->memory = aligned_alloc(4096, MEMORY_BYTES);
	*state = bench;
	return 0;
}

static int
teardown(void **state)
{
	struct bench *bench = *state;

	assert_null(rp_vring_drv_destroy(bench->ring));
	free(bench->memory);
	free(bench);
	return 0;
}

static void
start(struct bench *bench, uint16_t num, uint64_t features)
{
	rp_vring_drv_destroy(bench->ring);
	memset(bench->memory, 0xee, MEMORY_BYTES);
	assert_int_equal(rp_vring_drv_create(num, bench->memory, IOVA, features, &bench->ring), 0);
	rp_vring_drv_layout(bench->ring, &bench->layout);
	bench->used_index = 0;
}

static uint8_t *
at(const struct bench *bench, uint64_t iova)
{
	return bench->memory + (iova - IOVA);
}

static void
put16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)value;
	bytes[1] = (uint8_t)(value >> 8);
}

static uint16_t
get16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static void
put32(uint8_t *bytes, uint32_t value)
{
	put16(bytes, (uint16_t)value);
	put16(bytes + 2, (uint16_t)(value >> 16));
}

/* The device's used entry, by hand. */
static void
use(struct bench *bench, uint32_t id, uint32_t len)
{
	uint8_t *entry = at(bench, bench->layout.used_iova) + 4 + 8 * (size_t)(bench->used_index % bench->layout.num);

	put32(entry, id);
	put32(entry + 4, len);
	put16(at(bench, bench->layout.used_iova) + 2, ++bench->used_index);
}

static uint16_t
last_head(const struct bench *bench)
{
	const uint8_t *avail = at(bench, bench->layout.avail_iova);

	return get16(avail + 4 + 2 * (size_t)((uint16_t)(get16(avail + 2) - 1) % bench->layout.num));
}

static uint16_t
add_one(struct bench *bench, uint32_t size_bytes, void *cookie)
{
	const struct rp_vring_part part = {.iova = 0x1234, .size_bytes = size_bytes, .device_writes = true};

	assert_int_equal(rp_vring_drv_add(bench->ring, &part, 1, cookie), 0);
	return last_head(bench);
}

static void
create_checks_its_arguments(void **state)
{
	struct bench *bench = *state;
	struct rp_vring_drv *ring = NULL;

	assert_int_equal(rp_vring_drv_create(0, bench->memory, IOVA, 0, &ring), -EINVAL);
	assert_int_equal(rp_vring_drv_create(3, bench->memory, IOVA, 0, &ring), -EINVAL);
	assert_int_equal(rp_vring_drv_create(65535, bench->memory, IOVA, 0, &ring), -EINVAL);
	assert_int_equal(rp_vring_drv_create(4, bench->memory + 8, IOVA, 0, &ring), -EINVAL);
	assert_int_equal(rp_vring_drv_create(4, bench->memory, IOVA + 8, 0, &ring), -EINVAL);
	assert_null(ring);
}

/* Parts are in order, aligned, apart, inside the bytes promised, zeroed, and nothing beyond is touched. */
static void
layout_of_every_num(void **state)
{
	struct bench *bench = *state;
	uint32_t num;
	size_t i;

	for (num = 1; num <= 32768; num *= 2) {
		size_t bytes = rp_vring_drv_bytes((uint16_t)num, F_EVENT_IDX);

		start(bench, (uint16_t)num, F_EVENT_IDX);
		assert_int_equal(bytes % 4096, 0);
		assert_true(bytes <= MEMORY_BYTES);
		assert_int_equal(bench->layout.num, num);
		assert_int_equal(bench->layout.features, F_EVENT_IDX);
		assert_int_equal(bench->layout.desc_iova, IOVA);
		assert_true(bench->layout.avail_iova >= IOVA + 16 * num);
		assert_true(bench->layout.used_iova >= bench->layout.avail_iova + 6 + 2 * num);
		assert_true(bench->layout.used_iova + 6 + 8 * num <= IOVA + bytes);
		assert_int_equal(bench->layout.avail_iova % 2, 0);
		assert_int_equal(bench->layout.used_iova % 4, 0);
		for (i = 0; i < bytes; i++)
			assert_int_equal(bench->memory[i], 0);
		for (; i < MEMORY_BYTES && i < bytes + 4096; i++)
			assert_int_equal(bench->memory[i], 0xee);
		assert_int_equal(rp_vring_drv_free_count(bench->ring), num);
	}
}

static void
byte_vectors(void **state)
{
	static const uint8_t desc[] = {
		0x78, 0x56, 0x34, 0x12, 0,    0,    0,	  0,	0x0c, 0,    0, 0, 0x01, 0x00, 0x01, 0x00,
		0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0x00, 0x06, 0, 0, 0x03, 0x00, 0x02, 0x00,
		0x00, 0x10, 0x00, 0x00, 0,    0,    0,	  0,	0x01, 0,    0, 0, 0x02, 0x00, 0x00, 0x00,
		0x00, 0x20, 0x00, 0x00, 0,    0,    0,	  0,	0x02, 0,    0, 0, 0x00, 0x00, 0x00, 0x00,
	};
	static const uint8_t avail[] = {0, 0, 0x02, 0x00, 0x00, 0x00, 0x03, 0x00, 0, 0, 0, 0, 0x01, 0x00};
	const struct rp_vring_part parts[] = {
		{.iova = 0x12345678, .size_bytes = 12},
		{.iova = 0x0123456789abcdef, .size_bytes = 0x600, .device_writes = true},
		{.iova = 0x1000, .size_bytes = 1, .device_writes = true},
	};
	const struct rp_vring_part single = {.iova = 0x2000, .size_bytes = 2};
	struct bench *bench = *state;
	uint32_t written_bytes;
	void *cookie;

	start(bench, 4, F_EVENT_IDX);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 3, bench), 0);
	assert_int_equal(rp_vring_drv_add(bench->ring, &single, 1, NULL), 0);
	use(bench, 0, 0x601);
	assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 1);
	assert_ptr_equal(cookie, bench);
	assert_int_equal(written_bytes, 0x601);
	assert_memory_equal(at(bench, bench->layout.desc_iova), desc, sizeof(desc));
	assert_memory_equal(at(bench, bench->layout.avail_iova), avail, sizeof(avail));
}

static void
add_checks_its_parts(void **state)
{
	struct bench *bench = *state;
	struct rp_vring_part parts[5] = {{.iova = 1, .size_bytes = 1}, {.iova = 1, .size_bytes = 1}};

	start(bench, 4, 0);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 0, NULL), -EINVAL);
	parts[0].device_writes = true;
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 2, NULL), -EINVAL);
	parts[1].device_writes = true;
	parts[1].size_bytes = 0;
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 2, NULL), -EINVAL);
	parts[1].size_bytes = UINT32_MAX;
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 2, NULL), -EINVAL);
	for (int i = 0; i < 5; i++)
		parts[i] = (struct rp_vring_part){.iova = 1, .size_bytes = 1};
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 5, NULL), -ENOSPC);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 3, NULL), 0);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 2, NULL), -ENOSPC);
	assert_int_equal(rp_vring_drv_free_count(bench->ring), 1);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 1, NULL), 0);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 1, NULL), -ENOSPC);
	assert_int_equal(get16(at(bench, bench->layout.avail_iova) + 2), 2);
}

/* Chains come back in any order; cookies and free descriptors stay right through thousands of them. */
static void
out_of_order_use(void **state)
{
	struct bench *bench = *state;
	unsigned int seed = 1, round;
	uint16_t heads[16], out = 0;
	uintptr_t next_cookie = 1, expected[16];

	start(bench, 16, 0);
	for (round = 0; round < 70000; round++) {
		struct rp_vring_part parts[3];
		uint16_t count = (uint16_t)(1 + rand_r(&seed) % 3), pick, i;
		uint32_t written_bytes;
		void *cookie;

		for (i = 0; i < 3; i++)
			parts[i] = (struct rp_vring_part){.iova = round, .size_bytes = 1, .device_writes = true};
		if (rp_vring_drv_add(bench->ring, parts, count, (void *)next_cookie) == 0) {
			heads[out] = last_head(bench);
			expected[out++] = next_cookie++;
			continue;
		}
		assert_true(count > rp_vring_drv_free_count(bench->ring));
		pick = (uint16_t)(rand_r(&seed) % out);
		use(bench, heads[pick], 1);
		assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 1);
		assert_int_equal((uintptr_t)cookie, expected[pick]);
		heads[pick] = heads[--out];
		expected[pick] = expected[out];
	}
	while (out > 0)
		use(bench, heads[--out], 0);
	while (rp_vring_drv_get(bench->ring, &(void *){NULL}, &(uint32_t){0}) == 1)
		;
	assert_int_equal(rp_vring_drv_free_count(bench->ring), 16);
}

static void
indirect_byte_vectors(void **state)
{
	/* clang-format off */
	static const uint8_t table_bytes[] = {
		0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0x0c, 0x00, 0, 0, 0x01, 0x00, 0x01, 0x00,
		0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0x00, 0x06, 0, 0, 0x03, 0x00, 0x02, 0x00,
		0x00, 0x10, 0x00, 0x00, 0, 0, 0, 0, 0x01, 0x00, 0, 0, 0x02, 0x00, 0x00, 0x00,
	};
	static const uint8_t ring_bytes[] = {
		0x08, 0x00, 0x00, 0x50, 0, 0, 0, 0, 0x30, 0x00, 0, 0, 0x04, 0x00, 0x00, 0x00,
	};
	/* clang-format on */
	const struct rp_vring_part parts[] = {
		{.iova = 0x12345678, .size_bytes = 12},
		{.iova = 0x0123456789abcdef, .size_bytes = 0x600, .device_writes = true},
		{.iova = 0x1000, .size_bytes = 1, .device_writes = true},
	};
	struct bench *bench = *state;
	uint32_t written_bytes;
	uint8_t table[48];
	void *cookie;

	start(bench, 1, F_INDIRECT_DESC);
	assert_int_equal(rp_vring_drv_add_indirect(bench->ring, parts, 3, table, 0x50000008, bench), 0);
	assert_memory_equal(table, table_bytes, sizeof(table_bytes));
	assert_memory_equal(at(bench, bench->layout.desc_iova), ring_bytes, sizeof(ring_bytes));
	/* The device has the table: it stays as it is. */
	memset(table, 0xee, sizeof(table));
	assert_int_equal(rp_vring_drv_add_indirect(bench->ring, parts, 3, table, 0x50000008, NULL), -ENOSPC);
	assert_int_equal(table[0], 0xee);
	use(bench, 0, 0x601);
	assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 1);
	assert_ptr_equal(cookie, bench);
	start(bench, 1, 0);
	assert_int_equal(rp_vring_drv_add_indirect(bench->ring, parts, 3, table, 0x50000008, NULL), -EINVAL);
}

/*
 * 2.7.9: one used entry, in the place of the first, for all chains up to its own;
 * what was skipped was written to its end. 2.7.5: descriptors are taken around the
 * table, each pointing to the next one.
 */
static void
in_order_batches(void **state)
{
	struct bench *bench = *state;
	uintptr_t next_cookie = 1;
	unsigned int seed = 2, round;
	uint16_t at_desc = 0;

	start(bench, 8, F_IN_ORDER | F_EVENT_IDX);
	for (round = 0; round < 20000; round++) {
		uint16_t heads[9], sizes[9], added, first, last, i;
		uintptr_t cookie = next_cookie;
		uint32_t written_bytes;
		void *seen;

		for (added = 0;; added++) {
			struct rp_vring_part parts[3];

			sizes[added] = (uint16_t)(1 + rand_r(&seed) % 3);
			for (i = 0; i < 3; i++)
				parts[i] = (struct rp_vring_part){.iova = 1, .size_bytes = 10, .device_writes = true};
			if (rp_vring_drv_add(bench->ring, parts, sizes[added], (void *)next_cookie) != 0)
				break;
			next_cookie++;
			heads[added] = last_head(bench);
			assert_int_equal(heads[added], at_desc);
			for (i = 1; i < sizes[added]; i++)
				assert_int_equal(get16(at(bench, bench->layout.desc_iova) +
						       16 * (size_t)((at_desc + i - 1) % 8) + 14),
						 (at_desc + i) % 8);
			at_desc = (uint16_t)((at_desc + sizes[added]) % 8);
		}
		for (first = 0; first < added; first = (uint16_t)(last + 1)) {
			last = (uint16_t)(first + (unsigned int)rand_r(&seed) % (unsigned int)(added - first));
			use(bench, heads[last], 7);
			bench->used_index = (uint16_t)(bench->used_index + last - first);
			put16(at(bench, bench->layout.used_iova) + 2, bench->used_index);
			for (i = first; i <= last; i++) {
				assert_int_equal(rp_vring_drv_get(bench->ring, &seen, &written_bytes), 1);
				assert_int_equal((uintptr_t)seen, cookie++);
				assert_int_equal(written_bytes, i < last ? 10 * sizes[i] : 7);
			}
			assert_int_equal(rp_vring_drv_get(bench->ring, &seen, &written_bytes), 0);
		}
		assert_int_equal(rp_vring_drv_free_count(bench->ring), 8);
	}
}

static void
assert_device_lies(struct bench *bench)
{
	void *cookie = bench;
	uint32_t written_bytes = 77;
	uint16_t free_count = rp_vring_drv_free_count(bench->ring);

	assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), -EBADMSG);
	assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), -EBADMSG);
	assert_ptr_equal(cookie, bench);
	assert_int_equal(written_bytes, 77);
	assert_int_equal(rp_vring_drv_free_count(bench->ring), free_count);
}

static void
device_lies(void **state)
{
	static const uint32_t ids[] = {1, 2, 4, 0xffff, 0x10000, 0x80000000, UINT32_MAX};
	const struct rp_vring_part parts[] = {
		{.iova = 1, .size_bytes = 100},
		{.iova = 1, .size_bytes = 10, .device_writes = true},
	};
	struct bench *bench = *state;
	uint32_t written_bytes;
	void *cookie;
	size_t i;

	/* Head 0 is out with 1 as its second part: neither 1 nor anything else is a head. */
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		start(bench, 4, 0);
		assert_int_equal(rp_vring_drv_add(bench->ring, parts, 2, NULL), 0);
		use(bench, ids[i], 0);
		assert_device_lies(bench);
	}
	start(bench, 4, 0);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 2, NULL), 0);
	use(bench, 0, 11);
	assert_device_lies(bench);
	/* The same one twice. */
	start(bench, 4, 0);
	add_one(bench, 1, NULL);
	add_one(bench, 1, NULL);
	use(bench, 0, 1);
	use(bench, 0, 1);
	assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 1);
	assert_device_lies(bench);
	/* More than is out, though the first of them is; nothing is out; backwards. */
	start(bench, 4, 0);
	add_one(bench, 1, NULL);
	use(bench, 0, 1);
	put16(at(bench, bench->layout.used_iova) + 2, 2);
	assert_device_lies(bench);
	start(bench, 4, 0);
	use(bench, 0, 0);
	assert_device_lies(bench);
	put16(at(bench, bench->layout.used_iova) + 2, 0xffff);
	assert_device_lies(bench);
	/* In order: the index counts fewer than lie between the oldest and that one. */
	start(bench, 4, F_IN_ORDER);
	add_one(bench, 1, NULL);
	add_one(bench, 1, NULL);
	use(bench, 1, 1);
	assert_device_lies(bench);
}

static void
kick_flag(void **state)
{
	struct bench *bench = *state;

	start(bench, 8, 0);
	assert_false(rp_vring_drv_needs_kick(bench->ring));
	add_one(bench, 1, NULL);
	assert_true(rp_vring_drv_needs_kick(bench->ring));
	assert_false(rp_vring_drv_needs_kick(bench->ring));
	put16(at(bench, bench->layout.used_iova), 1);
	add_one(bench, 1, NULL);
	assert_false(rp_vring_drv_needs_kick(bench->ring));
	put16(at(bench, bench->layout.used_iova), 0xfffe);
	add_one(bench, 1, NULL);
	assert_true(rp_vring_drv_needs_kick(bench->ring));
}

/* 65536 chains and more pass; the device asks for a kick at one entry, and gets one there only. */
static void
kick_event_around_65535(void **state)
{
	struct bench *bench = *state;
	uint32_t i, written_bytes;
	void *cookie;

	start(bench, 4, F_EVENT_IDX);
	for (i = 0; i < 65546; i++) {
		uint16_t wanted = (uint16_t)(i % 3 == 0 ? i : i + 1 + i % 5);

		put16(at(bench, bench->layout.used_iova) + 4 + 8 * 4, wanted);
		use(bench, add_one(bench, 1, NULL), 0);
		assert_int_equal(rp_vring_drv_needs_kick(bench->ring), i % 3 == 0);
		assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 1);
	}
	/* The flag is the other mechanism's. */
	put16(at(bench, bench->layout.used_iova), 1);
	put16(at(bench, bench->layout.used_iova) + 4 + 8 * 4, (uint16_t)i);
	add_one(bench, 1, NULL);
	add_one(bench, 1, NULL);
	assert_true(rp_vring_drv_needs_kick(bench->ring));
}

static void
interrupt_wish_by_flag(void **state)
{
	struct bench *bench = *state;
	const uint8_t *flags;

	start(bench, 8, 0);
	flags = at(bench, bench->layout.avail_iova);
	assert_int_equal(get16(flags), 0);
	rp_vring_drv_set_interrupt(bench->ring, false);
	assert_int_equal(get16(flags), 1);
	rp_vring_drv_set_interrupt(bench->ring, true);
	assert_int_equal(get16(flags), 0);
}

/* While interrupts are wanted each used chain moves the event on; while not, it stays behind. */
static void
interrupt_wish_by_event(void **state)
{
	struct bench *bench = *state;
	const uint8_t *event, *flags;
	uint32_t written_bytes, i;
	void *cookie;

	start(bench, 2, F_EVENT_IDX);
	flags = at(bench, bench->layout.avail_iova);
	event = flags + 4 + 2 * 2;
	for (i = 0; i < 65540; i++) {
		assert_int_equal(get16(event), (uint16_t)i);
		use(bench, add_one(bench, 1, NULL), 1);
		assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 1);
	}
	rp_vring_drv_set_interrupt(bench->ring, false);
	assert_int_equal(get16(event), 3);
	use(bench, add_one(bench, 1, NULL), 1);
	assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 1);
	assert_int_equal(get16(event), 3);
	rp_vring_drv_set_interrupt(bench->ring, true);
	assert_int_equal(get16(event), 5);
	assert_int_equal(get16(flags), 0);
}

#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BENCH(create_checks_its_arguments),
		WITH_BENCH(layout_of_every_num),
		WITH_BENCH(byte_vectors),
		WITH_BENCH(add_checks_its_parts),
		WITH_BENCH(out_of_order_use),
		WITH_BENCH(indirect_byte_vectors),
		WITH_BENCH(in_order_batches),
		WITH_BENCH(device_lies),
		WITH_BENCH(kick_flag),
		WITH_BENCH(kick_event_around_65535),
		WITH_BENCH(interrupt_wish_by_flag),
		WITH_BENCH(interrupt_wish_by_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
