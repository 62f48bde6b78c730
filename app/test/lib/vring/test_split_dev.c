/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "rp_wire_fd.h"

#define PAGE_BYTES ((uint32_t)sysconf(_SC_PAGESIZE))
#define FAR_IOVA 0x100000000u

static void
assert_init_refused(struct guest *guest, const struct rp_vring_layout *layout, const char *words)
{
	struct rp_wire_why why = {0};

	assert_int_equal(rp_vring_dev_init(&guest->ring, layout, 0, guest->reader, &why), -EBADMSG);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	assert_int_equal(rp_vring_dev_available(&guest->ring), -EBADMSG);
	assert_non_null(rp_vring_dev_why(&guest->ring));
}

static void
num_is_a_power_of_two(void **state)
{
	struct guest *guest = *state;
	uint32_t num;

	for (num = 0; num <= UINT16_MAX; num++) {
		struct rp_vring_layout layout = {
			.num = (uint16_t)num,
			.desc_iova = GUEST_IOVA,
			.avail_iova = GUEST_IOVA + GUEST_AVAIL_AT,
			.used_iova = GUEST_IOVA + GUEST_USED_AT,
		};

		if (num != 0 && num <= 32768 && (num & (num - 1)) == 0)
			assert_int_equal(rp_vring_dev_init(&guest->ring, &layout, 0, guest->reader, NULL), 0);
		else
			assert_init_refused(guest, &layout, "expected a power of two up to 32768");
	}
}

static void
parts_are_aligned(void **state)
{
	struct guest *guest = *state;
	struct rp_vring_layout good, bad;
	uint64_t step;

	guest_start(guest, 8, 0, 0);
	good = guest->layout;
	for (step = 1; step < 16; step++) {
		bad = good;
		bad.desc_iova += step;
		assert_init_refused(guest, &bad, "descriptor table: is at 0x4000000");
	}
	bad = good;
	bad.avail_iova += 1;
	assert_init_refused(guest, &bad, "available ring: is at 0x40090001, expected a multiple of 2");
	for (step = 1; step < 4; step++) {
		bad = good;
		bad.used_iova += step;
		assert_init_refused(guest, &bad, "expected a multiple of 4");
	}
	good.desc_iova += 16;
	good.avail_iova += 2;
	good.used_iova += 4;
	assert_int_equal(rp_vring_dev_init(&guest->ring, &good, 0, guest->reader, NULL), 0);
}

/* Each part at the very end of the memory, then one byte too far; the event indices count. */
static void
parts_are_mapped_to_the_last_byte(void **state)
{
	static const struct {
		uint64_t features;
		uint32_t desc_bytes, avail_bytes, used_bytes;
	} sizes[] = {
		{0, 16 * 8, 4 + 2 * 8, 4 + 8 * 8},
		{F_EVENT_IDX, 16 * 8, 4 + 2 * 8 + 2, 4 + 8 * 8 + 4 /* 2, rounded for alignment */},
	};
	struct guest *guest = *state;
	uint64_t end = GUEST_IOVA + GUEST_BYTES;
	size_t i;

	for (i = 0; i < 2; i++) {
		struct rp_vring_layout good, bad;

		guest_start(guest, 8, 0, sizes[i].features);
		good = guest->layout;
		bad = good;
		bad.desc_iova = end - sizes[i].desc_bytes;
		assert_int_equal(rp_vring_dev_init(&guest->ring, &bad, 0, guest->reader, NULL), 0);
		bad.desc_iova += 16;
		assert_init_refused(guest, &bad, "descriptor table is not mapped");
		bad = good;
		bad.avail_iova = end - sizes[i].avail_bytes;
		assert_int_equal(rp_vring_dev_init(&guest->ring, &bad, 0, guest->reader, NULL), 0);
		bad.avail_iova += 2;
		assert_init_refused(guest, &bad, "available ring is not mapped");
		bad = good;
		bad.used_iova = end - sizes[i].used_bytes;
		assert_int_equal(rp_vring_dev_init(&guest->ring, &bad, 0, guest->reader, NULL), 0);
		bad.used_iova += 4;
		assert_init_refused(guest, &bad, "used ring is not mapped");
		bad = good;
		bad.used_iova = UINT64_MAX - 3;
		assert_init_refused(guest, &bad, "used ring is not mapped");
	}
}

static void
parts_need_their_access(void **state)
{
	struct guest *guest = *state;
	struct rp_vring_layout layout;

	guest_map(guest, FAR_IOVA, 0, GUEST_BYTES, RP_DMA_READ);
	guest_map(guest, 2 * (uint64_t)FAR_IOVA, 0, GUEST_BYTES, RP_DMA_WRITE);
	guest_start(guest, 8, 0, 0);
	layout = guest->layout;
	layout.used_iova = FAR_IOVA;
	assert_init_refused(guest, &layout, "used ring is not mapped");
	layout.used_iova = 2 * (uint64_t)FAR_IOVA;
	assert_int_equal(rp_vring_dev_init(&guest->ring, &layout, 0, guest->reader, NULL), 0);
	layout.avail_iova = 2 * (uint64_t)FAR_IOVA;
	assert_init_refused(guest, &layout, "available ring is not mapped");
	layout.avail_iova = FAR_IOVA;
	layout.desc_iova = 2 * (uint64_t)FAR_IOVA;
	assert_init_refused(guest, &layout, "descriptor table is not mapped");
}

/* Neighbouring mappings are two pieces; and a file's offset can spoil an alignment that the address has. */
static void
parts_lie_in_one_aligned_piece(void **state)
{
	struct guest *guest = *state;
	struct rp_vring_layout layout;

	guest_map(guest, FAR_IOVA, 0, PAGE_BYTES, RP_DMA_READ | RP_DMA_WRITE);
	guest_map(guest, FAR_IOVA + PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, RP_DMA_READ | RP_DMA_WRITE);
	guest_map(guest, 2 * (uint64_t)FAR_IOVA, 1, PAGE_BYTES, RP_DMA_READ | RP_DMA_WRITE);
	guest_start(guest, 8, 0, 0);
	layout = guest->layout;
	layout.desc_iova = FAR_IOVA + PAGE_BYTES - 16;
	assert_init_refused(guest, &layout, "descriptor table is not mapped in one piece");
	layout = guest->layout;
	layout.avail_iova = 2 * (uint64_t)FAR_IOVA;
	assert_init_refused(guest, &layout, "available ring is not mapped in one piece, readable and aligned");
	layout = guest->layout;
	layout.used_iova = 2 * (uint64_t)FAR_IOVA;
	assert_init_refused(guest, &layout, "used ring is not mapped in one piece, writable and aligned");
}

/* A ring of four as virtio 1.2, 2.7 lays it out, byte for byte, before and after. */
static void
byte_vectors(void **state)
{
	static const uint8_t desc[] =
		{
			0x00, 0x00, 0x10, 0x40, 0,    0,    0,	  0,	0x0c, 0,    0,
			0,    0x01, 0x00, 0x03, 0x00, /* 0: 12 bytes, next 3 */
			0xef, 0xbe, 0xad, 0xde, 0xef, 0xbe, 0xad, 0xde, 0xff, 0xff, 0xff,
			0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x08, 0x10, 0x40, 0,    0,
			0,    0,    0x00, 0x02, 0,    0,    0x02, 0x00, 0x00, 0x00, /* 2: 512, writable */
			0x34, 0x12, 0x10, 0x40, 0,    0,    0,	  0,	0xdc, 0x05, 0,
			0,    0x00, 0x00, 0x00, 0x00, /* 3: 1500 bytes */
		};
	static const uint8_t avail[] = {
		0x00, 0x00, 0x01, 0x01, /* flags, index 0x0101 */
		0x00, 0x00, 0x77, 0x77, 0x77, 0x77, 0x02, 0x00, /* 0x100 % 4 is 0: head 0; 0xff % 4 is 3: head 2 */
		0x00, 0x01, /* used_event 0x100: wants to hear of the second */
	};
	static const uint8_t used_after[] = {
		0x00, 0x00, 0x01, 0x01, /* flags, index 0x0101 */
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* 0: id 0, nothing written */
		0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
		0xee, 0xee, 0xee, 0xee, 0x02, 0x00, 0x00, 0x00, 0xfe, 0x01, 0x00, 0x00, /* 3: id 2, 510 written */
		0x01, 0x01, /* avail_event 0x101: kick at the next */
	};
	struct guest *guest = *state;

	guest_start(guest, 4, 0xff, F_EVENT_IDX);
	memcpy(guest->memory + GUEST_DESC_AT, desc, sizeof(desc));
	memcpy(guest->memory + GUEST_AVAIL_AT, avail, sizeof(avail));
	memset(guest->memory + GUEST_USED_AT, 0xee, sizeof(used_after));
	memset(guest->memory + GUEST_USED_AT, 0, 2);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 2);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 2);
	assert_int_equal(guest->chain.in_bytes, 512);
	assert_ptr_equal(guest->chain.iov[0].iov_base, guest_hva(guest, 0x40100800));
	assert_int_equal(rp_vring_dev_push(&guest->ring, 2, 510), 0);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 0);
	assert_int_equal(guest->chain.out_count, 2);
	assert_int_equal(guest->chain.out_bytes, 1512);
	assert_ptr_equal(guest->chain.iov[1].iov_base, guest_hva(guest, 0x40101234));
	assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 0), 0);
	assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 0);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, true), 0);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	assert_memory_equal(guest->memory + GUEST_USED_AT, used_after, sizeof(used_after));
	assert_memory_equal(guest->memory + GUEST_DESC_AT, desc, sizeof(desc));
	assert_memory_equal(guest->memory + GUEST_AVAIL_AT, avail, sizeof(avail));
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x101);
}

/* Every size, from several positions, twice around the ring at least and once past 65535. */
static void
every_num_from_every_index(void **state)
{
	static const uint16_t starts[] = {0, 1, 7, 32767, 65530, 65535};
	struct guest *guest = *state;
	uint32_t num, i, id, len;
	size_t s;

	for (num = 1; num <= 32768; num *= 2) {
		for (s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
			guest_start(guest, (uint16_t)num, starts[s], 0);
			assert_int_equal(rp_vring_dev_available(&guest->ring), 0);
			for (i = 0; i < 2 * num + 20; i++) {
				uint16_t head = (uint16_t)((i * 7 + 3) % num);
				uint16_t at = (uint16_t)(starts[s] + i);

				guest_desc(guest, head, GUEST_BUFFERS + i, i + 1, WRITE, 0);
				guest_offer(guest, head);
				guest_pop(guest);
				assert_int_equal(guest->chain.head, head);
				assert_int_equal(guest->chain.in_bytes, i + 1);
				assert_int_equal(rp_vring_dev_push(&guest->ring, head, i), 0);
				assert_int_equal(guest_used_index(guest), (uint16_t)(at + 1));
				guest_used(guest, at, &id, &len);
				assert_int_equal(id, head);
				assert_int_equal(len, i);
			}
			assert_int_equal(rp_vring_dev_position(&guest->ring), (uint16_t)(starts[s] + i));
		}
	}
}

static void
a_full_ring_is_sound(void **state)
{
	struct guest *guest = *state;
	uint32_t num, i;

	for (num = 1; num <= 32768; num *= 8) {
		guest_start(guest, (uint16_t)num, 65500, 0);
		for (i = 0; i < num; i++) {
			guest_desc(guest, (uint16_t)i, GUEST_BUFFERS, 1, 0, 0);
			guest_offer(guest, (uint16_t)i);
		}
		assert_int_equal(rp_vring_dev_available(&guest->ring), num);
		for (i = 0; i < num; i++) {
			guest_pop(guest);
			assert_int_equal(guest->chain.head, i);
		}
		assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 0);
	}
}

/* One too many, far too many, and backwards. */
static void
available_index_jumps(void **state)
{
	static const uint16_t jumps[] = {9, 10, 0x8000, 0xffff};
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		guest_start(guest, 8, 65533, 0);
		guest_put16(guest, GUEST_AVAIL_AT + 2, (uint16_t)(65533 + jumps[i]));
		guest_pop_breaks(guest, "available index is beyond the ring");
	}
	guest_start(guest, 8, 65533, 0);
	guest_desc(guest, 0, GUEST_BUFFERS, 1, 0, 0);
	guest_put16(guest, GUEST_AVAIL_AT + 2, (uint16_t)(65533 + 8));
	assert_int_equal(rp_vring_dev_available(&guest->ring), 8);
	guest_pop(guest);
	guest_put16(guest, GUEST_AVAIL_AT + 2, 65533);
	assert_int_equal(rp_vring_dev_available(&guest->ring), -EBADMSG);
}

/* Mergeable buffers: look ahead, decide, take some, give back together. */
static void
peek_fill_publish(void **state)
{
	struct guest *guest = *state;
	uint32_t id, len;
	uint16_t i;

	guest_start(guest, 4, 65534, 0);
	for (i = 0; i < 3; i++) {
		guest_desc(guest, i, GUEST_BUFFERS + i * 0x100u, 10u + i, WRITE, 0);
		guest_offer(guest, i);
	}
	for (i = 0; i < 3; i++) {
		assert_int_equal(rp_vring_dev_peek(&guest->ring, i, &guest->chain), 1);
		assert_int_equal(guest->chain.head, i);
		assert_int_equal(guest->chain.in_bytes, 10 + i);
	}
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 3, &guest->chain), 0);
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 65535, &guest->chain), 0);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 3);
	rp_vring_dev_advance(&guest->ring, 2);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 1);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 1, 11), 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 0, 10), 0);
	assert_int_equal(guest_used_index(guest), 65534);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), 0);
	assert_int_equal(guest_used_index(guest), 0);
	guest_used(guest, 65534, &id, &len);
	assert_int_equal(id, 0);
	assert_int_equal(len, 10);
	guest_used(guest, 65535, &id, &len);
	assert_int_equal(id, 1);
	assert_int_equal(len, 11);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 2);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 1);
}

/* The caller's mistakes leave the ring sound and its memory as it was. */
static void
callers_mistakes(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 4, 0, 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 4, 0, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 4, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 65535, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 5), -EINVAL);
	assert_int_equal(guest_used_index(guest), 0);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 0);
}

static void
in_order_only(void **state)
{
	struct guest *guest = *state;
	uint16_t i;

	guest_start(guest, 4, 65534, F_IN_ORDER);
	for (i = 0; i < 3; i++) {
		guest_desc(guest, i, GUEST_BUFFERS, 1, 0, 0);
		guest_offer(guest, i);
	}
	guest_pop(guest);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 1, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 0, 0), -EINVAL);
	/* Nobody looked at the third; nobody took it. */
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 2, 2, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 3), -EINVAL);
	assert_int_equal(guest_used_index(guest), 65534);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 1, 1, 0), 0);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 0, 0), 0);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 2), 0);
	assert_int_equal(guest_used_index(guest), 0);
	/* Given back is not out any more. */
	assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 0), -EINVAL);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 2, 0), 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 1);
}

/* What the order is kept by: the driver may not change it, nor overrun it. */
static void
in_order_drivers_mistakes(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 4, 0, F_IN_ORDER);
	guest_desc(guest, 0, GUEST_BUFFERS, 1, 0, 0);
	guest_desc(guest, 1, GUEST_BUFFERS, 1, 0, 0);
	guest_offer(guest, 0);
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 0, &guest->chain), 1);
	guest_put16(guest, GUEST_AVAIL_AT + 4, 1);
	guest_pop_breaks(guest, "available entry changed");
	guest_start(guest, 2, 0, F_IN_ORDER);
	guest_offer(guest, 0);
	guest_offer(guest, 0);
	guest_desc(guest, 0, GUEST_BUFFERS, 1, 0, 0);
	guest_pop(guest);
	guest_pop(guest);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "more chains are out than the ring has");
}

/* What a former owner took and did not give back is done again. */
static void
position_to_do_again(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 4, 0xffff, 0);
	guest_desc(guest, 0, GUEST_BUFFERS, 1, 0, 0);
	guest_offer(guest, 0);
	guest_offer(guest, 0);
	guest_pop(guest);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 0), 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 1);
	assert_int_equal(rp_vring_dev_position_used(&guest->ring), 0);
}

static void
position_is_checked(void **state)
{
	struct guest *guest = *state;
	struct rp_wire_why why = {0};

	guest_start(guest, 4, 0, 0);
	assert_int_equal(rp_vring_dev_init(&guest->ring, &guest->layout, 0x10000, guest->reader, &why), -EBADMSG);
	assert_non_null(strstr(why.text, "position"));
	assert_int_equal(rp_vring_dev_available(&guest->ring), -EBADMSG);
}

/* The guest takes the memory under the ring away: the next call says so instead of touching it. */
static void
ring_is_unmapped_in_use(void **state)
{
	static const struct {
		uint32_t at;
		const char *words;
	} parts[] = {
		{GUEST_DESC_AT, "descriptor table is not mapped"},
		{GUEST_AVAIL_AT, "available ring is not mapped"},
		{GUEST_USED_AT, "used ring is not mapped"},
	};
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < 3; i++) {
		guest_start(guest, 8, 0, 0);
		guest_desc(guest, 0, GUEST_BUFFERS, 1, 0, 0);
		guest_offer(guest, 0);
		guest_offer(guest, 0);
		guest_pop(guest);
		guest_unmap(guest, GUEST_IOVA + parts[i].at, PAGE_BYTES);
		guest_pop_breaks(guest, parts[i].words);
		/* It stays broken when the memory is back: what happened meanwhile is unknown. */
		guest_map(guest, GUEST_IOVA + parts[i].at, parts[i].at, PAGE_BYTES, RP_DMA_READ | RP_DMA_WRITE);
		assert_int_equal(rp_vring_dev_available(&guest->ring), -EBADMSG);
	}
}

/* Changes elsewhere are none of its business; the same addresses on other memory are followed. */
static void
ring_follows_its_memory(void **state)
{
	struct guest *guest = *state;
	struct rp_dma_mapping mapping = {
		.iova = GUEST_IOVA,
		.size_bytes = GUEST_BUFFERS_AT,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
	};
	uint8_t *memory;

	guest_start(guest, 8, 0, 0);
	guest_desc(guest, 0, GUEST_BUFFERS, 1, 0, 0);
	guest_offer(guest, 0);
	guest_map(guest, FAR_IOVA, 0, PAGE_BYTES, RP_DMA_READ);
	guest_unmap(guest, GUEST_IOVA + GUEST_BYTES - PAGE_BYTES, PAGE_BYTES);
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
	assert_int_equal(memory[GUEST_USED_AT + 2], 1);
	assert_int_equal(guest_used_index(guest), 0xffff);
	munmap(memory, GUEST_BUFFERS_AT);
	rp_wire_fd_close(&mapping.fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(num_is_a_power_of_two),
		WITH_GUEST(parts_are_aligned),
		WITH_GUEST(parts_are_mapped_to_the_last_byte),
		WITH_GUEST(parts_need_their_access),
		WITH_GUEST(parts_lie_in_one_aligned_piece),
		WITH_GUEST(byte_vectors),
		WITH_GUEST(every_num_from_every_index),
		WITH_GUEST(a_full_ring_is_sound),
		WITH_GUEST(available_index_jumps),
		WITH_GUEST(peek_fill_publish),
		WITH_GUEST(callers_mistakes),
		WITH_GUEST(in_order_only),
		WITH_GUEST(in_order_drivers_mistakes),
		WITH_GUEST(position_to_do_again),
		WITH_GUEST(position_is_checked),
		WITH_GUEST(ring_is_unmapped_in_use),
		WITH_GUEST(ring_follows_its_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
