/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mock_carrier.h"
#include "rp_dma_bounce.h"
#include "rp_dma_io.h"
#include "rp_dma_log.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/*
 * Devices, accesses that are cancelled, and a writer that takes ranges away, on a
 * space whose limit is hit all the time. Each device has a page without a file that
 * stays, where it knows every byte; all of them use the pages that come and go.
 */
#define DEVICES 4u
#define ACCESSES 2u
#define STABLE_PAGES DEVICES
#define MOVING_PAGES 4u
#define PAGES (STABLE_PAGES + MOVING_PAGES)
#define BOUNCE_MAX 1500u
#define SIZE_MAX_BYTES 1200u
/* The start of a page is read by accesses and left alone by devices: guests may race, sanitizers mind. */
#define LEAD_BYTES 128u
#define STORM_MS 1500u
#define LIMIT_S 60

struct storm {
	struct rp_dma_space *space;
	struct mock_carrier carrier;
	uint64_t page_bytes;
	int fd;
	atomic_bool stop;
	atomic_uint under_way; /* maps without waiting that nobody waits for */
	atomic_uint wakes;
};

struct device {
	struct storm *storm;
	unsigned int index;
	unsigned int seed;
	uint8_t *known; /* what its own page has */
	struct rp_dma_waiter waiter;
	sem_t freed;
	atomic_uint done_count;
	atomic_uint full_count;
	atomic_uint called_count;
	unsigned int gone_count;
	unsigned int wrong_count;
};

static unsigned int
roll(unsigned int *seed, unsigned int sides)
{
	return (unsigned int)rand_r(seed) % sides;
}

static void
freed(struct rp_dma_waiter *waiter)
{
	sem_post(&((struct device *)waiter->ctx)->freed);
}

/* One in four gives up; the others must be called, or this is a lost wake-up. */
static void
wait_for_space(struct device *device)
{
	struct timespec deadline;

	atomic_fetch_add(&device->full_count, 1);
	rp_dma_waiter_register(device->storm->space, &device->waiter);
	if (roll(&device->seed, 4) == 0) {
		rp_dma_waiter_cancel(device->storm->space, &device->waiter);
		while (sem_trywait(&device->freed) == 0)
			;
		return;
	}
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += LIMIT_S;
	if (sem_timedwait(&device->freed, &deadline) < 0)
		fail_msg("device %u waits for space that nobody says is free", device->index);
	atomic_fetch_add(&device->called_count, 1);
}

static uint32_t
any_access(struct device *device)
{
	return 1 + roll(&device->seed, 3);
}

/* Its own page: what was written is what is read later, through other buffers. */
static void
use_own_page(struct device *device)
{
	struct storm *storm = device->storm;
	uint64_t at = roll(&device->seed, (unsigned int)storm->page_bytes), size_bytes, i, used_bytes;
	uint32_t access_mask = any_access(device);
	void *bytes;
	int rc;

	rc = rp_dma_map(storm->space, device->index * storm->page_bytes + at, 1 + roll(&device->seed, SIZE_MAX_BYTES),
			access_mask, &bytes, &size_bytes);
	if (rc == -ENOSPC) {
		wait_for_space(device);
		return;
	}
	assert_int_equal(rc, 0);
	if ((access_mask & RP_DMA_READ) != 0 && memcmp(bytes, device->known + at, size_bytes) != 0)
		device->wrong_count++;
	used_bytes = roll(&device->seed, (unsigned int)size_bytes + 1);
	if ((access_mask & RP_DMA_WRITE) != 0) {
		for (i = 0; i < size_bytes; i++)
			((uint8_t *)bytes)[i] = (uint8_t)rand_r(&device->seed);
		memcpy(device->known + at, bytes, used_bytes);
	}
	assert_int_equal(rp_dma_unmap(storm->space, bytes, size_bytes, access_mask, used_bytes), 0);
	atomic_fetch_add(&device->done_count, 1);
}

static uint64_t
any_moving(struct device *device)
{
	uint64_t page_bytes = device->storm->page_bytes, page = STABLE_PAGES + roll(&device->seed, MOVING_PAGES);

	return page * page_bytes + LEAD_BYTES + roll(&device->seed, (unsigned int)page_bytes - LEAD_BYTES);
}

/* Pages that come and go, of either kind: no crash, and only these errors. */
static void
use_moving_pages(struct device *device)
{
	struct storm *storm = device->storm;
	uint32_t access_mask = any_access(device);
	uint64_t size_bytes;
	void *bytes;
	int rc;

	rc = rp_dma_map(storm->space, any_moving(device), 1 + roll(&device->seed, SIZE_MAX_BYTES), access_mask, &bytes,
			&size_bytes);
	if (rc == -ENOSPC) {
		wait_for_space(device);
		return;
	}
	if (rc == 0) {
		if ((access_mask & RP_DMA_WRITE) != 0)
			__atomic_store_n((uint8_t *)bytes + size_bytes - 1, 0, __ATOMIC_RELAXED);
		rc = rp_dma_unmap(storm->space, bytes, size_bytes, access_mask, size_bytes);
		if (roll(&device->seed, 8) == 0 && rp_dma_unmap(storm->space, device, 1, 1, 0) != -EINVAL)
			device->wrong_count++;
	}
	device->gone_count += rc != 0;
	if (rc != 0 && rc != -EFAULT && rc != -ECANCELED)
		device->wrong_count++;
}

struct flight {
	struct storm *storm;
	uint32_t access_mask;
};

static void
flight_over(void *ctx, int error)
{
	struct flight *flight = ctx;

	(void)error;
	atomic_fetch_sub(&flight->storm->under_way, 1);
	free(flight);
}

/* In the carrier's thread, mostly. */
static void
flight_mapped(void *ctx, int error, void *bytes, uint64_t size_bytes)
{
	struct flight *flight = ctx;

	if (error != 0)
		flight_over(flight, error);
	else
		assert_int_equal(rp_dma_unmap_start(flight->storm->space, bytes, size_bytes, flight->access_mask,
						    size_bytes, flight_over, flight),
				 0);
}

static void
fly(struct device *device)
{
	struct flight *flight = malloc(sizeof(*flight));

	*flight = (struct flight){device->storm, any_access(device)};
	atomic_fetch_add(&device->storm->under_way, 1);
	if (rp_dma_map_start(device->storm->space, any_moving(device), 1 + roll(&device->seed, SIZE_MAX_BYTES),
			     flight->access_mask, flight_mapped, flight) < 0)
		flight_over(flight, 0);
}

static void *
run_device(void *ctx)
{
	struct device *device = ctx;

	while (!atomic_load_explicit(&device->storm->stop, memory_order_relaxed)) {
		switch (roll(&device->seed, 4)) {
		case 0:
			use_moving_pages(device);
			break;
		case 1:
			fly(device);
			break;
		default:
			use_own_page(device);
		}
	}
	return NULL;
}

struct access {
	struct storm *storm;
	unsigned int seed;
	struct rp_dma_io io;
	sem_t go;
	sem_t gone;
	bool stop;
	unsigned int done_count;
	unsigned int cancelled_count;
	unsigned int wrong_count;
};

static void *
run_canceller(void *ctx)
{
	struct access *access = ctx;

	for (;;) {
		sem_wait(&access->go);
		if (access->stop)
			return NULL;
		rp_dma_io_cancel(&access->io);
		sem_post(&access->gone);
	}
}

/* Several pages at once; in every second round another thread cancels while this one waits. */
static void *
run_access(void *ctx)
{
	struct access *access = ctx;
	uint64_t page_bytes = access->storm->page_bytes;
	uint8_t *room = calloc(2, page_bytes);
	const struct rp_dma_segment segments[] = {
		{0, page_bytes, room}, {(STABLE_PAGES - 1) * page_bytes + 100, page_bytes, room + page_bytes}};
	pthread_t canceller;

	assert_int_equal(pthread_create(&canceller, NULL, run_canceller, access), 0);
	while (!atomic_load_explicit(&access->storm->stop, memory_order_relaxed)) {
		bool cancelled = roll(&access->seed, 2) == 0;
		int rc;

		access->io = (struct rp_dma_io){
			.segments = segments, .segments_count = 1 + roll(&access->seed, 2), .write = false};
		rc = rp_dma_io_submit(access->storm->space, &access->io);
		if (rc == 0 && cancelled)
			sem_post(&access->go);
		if (rc == 0)
			rc = rp_dma_io_wait(&access->io);
		else
			cancelled = false;
		if (cancelled)
			sem_wait(&access->gone);
		access->done_count += rc == 0;
		access->cancelled_count += rc == -ECANCELED && cancelled;
		if (rc != 0 && rc != -EFAULT && (rc != -ECANCELED || !cancelled))
			access->wrong_count++;
	}
	access->stop = true;
	sem_post(&access->go);
	pthread_join(canceller, NULL);
	free(room);
	return NULL;
}

static void
wake(void *ctx)
{
	atomic_fetch_add_explicit(&((struct storm *)ctx)->wakes, 1, memory_order_relaxed);
}

static bool
is_settled(void *ctx)
{
	uint64_t *space_and_ticket = ctx;

	return rp_dma_space_settled((struct rp_dma_space *)(uintptr_t)space_and_ticket[0], space_and_ticket[1]);
}

static void
settle(struct rp_dma_space *space, uint64_t ticket)
{
	uint64_t space_and_ticket[] = {(uint64_t)(uintptr_t)space, ticket};

	assert_true(test_wait(is_settled, space_and_ticket, LIMIT_S * 1000));
}

static void
map_page(struct storm *storm, uint64_t page, int fd)
{
	const struct rp_dma_mapping mapping = {.iova = page * storm->page_bytes,
					       .size_bytes = storm->page_bytes,
					       .access_mask = RP_DMA_READ | RP_DMA_WRITE,
					       .fd = fd};

	assert_int_equal(rp_dma_space_map(storm->space, &mapping, NULL), 0);
}

/* One change of the pages that come and go: replaced, taken and put back, or the log turned on or off. */
static void
change_something(struct storm *storm, unsigned int *seed)
{
	const struct rp_dma_log_range everything = {0, PAGES * storm->page_bytes};
	uint64_t page = STABLE_PAGES + roll(seed, MOVING_PAGES), ticket;
	struct rp_dma_mapping mapping = {.iova = page * storm->page_bytes,
					 .size_bytes = storm->page_bytes,
					 .access_mask = RP_DMA_READ | RP_DMA_WRITE,
					 .fd = roll(seed, 2) == 0 ? -1 : storm->fd};

	switch (roll(seed, 4)) {
	case 0:
		assert_int_equal(rp_dma_space_remap_start(storm->space, &mapping, &ticket, NULL), 0);
		settle(storm->space, ticket);
		break;
	case 1:
		if (rp_dma_log_is_on(storm->space))
			rp_dma_log_stop(storm->space);
		else
			assert_int_equal(rp_dma_log_start(storm->space, storm->page_bytes, &everything, 1, NULL), 0);
		break;
	case 2:
		assert_int_equal(rp_dma_space_unmap(storm->space, mapping.iova, mapping.size_bytes, NULL), 0);
		mock_carrier_forbid(&storm->carrier, mapping.iova, mapping.size_bytes);
		if (roll(seed, 8) == 0)
			usleep(20);
		mock_carrier_forbid(&storm->carrier, 0, 0);
		map_page(storm, page, mapping.fd);
		break;
	default:
		assert_int_equal(
			rp_dma_space_unmap_start(storm->space, mapping.iova, mapping.size_bytes, &ticket, NULL), 0);
		map_page(storm, page, mapping.fd);
		settle(storm->space, ticket);
	}
}

static bool
has_landed(void *ctx)
{
	return atomic_load(&((struct storm *)ctx)->under_way) == 0;
}

static void
start(struct storm *storm)
{
	const struct rp_dma_limits limits = {.bounce_bytes_max = BOUNCE_MAX, .maps_max = 2 * DEVICES};
	uint64_t page;

	storm->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	storm->fd = test_memfd(storm->page_bytes, true);
	assert_int_equal(rp_dma_space_create(&limits, &storm->space), 0);
	rp_dma_space_set_wake(storm->space, wake, storm);
	mock_carrier_start(&storm->carrier, storm->space, PAGES * storm->page_bytes);
	storm->carrier.shuffle = true;
	for (page = 0; page < PAGES; page++)
		map_page(storm, page, page < STABLE_PAGES ? -1 : storm->fd);
}

struct sums {
	unsigned int done;
	unsigned int full;
	unsigned int called;
};

static struct sums
sum_up(struct device *devices)
{
	struct sums sums = {0};
	unsigned int i;

	for (i = 0; i < DEVICES; i++) {
		sums.done += atomic_load(&devices[i].done_count);
		sums.full += atomic_load(&devices[i].full_count);
		sums.called += atomic_load(&devices[i].called_count);
	}
	return sums;
}

/* However slow the machine: enough of everything has happened. */
static bool
has_stormed(struct device *devices)
{
	struct sums sums = sum_up(devices);

	return sums.done > 50 && sums.full > 10 && sums.called > 5;
}

static void
print_and_judge(struct device *devices, const struct access *accesses, unsigned int changes)
{
	struct sums sums = sum_up(devices);
	unsigned int i, cancelled = 0;

	for (i = 0; i < DEVICES; i++)
		assert_int_equal(devices[i].wrong_count, 0);
	for (i = 0; i < ACCESSES; i++) {
		assert_int_equal(accesses[i].wrong_count, 0);
		cancelled += accesses[i].cancelled_count;
	}
	print_message("%u maps of known bytes, %u times no space, %u times called, %u cancelled, %u changes\n",
		      sums.done, sums.full, sums.called, cancelled, changes);
}

static void
books_balance_after_a_storm(void **state)
{
	struct storm storm = {0};
	struct device devices[DEVICES] = {0};
	struct access accesses[ACCESSES] = {0};
	pthread_t threads[DEVICES + ACCESSES];
	unsigned int i, seed = 42, changes = 0;
	uint64_t deadline_ms;

	(void)state;
	start(&storm);
	for (i = 0; i < DEVICES; i++) {
		devices[i] = (struct device){.storm = &storm, .index = i, .seed = 50 + i};
		devices[i].waiter = (struct rp_dma_waiter){.freed = freed, .ctx = &devices[i]};
		devices[i].known = calloc(1, storm.page_bytes);
		sem_init(&devices[i].freed, 0, 0);
		assert_int_equal(pthread_create(&threads[i], NULL, run_device, &devices[i]), 0);
	}
	for (i = 0; i < ACCESSES; i++) {
		accesses[i] = (struct access){.storm = &storm, .seed = 60 + i};
		sem_init(&accesses[i].go, 0, 0);
		sem_init(&accesses[i].gone, 0, 0);
		assert_int_equal(pthread_create(&threads[DEVICES + i], NULL, run_access, &accesses[i]), 0);
	}
	deadline_ms = rp_wire_clock_ms() + STORM_MS;
	for (; rp_wire_clock_ms() < deadline_ms || !has_stormed(devices); changes++)
		change_something(&storm, &seed);
	atomic_store(&storm.stop, true);
	for (i = 0; i < DEVICES + ACCESSES; i++)
		pthread_join(threads[i], NULL);
	assert_true(test_wait(has_landed, &storm, LIMIT_S * 1000));
	assert_int_equal(rp_dma_bounce_used_bytes(storm.space), 0);
	assert_int_equal(rp_dma_map_count(storm.space), 0);
	assert_int_equal(mock_carrier_forbidden(&storm.carrier), 0);
	print_and_judge(devices, accesses, changes);
	/* Its thread may be on its way out of the last done(). */
	mock_carrier_stop(&storm.carrier);
	rp_dma_space_destroy(storm.space);
	mock_carrier_free(&storm.carrier);
	rp_wire_fd_close(&storm.fd);
	for (i = 0; i < DEVICES; i++)
		free(devices[i].known);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(books_balance_after_a_storm)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
