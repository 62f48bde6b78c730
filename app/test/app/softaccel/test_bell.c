/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"
#include "rp_wire_fd.h"
#include "sa_bell.h"

/* Rings of one doorbell, the second of their function, without threads but for those of the last test. */

#define QUEUES 32u
#define SHARING 4u
#define FIRST 4u
#define NUM 8u
#define RING_BYTES 0x4000u
#define BUFFER_AT (SHARING * RING_BYTES)
#define MEMORY_BYTES 0x20000u

static struct {
	int memory_fd;
	uint8_t *memory;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_vring_drv *drivers[SHARING];
	struct sa_doorbells doorbells;
	struct sa_bells bells;
	struct sa_bell *bell;
	int notice_fd;
	struct sa_ring rings[QUEUES];
	struct rp_vring_note notes[SHARING][NUM];
	uint64_t now_ms;
	struct sa_switch sw;
} fixture;

static void
make_ring(unsigned int index, uint64_t features)
{
	struct sa_ring *ring = &fixture.rings[FIRST + index];
	struct rp_vring_layout layout;

	assert_int_equal(rp_vring_drv_create(NUM, fixture.memory + index * RING_BYTES,
					     RIG_MEMORY_IOVA + index * RING_BYTES, features, &fixture.drivers[index]),
			 0);
	rp_vring_drv_layout(fixture.drivers[index], &layout);
	layout.notes = fixture.notes[index];
	ring->state = SOFTACCEL_QUEUE_RUNNING;
	ring->running = true;
	ring->transmits = true;
	assert_int_equal(
		rp_vring_dev_init(&ring->vring, &layout, rp_vring_position_fresh(features), fixture.reader, NULL), 0);
}

static int
setup(void **state)
{
	struct rp_dma_mapping mapping = {
		.iova = RIG_MEMORY_IOVA,
		.size_bytes = MEMORY_BYTES,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
	};
	unsigned int i;

	fixture.memory_fd = test_memfd(MEMORY_BYTES, true);
	fixture.memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fixture.memory_fd, 0);
	assert_ptr_not_equal(fixture.memory, MAP_FAILED);
	mapping.fd = fixture.memory_fd;
	assert_int_equal(rp_dma_space_create(NULL, &fixture.space), 0);
	assert_int_equal(rp_dma_space_map(fixture.space, &mapping, NULL), 0);
	assert_int_equal(rp_dma_reader_create(fixture.space, &fixture.reader), 0);
	rp_dma_reader_online(fixture.reader);
	fixture.notice_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(sa_doorbells_init(&fixture.doorbells, SOFTACCEL_DOORBELL_PAGE, QUEUES), 0);
	assert_int_equal(fixture.doorbells.sharing, SHARING);
	assert_int_equal(sa_bells_init(&fixture.bells, &fixture.doorbells), 0);
	for (i = 0; i < QUEUES; i++) {
		fixture.rings[i] = (struct sa_ring){
			.doorbell = sa_doorbell_word(&fixture.doorbells, i),
			.kick_fd = fixture.doorbells.kick_fds[i],
			.said_fd = fixture.doorbells.said_fds[i],
			.call_fd = -1,
			.courier_fd = -1,
			.notice_fd = fixture.notice_fd,
			.watch = {.watched = true},
			.now_ms = &fixture.now_ms,
		};
		sa_bells_add(&fixture.bells, &fixture.doorbells, i, &fixture.rings[i]);
	}
	fixture.bell = fixture.rings[FIRST].bell;
	for (i = 0; i < SHARING; i++)
		make_ring(i, 1ull << 29 | *(const uint64_t *)*state);
	return 0;
}

static int
teardown(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < SHARING; i++)
		rp_vring_drv_destroy(fixture.drivers[i]);
	sa_bells_fini(&fixture.bells);
	sa_doorbells_fini(&fixture.doorbells);
	rp_wire_fd_close(&fixture.notice_fd);
	rp_dma_reader_offline(fixture.reader);
	rp_dma_reader_destroy(fixture.reader);
	rp_dma_space_destroy(fixture.space);
	munmap(fixture.memory, MEMORY_BYTES);
	rp_wire_fd_close(&fixture.memory_fd);
	return 0;
}

static struct sa_ring *
ring_of(unsigned int index)
{
	return &fixture.rings[FIRST + index];
}

static bool
driver_adds(unsigned int index)
{
	const struct rp_vring_part part = {RIG_MEMORY_IOVA + BUFFER_AT, 64, false};

	assert_int_equal(rp_vring_drv_add(fixture.drivers[index], &part, 1, NULL), 0);
	return rp_vring_drv_needs_kick(fixture.drivers[index]);
}

static void
store(unsigned int number)
{
	__atomic_store_n((uint16_t *)(void *)fixture.bell->word, htole16((uint16_t)number), __ATOMIC_RELEASE);
}

static unsigned int
answer(void)
{
	return sa_bell_answer(fixture.bell, &fixture.sw);
}

static unsigned int
awake_mask(void)
{
	unsigned int i, mask = 0;

	for (i = 0; i < SHARING; i++)
		mask |= (unsigned int)ring_of(i)->awake << i;
	return mask;
}

static void
the_one_that_is_named_wakes(void **state)
{
	(void)state;
	assert_int_equal(answer(), 0);
	assert_true(driver_adds(2));
	store(FIRST + 2);
	assert_int_equal(answer(), 1);
	assert_int_equal(awake_mask(), 4);
	assert_int_equal(ring_of(2)->counters.direct_kicks, 1);
	assert_int_equal(ring_of(1)->counters.direct_kicks, 0);
	assert_int_equal(answer(), 0);
	/* It is awake and is looked at anyway; that it was kicked is known. */
	store(FIRST + 2);
	assert_int_equal(answer(), 1);
	assert_int_equal(ring_of(2)->counters.direct_kicks, 2);
	/* There need not be anything. */
	store(FIRST + 3);
	assert_int_equal(answer(), 1);
	assert_int_equal(awake_mask(), 12);
	assert_int_equal(ring_of(2)->counters.direct_kicks, 2);
}

/* Two processors of a guest store, and then somebody looks. */
static void
a_store_over_another_loses_none(void **state)
{
	(void)state;
	assert_true(driver_adds(0));
	store(FIRST + 0);
	assert_true(driver_adds(3));
	store(FIRST + 3);
	assert_int_equal(answer(), 2);
	assert_int_equal(awake_mask(), 9);
	assert_int_equal(ring_of(0)->counters.direct_kicks, 1);
	assert_int_equal(ring_of(3)->counters.direct_kicks, 1);
}

/* A guest knows the queue by another number, or lies. */
static void
any_number_will_do(void **state)
{
	static const unsigned int numbers[] = {FIRST, FIRST + SHARING, 0, FIRST - 1, QUEUES, 0xfffe, 0x7fff};
	unsigned int i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		assert_true(driver_adds(1));
		store(numbers[i]);
		assert_true(answer() >= 1);
		assert_true(ring_of(1)->awake);
		assert_false(ring_of(2)->awake);
		/* Another doorbell's. */
		assert_false(fixture.rings[0].awake);
		teardown(state);
		setup(state);
	}
	/* With nothing to be found it was a kick of nobody, and still the loop does not sleep on it. */
	store(0);
	assert_int_equal(answer(), 1);
	assert_int_equal(awake_mask(), 0);
}

static void
a_broken_ring_is_said(void **state)
{
	eventfd_t notices;

	(void)state;
	rp_dma_reader_offline(fixture.reader);
	assert_int_equal(rp_dma_space_unmap(fixture.space, RIG_MEMORY_IOVA, MEMORY_BYTES, NULL), 0);
	rp_dma_reader_online(fixture.reader);
	store(0);
	answer();
	assert_int_equal(sa_ring_state(ring_of(0)), SOFTACCEL_QUEUE_BROKEN);
	assert_int_equal(eventfd_read(fixture.notice_fd, &notices), 0);
	/* And not looked at again. */
	store(FIRST);
	answer();
	assert_false(ring_of(0)->awake);
	assert_int_not_equal(eventfd_read(fixture.notice_fd, &notices), 0);
}

/* The word is gone when it comes back. */
static void
one_that_does_not_run_hears_of_it_later(void **state)
{
	(void)state;
	ring_of(1)->running = false;
	driver_adds(1);
	store(FIRST + 1);
	answer();
	assert_int_equal(awake_mask(), 0);
	assert_true(sa_bell_unheard(ring_of(1)));
	assert_false(sa_bell_unheard(ring_of(1)));
	assert_false(sa_bell_unheard(ring_of(0)));
}

/* Only its courier can look. */
static void
a_courier_is_rung_for_each(void **state)
{
	struct sa_ring *ring = ring_of(1);
	eventfd_t rung;

	(void)state;
	ring->carried = true;
	ring->courier_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	store(FIRST + 3);
	assert_int_equal(answer(), 1);
	assert_true(ring->rung);
	assert_int_equal(eventfd_read(ring->courier_fd, &rung), 0);
	assert_int_equal(ring->counters.direct_kicks, 0);
	store(FIRST + 1);
	assert_int_equal(answer(), 1);
	assert_int_equal(eventfd_read(ring->courier_fd, &rung), 0);
	assert_int_equal(ring->counters.direct_kicks, 1);
	assert_false(ring->awake);
	rp_wire_fd_close(&ring->courier_fd);
}

/* One ring's kicks are old, and nobody knows whether the word is its own. */
static void
what_one_forgets_the_others_are_told(void **state)
{
	struct sa_ring *runs = ring_of(0), *rests = ring_of(1), *carried = ring_of(2), *forgets = ring_of(3);

	(void)state;
	assert_false(sa_bell_forget(forgets));
	rests->running = forgets->running = false;
	carried->carried = true;
	carried->courier_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	store(FIRST);
	assert_true(sa_bell_forget(forgets));
	assert_false(sa_bell_forget(forgets));
	assert_int_equal(answer(), 0);
	assert_int_equal(sa_doorbell_drain(runs->said_fd), 1);
	assert_true(sa_bell_unheard(rests));
	assert_true(carried->rung);
	rp_wire_fd_close(&carried->courier_fd);
}

/* To be watched no more is no reason to take a word that others wait for. */
static void
a_judgement_leaves_the_word(void **state)
{
	struct sa_ring *ring = ring_of(0);

	(void)state;
	ring->watch = (struct sa_watch){.watched = true};
	sa_watch_tell(&ring->watch, RP_ACCEL_VENDOR_DOORBELL_EVENTFD, 1);
	fixture.now_ms = 1 + RP_ACCEL_VENDOR_DOORBELL_WATCH_MS;
	driver_adds(1);
	store(FIRST + 1);
	assert_true(sa_ring_judge(ring));
	assert_true(ring->awake);
	assert_int_equal(answer(), 1);
	assert_true(ring_of(1)->awake);
}

#define ROUNDS 100000u
#define PATIENCE_S 60

/* A processor of the guest with a queue of its own: one entry, a kick if it is wanted, and wait for its use. */
struct processor {
	pthread_t thread;
	unsigned int index;
	unsigned int done; /* atomic */
	bool stop; /* atomic */
};

static unsigned int meeting; /* atomic: how many came, so that both ring at once */

static void
meet(const struct processor *self, unsigned int round)
{
	__atomic_fetch_add(&meeting, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&meeting, __ATOMIC_ACQUIRE) < 2 * (round + 1) &&
	       !__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void *
processor_main(void *ctx)
{
	struct processor *self = ctx;
	const struct rp_vring_part part = {RIG_MEMORY_IOVA + BUFFER_AT, 64, false};
	struct rp_vring_drv *driver = fixture.drivers[self->index];
	uint32_t written_bytes;
	unsigned int round;
	void *cookie;

	for (round = 0; round < ROUNDS; round++) {
		meet(self, round);
		if (rp_vring_drv_add(driver, &part, 1, self) != 0)
			return NULL;
		if (rp_vring_drv_needs_kick(driver))
			store(FIRST + self->index);
		while (rp_vring_drv_get(driver, &cookie, &written_bytes) != 1) {
			if (__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE))
				return NULL;
			sched_yield();
		}
		__atomic_store_n(&self->done, round + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* What is there, and then asleep: each entry needs its kick. */
static void
consume(struct sa_ring *ring)
{
	static struct rp_vring_chain chain;

	while (ring->awake) {
		int waiting = rp_vring_dev_peek(&ring->vring, 0, &chain);

		assert_true(waiting >= 0);
		if (waiting == 0) {
			sa_ring_try_sleep(ring);
			continue;
		}
		assert_int_equal(rp_vring_dev_fill(&ring->vring, ring->unpublished_count, chain.head, 0), 0);
		rp_vring_dev_advance(&ring->vring, 1);
		ring->unpublished_count++;
		sa_ring_flush(ring);
	}
}

static time_t
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* Nothing is looked at but what the doorbell says: a kick that is lost is one for which somebody waits for ever. */
static void
two_processors_ring_at_once(void **state)
{
	struct processor processors[] = {{.index = 1}, {.index = 3}};
	unsigned int i, done = 0, seen = 0;
	time_t since_s = now_s();

	(void)state;
	__atomic_store_n(&meeting, 0, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&processors[i].thread, NULL, processor_main, &processors[i]), 0);
	while (done < 2 * ROUNDS && now_s() - since_s < PATIENCE_S) {
		answer();
		for (i = 0; i < 2; i++)
			consume(ring_of(processors[i].index));
		sched_yield();
		for (done = 0, i = 0; i < 2; i++)
			done += __atomic_load_n(&processors[i].done, __ATOMIC_ACQUIRE);
		if (done != seen)
			since_s = now_s();
		seen = done;
	}
	for (i = 0; i < 2; i++) {
		__atomic_store_n(&processors[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(processors[i].thread, NULL);
	}
	assert_int_equal(done, 2 * ROUNDS);
}

#define PAIRS 16u
#define RX 0u
#define TX 1u
#define OTHER_TX 3u
#define TIMES 20u

static struct {
	struct rig rig;
	struct rig_guest sender;
	struct rig_guest receiver;
	uint8_t *doorbells; /* of the sender, which stay mapped when its client goes */
} stack;

static int
stack_setup(void **state)
{
	uint64_t features = RIG_FEATURES_DEFAULT | *(const uint64_t *)*state;
	struct rp_vfu_client_region region;

	memset(&stack, 0, sizeof(stack));
	rig_create(&stack.rig);
	rig_function(&stack.rig, (struct softaccel_function_config){.queue_pairs = PAIRS});
	rig_function(&stack.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_run(&stack.rig);
	rig_guest_start(&stack.receiver, &stack.rig, 1, 2, features);
	rig_guest_start(&stack.sender, &stack.rig, 0, 4, features);
	assert_int_equal(rp_vfu_client_region_info(stack.sender.client, RIG_BAR_NOTIFY, &region, NULL), 0);
	stack.doorbells = mmap(NULL, SA_DOORBELL_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd,
			       (off_t)region.fd_offset_bytes);
	assert_ptr_not_equal(stack.doorbells, MAP_FAILED);
	return 0;
}

static int
stack_teardown(void **state)
{
	(void)state;
	munmap(stack.doorbells, SA_DOORBELL_PAGE_BYTES);
	rig_guest_fini(&stack.sender);
	rig_guest_fini(&stack.receiver);
	rig_destroy(&stack.rig);
	return 0;
}

static void
send_on(unsigned int queue, uint32_t sequence)
{
	uint8_t frame[RIG_FRAME_BYTES];

	rig_frame(frame, RIG_BROADCAST, 1, 7, sequence);
	while (!rig_send(&stack.sender, queue, frame, sizeof(frame)))
		rig_reap(&stack.sender, queue);
}

static uint32_t
receive(void)
{
	uint8_t packet[RIG_BUFFER_BYTES];

	assert_int_equal(rig_receive_wait(&stack.receiver, RX, packet, sizeof(packet)),
			 RIG_HEADER_BYTES + RIG_FRAME_BYTES);
	rig_post(&stack.receiver, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
	rig_ring_if_wanted(&stack.receiver, RX);
	return rig_frame_sequence(packet + RIG_HEADER_BYTES);
}

/*
 * A guest goes on while nobody is there to serve it: it kicks two queues, and the word says one.
 * With the next client the first ring that runs has its doorbell looked at before the others run.
 */
static void
kicks_of_all_outlive_a_client(void **state)
{
	uint32_t time, seen;

	(void)state;
	for (time = 0; time < TIMES; time++) {
		rig_guest_disconnect(&stack.sender);
		usleep(5000);
		send_on(TX, 1);
		__atomic_store_n((uint16_t *)(void *)stack.doorbells, htole16(TX), __ATOMIC_SEQ_CST);
		send_on(OTHER_TX, 2);
		__atomic_store_n((uint16_t *)(void *)stack.doorbells, htole16(OTHER_TX), __ATOMIC_SEQ_CST);
		rig_guest_connect(&stack.sender, &stack.rig, 0);
		seen = receive();
		seen += receive();
		assert_int_equal(seen, 3);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(the_one_that_is_named_wakes),
		RIG_TESTS(a_store_over_another_loses_none),
		RIG_TESTS(any_number_will_do),
		RIG_TEST(a_broken_ring_is_said, split),
		RIG_TEST(one_that_does_not_run_hears_of_it_later, split),
		RIG_TEST(a_courier_is_rung_for_each, split),
		RIG_TEST(what_one_forgets_the_others_are_told, split),
		RIG_TEST(a_judgement_leaves_the_word, split),
		RIG_TEST(two_processors_ring_at_once, split),
		RIG_TEST(two_processors_ring_at_once, packed),
		{"kicks_of_all_outlive_a_client split", kicks_of_all_outlive_a_client, stack_setup, stack_teardown,
		 (void *)&rig_split},
		{"kicks_of_all_outlive_a_client packed", kicks_of_all_outlive_a_client, stack_setup, stack_teardown,
		 (void *)&rig_packed},
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
