/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"
#include "libraries.h"
#include "rp_vring_burst.h"
#include "rp_vring_drv.h"

/* The device's side of a ring: take, fill, publish, decide on the interrupt; a burst of packets at a time. */

#define RING_NUM 256u
#define BURST 32u
#define SLOT_BYTES 2048u
#define HEADER_BYTES 12u
#define FRAME_BYTES 64u

static struct {
	struct guest *guest;
	struct rp_vring_drv *drv;
	bool indirect;
	uint32_t mappings_count;
} fixture;

/* Of a guest whose memory is in several mappings, in each of which some of the buffers are. */
static uint64_t
slot_iova(unsigned int slot)
{
	return GUEST_BUFFERS + slot * SLOT_BYTES + (uint64_t)(slot % fixture.mappings_count) * GUEST_BYTES;
}

void
count_vring_open(const struct count_scenario *scenario)
{
	void *state = NULL;
	uint32_t i;

	guest_setup(&state);
	fixture.guest = state;
	fixture.mappings_count = scenario->size > 0 ? scenario->size : 1;
	for (i = 1; i < fixture.mappings_count; i++)
		guest_map(fixture.guest, GUEST_IOVA + (uint64_t)i * GUEST_BYTES, 0, GUEST_BYTES,
			  RP_DMA_READ | RP_DMA_WRITE);
	fixture.indirect = (scenario->features & F_INDIRECT_DESC) != 0;
	assert_int_equal(rp_vring_drv_create(RING_NUM, guest_hva(fixture.guest, GUEST_IOVA), GUEST_IOVA,
					     scenario->features, &fixture.drv),
			 0);
	rp_vring_drv_layout(fixture.drv, &fixture.guest->layout);
	fixture.guest->layout.notes = fixture.guest->notes;
	assert_int_equal(rp_vring_dev_init(&fixture.guest->ring, &fixture.guest->layout,
					   rp_vring_position_fresh(scenario->features), fixture.guest->reader, NULL),
			 0);
}

void
count_vring_close(void)
{
	void *state = fixture.guest;

	rp_vring_drv_destroy(fixture.drv);
	guest_teardown(&state);
}

void
count_vring_prepare(void)
{
	unsigned int i;

	for (i = 0; i < BURST; i++) {
		uint64_t iova = slot_iova(i), table = iova + SLOT_BYTES / 2;
		const struct rp_vring_part parts[] = {
			{.iova = iova, .size_bytes = HEADER_BYTES},
			{.iova = iova + HEADER_BYTES, .size_bytes = FRAME_BYTES},
		};

		if (fixture.indirect)
			assert_int_equal(rp_vring_drv_add_indirect(fixture.drv, parts, 2,
								   guest_hva(fixture.guest, table), table,
								   fixture.guest),
					 0);
		else
			assert_int_equal(rp_vring_drv_add(fixture.drv, parts, 2, fixture.guest), 0);
	}
}

void
count_vring_run(void)
{
	struct rp_vring_dev *ring = &fixture.guest->ring;
	uint16_t i;

	for (i = 0; i < BURST; i++) {
		if (rp_vring_dev_pop(ring, &fixture.guest->chain) != 1 ||
		    rp_vring_dev_fill(ring, i, fixture.guest->chain.head, 0) != 0)
			fail_msg("chain %u: %s", i, rp_vring_dev_why(ring));
	}
	rp_vring_dev_publish(ring, BURST);
	rp_vring_dev_needs_interrupt(ring);
}

void
count_vring_burst(void)
{
	static struct rp_vring_burst_chain chains[BURST];
	static struct rp_vring_done done[BURST];
	struct rp_vring_dev *ring = &fixture.guest->ring;
	unsigned int i;

	if (rp_vring_dev_pop_burst(ring, chains, BURST) != BURST)
		fail_msg("%s", rp_vring_dev_why(ring));
	for (i = 0; i < BURST; i++)
		done[i] = (struct rp_vring_done){.head = chains[i].head};
	rp_vring_dev_fill_burst(ring, 0, done, BURST);
	rp_vring_dev_publish(ring, BURST);
	rp_vring_dev_needs_interrupt(ring);
}

void
count_vring_settle(void)
{
	uint32_t written_bytes;
	unsigned int i;
	void *cookie;

	for (i = 0; i < BURST; i++)
		assert_int_equal(rp_vring_drv_get(fixture.drv, &cookie, &written_bytes), 1);
	assert_int_equal(rp_vring_drv_get(fixture.drv, &cookie, &written_bytes), 0);
}
