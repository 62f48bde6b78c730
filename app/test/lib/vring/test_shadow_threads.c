/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rp_vring_drv.h"
#include "rp_wire_fd.h"
#include "shadow_rig.h"

/*
 * A guest, a shadow and a device in three threads, each asleep when it has nothing to do:
 * numbered messages, none lost, and nobody sleeps through a wake-up.
 */

#define MESSAGES 40000u
#define SLOT_BYTES 64u
#define PATIENCE_MS 20000

struct message {
	uint64_t number;
	uint64_t answer;
};

struct threads {
	struct guest *guest;
	struct rp_vring_drv *drv;
	struct rig rig;
	uint16_t num;
	int guest_kick; /* the guest's kicks, for the shadow */
	int guest_call;
	int device_kick;
	int device_call; /* the device's interrupts, for the shadow */
	int stop;
	atomic_bool failed;
	uint32_t shadow_sleeps;
};

static struct threads threads;

static void
ring_bell(int fd)
{
	const uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* Sleep until one of some bells rings, and silence those that did. @return which, or 0: nobody came, which is the failure. */
static unsigned int
sleep_on(const int *fds, unsigned int count)
{
	struct pollfd poll_fds[3];
	unsigned int i, rang = 0;
	uint64_t value;

	for (i = 0; i < count; i++)
		poll_fds[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	if (poll(poll_fds, count, PATIENCE_MS) <= 0)
		return 0;
	for (i = 0; i < count; i++) {
		if ((poll_fds[i].revents & POLLIN) == 0)
			continue;
		rang |= 1u << i;
		if (fds[i] != threads.stop)
			assert_int_equal(read(fds[i], &value, sizeof(value)), sizeof(value));
	}
	return rang;
}

static void *
shadow_main(void *ctx)
{
	const int fds[] = {threads.stop, threads.guest_kick, threads.device_call};
	struct rp_vring_shadow *shadow = threads.rig.shadow;
	unsigned int rang = 2;
	bool flag;

	(void)ctx;
	rp_dma_reader_online(threads.guest->reader);
	if (rp_vring_shadow_set_notify(shadow, true) != 0)
		atomic_store(&threads.failed, true);
	while ((rang & 1) == 0) {
		rp_dma_reader_quiescent(threads.guest->reader);
		if ((rang & 2) != 0) {
			if (rp_vring_shadow_forward(shadow, &flag) < 0)
				break;
			if (flag)
				ring_bell(threads.device_kick);
		}
		if ((rang & 4) != 0) {
			if (rp_vring_shadow_return(shadow, &flag) < 0)
				break;
			if (flag)
				ring_bell(threads.guest_call);
		}
		rp_dma_reader_offline(threads.guest->reader);
		threads.shadow_sleeps++;
		rang = sleep_on(fds, 3);
		rp_dma_reader_online(threads.guest->reader);
		if (rang == 0)
			break;
	}
	rp_dma_reader_offline(threads.guest->reader);
	if ((rang & 1) == 0)
		atomic_store(&threads.failed, true);
	return NULL;
}

/* Answer what there is. @return how many, or -1. */
static int
answer_all(uint64_t *expected)
{
	struct rp_vring_chain *chain = &threads.rig.chain;
	struct rp_vring_dev *ring = &threads.rig.device;
	int rc, count = 0;

	while ((rc = rp_vring_dev_pop(ring, chain)) == 1) {
		struct message *message =
			(struct message *)(void *)(threads.guest->memory + (chain->spans[0].iova - GUEST_IOVA));

		if (message->number != (*expected)++)
			return -1;
		message->answer = ~message->number;
		if (rp_vring_dev_push(ring, chain->head, 8) != 0)
			return -1;
		count++;
		if (count % 3 == 0 && rp_vring_dev_needs_interrupt(ring) == 1)
			ring_bell(threads.device_call);
	}
	if (rp_vring_dev_needs_interrupt(ring) == 1)
		ring_bell(threads.device_call);
	return rc < 0 ? -1 : count;
}

static void *
device_main(void *ctx)
{
	const int fds[] = {threads.stop, threads.device_kick};
	uint64_t expected = 0;

	(void)ctx;
	for (;;) {
		int count = answer_all(&expected);

		if (count < 0)
			break;
		rp_vring_dev_set_notify(&threads.rig.device, true);
		if (rp_vring_dev_available(&threads.rig.device) > 0)
			continue;
		if (expected == MESSAGES)
			return NULL;
		if (sleep_on(fds, 2) != 2)
			break;
		rp_vring_dev_set_notify(&threads.rig.device, false);
	}
	atomic_store(&threads.failed, true);
	return NULL;
}

static void
send(uint64_t number)
{
	uint64_t at = GUEST_BUFFERS_AT + number % threads.num * SLOT_BYTES;
	struct message *message = (struct message *)(void *)(threads.guest->memory + at);
	const struct rp_vring_part parts[] = {
		{.iova = GUEST_IOVA + at, .size_bytes = 8},
		{.iova = GUEST_IOVA + at + 8, .size_bytes = 8, .device_writes = true},
	};

	message->number = number;
	message->answer = 0;
	assert_int_equal(rp_vring_drv_add(threads.drv, parts, 2, message), 0);
}

static void
collect(uint64_t *collected)
{
	uint32_t written_bytes;
	void *cookie;
	int rc;

	while ((rc = rp_vring_drv_get(threads.drv, &cookie, &written_bytes)) == 1) {
		const struct message *message = cookie;

		assert_int_equal(message->number, *collected);
		assert_int_equal(message->answer, ~*collected);
		assert_int_equal(written_bytes, 8);
		(*collected)++;
	}
	assert_int_equal(rc, 0);
}

static void
guest_main(void)
{
	uint64_t sent = 0, collected = 0;
	unsigned int seed = 7;

	while (collected < MESSAGES && !atomic_load(&threads.failed)) {
		unsigned int batch = 1 + (unsigned int)rand_r(&seed) % 8;

		while (batch-- > 0 && sent < MESSAGES && rp_vring_drv_free_count(threads.drv) >= 2)
			send(sent++);
		if (rp_vring_drv_needs_kick(threads.drv))
			ring_bell(threads.guest_kick);
		collect(&collected);
		if (sent < MESSAGES && rp_vring_drv_free_count(threads.drv) >= 2)
			continue;
		rp_vring_drv_set_interrupt(threads.drv, true);
		collect(&collected);
		if (collected < sent && (sent == MESSAGES || rp_vring_drv_free_count(threads.drv) < 2))
			assert_int_equal(sleep_on(&threads.guest_call, 1), 1);
		rp_vring_drv_set_interrupt(threads.drv, false);
	}
	assert_int_equal(collected, MESSAGES);
}

static void
run(struct guest *guest, uint16_t num, uint64_t features)
{
	int *const bells[] = {&threads.guest_kick, &threads.guest_call, &threads.device_kick, &threads.device_call,
			      &threads.stop};
	pthread_t shadow, device;
	unsigned int i;

	memset(&threads, 0, sizeof(threads));
	threads.guest = guest;
	threads.num = num;
	for (i = 0; i < 5; i++)
		*bells[i] = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(rp_vring_drv_create(num, guest_hva(guest, GUEST_IOVA), GUEST_IOVA, features, &threads.drv), 0);
	rp_vring_drv_layout(threads.drv, &guest->layout);
	rig_open(&threads.rig, guest, rp_vring_position_fresh(features));
	rp_vring_shadow_set_log(threads.rig.shadow, NULL, NULL);
	rp_dma_reader_offline(guest->reader);
	assert_int_equal(pthread_create(&shadow, NULL, shadow_main, NULL), 0);
	assert_int_equal(pthread_create(&device, NULL, device_main, NULL), 0);
	guest_main();
	pthread_join(device, NULL);
	ring_bell(threads.stop);
	pthread_join(shadow, NULL);
	rp_dma_reader_online(guest->reader);
	assert_false(atomic_load(&threads.failed));
	assert_int_equal(rp_vring_shadow_out(threads.rig.shadow), 0);
	print_message("num %u: the shadow slept %u times in %u messages\n", num, threads.shadow_sleeps, MESSAGES);
	rig_close(&threads.rig);
	rp_vring_drv_destroy(threads.drv);
	for (i = 0; i < 5; i++)
		rp_wire_fd_close(bells[i]);
}

static void
split(void **state)
{
	run(*state, 64, 0);
	run(*state, 4, F_EVENT_IDX);
	run(*state, 64, F_EVENT_IDX | F_IN_ORDER);
}

static void
packed(void **state)
{
	run(*state, 64, F_RING_PACKED);
	run(*state, 5, F_RING_PACKED | F_EVENT_IDX);
	run(*state, 64, F_RING_PACKED | F_EVENT_IDX | F_IN_ORDER);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(split),
		WITH_GUEST(packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
