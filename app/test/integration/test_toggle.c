/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Queues of a running guest are taken away and given back while numbered packets
 * flow: one stream per queue pair, from guest A to guest B.
 *
 * Undeliverable by design: a packet that reaches a switch port with no receive
 * queue running, or none with a free buffer. Here B's pair 0 always runs and the
 * sender keeps to B's buffers, so that the allowance is zero; the device counts
 * such drops, and the test reads the counter.
 *
 * Order: a stream keeps it as long as the set of receive queues that serve it
 * does. Taking B's receive queue 2 away moves the flows that hash to it, so
 * streams may be reordered across that moment, never lost.
 */

#include <unistd.h>

#include "rp_wire_clock.h"
#include "stack.h"

#define STREAMS 2
#define WINDOW 24u /* packets under way per stream: within one ring, and within B's buffers */
#define TOGGLES 30
#define PACKETS_BETWEEN 40u

struct scene {
	struct stack_accel accel;
	struct test_port port_a, port_b;
	struct test_vm a, b;
	struct stack_stream streams[STREAMS];
};

static void
scene_open(struct scene *s, const struct test_vm_options *format)
{
	static const struct stack_function functions[] = {
		{.queue_pairs = 2, .mac_last = 1},
		{.queue_pairs = 2, .mac_last = 2},
	};
	struct stack_packet packet;

	memset(s, 0, sizeof(*s));
	stack_accel_start(&s->accel, functions, 2);
	stack_port_open(&s->port_a, 0, 0, 1);
	stack_port_open(&s->port_b, 1, 1, 1);
	test_vm_open(&s->a, stack_port_socket(0), 4, 64, format);
	test_vm_open(&s->b, stack_port_socket(1), 4, 64, format);
	test_vm_start_all(&s->a);
	test_vm_start_all(&s->b);
	stack_wait_direct(&s->a, &s->port_a);
	stack_wait_direct(&s->b, &s->port_b);
	/* The switch learns where B is, so that nothing is flooded. */
	assert_true(stack_send(&s->b, 1, 1, 2, 99, 0));
	while (!stack_receive(&s->a, 0, &packet) && !stack_receive(&s->a, 2, &packet))
		usleep(100);
}

static void
scene_close(struct scene *s)
{
	test_vm_close(&s->a);
	test_vm_close(&s->b);
	test_port_close(&s->port_a);
	test_port_close(&s->port_b);
	stack_accel_stop(&s->accel);
}

/* One turn of both guests: send what the windows allow, take what arrived, serve notify areas. */
static void
turn(struct scene *s)
{
	struct stack_packet packet;
	unsigned int i;

	for (i = 0; i < STREAMS; i++) {
		struct stack_stream *stream = &s->streams[i];

		if (stream->next_to_send - stream->received < WINDOW &&
		    stack_send(&s->a, 2 * i + 1, 2, 1, i, stream->next_to_send))
			stream->next_to_send++;
	}
	for (i = 0; i < 4; i += 2)
		while (stack_receive(&s->b, i, &packet)) {
			assert_true(packet.stream < STREAMS);
			stack_stream_account(&s->streams[packet.stream], packet.sequence);
		}
	rp_vhu_frontend_process(s->a.frontend);
	rp_vhu_frontend_process(s->b.frontend);
}

static bool
turn_until(struct scene *s, unsigned int stream, uint32_t received)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + STACK_LIMIT_MS;

	while (s->streams[stream].received < received) {
		turn(s);
		if (rp_wire_clock_ms() > deadline_ms)
			return false;
	}
	return true;
}

static void
must_progress(struct scene *s, unsigned int stream)
{
	if (!turn_until(s, stream, s->streams[stream].received + PACKETS_BETWEEN))
		fail_msg("stream %u stalled at %u of %u sent", stream, s->streams[stream].received,
			 s->streams[stream].next_to_send);
}

static bool
all_arrived(void *ctx)
{
	struct scene *s = ctx;
	struct stack_packet packet;
	unsigned int i;

	rp_vhu_frontend_process(s->a.frontend);
	for (i = 0; i < 4; i += 2)
		while (stack_receive(&s->b, i, &packet))
			stack_stream_account(&s->streams[packet.stream], packet.sequence);
	for (i = 0; i < STREAMS; i++)
		if (s->streams[i].received != s->streams[i].next_to_send)
			return false;
	return true;
}

static void
drain(struct scene *s)
{
	unsigned int i;

	if (!test_wait(all_arrived, s, STACK_LIMIT_MS))
		for (i = 0; i < STREAMS; i++)
			print_message("stream %u: %u sent, %u received\n", i, s->streams[i].next_to_send,
				      s->streams[i].received);
	for (i = 0; i < STREAMS; i++) {
		assert_int_equal(s->streams[i].received, s->streams[i].next_to_send);
		assert_int_equal(s->streams[i].lost, 0);
		assert_int_equal(s->streams[i].duplicated, 0);
	}
}

/* The sender's pair 1 comes and goes: what it had put into the ring is sent once it is back. */
static void
transmit_queue_comes_and_goes(void **state)
{
	struct softaccel_port_counters drops;
	struct scene s;
	unsigned int i;

	scene_open(&s, *state);
	for (i = 0; i < TOGGLES; i++) {
		must_progress(&s, 0);
		must_progress(&s, 1);
		assert_int_equal(test_port_disable(&s.port_a, 3), 0);
		must_progress(&s, 0); /* untouched: goes on meanwhile */
		assert_int_equal(test_port_queue(&s.port_a, 3).mode, RP_PORT_QUEUE_STOPPED);
		assert_int_equal(test_port_enable(&s.port_a, 3), 0);
		must_progress(&s, 1);
	}
	drain(&s);
	assert_int_equal(s.streams[0].reordered, 0);
	assert_int_equal(s.streams[1].reordered, 0);
	assert_int_equal(test_port_queue(&s.port_a, 3).moves, 2 * TOGGLES);
	assert_int_equal(test_port_queue(&s.port_a, 1).moves, 0);
	softaccel_function_port_counters(softaccel_function_at(s.accel.accel, 1), &drops);
	assert_int_equal(drops.drops[SOFTACCEL_DROP_RX_NO_QUEUE], 0);
	assert_int_equal(drops.drops[SOFTACCEL_DROP_RX_NO_BUFFER], 0);
	scene_close(&s);
}

static void
receive_queue_comes_and_goes(void **state)
{
	struct scene s;
	unsigned int i;

	scene_open(&s, *state);
	for (i = 0; i < TOGGLES; i++) {
		must_progress(&s, 0);
		must_progress(&s, 1);
		assert_int_equal(test_port_disable(&s.port_b, 2), 0);
		must_progress(&s, 0);
		must_progress(&s, 1);
		assert_int_equal(test_port_enable(&s.port_b, 2), 0);
	}
	drain(&s);
	scene_close(&s);
}

/* Stopped and started by the guest's driver, at the index that GET_VRING_BASE gave. */
static void
guest_restarts_its_rings(void **state)
{
	struct scene s;
	unsigned int i;

	scene_open(&s, *state);
	for (i = 0; i < TOGGLES; i++) {
		uint32_t base;

		must_progress(&s, 0);
		must_progress(&s, 1);
		base = test_vm_queue_stop(&s.a, 3);
		must_progress(&s, 0);
		test_vm_queue_start(&s.a, 3, base);
		must_progress(&s, 1);
	}
	drain(&s);
	assert_int_equal(s.streams[0].reordered, 0);
	assert_int_equal(s.streams[1].reordered, 0);
	scene_close(&s);
}

/*
 * The sender's device has the guest's ring, then a private one, then the guest's again.
 * (Buffers that a receiver gives back reach a private ring a little later, and its device
 * may drop what comes meanwhile: app/test/lib/port/test_shadow.c has that direction, with
 * a device that waits.)
 */
static void
rings_change_under_traffic(void **state)
{
	struct scene s;
	unsigned int i;

	scene_open(&s, *state);
	for (i = 0; i < TOGGLES; i++) {
		enum rp_port_ring_policy policy = i % 2 == 0 ? RP_PORT_RING_SHADOW : RP_PORT_RING_AUTO;

		must_progress(&s, 0);
		must_progress(&s, 1);
		assert_int_equal(test_port_ring(&s.port_a, 3, policy), 0);
		assert_int_equal(test_port_queue(&s.port_a, 3).mode == RP_PORT_QUEUE_SHADOW, i % 2 == 0);
		must_progress(&s, 1);
	}
	drain(&s);
	assert_int_equal(s.streams[0].reordered, 0);
	assert_int_equal(s.streams[1].reordered, 0);
	assert_int_equal(test_port_queue(&s.port_a, 3).lost, 0);
	scene_close(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STACK_TESTS(transmit_queue_comes_and_goes),
		STACK_TESTS(receive_queue_comes_and_goes),
		STACK_TESTS(guest_restarts_its_rings),
		STACK_TESTS(rings_change_under_traffic),
	};

	return cmocka_run_group_tests(tests, stack_setup, stack_teardown);
}
