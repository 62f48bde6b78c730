/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Queue pairs of a running guest move from one device to another, and back, while numbered
 * packets flow: guest A has two functions, which are one switch port, and needs only one of them.
 *
 * Undeliverable by design: a packet for A while none of its receive queues runs, which is so
 * for as long as all of them move; and one for a ring that looks like a fresh one, which each
 * packed ring does once in two rounds, before it is kicked. The device counts those; nothing else
 * may be missing, and nothing comes twice.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "stack.h"

#define STREAMS 2
#define WINDOW 48u /* packets under way: within one ring, and within the receiver's buffers of one */
#define TRANSFERS 20
#define PACKETS_A_ROUND 300u /* of each stream; the move comes while they flow */
#define A_LAST 1
#define B_LAST 2

struct guest {
	struct test_port port;
	struct test_vm vm;
	uint8_t last; /* of its address */
};

struct scene {
	struct stack_accel accel;
	struct guest a, b;
	struct guest *from, *to;
	uint64_t drops_before;
	struct stack_stream streams[STREAMS]; /* the thread's */
	pthread_t thread; /* both guests */
	atomic_bool stop;
	atomic_uint limit; /* packets that it may send on each stream */
	atomic_uint sent, received; /* on all of them */
};

static void
guest_open(struct guest *guest, unsigned int number, unsigned int first, unsigned int count,
	   const struct test_vm_options *format)
{
	guest->last = (uint8_t)(number + 1);
	stack_port_open_with_room(&guest->port, number, first, count, 2);
	test_vm_open(&guest->vm, stack_port_socket(number), 4, 64, format);
	test_vm_start_all(&guest->vm);
	stack_wait_direct(&guest->vm, &guest->port);
}

static uint64_t
drops(struct scene *s)
{
	struct softaccel_port_counters counters;
	uint64_t drops = 0;
	unsigned int i;

	/* The first two are one port of the switch. */
	for (i = 1; i < 3; i++) {
		softaccel_function_port_counters(softaccel_function_at(s->accel.accel, i), &counters);
		drops += counters.drops[SOFTACCEL_DROP_RX_NO_QUEUE] + counters.drops[SOFTACCEL_DROP_RX_NO_BUFFER];
	}
	return drops - s->drops_before;
}

/* Flows enough that each of the other's rings has a packet of them. */
static void
reach(struct guest *from, struct guest *to)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + STACK_LIMIT_MS;
	struct stack_packet packet;
	unsigned int sent = 0, got[2] = {0, 0};

	while (got[0] == 0 || got[1] == 0 || got[0] + got[1] < sent) {
		if (got[0] == 0 || got[1] == 0)
			sent += stack_send(&from->vm, 1, to->last, from->last, STREAMS + sent, 0);
		usleep(1000);
		got[0] += stack_receive(&to->vm, 0, &packet);
		got[1] += stack_receive(&to->vm, 2, &packet);
		assert_true(rp_wire_clock_ms() < deadline_ms);
	}
}

static void
scene_open(struct scene *s, const struct test_vm_options *format)
{
	static const struct stack_function functions[] = {
		{.queue_pairs = 2, .mac_last = A_LAST, .group = "guest-a"},
		{.queue_pairs = 2, .mac_last = A_LAST, .group = "guest-a"},
		{.queue_pairs = 2, .mac_last = B_LAST},
	};

	memset(s, 0, sizeof(*s));
	stack_accel_start(&s->accel, functions, 3);
	guest_open(&s->a, 0, 0, 2, format);
	guest_open(&s->b, 1, 2, 1, format);
	s->from = &s->a;
	s->to = &s->b;
	/* The switch learns where both are, so that nothing is flooded; and each receive ring is in mid-life. */
	reach(&s->b, &s->a);
	reach(&s->a, &s->b);
	reach(&s->b, &s->a);
	s->drops_before = drops(s);
}

static void
scene_close(struct scene *s)
{
	test_vm_close(&s->a.vm);
	test_vm_close(&s->b.vm);
	test_port_close(&s->a.port);
	test_port_close(&s->b.port);
	stack_accel_stop(&s->accel);
}

static void
send_all(struct scene *s)
{
	uint64_t missing = drops(s);
	unsigned int i;

	for (i = 0; i < STREAMS; i++) {
		struct stack_stream *stream = &s->streams[i];

		if (stream->next_to_send >= atomic_load(&s->limit) ||
		    atomic_load(&s->sent) - atomic_load(&s->received) >= WINDOW + missing ||
		    !stack_send(&s->from->vm, 2 * i + 1, s->to->last, s->from->last, i, stream->next_to_send))
			continue;
		stream->next_to_send++;
		atomic_fetch_add(&s->sent, 1);
	}
}

static void
receive_all(struct scene *s)
{
	struct stack_packet packet;
	unsigned int i;

	for (i = 0; i < 4; i += 2)
		while (stack_receive(&s->to->vm, i, &packet)) {
			stack_stream_account(&s->streams[packet.stream % STREAMS], packet.sequence);
			atomic_fetch_add(&s->received, 1);
		}
}

static void *
run(void *ctx)
{
	struct scene *s = ctx;

	while (!atomic_load(&s->stop)) {
		send_all(s);
		receive_all(s);
		rp_vhu_frontend_process(s->a.vm.frontend);
		rp_vhu_frontend_process(s->b.vm.frontend);
	}
	return NULL;
}

static void
begin(struct scene *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
}

/* So many more may flow, and some of them have. */
static void
flow(struct scene *s)
{
	uint32_t before = atomic_load(&s->received);
	uint64_t deadline_ms = rp_wire_clock_ms() + STACK_LIMIT_MS;

	atomic_fetch_add(&s->limit, PACKETS_A_ROUND);
	while (atomic_load(&s->received) < before + WINDOW) {
		usleep(100);
		if (rp_wire_clock_ms() > deadline_ms)
			fail_msg("stalled at %u of %u sent", atomic_load(&s->received), atomic_load(&s->sent));
	}
}

static bool
all_arrived(void *ctx)
{
	struct scene *s = ctx;

	return atomic_load(&s->sent) == STREAMS * atomic_load(&s->limit) &&
	       atomic_load(&s->received) + drops(s) == atomic_load(&s->sent);
}

/* Every packet is received once, or counted as one that nobody was there for. */
static void
end(struct scene *s)
{
	bool arrived = test_wait(all_arrived, s, STACK_LIMIT_MS);
	unsigned int i;

	atomic_store(&s->stop, true);
	pthread_join(s->thread, NULL);
	if (!arrived)
		fail_msg("%u of %u received, %llu dropped", atomic_load(&s->received), atomic_load(&s->sent),
			 (unsigned long long)drops(s));
	for (i = 0; i < STREAMS; i++)
		assert_int_equal(s->streams[i].duplicated, 0);
}

static void
expect_on(struct scene *s, unsigned int queue, int accelerator, unsigned int accelerator_queue)
{
	struct rp_port_queue_info info = test_port_queue(&s->a.port, queue);

	assert_int_equal(info.accelerator, accelerator);
	assert_int_equal(info.accelerator_queue, accelerator_queue);
	assert_int_equal(info.owner, RP_PORT_OWNER_HARDWARE);
}

/* What it had put into the ring is sent by the other. */
static void
a_sender_moves(void **state)
{
	struct scene s;
	unsigned int i;

	scene_open(&s, *state);
	begin(&s);
	for (i = 1; i <= TRANSFERS; i++) {
		flow(&s);
		assert_int_equal(test_port_transfer(&s.a.port, 0, 4, i % 2, NULL), 0);
		expect_on(&s, 1, (int)(i % 2), 1);
		expect_on(&s, 3, (int)(i % 2), 3);
		if (i % 10 == 0)
			assert_true(test_port_wait_mode(&s.a.port, 3, RP_PORT_QUEUE_DIRECT, STACK_LIMIT_MS));
	}
	flow(&s);
	end(&s);
	for (i = 0; i < STREAMS; i++) {
		assert_int_equal(s.streams[i].reordered, 0);
		assert_int_equal(s.streams[i].lost, 0);
	}
	assert_int_equal(test_port_queue(&s.a.port, 3).moves, TRANSFERS);
	assert_int_equal(test_port_queue(&s.a.port, 3).moves_between_accelerators, TRANSFERS);
	assert_int_equal(test_port_queue(&s.a.port, 3).redone, 0);
	scene_close(&s);
}

/*
 * The other pair stays, so that there is always one to receive: flows change queues, and may be
 * out of order then, but nothing is lost.
 */
static void
a_pair_of_a_receiver_moves(void **state)
{
	const struct test_vm_options *format = *state;
	struct scene s;
	unsigned int i;

	scene_open(&s, *state);
	s.from = &s.b;
	s.to = &s.a;
	begin(&s);
	for (i = 1; i <= TRANSFERS; i++) {
		flow(&s);
		assert_int_equal(test_port_transfer(&s.a.port, 2, 2, i % 2, NULL), 0);
		expect_on(&s, 0, 0, 0);
		expect_on(&s, 2, (int)(i % 2), i % 2 == 0 ? 2 : 0);
	}
	flow(&s);
	end(&s);
	if (format->ring_features == 0 || format->ring_features == TEST_VM_IN_ORDER)
		assert_int_equal(drops(&s), 0);
	scene_close(&s);
}

/* While none of its queues runs, the switch has nowhere to put what comes, and says how much that was. */
static void
a_receiver_moves(void **state)
{
	struct scene s;
	unsigned int i;

	scene_open(&s, *state);
	s.from = &s.b;
	s.to = &s.a;
	begin(&s);
	for (i = 1; i <= TRANSFERS; i++) {
		flow(&s);
		assert_int_equal(test_port_transfer(&s.a.port, 0, 0, i % 2, NULL), 0);
		expect_on(&s, 0, (int)(i % 2), 0);
		expect_on(&s, 2, (int)(i % 2), 2);
	}
	flow(&s);
	end(&s);
	scene_close(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STACK_TESTS(a_sender_moves),
		STACK_TESTS(a_pair_of_a_receiver_moves),
		STACK_TESTS(a_receiver_moves),
	};

	return cmocka_run_group_tests(tests, stack_setup, stack_teardown);
}
