/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rig.h"
#include "rp_wire_fd.h"
#include "rp_wire_caller.h"

/* Interrupts of a queue whose memory is reached by messages: what the messenger owes, and when it pays. */

#define RX 0u
#define TX 1u
#define LIMIT_MS 10000u
#define QUIET_US 20000u

static struct {
	struct rig rig;
	struct rig_guest sender;
	struct rig_guest receiver;
} fixture;

/* Of the receiver's eventfd, whatever its number is in the device; atomic. */
static int refused_with;
static unsigned int refused_count;

int __wrap_rp_wire_caller_call(struct rp_wire_caller *caller, int eventfd);
int __real_rp_wire_caller_call(struct rp_wire_caller *caller, int eventfd);

int
__wrap_rp_wire_caller_call(struct rp_wire_caller *caller, int eventfd)
{
	int error = __atomic_load_n(&refused_with, __ATOMIC_ACQUIRE);

	if (error == 0 || rp_wire_fd_same(eventfd, fixture.receiver.queues[RX].call_fd) != 1)
		return __real_rp_wire_caller_call(caller, eventfd);
	__atomic_add_fetch(&refused_count, 1, __ATOMIC_RELEASE);
	return error;
}

static void
refuse_with(int error)
{
	__atomic_store_n(&refused_with, error, __ATOMIC_RELEASE);
}

static unsigned int
refused(void)
{
	return __atomic_load_n(&refused_count, __ATOMIC_ACQUIRE);
}

static int
setup(void **state)
{
	uint64_t features = RIG_FEATURES_DEFAULT | *(const uint64_t *)*state;

	memset(&fixture, 0, sizeof(fixture));
	refuse_with(0);
	__atomic_store_n(&refused_count, 0, __ATOMIC_RELEASE);
	rig_create(&fixture.rig);
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1, .dma = SOFTACCEL_DMA_MESSAGES});
	rig_run(&fixture.rig);
	rig_guest_start(&fixture.receiver, &fixture.rig, 1, 2, features);
	rig_guest_start(&fixture.sender, &fixture.rig, 0, 2, features);
	assert_true(softaccel_queue_by_messages(fixture.rig.functions[1], RX));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	refuse_with(0);
	rig_guest_fini(&fixture.sender);
	rig_guest_fini(&fixture.receiver);
	rig_destroy(&fixture.rig);
	return 0;
}

static void
carry(uint32_t sequence)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];

	rig_frame(frame, RIG_BROADCAST, 1, 7, sequence);
	assert_true(rig_send(&fixture.sender, TX, frame, sizeof(frame)));
	rig_ring(&fixture.sender, TX);
	assert_int_equal(rig_receive_wait(&fixture.receiver, RX, packet, sizeof(packet)),
			 RIG_HEADER_BYTES + RIG_FRAME_BYTES);
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), sequence);
}

static uint64_t
interrupts(void)
{
	struct softaccel_queue_counters counters;

	softaccel_queue_counters(fixture.rig.functions[1], RX, &counters);
	return counters.interrupts;
}

static bool
is_interrupted(void *ctx)
{
	eventfd_t count;

	rig_guest_serve(&fixture.receiver);
	return eventfd_read(*(const int *)ctx, &count) == 0;
}

static bool
was_refused(void *ctx)
{
	rig_guest_serve(&fixture.receiver);
	return refused() > *(const unsigned int *)ctx;
}

/* Turns that are under way may still try. */
static bool
tries_no_more(void *ctx)
{
	unsigned int before = refused(), looks;

	(void)ctx;
	for (looks = 0; looks < 10; looks++) {
		rig_guest_serve(&fixture.receiver);
		usleep(QUIET_US / 10);
	}
	return refused() == before;
}

static void
set_call(int fd)
{
	assert_int_equal(rp_vfu_client_irq_set(fixture.receiver.client, RP_VFU_PCI_MSIX_IRQ, RX, fd, NULL), 0);
}

/* What an eventfd did not take goes with the next turn, whatever that turn is for; and no turn is made for it. */
static void
refused_is_owed_until_the_next_turn(void **state)
{
	int call_fd = fixture.receiver.queues[RX].call_fd;
	unsigned int before = 0;

	(void)state;
	refuse_with(-EAGAIN);
	carry(1);
	assert_true(test_wait(was_refused, &before, LIMIT_MS));
	assert_true(test_wait(tries_no_more, NULL, LIMIT_MS));
	assert_int_equal(interrupts(), 0);
	before = refused();
	/* A buffer more: nothing was used since. */
	rig_post(&fixture.receiver, RX, 1, RIG_BUFFER_BYTES);
	rig_ring(&fixture.receiver, RX);
	assert_true(test_wait(was_refused, &before, LIMIT_MS));
	refuse_with(0);
	rig_ring(&fixture.receiver, RX);
	assert_true(test_wait(is_interrupted, &call_fd, LIMIT_MS));
	assert_int_equal(interrupts(), 1);
	/* Once. */
	rig_ring(&fixture.receiver, RX);
	usleep(QUIET_US);
	assert_false(is_interrupted(&call_fd));
	assert_int_equal(interrupts(), 1);
}

/* Without an eventfd it is owed to the one that comes; at once, with no turn. */
static void
owed_to_the_next_eventfd(void **state)
{
	int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	set_call(-1);
	carry(1);
	usleep(QUIET_US);
	assert_int_equal(interrupts(), 0);
	set_call(other);
	assert_true(test_wait(is_interrupted, &other, LIMIT_MS));
	assert_int_equal(interrupts(), 1);
	rp_wire_fd_close(&other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(refused_is_owed_until_the_next_turn),
		RIG_TESTS(owed_to_the_next_eventfd),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
