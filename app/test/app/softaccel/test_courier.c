/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "sa_courier.h"
#include "test_support.h"

/*
 * A courier between a guest, to which the way fails now and then, and a data path
 * made of the device's side of a ring: everything arrives once, in order, whole.
 */

#define GUEST_IOVA UINT64_C(0x5000000000)
#define GUEST_BYTES (256u << 10)
#define LOCAL_IOVA UINT64_C(0x100000000)
#define BUFFERS_AT (64u << 10)
#define BUFFER_BYTES 512u
#define NUM 64u
#define FRAMES 400u
#define SMALL_BYTES 40u

#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_PACKED (UINT64_C(1) << 34)

static const uint64_t split = F_EVENT_IDX, packed = F_PACKED | F_EVENT_IDX;

static uint8_t memory[GUEST_BYTES] __attribute__((aligned(4096)));
static struct sa_courier_scratch scratch;

static struct {
	uint64_t features;
	unsigned int seed;
	unsigned int faults_percent;
	struct rp_vring_drv *driver;
	struct rp_vring_note notes[NUM];
	uint32_t out_count; /* chains that the guest has out */
	uint32_t interrupts;

	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct sa_ring ring;
	struct rp_vring_dev device;
	struct rp_vring_chain chain;
	struct softaccel_queue_counters counters;
	struct sa_courier courier;
	int kick_fd;
} bed;

static int
move(bool write, const struct rp_dma_segment *segments, unsigned int count)
{
	bool fails = (unsigned int)rand_r(&bed.seed) % 100 < bed.faults_percent;
	unsigned int i, whole = fails ? (unsigned int)rand_r(&bed.seed) % (count + 1) : count;

	for (i = 0; i < whole; i++) {
		uint8_t *there;

		if (segments[i].iova < GUEST_IOVA ||
		    segments[i].iova - GUEST_IOVA + segments[i].size_bytes > GUEST_BYTES)
			return -EFAULT;
		there = memory + (segments[i].iova - GUEST_IOVA);
		if (write)
			memcpy(there, segments[i].bytes, segments[i].size_bytes);
		else
			memcpy(segments[i].bytes, there, segments[i].size_bytes);
	}
	return fails ? -ECANCELED : 0;
}

static int
read_guest(void *ctx, const struct rp_dma_segment *segments, unsigned int count)
{
	(void)ctx;
	return move(false, segments, count);
}

static int
write_guest(void *ctx, const struct rp_dma_segment *segments, unsigned int count)
{
	(void)ctx;
	return move(true, segments, count);
}

static const struct rp_vring_mirror_ops access_ops = {.read = read_guest, .write = write_guest};

static void
begin(void **state, bool transmits, unsigned int faults_percent)
{
	struct rp_vring_layout layout;

	memset(&bed, 0, sizeof(bed));
	bed.features = *(const uint64_t *)*state;
	bed.seed = 1;
	bed.faults_percent = faults_percent;
	bed.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(rp_vring_drv_create(NUM, memory, GUEST_IOVA, bed.features, &bed.driver), 0);
	rp_vring_drv_layout(bed.driver, &layout);
	layout.notes = bed.notes;
	bed.courier.transmits = transmits;
	bed.courier.ring = &bed.ring;
	bed.courier.guest_kick_fd = bed.kick_fd;
	bed.courier.guest_said_fd = -1;
	bed.courier.counters = &bed.counters;
	assert_int_equal(
		sa_courier_init(&bed.courier, &layout, rp_vring_position_fresh(bed.features), &access_ops, NULL, NULL),
		0);
	assert_int_equal(rp_dma_space_create(NULL, &bed.space), 0);
	assert_int_equal(rp_dma_reader_create(bed.space, &bed.reader), 0);
	assert_int_equal(sa_local_init(&bed.courier.local, bed.space, LOCAL_IOVA, NUM), 0);
	rp_vring_drv_layout(bed.courier.local.ring, &layout);
	rp_dma_reader_online(bed.reader);
	assert_int_equal(rp_vring_dev_init(&bed.device, &layout, 0, bed.reader, NULL), 0);
}

static int
teardown(void **state)
{
	(void)state;
	rp_dma_reader_offline(bed.reader);
	sa_courier_fini(&bed.courier);
	bed.reader = rp_dma_reader_destroy(bed.reader);
	bed.space = rp_dma_space_destroy(bed.space);
	bed.driver = rp_vring_drv_destroy(bed.driver);
	rp_wire_fd_close(&bed.kick_fd);
	return 0;
}

/* As the messenger does it. @return false: it would sleep now. */
static bool
turn(void)
{
	int rc;

	sa_courier_hear(&bed.courier);
	rc = sa_courier_turn(&bed.courier, &scratch);
	if (rc == -ECANCELED)
		return true;
	if (rc < 0)
		fail_msg("%d: %s", rc, rp_vring_mirror_why(bed.courier.mirror));
	if ((rc & SA_COURIER_INTERRUPT) != 0)
		bed.interrupts++;
	return (rc & SA_COURIER_MORE) != 0;
}

static void
kick(void)
{
	if (rp_vring_drv_needs_kick(bed.driver))
		eventfd_write(bed.kick_fd, 1);
}

static uint64_t
buffer_at(uint32_t number)
{
	return BUFFERS_AT + (uint64_t)(number % NUM) * BUFFER_BYTES;
}

/* A chain of two buffers with a number in it. */
static bool
send_number(uint32_t number)
{
	uint64_t at = buffer_at(number);
	const struct rp_vring_part parts[2] = {{GUEST_IOVA + at, 3, false}, {GUEST_IOVA + at + 3, 37, false}};

	if (bed.out_count == NUM / 2)
		return false;
	memset(memory + at, (int)(number & 0xff), 40);
	memcpy(memory + at, &number, sizeof(number));
	assert_int_equal(rp_vring_drv_add(bed.driver, parts, 2, NULL), 0);
	bed.out_count++;
	kick();
	return true;
}

/* The data path takes a few, in order, and knows their numbers. */
static void
consume(uint32_t *expected)
{
	unsigned int left = (unsigned int)rand_r(&bed.seed) % 20;

	while (left-- > 0 && rp_vring_dev_pop(&bed.device, &bed.chain) == 1) {
		const uint8_t *bytes = bed.chain.iov[0].iov_base;
		uint32_t number;

		assert_int_equal(bed.chain.out_bytes, 40);
		memcpy(&number, bytes, sizeof(number));
		assert_int_equal(number, *expected);
		assert_int_equal(bytes[39], number & 0xff);
		assert_int_equal(rp_vring_dev_push(&bed.device, bed.chain.head, 0), 0);
		(*expected)++;
	}
}

static void
transmit(void **state, unsigned int faults_percent)
{
	uint32_t sent = 0, taken = 0, returned = 0, written_bytes, turns = 0;
	void *cookie;

	begin(state, true, faults_percent);
	while (returned < FRAMES) {
		while (sent < FRAMES && send_number(sent))
			sent++;
		turn();
		consume(&taken);
		while (rp_vring_drv_get(bed.driver, &cookie, &written_bytes) == 1) {
			assert_int_equal(written_bytes, 0);
			bed.out_count--;
			returned++;
		}
		/* Nothing is given back before the data path is done with it. */
		assert_true(returned <= taken);
		assert_true(++turns < 100000);
	}
	assert_int_equal(taken, FRAMES);
	assert_true(bed.interrupts > 0);
	assert_true(bed.counters.eventfd_kicks > 0);
}

static void
transmits(void **state)
{
	transmit(state, 0);
	teardown(state);
	transmit(state, 25);
}

static void
post_buffers(uint32_t *posted)
{
	while (bed.out_count < NUM) {
		uint64_t at = buffer_at((*posted)++);
		const struct rp_vring_part part = {GUEST_IOVA + at, SMALL_BYTES, true};

		memset(memory + at, 0, SMALL_BYTES);
		assert_int_equal(rp_vring_drv_add(bed.driver, &part, 1, memory + at), 0);
		bed.out_count++;
	}
	kick();
}

/* The data path writes a frame over as many chains as its number says, and publishes them together. */
static void
produce(uint32_t *number)
{
	unsigned int i, wanted = 1 + *number % 7;

	for (i = 0; i < wanted; i++) {
		uint8_t *bytes;

		if (rp_vring_dev_peek(&bed.device, (uint16_t)i, &bed.chain) != 1)
			return;
		assert_int_equal(bed.chain.in_bytes, SMALL_BYTES);
		bytes = bed.chain.iov[0].iov_base;
		memset(bytes, (int)(*number & 0xff), SMALL_BYTES);
		if (i == 0) {
			bytes[10] = (uint8_t)wanted;
			bytes[11] = 0;
		}
		assert_int_equal(rp_vring_dev_fill(&bed.device, (uint16_t)i, bed.chain.head, SMALL_BYTES), 0);
	}
	rp_vring_dev_advance(&bed.device, (uint16_t)wanted);
	assert_int_equal(rp_vring_dev_publish(&bed.device, (uint16_t)wanted), 0);
	(*number)++;
}

/* A frame that is there is there with all its buffers. @return whether there was one. */
static bool
receive_frame(uint32_t *number)
{
	unsigned int i, count = 1;

	for (i = 0; i < count; i++) {
		uint32_t written_bytes;
		void *cookie;
		const uint8_t *bytes;

		if (rp_vring_drv_get(bed.driver, &cookie, &written_bytes) != 1) {
			assert_int_equal(i, 0);
			return false;
		}
		bytes = cookie;
		assert_int_equal(written_bytes, SMALL_BYTES);
		assert_int_equal(bytes[SMALL_BYTES - 1], *number & 0xff);
		if (i == 0)
			count = bytes[10];
		bed.out_count--;
	}
	assert_int_equal(count, 1 + *number % 7);
	(*number)++;
	return true;
}

static void
receive(void **state, unsigned int faults_percent)
{
	uint32_t posted = 0, produced = 0, received = 0, turns = 0;

	begin(state, false, faults_percent);
	while (received < FRAMES) {
		unsigned int frames = (unsigned int)rand_r(&bed.seed) % 12;

		post_buffers(&posted);
		turn();
		while (frames-- > 0 && produced < FRAMES)
			produce(&produced);
		while (receive_frame(&received))
			;
		assert_true(++turns < 100000);
	}
	assert_int_equal(produced, FRAMES);
}

static void
receives(void **state)
{
	receive(state, 0);
	teardown(state);
	receive(state, 25);
}

/* As hardware: without a kick the guest's memory is not looked at. */
static void
sleeps_until_it_is_kicked(void **state)
{
	uint32_t taken = 0;

	begin(state, true, 0);
	assert_false(turn());
	assert_true(send_number(0));
	eventfd_read(bed.kick_fd, &(eventfd_t){0});
	assert_false(turn());
	assert_int_equal(rp_vring_dev_available(&bed.device), 0);
	/* The data path saw the doorbell. */
	bed.ring.rung = true;
	assert_true(turn());
	while (turn())
		;
	while (taken == 0)
		consume(&taken);
}

/* Draining brings back what the data path did, takes nothing more, and stands where it says. */
static void
drains(void **state)
{
	uint32_t position;
	unsigned int i;

	begin(state, true, 0);
	for (i = 0; i < 10; i++)
		assert_true(send_number(i));
	while (turn())
		;
	for (i = 0; i < 4; i++) {
		assert_int_equal(rp_vring_dev_pop(&bed.device, &bed.chain), 1);
		assert_int_equal(rp_vring_dev_push(&bed.device, bed.chain.head, 0), 0);
	}
	assert_true(send_number(10));
	bed.courier.draining = true;
	while (turn())
		;
	position = rp_vring_mirror_position(bed.courier.mirror);
	/* Chains of two descriptors. */
	assert_int_equal(position & 0x7fff, bed.features == split ? 4 : 8);
	for (i = 0; i < 4; i++) {
		uint32_t written_bytes;
		void *cookie;

		assert_int_equal(rp_vring_drv_get(bed.driver, &cookie, &written_bytes), 1);
	}
	assert_int_equal(bed.courier.position, position);
}

/* The data path refuses it by its size; nobody fetches it. */
static void
a_frame_that_is_too_long(void **state)
{
	const struct rp_vring_part part = {GUEST_IOVA, SA_SLOT_BYTES + 1, false};

	begin(state, true, 0);
	assert_int_equal(rp_vring_drv_add(bed.driver, &part, 1, NULL), 0);
	kick();
	while (turn())
		;
	assert_int_equal(rp_vring_dev_pop(&bed.device, &bed.chain), 1);
	assert_int_equal(bed.chain.out_bytes, SA_SLOT_BYTES);
}

int
main(void)
{
#define BOTH(test)                                                                                                     \
	{.name = #test " split", .test_func = test, .teardown_func = teardown, .initial_state = (void *)&split},       \
	{                                                                                                              \
		.name = #test " packed", .test_func = test, .teardown_func = teardown,                                 \
		.initial_state = (void *)&packed                                                                       \
	}
	const struct CMUnitTest tests[] = {
		BOTH(transmits),
		BOTH(receives),
		BOTH(sleeps_until_it_is_kicked),
		BOTH(drains),
		BOTH(a_frame_that_is_too_long),
	};

	return cmocka_run_group_tests_name("softaccel_courier", tests, NULL, NULL);
}
