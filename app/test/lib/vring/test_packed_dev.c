/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_packed.h"
#include "rp_wire_fd.h"

#define FAR_IOVA 0x100000000u

/*
 * A ring of three as virtio 1.2, 2.8 lays it out, byte for byte, over its end: a
 * chain of two from the last descriptor on, then a writable buffer; the second
 * comes back first.
 */
static void
byte_vectors(void **state)
{
	/* clang-format off */
	static const uint8_t before[] = {
		0x34, 0x12, 0x10, 0x40, 0, 0, 0, 0, 0xdc, 0x05, 0, 0, 0x02, 0x00, 0x00, 0x80, /* lap 0: USED; id 2 */
		0x00, 0x08, 0x10, 0x40, 0, 0, 0, 0, 0x00, 0x02, 0, 0, 0x01, 0x00, 0x02, 0x80, /* WRITE | USED; id 1 */
		0x00, 0x00, 0x10, 0x40, 0, 0, 0, 0, 0x0c, 0x00, 0, 0, 0xff, 0xff, 0x81, 0x00, /* lap 1: NEXT | AVAIL */
	};
	static const uint8_t driver_event[] = {0x01, 0x00, 0x02, 0x00}; /* descriptor 1 of lap 0 */
	static const uint8_t after[] = {
		0x34, 0x12, 0x10, 0x40, 0, 0, 0, 0, 0x00, 0x00, 0, 0, 0x02, 0x00, 0x00, 0x00, /* used in lap 0; id 2 */
		0x00, 0x08, 0x10, 0x40, 0, 0, 0, 0, 0x00, 0x02, 0, 0, 0x01, 0x00, 0x02, 0x80, /* as it was */
		0x00, 0x00, 0x10, 0x40, 0, 0, 0, 0, 0xfe, 0x01, 0, 0, 0x01, 0x00, 0x82, 0x80, /* used, WRITE; id 1 */
	};
	static const uint8_t device_event[] = {0x02, 0x00, 0x02, 0x00}; /* kick at descriptor 2 of lap 0 */
	/* clang-format on */
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 3, 2, true, F_EVENT_IDX);
	memcpy(guest->memory + GUEST_DESC_AT, before, sizeof(before));
	memcpy(guest->memory + GUEST_AVAIL_AT, driver_event, sizeof(driver_event));
	memset(guest->memory + GUEST_USED_AT, 0xee, sizeof(device_event));
	assert_int_equal(rp_vring_dev_available(&guest->ring), 2);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 2);
	assert_int_equal(guest->chain.out_count, 2);
	assert_int_equal(guest->chain.out_bytes, 1512);
	assert_ptr_equal(guest->chain.iov[1].iov_base, guest_hva(guest, 0x40101234));
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 1);
	assert_int_equal(guest->chain.in_bytes, 512);
	assert_ptr_equal(guest->chain.iov[0].iov_base, guest_hva(guest, 0x40100800));
	assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x80020002);
	assert_int_equal(rp_vring_dev_position_used(&guest->ring), 0x80028002);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 1, 510), 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x00000002);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 2, 0), 0);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, true), 0);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	assert_memory_equal(guest->memory + GUEST_DESC_AT, after, sizeof(after));
	assert_memory_equal(guest->memory + GUEST_AVAIL_AT, driver_event, sizeof(driver_event));
	assert_memory_equal(guest->memory + GUEST_USED_AT, device_event, sizeof(device_event));
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x00020002);
}

/* Sizes of all kinds, from the begin, the middle and the end, in either lap, three times around. */
static void
every_num_from_every_place(void **state)
{
	static const uint16_t nums[] = {1, 2, 3, 5, 16, 100, 255, 256, 1000, 32767, 32768};
	struct packed_guest driver;
	struct guest *guest = *state;
	size_t n;

	for (n = 0; n < sizeof(nums) / sizeof(nums[0]); n++) {
		uint16_t starts[] = {0, (uint16_t)(nums[n] / 2), (uint16_t)(nums[n] - 1)}, id;
		uint32_t s, i, len;

		for (s = 0; s < 6; s++) {
			packed_start(&driver, guest, nums[n], starts[s % 3], s < 3, 0);
			assert_int_equal(rp_vring_dev_available(&guest->ring), 0);
			for (i = 0; i < 3u * nums[n] + 20; i++) {
				uint16_t expected_id = (uint16_t)((i * 7 + 3) % nums[n]), at = driver.at;
				bool wrap = driver.wrap;

				packed_offer(&driver, GUEST_BUFFERS + i, i + 1, expected_id, WRITE);
				guest_pop(guest);
				assert_int_equal(guest->chain.head, expected_id);
				assert_int_equal(guest->chain.in_bytes, i + 1);
				assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 0);
				assert_int_equal(rp_vring_dev_push(&guest->ring, expected_id, i), 0);
				assert_int_equal(packed_read(guest, at, &id, &len),
						 packed_used_bits(wrap) | (i > 0 ? WRITE : 0));
				assert_int_equal(id, expected_id);
				assert_int_equal(len, i);
			}
			assert_int_equal((uint16_t)rp_vring_dev_position(&guest->ring),
					 driver.at | (unsigned int)driver.wrap << 15);
		}
	}
}

static void
a_full_ring_is_sound(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint32_t num, i;

	for (num = 1; num <= 32768; num = num * 5 + 1) {
		packed_start(&driver, guest, (uint16_t)num, (uint16_t)(num - 1), true, 0);
		for (i = 0; i < num; i++)
			packed_offer(&driver, GUEST_BUFFERS, 1, (uint16_t)i, 0);
		assert_int_equal(rp_vring_dev_available(&guest->ring),
				 num < RP_VRING_PACKED_COUNT_MAX ? (int)num : RP_VRING_PACKED_COUNT_MAX);
		for (i = 0; i < num; i++) {
			guest_pop(guest);
			assert_int_equal(guest->chain.head, i);
		}
		assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 0);
	}
}

/* Chains are counted, not descriptors; one that is taken does not count. */
static void
available_counts_chains(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 9, 7, true, 0);
	packed_offer(&driver, GUEST_BUFFERS, 1, 0, NEXT);
	packed_offer(&driver, GUEST_BUFFERS, 1, 0, NEXT);
	packed_offer(&driver, GUEST_BUFFERS, 1, 0, 0);
	packed_offer(&driver, GUEST_BUFFERS, 1, 1, 0);
	packed_offer(&driver, GUEST_BUFFERS, 1, 2, NEXT);
	packed_offer(&driver, GUEST_BUFFERS, 1, 2, 0);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 3);
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 2, &guest->chain), 1);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 3);
	rp_vring_dev_advance(&guest->ring, 1);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 2);
	rp_vring_dev_advance(&guest->ring, 2);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 0);
}

/* Mergeable buffers: look ahead, fill what is not taken yet, give up, do it again, give back together. */
static void
peek_fill_publish(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint8_t before[16 * 5];
	uint16_t i, id;
	uint32_t len;

	packed_start(&driver, guest, 5, 4, true, 0);
	for (i = 0; i < 3; i++)
		packed_offer(&driver, GUEST_BUFFERS + i * 0x100u, 10u + i, i, WRITE);
	memcpy(before, guest->memory + GUEST_DESC_AT, sizeof(before));
	for (i = 0; i < 6; i++) {
		assert_int_equal(rp_vring_dev_peek(&guest->ring, i % 3, &guest->chain), 1);
		assert_int_equal(guest->chain.head, i % 3);
		assert_int_equal(guest->chain.in_bytes, 10 + i % 3);
		assert_int_equal(rp_vring_dev_fill(&guest->ring, i % 3, i % 3, 5), 0);
	}
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 3, &guest->chain), 0);
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 65535, &guest->chain), 0);
	/* Not taken yet. */
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 1), -EINVAL);
	rp_vring_dev_advance(&guest->ring, 2);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 3), -EINVAL);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 0, 10), 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 1, 11), 0);
	assert_memory_equal(before, guest->memory + GUEST_DESC_AT, sizeof(before));
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), 0);
	assert_int_equal(packed_read(guest, 4, &id, &len), AVAIL | USED | WRITE);
	assert_int_equal(id, 1);
	assert_int_equal(len, 11);
	assert_int_equal(packed_read(guest, 0, &id, &len), WRITE);
	assert_int_equal(id, 0);
	assert_int_equal(len, 10);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 2);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x00010002);
}

static void
pop_and_expect(struct guest *guest, uint16_t id)
{
	guest_pop(guest);
	assert_int_equal(guest->chain.head, id);
}

/* Whose turn it was a lap ago is not whose turn it is. */
static void
a_lap_ago_is_not_now(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint16_t i;

	packed_start(&driver, guest, 4, 0, true, 0);
	for (i = 0; i < 4; i++) {
		packed_offer(&driver, GUEST_BUFFERS, 1, i, 0);
		pop_and_expect(guest, i);
		assert_int_equal(rp_vring_dev_push(&guest->ring, i, 0), 0);
	}
	packed_offer(&driver, GUEST_BUFFERS, 1, 0, 0);
	pop_and_expect(guest, 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 0, 0), 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 1, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), -EINVAL);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 1), 0);
}

/* An entry that was filled in another's turn, and given back elsewhere, is not filled for ever. */
static void
a_place_is_filled_once(void **state)
{
	static const uint16_t third_lap[] = {0, 3};
	struct packed_guest driver;
	struct guest *guest = *state;
	uint16_t i;

	packed_start(&driver, guest, 4, 0, true, 0);
	for (i = 0; i < 2; i++) {
		packed_offer(&driver, GUEST_BUFFERS, 1, i, 0);
		pop_and_expect(guest, i);
	}
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 1, 0), 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 3, 0, 0), 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 0, 0), 0);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), 0);
	/* In turn, over that place and on to the one before it. */
	for (i = 0; i < 2; i++) {
		packed_offer(&driver, GUEST_BUFFERS, 1, i, 0);
		pop_and_expect(guest, i);
		assert_int_equal(rp_vring_dev_fill(&guest->ring, i, i, 0), 0);
	}
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), 0);
	for (i = 0; i < 2; i++) {
		packed_offer(&driver, GUEST_BUFFERS, 1, i, 0);
		pop_and_expect(guest, i);
		assert_int_equal(rp_vring_dev_push(&guest->ring, i, 0), 0);
	}
	for (i = 0; i < 2; i++) {
		packed_offer(&driver, GUEST_BUFFERS, 1, third_lap[i], 0);
		pop_and_expect(guest, third_lap[i]);
	}
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 3, 0), 0);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), -EINVAL);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 1), 0);
}

/* Some of what was filled: the rest stays filled, for the next time. */
static void
publish_some(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint16_t i, id;
	uint32_t len;

	packed_start(&driver, guest, 4, 0, true, 0);
	for (i = 0; i < 4; i++) {
		packed_offer(&driver, GUEST_BUFFERS, 8, i, WRITE);
		guest_pop(guest);
		assert_int_equal(rp_vring_dev_fill(&guest->ring, i, i, i), 0);
	}
	for (i = 0; i < 4; i++) {
		assert_int_equal(rp_vring_dev_publish(&guest->ring, 1), 0);
		assert_int_equal(packed_read(guest, i, &id, &len) & USED, USED);
		assert_int_equal(id, i);
		assert_int_equal(len, i);
		if (i < 3)
			assert_int_equal(packed_read(guest, (uint16_t)(i + 1), &id, &len) & USED, 0);
	}
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 0), 0);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 1), -EINVAL);
}

/* Chains of several descriptors come back in another order: each takes its own length (2.8.6). */
static void
out_of_order_use(void **state)
{
	static const uint16_t sizes[] = {3, 1, 2, 1};
	static const uint16_t order[] = {2, 0, 3, 1};
	static const uint16_t places[] = {5, 0, 3, 4};
	struct packed_guest driver;
	struct guest *guest = *state;
	uint16_t i, part, id;
	uint32_t len;

	packed_start(&driver, guest, 7, 5, true, 0);
	for (i = 0; i < 4; i++) {
		for (part = 1; part <= sizes[i]; part++)
			packed_offer(&driver, GUEST_BUFFERS, 1, i, part < sizes[i] ? NEXT : 0);
		guest_pop(guest);
		assert_int_equal(guest->chain.head, i);
	}
	for (i = 0; i < 4; i++) {
		assert_int_equal(rp_vring_dev_push(&guest->ring, order[i], 0), 0);
		assert_int_equal(packed_read(guest, places[i], &id, &len), packed_used_bits(places[i] == 5));
		assert_int_equal(id, order[i]);
	}
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x00050005);
}

static void
in_order_only(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint16_t i;

	packed_start(&driver, guest, 5, 3, true, F_IN_ORDER);
	for (i = 0; i < 3; i++)
		packed_offer(&driver, GUEST_BUFFERS, 1, (uint16_t)(4 - i), 0);
	guest_pop(guest);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 3, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 4, 0), -EINVAL);
	/* Nobody looked at the third. */
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 2, 2, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 3, 0), 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 4, 0), 0);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), 0);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 2, 0), 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x00010001);
}

/* A place in the order that was a chain's a lap ago, and one that was filled then, say nothing now. */
static void
places_of_the_last_lap(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint16_t i;

	packed_start(&driver, guest, 2, 0, true, F_IN_ORDER);
	for (i = 0; i < 3; i++) {
		packed_offer(&driver, GUEST_BUFFERS, 1, i == 0 ? 0 : 1, 0);
		guest_pop(guest);
		if (i < 2)
			assert_int_equal(rp_vring_dev_push(&guest->ring, i, 0), 0);
	}
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 1, 0), -EINVAL);
	packed_start(&driver, guest, 1, 0, true, 0);
	for (i = 0; i < 2; i++) {
		packed_offer(&driver, GUEST_BUFFERS, 1, 0, 0);
		guest_pop(guest);
		if (i == 0)
			assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 0), 0);
	}
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 1), -EINVAL);
}

/* The caller's mistakes leave the ring sound and its memory as it was. */
static void
callers_mistakes(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint8_t before[16 * 4];
	uint16_t i;

	packed_start(&driver, guest, 4, 0, true, 0);
	for (i = 0; i < 3; i++)
		packed_offer(&driver, GUEST_BUFFERS, 1, i, 0);
	guest_pop(guest);
	guest_pop(guest);
	memcpy(before, guest->memory + GUEST_DESC_AT, sizeof(before));
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 4, 0, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 4, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 65535, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 5), -EINVAL);
	/* Not out; out but not taken; twice. */
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 3, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 3, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 2, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 0, &guest->chain), 1);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 2, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 1, 0), 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 1, 0), 0);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), -EINVAL);
	assert_memory_equal(before, guest->memory + GUEST_DESC_AT, sizeof(before));
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 0, 0), 0);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), 0);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 0), -EINVAL);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 2, 0), 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x80038003);
}

/* A chain that was looked at is available: the driver may not change it (2.8.16). */
static void
a_chain_changes_between_two_looks(void **state)
{
	static const uint16_t flags[] = {AVAIL, AVAIL | NEXT, USED, AVAIL, AVAIL | NEXT};
	struct packed_guest driver;
	struct guest *guest = *state;
	unsigned int change;

	for (change = 0; change < 5; change++) {
		packed_start(&driver, guest, 4, 0, true, 0);
		packed_offer(&driver, GUEST_BUFFERS, 1, 0, 0);
		packed_offer(&driver, GUEST_BUFFERS, 1, 1, 0);
		packed_offer(&driver, GUEST_BUFFERS, 1, 2, 0);
		assert_int_equal(rp_vring_dev_peek(&guest->ring, 1, &guest->chain), 1);
		assert_int_equal(rp_vring_dev_peek(&guest->ring, 0, &guest->chain), 1);
		packed_desc_at(guest, GUEST_DESC_AT, 0, GUEST_BUFFERS, 1, change == 0 ? 3 : 0, flags[change]);
		if (change == 4)
			packed_desc_at(guest, GUEST_DESC_AT, 1, GUEST_BUFFERS, 1, 0, AVAIL);
		if (change == 3) {
			guest_pop(guest);
			continue;
		}
		guest_pop_breaks(guest, "available chain changed");
	}
}

/* The guest takes the memory under the ring away: the next call says so instead of touching it. */
static void
ring_is_unmapped_in_use(void **state)
{
	static const struct {
		uint32_t at;
		const char *words;
	} parts[] = {
		{GUEST_DESC_AT, "descriptor ring is not mapped"},
		{GUEST_AVAIL_AT, "driver event suppression is not mapped"},
		{GUEST_USED_AT, "device event suppression is not mapped"},
	};
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
	struct packed_guest driver;
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < 3; i++) {
		packed_start(&driver, guest, 8, 0, true, 0);
		packed_offer(&driver, GUEST_BUFFERS, 1, 0, 0);
		packed_offer(&driver, GUEST_BUFFERS, 1, 1, 0);
		guest_pop(guest);
		guest_unmap(guest, GUEST_IOVA + parts[i].at, page);
		guest_pop_breaks(guest, parts[i].words);
		/* It stays broken when the memory is back: what happened meanwhile is unknown. */
		guest_map(guest, GUEST_IOVA + parts[i].at, parts[i].at, page, RP_DMA_READ | RP_DMA_WRITE);
		assert_int_equal(rp_vring_dev_available(&guest->ring), -EBADMSG);
	}
}

static void
ring_follows_its_memory(void **state)
{
	struct rp_dma_mapping mapping = {
		.iova = GUEST_IOVA,
		.size_bytes = GUEST_BUFFERS_AT,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
	};
	struct packed_guest driver;
	struct guest *guest = *state;
	uint8_t *memory;

	packed_start(&driver, guest, 8, 0, true, 0);
	packed_offer(&driver, GUEST_BUFFERS, 1, 0, 0);
	guest_pop(guest);
	mapping.fd = test_memfd(GUEST_BUFFERS_AT, true);
	memory = mmap(NULL, GUEST_BUFFERS_AT, PROT_READ | PROT_WRITE, MAP_SHARED, mapping.fd, 0);
	memcpy(memory, guest->memory, GUEST_BUFFERS_AT);
	memset(guest->memory, 0xff, GUEST_BUFFERS_AT);
	guest_unmap(guest, GUEST_IOVA, GUEST_BUFFERS_AT);
	rp_dma_reader_offline(guest->reader);
	assert_int_equal(rp_dma_space_map(guest->space, &mapping, NULL), 0);
	rp_dma_reader_online(guest->reader);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 0);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 5), 0);
	assert_int_equal(memory[GUEST_DESC_AT + 15], 0x80);
	assert_int_equal(guest->memory[GUEST_DESC_AT + 15], 0xff);
	munmap(memory, GUEST_BUFFERS_AT);
	rp_wire_fd_close(&mapping.fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(byte_vectors),
		WITH_GUEST(every_num_from_every_place),
		WITH_GUEST(a_full_ring_is_sound),
		WITH_GUEST(available_counts_chains),
		WITH_GUEST(peek_fill_publish),
		WITH_GUEST(a_lap_ago_is_not_now),
		WITH_GUEST(a_place_is_filled_once),
		WITH_GUEST(publish_some),
		WITH_GUEST(out_of_order_use),
		WITH_GUEST(in_order_only),
		WITH_GUEST(places_of_the_last_lap),
		WITH_GUEST(callers_mistakes),
		WITH_GUEST(a_chain_changes_between_two_looks),
		WITH_GUEST(ring_is_unmapped_in_use),
		WITH_GUEST(ring_follows_its_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
