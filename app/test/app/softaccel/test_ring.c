/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"
#include "rp_wire_fd.h"
#include "sa_doorbell.h"
#include "sa_ring.h"

/* One ring without threads, so that a driver can do things between two steps of the device. */

#define NUM 8u
#define MEMORY_BYTES 0x10000u

static struct {
	int memory_fd;
	uint8_t *memory;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_vring_drv *driver;
	struct sa_doorbells doorbells;
	int notice_fd;
	struct sa_ring ring;
	uint64_t now_ms;
	struct rp_vring_note notes[NUM];
	uint64_t features;
} fixture;

static void
make_ring(void)
{
	struct rp_vring_layout layout;

	rp_vring_drv_layout(fixture.driver, &layout);
	layout.notes = fixture.notes;
	fixture.ring = (struct sa_ring){
		.state = SOFTACCEL_QUEUE_RUNNING,
		.transmits = true,
		.doorbell = sa_doorbell_word(&fixture.doorbells, 0),
		.kick_fd = fixture.doorbells.kick_fds[0],
		.said_fd = fixture.doorbells.said_fds[0],
		.call_fd = -1,
		.notice_fd = fixture.notice_fd,
		.watch = {.watched = true},
		.now_ms = &fixture.now_ms,
	};
	assert_int_equal(rp_vring_dev_init(&fixture.ring.vring, &layout, rp_vring_position_fresh(fixture.features),
					   fixture.reader, NULL),
			 0);
}

static int
setup(void **state)
{
	struct rp_dma_mapping mapping = {
		.iova = RIG_MEMORY_IOVA,
		.size_bytes = MEMORY_BYTES,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
	};

	fixture.features = 1ull << 29 | *(const uint64_t *)*state;
	fixture.memory_fd = test_memfd(MEMORY_BYTES, true);
	fixture.memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fixture.memory_fd, 0);
	assert_ptr_not_equal(fixture.memory, MAP_FAILED);
	mapping.fd = fixture.memory_fd;
	assert_int_equal(rp_dma_space_create(NULL, &fixture.space), 0);
	assert_int_equal(rp_dma_space_map(fixture.space, &mapping, NULL), 0);
	assert_int_equal(rp_dma_reader_create(fixture.space, &fixture.reader), 0);
	rp_dma_reader_online(fixture.reader);
	assert_int_equal(sa_doorbells_init(&fixture.doorbells, SOFTACCEL_DOORBELL_PAGE, 1), 0);
	fixture.notice_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(rp_vring_drv_create(NUM, fixture.memory, RIG_MEMORY_IOVA, fixture.features, &fixture.driver),
			 0);
	make_ring();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rp_vring_drv_destroy(fixture.driver);
	sa_doorbells_fini(&fixture.doorbells);
	rp_wire_fd_close(&fixture.notice_fd);
	rp_dma_reader_offline(fixture.reader);
	rp_dma_reader_destroy(fixture.reader);
	rp_dma_space_destroy(fixture.space);
	munmap(fixture.memory, MEMORY_BYTES);
	rp_wire_fd_close(&fixture.memory_fd);
	return 0;
}

static void
driver_adds(void)
{
	const struct rp_vring_part part = {RIG_MEMORY_IOVA + 0x8000, 64, false};

	assert_int_equal(rp_vring_drv_add(fixture.driver, &part, 1, NULL), 0);
}

static void
rings_wake_by_their_doorbell(void **state)
{
	uint16_t index = 0;

	(void)state;
	assert_false(sa_ring_observe(&fixture.ring));
	assert_false(fixture.ring.awake);
	memcpy(fixture.ring.doorbell, &index, sizeof(index));
	assert_true(sa_ring_observe(&fixture.ring));
	assert_true(fixture.ring.awake);
	assert_int_equal(fixture.ring.counters.direct_kicks, 1);
	eventfd_write(fixture.ring.kick_fd, 5);
	sa_ring_kicked(&fixture.ring);
	assert_int_equal(fixture.ring.counters.eventfd_kicks, 5);
}

/* What was added between the last look and the wish for a kick has no kick: it must be seen now. */
static void
no_lost_wake_up(void **state)
{
	(void)state;
	fixture.ring.awake = true;
	assert_int_equal(rp_vring_dev_available(&fixture.ring.vring), 0);
	driver_adds();
	assert_false(sa_ring_try_sleep(&fixture.ring));
	assert_true(fixture.ring.awake);
}

/* Between two bursts of a guest that sends all the time no kick is asked for, and none is needed. */
static void
empty_for_a_while_is_still_awake(void **state)
{
	struct sa_ring_scratch scratch = {.pool = NULL};
	struct rte_mbuf *mbufs[SA_BURST];
	unsigned int look;

	(void)state;
	eventfd_write(fixture.ring.kick_fd, 1);
	sa_ring_kicked(&fixture.ring);
	for (look = 1; look < SA_RING_EMPTY_LOOKS; look++) {
		assert_int_equal(sa_ring_transmit(&fixture.ring, &scratch, mbufs, SA_BURST), 0);
		assert_true(fixture.ring.awake);
	}
	driver_adds();
	assert_false(rp_vring_drv_needs_kick(fixture.driver));
	assert_false(sa_ring_found_empty(&fixture.ring));
	for (look = 1; look < SA_RING_EMPTY_LOOKS; look++)
		assert_false(sa_ring_found_empty(&fixture.ring));
	assert_true(fixture.ring.awake);
}

static void
asleep_means_kick_wanted(void **state)
{
	(void)state;
	fixture.ring.awake = true;
	assert_true(sa_ring_try_sleep(&fixture.ring));
	assert_false(fixture.ring.awake);
	driver_adds();
	assert_true(rp_vring_drv_needs_kick(fixture.driver));
}

/* Whoever owns the ring next starts with a driver that kicks. */
static void
release_leaves_notifications_wanted(void **state)
{
	(void)state;
	eventfd_write(fixture.ring.kick_fd, 1);
	sa_ring_kicked(&fixture.ring);
	driver_adds();
	rp_vring_drv_needs_kick(fixture.driver);
	assert_int_equal(sa_ring_release(&fixture.ring), rp_vring_position_fresh(fixture.features));
	assert_false(fixture.ring.awake);
	make_ring();
	fixture.ring.awake = true;
	assert_false(sa_ring_try_sleep(&fixture.ring));
}

/* Memory that goes away breaks the ring, once, and the control side is told. */
static void
broken_is_said_once(void **state)
{
	eventfd_t notices = 0;

	(void)state;
	fixture.ring.awake = true;
	rp_dma_reader_offline(fixture.reader);
	assert_int_equal(rp_dma_space_unmap(fixture.space, RIG_MEMORY_IOVA, MEMORY_BYTES, NULL), 0);
	rp_dma_reader_online(fixture.reader);
	assert_true(sa_ring_try_sleep(&fixture.ring));
	assert_int_equal(fixture.ring.state, SOFTACCEL_QUEUE_BROKEN);
	sa_ring_break(&fixture.ring);
	assert_int_equal(eventfd_read(fixture.notice_fd, &notices), 0);
	assert_int_equal(notices, 1);
	assert_int_equal(fixture.ring.counters.errors, 1);
	eventfd_write(fixture.ring.kick_fd, 1);
	sa_ring_kicked(&fixture.ring);
	assert_false(fixture.ring.awake);
}

/* The linker's --wrap: what the kernel says to an interrupt. */
static struct {
	int answer;
	unsigned int count;
} calls;

int __wrap_rp_wire_caller_call(struct rp_wire_caller *caller, int eventfd);

int
__wrap_rp_wire_caller_call(struct rp_wire_caller *caller, int eventfd)
{
	(void)caller;
	assert_true(eventfd >= 0);
	calls.count++;
	return calls.answer;
}

static void
serve_one(void)
{
	struct rp_vring_chain chain;

	driver_adds();
	assert_int_equal(rp_vring_dev_pop(&fixture.ring.vring, &chain), 1);
	assert_int_equal(rp_vring_dev_fill(&fixture.ring.vring, fixture.ring.unpublished_count, chain.head, 0), 0);
	fixture.ring.unpublished_count++;
}

static void
flush_is_called(unsigned int count, uint64_t interrupts)
{
	calls.count = 0;
	sa_ring_flush(&fixture.ring);
	assert_int_equal(calls.count, count);
	assert_int_equal(fixture.ring.counters.interrupts, interrupts);
}

/* The driver waits for the one it was promised; what is published later gives it no other. */
static void
refused_interrupts_are_owed(void **state)
{
	(void)state;
	fixture.ring.call_fd = fixture.notice_fd;
	calls.answer = -EAGAIN;
	serve_one();
	flush_is_called(1, 0);
	assert_true(fixture.ring.interrupt_owed);
	flush_is_called(1, 0);
	serve_one();
	flush_is_called(1, 0);
	calls.answer = 0;
	flush_is_called(1, 1);
	assert_false(fixture.ring.interrupt_owed);
	flush_is_called(0, 1);
}

/* It may be one that takes none, ever. */
static void
owed_interrupts_let_rings_sleep(void **state)
{
	unsigned int look;

	(void)state;
	fixture.ring.call_fd = fixture.notice_fd;
	fixture.ring.awake = true;
	calls.answer = -EINVAL;
	serve_one();
	for (look = 0; look < SA_RING_EMPTY_LOOKS; look++) {
		assert_true(fixture.ring.awake);
		flush_is_called(1, 0);
		sa_ring_found_empty(&fixture.ring);
	}
	assert_false(fixture.ring.awake);
	calls.answer = 0;
	sa_ring_set_call(&fixture.ring, fixture.notice_fd);
	assert_int_equal(fixture.ring.counters.interrupts, 1);
	assert_false(fixture.ring.interrupt_owed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(rings_wake_by_their_doorbell), RIG_TESTS(no_lost_wake_up),
		RIG_TESTS(asleep_means_kick_wanted),	 RIG_TESTS(release_leaves_notifications_wanted),
		RIG_TESTS(broken_is_said_once),		 RIG_TESTS(empty_for_a_while_is_still_awake),
		RIG_TESTS(refused_interrupts_are_owed),	 RIG_TESTS(owed_interrupts_let_rings_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
