/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "guest_packed.h"
#include "rp_vring_burst.h"
#include "rp_vring_copy.h"

#define NUM 64u
#define BUFFER(i) (GUEST_BUFFERS + 0x100u * (i))

/* One side of each format: chain number i is `parts` descriptors from buffer 8 * i on, the last one writable. */
struct side {
	struct guest *guest;
	struct packed_guest driver;
	bool packed;
	uint16_t descs; /* used so far */
	uint16_t chains;
};

static void
start(struct side *side, struct guest *guest, bool packed, uint64_t features)
{
	*side = (struct side){.guest = guest, .packed = packed};
	if (packed)
		packed_start(&side->driver, guest, NUM, 0, true, features);
	else
		guest_start(guest, NUM, 0, features);
}

static void
offer(struct side *side, uint16_t parts, uint32_t first_len)
{
	uint16_t head = side->descs, i;

	for (i = 0; i < parts; i++) {
		uint64_t addr = BUFFER(8u * side->chains + i);
		uint32_t len = i == 0 ? first_len : 16u + i;
		uint16_t flags = (uint16_t)((i + 1 < parts ? NEXT : 0) | (i > 0 && i + 1 == parts ? WRITE : 0));

		if (side->packed)
			packed_offer(&side->driver, addr, len, side->chains, flags);
		else
			guest_desc(side->guest, side->descs, addr, len, flags, (uint16_t)(side->descs + 1));
		side->descs++;
	}
	if (!side->packed)
		guest_offer(side->guest, head);
	side->chains++;
}

static void
assert_chain(const struct side *side, const struct rp_vring_burst_chain *chain, uint16_t number, uint16_t parts)
{
	uint32_t out_bytes = 0, in_bytes = 0;
	uint16_t i;

	assert_int_equal(chain->in_count, parts > 1);
	assert_int_equal(chain->out_count + chain->in_count, parts);
	for (i = 0; i < parts; i++) {
		assert_ptr_equal(chain->iov[i].iov_base, guest_hva(side->guest, BUFFER(8u * number + i)));
		*(i < chain->out_count ? &out_bytes : &in_bytes) += (uint32_t)chain->iov[i].iov_len;
	}
	assert_int_equal(chain->out_bytes, out_bytes);
	assert_int_equal(chain->in_bytes, in_bytes);
	if (side->packed)
		assert_int_equal(chain->head, number);
}

static void
takes_what_is_there(struct guest *guest, bool packed)
{
	struct rp_vring_burst_chain chains[RP_VRING_BURST_MAX];
	struct side side;
	uint16_t i;

	start(&side, guest, packed, 0);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), 0);
	for (i = 0; i < 20; i++)
		offer(&side, (uint16_t)(1 + i % RP_VRING_BURST_PIECES), 64);
	assert_int_equal(rp_vring_dev_peek_burst(&guest->ring, 0, chains, 8), 8);
	for (i = 0; i < 8; i++)
		assert_chain(&side, &chains[i], i, (uint16_t)(1 + i % RP_VRING_BURST_PIECES));
	assert_int_equal(rp_vring_dev_peek_burst(&guest->ring, 8, chains, 4), 4);
	assert_chain(&side, &chains[0], 8, 1);
	rp_vring_dev_advance(&guest->ring, 12);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, RP_VRING_BURST_MAX), 8);
	for (i = 0; i < 8; i++)
		assert_chain(&side, &chains[i], (uint16_t)(12 + i), (uint16_t)(1 + i % RP_VRING_BURST_PIECES));
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), 0);
	assert_null(rp_vring_dev_why(&guest->ring));
}

static void
gives_back(struct guest *guest, bool packed)
{
	struct rp_vring_burst_chain chains[6];
	struct rp_vring_done done[6];
	struct side side;
	uint32_t id, len;
	uint16_t packed_id, i;

	start(&side, guest, packed, 0);
	for (i = 0; i < 6; i++)
		offer(&side, 1, 64);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 6), 6);
	for (i = 0; i < 6; i++)
		done[i] = (struct rp_vring_done){.head = chains[5 - i].head, .written_bytes = 100u + i};
	assert_int_equal(rp_vring_dev_fill_burst(&guest->ring, 0, done, 2), 0);
	assert_int_equal(rp_vring_dev_fill_burst(&guest->ring, 2, done + 2, 4), 0);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 6), 0);
	for (i = 0; i < 6; i++) {
		if (packed) {
			packed_read(guest, i, &packed_id, &len);
			id = packed_id;
		} else {
			guest_used(guest, i, &id, &len);
		}
		assert_int_equal(id, done[i].head);
		assert_int_equal(len, 100 + i);
	}
}

static void
long_chains_are_named(struct guest *guest, bool packed)
{
	struct rp_vring_burst_chain chains[8];
	struct side side;

	start(&side, guest, packed, 0);
	offer(&side, 2, 64);
	offer(&side, RP_VRING_BURST_PIECES + 1, 64);
	offer(&side, 1, 64);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), 1);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), -EMSGSIZE);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), -EMSGSIZE);
	assert_null(rp_vring_dev_why(&guest->ring));
	guest_pop(guest);
	assert_int_equal(guest->chain.out_count + guest->chain.in_count, RP_VRING_BURST_PIECES + 1);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), 1);
	assert_chain(&side, &chains[0], 2, 1);
}

static void
what_came_before_can_be_published(struct guest *guest, bool packed)
{
	struct rp_vring_burst_chain chains[8];
	struct rp_vring_done done[3];
	struct side side;
	uint16_t i;

	start(&side, guest, packed, 0);
	for (i = 0; i < 3; i++)
		offer(&side, 1, 64);
	offer(&side, 1, 0);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), 3);
	assert_null(rp_vring_dev_why(&guest->ring));
	for (i = 0; i < 3; i++)
		done[i] = (struct rp_vring_done){.head = chains[i].head};
	assert_int_equal(rp_vring_dev_fill_burst(&guest->ring, 0, done, 3), 0);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 3), 0);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), -EBADMSG);
	assert_string_equal(rp_vring_dev_why(&guest->ring), "a descriptor is empty");
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), -EBADMSG);
	assert_int_equal(rp_vring_dev_fill_burst(&guest->ring, 0, done, 1), -EBADMSG);
}

static void
out_of_reach_is_mended(struct guest *guest, bool packed)
{
	struct rp_vring_burst_chain chains[8];
	struct side side;
	uint16_t i;

	start(&side, guest, packed, 0);
	for (i = 0; i < 4; i++)
		offer(&side, 1, i == 2 ? GUEST_BYTES : 64);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), 2);
	assert_false(rp_vring_dev_mend(&guest->ring));
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), -EBADMSG);
	assert_true(rp_vring_dev_mend(&guest->ring));
	/* What is behind it is not taken in its place. */
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), -EBADMSG);
	assert_true(rp_vring_dev_mend(&guest->ring));
	guest_map(guest, (uint64_t)GUEST_IOVA + GUEST_BYTES, 0, GUEST_BYTES, RP_DMA_READ);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 8), 2);
	assert_int_equal(chains[0].out_count, 2);
	assert_int_equal(chains[0].out_bytes, GUEST_BYTES);
}

static void
follows_the_address_space(struct guest *guest, bool packed)
{
	struct rp_vring_burst_chain chains[8];
	uint64_t other = UINT64_C(1) << 40;
	struct side side;
	uint16_t i;

	guest_map(guest, other, GUEST_BUFFERS_AT, 0x10000, RP_DMA_READ);
	start(&side, guest, packed, 0);
	for (i = 0; i < 4; i++) {
		if (packed)
			packed_offer(&side.driver, other, 64, i, 0);
		else
			guest_desc(guest, i, other, 64, 0, 0);
		if (!packed)
			guest_offer(guest, i);
	}
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 1), 1);
	assert_ptr_equal(chains[0].iov[0].iov_base, guest_hva(guest, other));
	guest_unmap(guest, other, 0x10000);
	guest_map(guest, other, GUEST_BUFFERS_AT + 0x20000, 0x10000, RP_DMA_READ);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 1), 1);
	assert_ptr_equal(chains[0].iov[0].iov_base, guest_hva(guest, other));
	guest_unmap(guest, other, 0x10000);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 2), -EBADMSG);
	assert_string_equal(rp_vring_dev_why(&guest->ring), "a buffer is not mapped with the access it needs");
}

static void
offer_at(struct side *side, uint64_t iova, uint16_t flags)
{
	if (side->packed)
		packed_offer(&side->driver, iova, 64, side->chains, flags);
	else
		guest_desc(side->guest, side->descs, iova, 64, flags, 0);
	if (!side->packed)
		guest_offer(side->guest, side->descs);
	side->descs++;
	side->chains++;
}

/* Two descriptors of one kind, from one address on. */
static void
offer_pair(struct side *side, uint64_t addr, uint32_t len, uint16_t flags)
{
	uint16_t i;

	for (i = 0; i < 2; i++) {
		uint16_t more = i == 0 ? NEXT : 0;

		if (side->packed)
			packed_offer(&side->driver, addr, len, side->chains, flags | more);
		else
			guest_desc(side->guest, (uint16_t)(side->descs + i), addr, len, flags | more,
				   (uint16_t)(side->descs + 1));
	}
	if (!side->packed)
		guest_offer(side->guest, side->descs);
	side->descs = (uint16_t)(side->descs + 2);
	side->chains++;
}

/* What was read before shows where it is, but not that it may be written. */
static void
read_only_is_not_written(struct guest *guest, bool packed)
{
	const uint64_t other = (uint64_t)GUEST_IOVA + (64u << 20);
	struct rp_vring_burst_chain chains[3];
	struct side side;
	int pairs;

	guest_map(guest, other, GUEST_BUFFERS_AT, 0x10000, RP_DMA_READ);
	for (pairs = 0; pairs < 2; pairs++) {
		start(&side, guest, packed, 0);
		offer_pair(&side, other, 64, 0);
		if (pairs > 0)
			offer_pair(&side, other, 64, WRITE);
		else
			offer_at(&side, other, WRITE);
		assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 3), 1);
		assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 3), -EBADMSG);
		assert_string_equal(rp_vring_dev_why(&guest->ring), "a buffer is not mapped with the access it needs");
	}
}

/* For split rings, test_split_burst.c has it. */
static void
packed_lengths_do_not_wrap(void **state)
{
	const uint64_t large = UINT64_C(1) << 40, large_bytes = UINT64_C(3) << 30;
	struct guest *guest = *state;
	struct rp_vring_burst_chain chain;
	struct side side;

	assert_int_equal(ftruncate(guest->fd, (off_t)large_bytes), 0);
	guest_map(guest, large, 0, large_bytes, RP_DMA_READ | RP_DMA_WRITE);
	start(&side, guest, true, 0);
	offer_pair(&side, large, UINT32_C(0x7fffffff), 0);
	offer_pair(&side, large, UINT32_C(0x80000000), WRITE);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, &chain, 1), 1);
	assert_int_equal(chain.out_bytes, UINT32_C(0xfffffffe));
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, &chain, 1), -EBADMSG);
	assert_string_equal(rp_vring_dev_why(&guest->ring), "a chain is longer than 2^32 bytes");
}

/* What is remembered of the mapping before the last one is forgotten as well when the space changes. */
static void
two_mappings_in_turns(struct guest *guest, bool packed)
{
	struct rp_vring_burst_chain chains[4];
	uint64_t other = UINT64_C(1) << 40;
	struct side side;
	uint64_t round, i;

	start(&side, guest, packed, 0);
	for (round = 0; round < 3; round++) {
		guest_map(guest, other, GUEST_BUFFERS_AT + 0x10000 * round, 0x10000, RP_DMA_READ);
		for (i = 0; i < 4; i++)
			offer_at(&side, (i % 2 == 0 ? other : GUEST_BUFFERS) + 64 * i, 0);
		assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 4), 4);
		for (i = 0; i < 4; i++)
			assert_ptr_equal(chains[i].iov[0].iov_base,
					 guest_hva(guest, (i % 2 == 0 ? other : GUEST_BUFFERS) + 64 * i));
		guest_unmap(guest, other, 0x10000);
	}
	offer_at(&side, GUEST_BUFFERS, 0);
	offer_at(&side, other, 0);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 4), 1);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 4), -EBADMSG);
	assert_string_equal(rp_vring_dev_why(&guest->ring), "a buffer is not mapped with the access it needs");
}

static void
callers_mistakes(struct guest *guest, bool packed)
{
	struct rp_vring_burst_chain chains[RP_VRING_BURST_MAX];
	struct rp_vring_done done[2] = {{.head = 0}, {.head = NUM}};
	struct side side;

	start(&side, guest, packed, 0);
	offer(&side, 1, 64);
	assert_int_equal(rp_vring_dev_peek_burst(&guest->ring, 0, chains, 0), -EINVAL);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, RP_VRING_BURST_MAX + 1), -EINVAL);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, chains, 1), 1);
	assert_int_equal(rp_vring_dev_fill_burst(&guest->ring, 0, done, 2), -EINVAL);
	assert_int_equal(rp_vring_dev_fill_burst(&guest->ring, NUM, done, 1), -EINVAL);
	assert_int_equal(rp_vring_dev_fill_burst(&guest->ring, NUM - 1, done, 2), -EINVAL);
	assert_int_equal(rp_vring_dev_fill_burst(&guest->ring, 0, done, 0), 0);
	assert_null(rp_vring_dev_why(&guest->ring));
}

static void
not_of_a_copy(void **state)
{
	static uint8_t parts[RP_VRING_PARTS_COUNT][16 * NUM] __attribute__((aligned(16)));
	const struct rp_vring_copy copy = {.parts = {parts[0], parts[1], parts[2]}};
	struct guest *guest = *state;
	struct rp_vring_burst_chain chain;

	guest_start(guest, NUM, 0, 0);
	assert_int_equal(rp_vring_dev_init_copy(&guest->ring, &guest->layout, 0, &copy, NULL), 0);
	assert_int_equal(rp_vring_dev_pop_burst(&guest->ring, &chain, 1), -EINVAL);
}

#define BOTH_FORMATS(test)                                                                                             \
	static void test##_split(void **state)                                                                         \
	{                                                                                                              \
		test(*state, false);                                                                                   \
	}                                                                                                              \
	static void test##_packed(void **state)                                                                        \
	{                                                                                                              \
		test(*state, true);                                                                                    \
	}

BOTH_FORMATS(takes_what_is_there)
BOTH_FORMATS(gives_back)
BOTH_FORMATS(long_chains_are_named)
BOTH_FORMATS(what_came_before_can_be_published)
BOTH_FORMATS(out_of_reach_is_mended)
BOTH_FORMATS(follows_the_address_space)
BOTH_FORMATS(two_mappings_in_turns)
BOTH_FORMATS(read_only_is_not_written)
BOTH_FORMATS(callers_mistakes)

#define WITH_BOTH(test) WITH_GUEST(test##_split), WITH_GUEST(test##_packed)

int
main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		WITH_BOTH(takes_what_is_there),
		WITH_BOTH(gives_back),
		WITH_BOTH(long_chains_are_named),
		WITH_BOTH(what_came_before_can_be_published),
		WITH_BOTH(out_of_reach_is_mended),
		WITH_BOTH(follows_the_address_space),
		WITH_BOTH(two_mappings_in_turns),
		WITH_BOTH(read_only_is_not_written),
		WITH_GUEST(packed_lengths_do_not_wrap),
		WITH_BOTH(callers_mistakes),
		WITH_GUEST(not_of_a_copy),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
