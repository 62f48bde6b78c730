/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rp_vring_drv.h"
#include "guest_packed.h"

#define IOVA 0x10000000u
#define MEMORY_BYTES (1u << 20)

/* A ring, and a device that writes whatever it likes to it. */
struct bench {
	uint8_t *memory;
	struct rp_vring_drv *ring;
	struct rp_vring_layout layout;
	uint16_t at; /* where the device writes next */
	bool wrap;
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
	assert_int_equal(rp_vring_drv_create(num, bench->memory, IOVA, features | F_RING_PACKED, &bench->ring), 0);
	rp_vring_drv_layout(bench->ring, &bench->layout);
	bench->at = 0;
	bench->wrap = true;
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

static uint8_t *
desc(const struct bench *bench, uint16_t index)
{
	return at(bench, bench->layout.desc_iova) + 16 * (size_t)index;
}

/* The device's used descriptor, by hand; it skips the descriptors of the chain. */
static void
use(struct bench *bench, uint16_t id, uint32_t len, uint16_t skip)
{
	uint8_t *bytes = desc(bench, bench->at);

	put16(bytes + 8, (uint16_t)len);
	put16(bytes + 10, (uint16_t)(len >> 16));
	put16(bytes + 12, id);
	put16(bytes + 14, (uint16_t)(packed_used_bits(bench->wrap) | (len > 0 ? WRITE : 0)));
	for (; skip > 0; skip--) {
		if (++bench->at == bench->layout.num) {
			bench->at = 0;
			bench->wrap = !bench->wrap;
		}
	}
}

/* As a device that follows the ring: the id and the size of the chain that begins there. */
static uint16_t
id_at(const struct bench *bench, uint16_t index, uint16_t *ret_size)
{
	*ret_size = 1;
	while ((get16(desc(bench, index) + 14) & NEXT) != 0) {
		index = (uint16_t)((index + 1) % bench->layout.num);
		(*ret_size)++;
	}
	return get16(desc(bench, index) + 12);
}

static void
add(struct bench *bench, uint16_t parts_count, void *cookie)
{
	struct rp_vring_part parts[8];
	uint16_t i;

	for (i = 0; i < parts_count; i++)
		parts[i] = (struct rp_vring_part){.iova = 0x1234, .size_bytes = 10, .device_writes = true};
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, parts_count, cookie), 0);
}

static void
assert_get(struct bench *bench, const void *cookie, uint32_t written_bytes)
{
	uint32_t seen_bytes;
	void *seen;

	assert_int_equal(rp_vring_drv_get(bench->ring, &seen, &seen_bytes), 1);
	assert_ptr_equal(seen, cookie);
	assert_int_equal(seen_bytes, written_bytes);
}

static void
assert_none(struct bench *bench)
{
	uint32_t written_bytes;
	void *cookie;

	assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 0);
}

static void
create_checks_its_arguments(void **state)
{
	struct bench *bench = *state;
	struct rp_vring_drv *ring = NULL;

	assert_int_equal(rp_vring_drv_create(0, bench->memory, IOVA, F_RING_PACKED, &ring), -EINVAL);
	assert_int_equal(rp_vring_drv_create(32769, bench->memory, IOVA, F_RING_PACKED, &ring), -EINVAL);
	assert_int_equal(rp_vring_drv_create(4, bench->memory + 8, IOVA, F_RING_PACKED, &ring), -EINVAL);
	assert_int_equal(rp_vring_drv_create(4, bench->memory, IOVA + 8, F_RING_PACKED, &ring), -EINVAL);
	assert_null(ring);
}

/* Parts are in order, aligned, apart, inside the bytes promised, zeroed, and nothing beyond is touched. */
static void
layout_of_every_num(void **state)
{
	static const uint16_t nums[] = {1, 2, 3, 7, 255, 256, 257, 1000, 32767, 32768};
	struct bench *bench = *state;
	size_t n, i;

	for (n = 0; n < sizeof(nums) / sizeof(nums[0]); n++) {
		size_t bytes = rp_vring_drv_bytes(nums[n], F_RING_PACKED);

		start(bench, nums[n], 0);
		assert_int_equal(bytes % 4096, 0);
		assert_true(bytes + 4096 <= MEMORY_BYTES);
		assert_int_equal(bench->layout.num, nums[n]);
		assert_int_equal(bench->layout.features, F_RING_PACKED);
		assert_null(bench->layout.notes);
		assert_int_equal(bench->layout.desc_iova, IOVA);
		assert_true(bench->layout.avail_iova >= IOVA + 16u * nums[n]);
		assert_true(bench->layout.used_iova >= bench->layout.avail_iova + 4);
		assert_true(bench->layout.used_iova + 4 <= IOVA + bytes);
		assert_int_equal(bench->layout.avail_iova % 4, 0);
		assert_int_equal(bench->layout.used_iova % 4, 0);
		for (i = 0; i < bytes; i++)
			assert_int_equal(bench->memory[i], 0);
		for (; i < bytes + 4096; i++)
			assert_int_equal(bench->memory[i], 0xee);
		assert_int_equal(rp_vring_drv_free_count(bench->ring), nums[n]);
	}
}

/* Over the end of a ring of three: one alone, then a chain of two, then one in the next lap. */
static void
byte_vectors(void **state)
{
	/* clang-format off */
	static const uint8_t first[] = {
		0x00, 0x20, 0x00, 0x00, 0, 0, 0, 0, 0x02, 0x00, 0, 0, 0x00, 0x00, 0x80, 0x00, /* AVAIL; id 0 */
		0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0x0c, 0x00, 0, 0, 0x01, 0x00, 0x81, 0x00, /* NEXT; id 1 */
		0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0x00, 0x06, 0, 0, 0x01, 0x00, 0x82, 0x00, /* WRITE */
	};
	static const uint8_t second[] = {
		0x00, 0x10, 0x00, 0x00, 0, 0, 0, 0, 0x03, 0x00, 0, 0, 0x00, 0x00, 0x02, 0x80, /* WRITE, lap 0: USED */
	};
	static const uint8_t driver_event[] = {0x01, 0x80, 0x02, 0x00}; /* descriptor 1 of lap 1 */
	/* clang-format on */
	const struct rp_vring_part single = {.iova = 0x2000, .size_bytes = 2};
	const struct rp_vring_part parts[] = {
		{.iova = 0x12345678, .size_bytes = 12},
		{.iova = 0x0123456789abcdef, .size_bytes = 0x600, .device_writes = true},
	};
	const struct rp_vring_part third = {.iova = 0x1000, .size_bytes = 3, .device_writes = true};
	struct bench *bench = *state;

	start(bench, 3, F_EVENT_IDX);
	assert_int_equal(rp_vring_drv_add(bench->ring, &single, 1, bench), 0);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 2, NULL), 0);
	assert_memory_equal(desc(bench, 0), first, sizeof(first));
	use(bench, 0, 0, 1);
	assert_get(bench, bench, 0);
	assert_memory_equal(at(bench, bench->layout.avail_iova), driver_event, sizeof(driver_event));
	assert_int_equal(rp_vring_drv_add(bench->ring, &third, 1, NULL), 0);
	assert_memory_equal(desc(bench, 0), second, sizeof(second));
	assert_memory_equal(desc(bench, 1), first + 16, 32);
	assert_int_equal(get16(at(bench, bench->layout.used_iova)), 0);
	assert_int_equal(get16(at(bench, bench->layout.used_iova) + 2), 0);
}

static void
indirect_byte_vectors(void **state)
{
	/* clang-format off */
	static const uint8_t table_bytes[] = {
		0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0x0c, 0x00, 0, 0, 0, 0, 0x00, 0x00,
		0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0x00, 0x06, 0, 0, 0, 0, 0x02, 0x00,
	};
	static const uint8_t ring_bytes[] = {
		0x08, 0x00, 0x00, 0x50, 0, 0, 0, 0, 0x20, 0x00, 0, 0, 0x00, 0x00, 0x84, 0x00,
	};
	/* clang-format on */
	const struct rp_vring_part parts[] = {
		{.iova = 0x12345678, .size_bytes = 12},
		{.iova = 0x0123456789abcdef, .size_bytes = 0x600, .device_writes = true},
	};
	struct bench *bench = *state;
	uint8_t table[48];

	start(bench, 1, F_INDIRECT_DESC);
	memset(table, 0xee, sizeof(table));
	assert_int_equal(rp_vring_drv_add_indirect(bench->ring, parts, 2, table, 0x50000008, bench), 0);
	assert_memory_equal(table, table_bytes, sizeof(table_bytes));
	assert_int_equal(table[32], 0xee);
	assert_memory_equal(desc(bench, 0), ring_bytes, sizeof(ring_bytes));
	/* The device has the table: it stays as it is. */
	memset(table, 0xee, sizeof(table));
	assert_int_equal(rp_vring_drv_add_indirect(bench->ring, parts, 2, table, 0x50000008, NULL), -ENOSPC);
	assert_int_equal(table[0], 0xee);
	use(bench, 0, 0x600, 1);
	assert_get(bench, bench, 0x600);
	assert_int_equal(rp_vring_drv_add_indirect(bench->ring, parts, 0, table, 0x50000008, NULL), -EINVAL);
	start(bench, 1, 0);
	assert_int_equal(rp_vring_drv_add_indirect(bench->ring, parts, 2, table, 0x50000008, NULL), -EINVAL);
}

static void
add_checks_its_parts(void **state)
{
	struct bench *bench = *state;
	struct rp_vring_part parts[5] = {{.iova = 1, .size_bytes = 1}, {.iova = 1, .size_bytes = 1}};

	start(bench, 3, 0);
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
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 4, NULL), -ENOSPC);
	assert_int_equal(get16(desc(bench, 0) + 14), 0);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 2, NULL), 0);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 2, NULL), -ENOSPC);
	assert_int_equal(rp_vring_drv_free_count(bench->ring), 1);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 1, NULL), 0);
	assert_int_equal(rp_vring_drv_add(bench->ring, parts, 1, NULL), -ENOSPC);
}

/* Chains come back in any order; cookies and free descriptors stay right through thousands of laps. */
static void
out_of_order_use(void **state)
{
	struct bench *bench = *state;
	struct {
		uint16_t id, size;
		uintptr_t cookie;
	} out[13];
	unsigned int seed = 1, round;
	uint16_t out_count = 0, avail_at = 0;
	uintptr_t next_cookie = 1;

	start(bench, 13, 0);
	for (round = 0; round < 70000; round++) {
		uint16_t count = (uint16_t)(1 + rand_r(&seed) % 3), pick;

		if (count <= rp_vring_drv_free_count(bench->ring)) {
			add(bench, count, (void *)next_cookie);
			out[out_count].id = id_at(bench, avail_at, &out[out_count].size);
			assert_int_equal(out[out_count].size, count);
			out[out_count++].cookie = next_cookie++;
			avail_at = (uint16_t)((avail_at + count) % 13);
			continue;
		}
		pick = (uint16_t)(rand_r(&seed) % out_count);
		use(bench, out[pick].id, round % 11, out[pick].size);
		assert_get(bench, (void *)out[pick].cookie, round % 11);
		out[pick] = out[--out_count];
		assert_none(bench);
	}
	while (out_count-- > 0)
		use(bench, out[out_count].id, 0, out[out_count].size);
	while (rp_vring_drv_get(bench->ring, &(void *){NULL}, &(uint32_t){0}) == 1)
		;
	assert_int_equal(rp_vring_drv_free_count(bench->ring), 13);
}

/* 2.8.4: without WRITE the length is reserved. QEMU means it all the same, so it is taken when it can be meant. */
static void
length_without_the_flag(void **state)
{
	struct bench *bench = *state;

	start(bench, 4, 0);
	add(bench, 1, bench);
	use(bench, 0, 0x10000, 1);
	put16(desc(bench, 0) + 14, AVAIL | USED);
	assert_get(bench, bench, 0);
	add(bench, 1, bench);
	use(bench, 0, 9, 1);
	put16(desc(bench, 1) + 14, AVAIL | USED);
	assert_get(bench, bench, 9);
}

/* 2.8.8: one used descriptor for all chains up to its own; what was skipped was written to its end. */
static void
in_order_batches(void **state)
{
	struct bench *bench = *state;
	uint16_t sizes[64], ids[64], added, first, last, at_index = 0;
	uintptr_t next_cookie = 1;
	unsigned int seed = 2, round;

	start(bench, 11, F_IN_ORDER | F_EVENT_IDX);
	for (round = 0; round < 20000; round++) {
		uintptr_t cookie = next_cookie;

		for (added = 0;; added++) {
			uint16_t size = (uint16_t)(1 + rand_r(&seed) % 3);

			if (size > rp_vring_drv_free_count(bench->ring))
				break;
			add(bench, size, (void *)next_cookie++);
			ids[added] = id_at(bench, at_index, &sizes[added]);
			at_index = (uint16_t)((at_index + size) % 11);
		}
		for (first = 0; first < added; first = (uint16_t)(last + 1)) {
			uint16_t skip = 0, i;

			last = (uint16_t)(first + (unsigned int)rand_r(&seed) % (unsigned int)(added - first));
			for (i = first; i <= last; i++)
				skip = (uint16_t)(skip + sizes[i]);
			assert_none(bench);
			use(bench, ids[last], 7, skip);
			for (i = first; i < last; i++)
				assert_get(bench, (void *)cookie++, 10u * sizes[i]);
			assert_get(bench, (void *)cookie++, 7);
		}
		assert_none(bench);
		assert_int_equal(rp_vring_drv_free_count(bench->ring), 11);
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
	static const uint16_t ids[] = {1, 2, 5, 0x7fff, 0x8000, 0xffff};
	struct bench *bench = *state;
	size_t i, order;

	for (order = 0; order < 2; order++) {
		uint64_t features = order == 0 ? 0 : F_IN_ORDER;

		for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
			start(bench, 5, features);
			add(bench, 2, NULL);
			use(bench, ids[i], 0, 2);
			assert_device_lies(bench);
		}
		start(bench, 5, features);
		add(bench, 2, NULL);
		use(bench, 0, 21, 2);
		assert_device_lies(bench);
		/* The same one twice; when nothing is out. */
		start(bench, 5, features);
		add(bench, 1, NULL);
		add(bench, 1, NULL);
		use(bench, 0, 1, 1);
		use(bench, 0, 1, 1);
		assert_get(bench, NULL, 1);
		assert_device_lies(bench);
		start(bench, 5, features);
		use(bench, 0, 0, 1);
		assert_device_lies(bench);
	}
}

/* Whatever a device writes, whenever: answers are within bounds, and free descriptors add up. */
static void
device_writes_noise(void **state)
{
	struct bench *bench = *state;
	unsigned int seed = 3, round, step, taken = 0, lies = 0;

	for (round = 0; round < 3000; round++) {
		uint16_t num = (uint16_t)(1 + rand_r(&seed) % 9);

		start(bench, num, (round % 2 == 0 ? F_IN_ORDER : 0) | (round % 3 == 0 ? F_EVENT_IDX : 0));
		for (step = 0; step < 100; step++) {
			const struct rp_vring_part part = {.iova = 1, .size_bytes = 100, .device_writes = true};
			uint32_t written_bytes = 0;
			void *cookie;
			int rc;

			rp_vring_drv_add(bench->ring, &part, 1, bench);
			if (step % 4 == 0)
				use(bench, (uint16_t)(rand_r(&seed) % (num + 1)), (uint32_t)rand_r(&seed) % 110, 1);
			else
				desc(bench, (uint16_t)(rand_r(&seed) % num))[rand_r(&seed) % 16] =
					(uint8_t)rand_r(&seed);
			put16(at(bench, bench->layout.used_iova) + rand_r(&seed) % 3, (uint16_t)rand_r(&seed));
			rp_vring_drv_needs_kick(bench->ring);
			rc = rp_vring_drv_get(bench->ring, &cookie, &written_bytes);
			assert_true(rc == 0 || rc == 1 || rc == -EBADMSG);
			assert_true(written_bytes <= 100);
			assert_true(rp_vring_drv_free_count(bench->ring) <= num);
			taken += rc == 1;
			lies += rc == -EBADMSG;
		}
	}
	print_message("%u taken, %u lies\n", taken, lies);
	assert_true(taken > 1000 && lies > 1000);
}

static void
device_event(struct bench *bench, uint16_t off, bool wrap, uint16_t flags)
{
	put16(at(bench, bench->layout.used_iova), (uint16_t)(off | wrap << 15));
	put16(at(bench, bench->layout.used_iova) + 2, flags);
}

static void
kick_flags(void **state)
{
	struct bench *bench = *state;

	start(bench, 8, 0);
	assert_false(rp_vring_drv_needs_kick(bench->ring));
	add(bench, 1, NULL);
	assert_true(rp_vring_drv_needs_kick(bench->ring));
	assert_false(rp_vring_drv_needs_kick(bench->ring));
	device_event(bench, 0, false, EVENT_DISABLE);
	add(bench, 1, NULL);
	assert_false(rp_vring_drv_needs_kick(bench->ring));
	device_event(bench, 0, false, EVENT_DESC);
	add(bench, 1, NULL);
	assert_true(rp_vring_drv_needs_kick(bench->ring));
	device_event(bench, 0, false, 0xfffc);
	add(bench, 1, NULL);
	assert_true(rp_vring_drv_needs_kick(bench->ring));
}

/* The device asks for a kick at one descriptor of either lap, and gets one there only. */
static void
kick_descriptor(void **state)
{
	struct bench *bench = *state;
	uint32_t i, event, place;
	uint16_t size;

	start(bench, 5, F_EVENT_IDX);
	for (i = 0, place = 0; i < 3000; i++) {
		uint16_t count = (uint16_t)(1 + i % 3);
		bool wanted = false;

		event = (i * 7) % 10;
		for (uint32_t p = place; p < place + count; p++)
			wanted |= p % 10 == event;
		device_event(bench, (uint16_t)(event % 5), event < 5, EVENT_DESC);
		add(bench, count, NULL);
		assert_int_equal(rp_vring_drv_needs_kick(bench->ring), wanted);
		use(bench, id_at(bench, bench->at, &size), 1, count);
		assert_get(bench, NULL, 1);
		place = (place + count) % 10;
	}
	device_event(bench, 5, true, EVENT_DESC);
	add(bench, 1, NULL);
	assert_true(rp_vring_drv_needs_kick(bench->ring));
}

static void
interrupt_wish_by_flags(void **state)
{
	struct bench *bench = *state;
	const uint8_t *event;

	start(bench, 8, 0);
	event = at(bench, bench->layout.avail_iova);
	assert_int_equal(get16(event + 2), EVENT_ENABLE);
	rp_vring_drv_set_interrupt(bench->ring, false);
	assert_int_equal(get16(event + 2), EVENT_DISABLE);
	rp_vring_drv_set_interrupt(bench->ring, true);
	assert_int_equal(get16(event + 2), EVENT_ENABLE);
	assert_int_equal(get16(event), 0);
}

/* While interrupts are wanted each used chain moves the event on; while not, it says so. */
static void
interrupt_wish_by_descriptor(void **state)
{
	struct bench *bench = *state;
	const uint8_t *event;
	uint16_t size;
	uint32_t i;

	start(bench, 3, F_EVENT_IDX);
	event = at(bench, bench->layout.avail_iova);
	for (i = 0; i < 100; i += 2) {
		assert_int_equal(get16(event), i % 3 | (i / 3 % 2 == 0 ? 0x8000u : 0));
		assert_int_equal(get16(event + 2), EVENT_DESC);
		add(bench, 2, NULL);
		use(bench, id_at(bench, bench->at, &size), 1, 2);
		assert_get(bench, NULL, 1);
	}
	rp_vring_drv_set_interrupt(bench->ring, false);
	assert_int_equal(get16(event + 2), EVENT_DISABLE);
	add(bench, 1, NULL);
	use(bench, id_at(bench, bench->at, &size), 1, 1);
	assert_get(bench, NULL, 1);
	assert_int_equal(get16(event + 2), EVENT_DISABLE);
	rp_vring_drv_set_interrupt(bench->ring, true);
	assert_int_equal(get16(event), 101 % 3 | (101 / 3 % 2 == 0 ? 0x8000u : 0));
	assert_int_equal(get16(event + 2), EVENT_DESC);
}

#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BENCH(create_checks_its_arguments),
		WITH_BENCH(layout_of_every_num),
		WITH_BENCH(byte_vectors),
		WITH_BENCH(indirect_byte_vectors),
		WITH_BENCH(add_checks_its_parts),
		WITH_BENCH(out_of_order_use),
		WITH_BENCH(length_without_the_flag),
		WITH_BENCH(in_order_batches),
		WITH_BENCH(device_lies),
		WITH_BENCH(device_writes_noise),
		WITH_BENCH(kick_flags),
		WITH_BENCH(kick_descriptor),
		WITH_BENCH(interrupt_wish_by_flags),
		WITH_BENCH(interrupt_wish_by_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
