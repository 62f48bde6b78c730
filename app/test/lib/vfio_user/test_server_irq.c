/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "rp_wire_fd.h"

#define NONE 0x1
#define BOOL 0x2
#define EVENTFD 0x4
#define MASK 0x8
#define UNMASK 0x10
#define TRIGGER 0x20

#define INTX 0
#define MSIX 2
#define REQ 4

/* Who waits is ended. */
#define PATIENCE_S 10u

static struct device device;
static struct peer peer;
static struct peer_msg reply;
static struct test_leaks before;
static int events[DEVICE_MSIX_COUNT];

static int
setup(void **state)
{
	unsigned int i;

	(void)state;
	test_leaks_read(&before);
	device_start(&device);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	for (i = 0; i < DEVICE_MSIX_COUNT; i++)
		events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rp_wire_fd_close_all(events, DEVICE_MSIX_COUNT);
	peer_close(&peer);
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static uint32_t
set_irqs(uint32_t flags, uint32_t index, uint32_t start, uint32_t count, unsigned int fds_count)
{
	const uint8_t payload[] = {U32(20), U32(flags), U32(index), U32(start), U32(count)};

	return device_ask(&peer, 8, payload, sizeof(payload), events, fds_count, &reply);
}

static uint64_t
signals(unsigned int event)
{
	eventfd_t count;

	return eventfd_read(events[event], &count) == 0 ? count : 0;
}

static void
test_set_irqs_vector(void **state)
{
	static const uint8_t command[] = {HEADER(9, 8, 36, COMMAND, 0), U32(20), U32(0x24), U32(2), U32(6), U32(2)};
	static const uint8_t answer[] = {HEADER(9, 8, 16, REPLY, 0)};

	(void)state;
	assert_true(peer_send(&peer, command, sizeof(command), events, 2));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(answer));
	assert_memory_equal(reply.bytes, answer, sizeof(answer));
	assert_int_equal(device.irq_changes, 2);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, MSIX, 7), 0);
	assert_int_equal(signals(0), 0);
	assert_int_equal(signals(1), 1);
	/* What the device signals is the client's own eventfd. */
	assert_int_not_equal(rp_wire_fd_same(device.irq_fds[MSIX][6], events[0]), 0);
	assert_int_equal(rp_vfu_server_irq_fd(device.server, MSIX, 6), device.irq_fds[MSIX][6]);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, MSIX, 5), -ENOTCONN);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, MSIX, DEVICE_MSIX_COUNT), -EINVAL);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, 5, 0), -EINVAL);
}

/* Whether the client heard of an answer when the last register was read. */
static int answered_before = -1;

static int
look_at_the_client(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, uint8_t *ret_bytes)
{
	struct pollfd wait = {.fd = peer.fd, .events = POLLIN};

	(void)ctx;
	(void)region;
	(void)offset_bytes;
	(void)count_bytes;
	(void)ret_bytes;
	answered_before = poll(&wait, 1, 0);
	return 0;
}

/* Whoever wires interrupts and sends registers behind it is woken once, by all answers. */
static void
test_registers_behind_eventfds_are_answered_with_them(void **state)
{
	static const uint8_t eventfds[] = {HEADER(9, 8, 36, COMMAND, 0), U32(20), U32(0x24), U32(2), U32(6), U32(2)};
	static const uint8_t read[] = {HEADER(10, 9, 32, COMMAND, 0), U64(0x10), U32(0), U32(4)};
	struct device_description description;
	uint16_t id;

	(void)state;
	peer_close(&peer);
	device_describe(&device, &description);
	description.regions[0].read = look_at_the_client;
	device_restart_as(&device, &description, &peer, "\"max_msg_fds\":16");
	assert_true(peer_send(&peer, eventfds, sizeof(eventfds), events, 2));
	assert_true(peer_send(&peer, read, sizeof(read), NULL, 0));
	for (id = 9; id <= 10; id++) {
		assert_true(peer_receive(&peer, &reply));
		assert_int_equal(reply.id, id);
		assert_int_equal(reply.error, 0);
	}
	assert_int_equal(answered_before, 0);
	/* Alone, it is answered all the same. */
	assert_true(peer_send(&peer, eventfds, sizeof(eventfds), events, 2));
	assert_true(peer_receive(&peer, &reply));
}

static void
test_several_runs_and_per_vector_detach(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 0, 16, 16), 0);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 16, 16, 16), 0);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 32, 8, 8), 0);
	assert_int_equal(device.irq_changes, 40);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 3, 2, 0), 0);
	for (i = 0; i < DEVICE_MSIX_COUNT; i++)
		assert_int_equal(device.irq_fds[MSIX][i] < 0, i == 3 || i == 4);
	assert_int_equal(set_irqs(NONE | TRIGGER, MSIX, 0, 0, 0), 0);
	for (i = 0; i < DEVICE_MSIX_COUNT; i++)
		assert_int_equal(device.irq_fds[MSIX][i], -1);
	/* Once more: nothing changes, nothing is told. */
	assert_int_equal(device.irq_changes, 40 + 2 + 38);
	assert_int_equal(set_irqs(NONE | TRIGGER, MSIX, 0, 0, 0), 0);
	assert_int_equal(device.irq_changes, 40 + 2 + 38);
}

static void
test_replacing_an_eventfd_moves_the_signal(void **state)
{
	const uint8_t payload[] = {U32(20), U32(EVENTFD | TRIGGER), U32(MSIX), U32(0), U32(1)};

	(void)state;
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, 1), 0);
	assert_int_equal(device_ask(&peer, 8, payload, sizeof(payload), &events[1], 1, &reply), 0);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, MSIX, 0), 0);
	assert_int_equal(signals(0), 0);
	assert_int_equal(signals(1), 1);
}

static void
test_loopback_by_the_client(void **state)
{
	static const uint8_t some[] = {U32(24), U32(BOOL | TRIGGER), U32(MSIX), U32(0), U32(4), 1, 0, 2, 1};

	(void)state;
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 0, 3, 3), 0);
	assert_int_equal(set_irqs(NONE | TRIGGER, MSIX, 1, 39, 0), 0);
	assert_int_equal(signals(0), 0);
	assert_int_equal(signals(1), 1);
	assert_int_equal(signals(2), 1);
	assert_int_equal(device_ask(&peer, 8, some, sizeof(some), NULL, 0, &reply), 0);
	assert_int_equal(signals(0), 1);
	assert_int_equal(signals(1), 0);
	assert_int_equal(signals(2), 1);
}

static void
test_masked_vector_keeps_its_signal(void **state)
{
	const uint8_t masks[] = {U32(20), U32(EVENTFD | MASK), U32(REQ), U32(0), U32(1)};
	const uint8_t unmasks[] = {U32(20), U32(EVENTFD | UNMASK), U32(REQ), U32(0), U32(1)};

	(void)state;
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, REQ, 0, 1, 1), 0);
	assert_int_equal(device_ask(&peer, 8, masks, sizeof(masks), &events[1], 1, &reply), 0);
	assert_int_equal(device_ask(&peer, 8, unmasks, sizeof(unmasks), &events[2], 1, &reply), 0);
	assert_int_equal(set_irqs(NONE | MASK, REQ, 0, 2, 0), 0);
	assert_int_equal(set_irqs(NONE | MASK, REQ, 0, 1, 0), 0);
	assert_int_equal(signals(1), 1);
	/* Both the server and a data path that writes to what it was given. */
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, REQ, 0), 0);
	assert_int_equal(eventfd_write(device.irq_fds[REQ][0], 1), 0);
	assert_int_equal(signals(0), 0);
	assert_int_equal(set_irqs(NONE | UNMASK, REQ, 0, 2, 0), 0);
	assert_int_equal(signals(0), 1);
	assert_int_equal(signals(2), 1);
	assert_int_not_equal(rp_wire_fd_same(device.irq_fds[REQ][0], events[0]), 0);
	/* And once only. */
	assert_int_equal(set_irqs(NONE | MASK, REQ, 0, 1, 0), 0);
	assert_int_equal(set_irqs(NONE | UNMASK, REQ, 0, 1, 0), 0);
	assert_int_equal(signals(0), 0);
}

static void
test_eventfd_that_comes_while_masked(void **state)
{
	(void)state;
	assert_int_equal(set_irqs(NONE | MASK, REQ, 0, 1, 0), 0);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, REQ, 0), -ENOTCONN);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, REQ, 0, 1, 1), 0);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, REQ, 0), 0);
	assert_int_equal(signals(0), 0);
	assert_int_equal(set_irqs(NONE | UNMASK, REQ, 0, 1, 0), 0);
	assert_int_equal(signals(0), 1);
	/* Disabling the index forgets masks too. */
	assert_int_equal(set_irqs(NONE | MASK, REQ, 0, 1, 0), 0);
	assert_int_equal(set_irqs(NONE | TRIGGER, REQ, 0, 0, 0), 0);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, REQ, 0, 1, 1), 0);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, REQ, 0), 0);
	assert_int_equal(signals(0), 1);
}

static void
test_intx_masks_itself(void **state)
{
	(void)state;
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, INTX, 0, 1, 1), 0);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, INTX, 0), 0);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, INTX, 0), 0);
	assert_int_equal(signals(0), 1);
	/* Still asserted, so it fires again, and masks itself again. */
	assert_int_equal(set_irqs(NONE | UNMASK, INTX, 0, 1, 0), 0);
	assert_int_equal(signals(0), 1);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, INTX, 0), 0);
	assert_int_equal(signals(0), 0);
	assert_int_equal(set_irqs(NONE | UNMASK, INTX, 0, 1, 0), 0);
	assert_int_equal(set_irqs(NONE | UNMASK, INTX, 0, 1, 0), 0);
	assert_int_equal(signals(0), 1);
}

static void
test_full_eventfd_does_not_block(void **state)
{
	(void)state;
	assert_int_equal(fcntl(events[0], F_SETFL, 0), 0);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, 1), 0);
	assert_int_equal(eventfd_write(events[0], UINT64_MAX - 1), 0);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, MSIX, 0), 0);
	assert_true(signals(0) >= UINT64_MAX - 1);
}

/* Whoever signals a masked vector holds the eventfd that keeps it. */
static void
test_a_kept_signal_is_not_waited_for(void **state)
{
	(void)state;
	alarm(PATIENCE_S);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, REQ, 0, 1, 1), 0);
	assert_int_equal(set_irqs(NONE | MASK, REQ, 0, 1, 0), 0);
	assert_int_equal(fcntl(device.irq_fds[REQ][0], F_SETFL, 0), 0);
	assert_int_equal(set_irqs(NONE | UNMASK, REQ, 0, 1, 0), 0);
	assert_int_equal(signals(0), 0);
	alarm(0);
}

static void
test_set_irqs_refuses_what_breaks_a_rule(void **state)
{
	static const uint8_t short_bools[] = {U32(23), U32(BOOL | TRIGGER), U32(MSIX), U32(0), U32(4), 1, 0, 1};
	static const uint8_t data_for_none[] = {U32(21), U32(NONE | TRIGGER), U32(MSIX), U32(0), U32(1), 1};

	(void)state;
	assert_int_equal(set_irqs(TRIGGER, MSIX, 0, 1, 0), EINVAL);
	assert_int_equal(set_irqs(NONE, MSIX, 0, 1, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | BOOL | TRIGGER, MSIX, 0, 1, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | MASK | UNMASK, REQ, 0, 1, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | TRIGGER | 0x40, MSIX, 0, 1, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | TRIGGER, 5, 0, 1, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | TRIGGER, MSIX, 0, 41, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | TRIGGER, MSIX, 40, 1, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | TRIGGER, MSIX, UINT32_MAX, 2, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | TRIGGER, MSIX, 2, UINT32_MAX, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | TRIGGER, MSIX, 1, 0, 0), EINVAL);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 0, 0, 0), EINVAL);
	assert_int_equal(set_irqs(NONE | MASK, REQ, 0, 0, 0), EINVAL);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 0, 3, 2), EINVAL);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, MSIX, 0, 2, 3), EINVAL);
	assert_int_equal(set_irqs(NONE | TRIGGER, MSIX, 0, 1, 1), EINVAL);
	assert_int_equal(set_irqs(NONE | MASK, MSIX, 0, 1, 0), EOPNOTSUPP);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, 1, 0, 1, 1), EINVAL);
	assert_int_equal(device_ask(&peer, 8, short_bools, sizeof(short_bools), NULL, 0, &reply), EINVAL);
	assert_int_equal(device_ask(&peer, 8, data_for_none, sizeof(data_for_none), NULL, 0, &reply), EINVAL);
	assert_int_equal(device.irq_changes, 0);
}

/* Every set of flags, for an index that masks (REQ), one that cannot (MSI-X), ERR, and one that is absent (MSI). */
static void
test_every_combination_of_data_and_action(void **state)
{
	static const uint32_t indices[] = {INTX, 1, MSIX, 3, REQ};
	unsigned int i;
	uint32_t flags;

	(void)state;
	for (i = 0; i < 5; i++) {
		bool can_mask = indices[i] == INTX || indices[i] == REQ;

		for (flags = 0; flags < 0x80; flags++) {
			bool one_each = flags < 0x40 && __builtin_popcount(flags & 0x7) == 1 &&
					__builtin_popcount(flags & 0x38) == 1;
			const uint8_t payload[] = {U32(21), U32(flags), U32(indices[i]), U32(0), U32(1), 1};
			bool with_bool = (flags & 0x7) == BOOL;
			uint32_t want = !one_each || indices[i] == 1	    ? EINVAL :
					(flags & TRIGGER) == 0 && !can_mask ? EOPNOTSUPP :
									      0;

			assert_int_equal(device_ask(&peer, 8, payload, sizeof(payload) - (with_bool ? 0 : 1), events,
						    (flags & 0x7) == EVENTFD ? 1 : 0, &reply),
					 want);
			assert_true(want == 0 || device.last_refusal.text[0] != '\0');
		}
	}
}

static void
test_err_and_req_reach_their_eventfds(void **state)
{
	const uint8_t req_3[] = {U32(20), U32(EVENTFD | TRIGGER), U32(REQ), U32(3), U32(1)};
	static const uint8_t none_of_them[] = {U32(24), U32(BOOL | TRIGGER), U32(REQ), U32(0), U32(4), 0, 0, 0, 0};
	static const uint8_t the_last[] = {U32(24), U32(BOOL | TRIGGER), U32(REQ), U32(0), U32(4), 0, 0, 0, 0xff};

	(void)state;
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, 3, 0, 1, 1), 0);
	assert_int_equal(device_ask(&peer, 8, req_3, sizeof(req_3), &events[1], 1, &reply), 0);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, 3, 0), 0);
	assert_int_equal(signals(0), 1);
	assert_int_equal(set_irqs(NONE | TRIGGER, 3, 0, 1, 0), 0);
	assert_int_equal(signals(0), 1);
	assert_int_equal(device_ask(&peer, 8, none_of_them, sizeof(none_of_them), NULL, 0, &reply), 0);
	assert_int_equal(signals(1), 0);
	assert_int_equal(device_ask(&peer, 8, the_last, sizeof(the_last), NULL, 0, &reply), 0);
	assert_int_equal(signals(1), 1);
	/* One goes, the other stays. */
	assert_int_equal(set_irqs(NONE | TRIGGER, 3, 0, 0, 0), 0);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, 3, 0), -ENOTCONN);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, REQ, 3), 0);
	assert_int_equal(signals(1), 1);
}

static void
test_masks_by_byte(void **state)
{
	static const uint8_t mask[] = {U32(24), U32(BOOL | MASK), U32(REQ), U32(0), U32(4), 0, 1, 0, 1};
	static const uint8_t unmask[] = {U32(23), U32(BOOL | UNMASK), U32(REQ), U32(1), U32(3), 0, 0, 1};
	unsigned int i;

	(void)state;
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, REQ, 0, 4, 4), 0);
	assert_int_equal(device_ask(&peer, 8, mask, sizeof(mask), NULL, 0, &reply), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(rp_vfu_server_irq_trigger(device.server, REQ, i), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(signals(i), i % 2 == 0);
	assert_int_equal(device_ask(&peer, 8, unmask, sizeof(unmask), NULL, 0, &reply), 0);
	assert_int_equal(signals(1), 0);
	assert_int_equal(signals(3), 1);
}

/* The eventfds of masking and unmasking are attached, replaced and detached as those of triggering are. */
static void
test_mask_and_unmask_eventfds_are_detached(void **state)
{
	const uint8_t masks[] = {U32(20), U32(EVENTFD | MASK), U32(REQ), U32(0), U32(2)};
	const uint8_t unmasks[] = {U32(20), U32(EVENTFD | UNMASK), U32(REQ), U32(0), U32(2)};

	(void)state;
	assert_int_equal(device_ask(&peer, 8, masks, sizeof(masks), &events[0], 2, &reply), 0);
	assert_int_equal(device_ask(&peer, 8, unmasks, sizeof(unmasks), &events[2], 2, &reply), 0);
	assert_int_equal(set_irqs(EVENTFD | MASK, REQ, 0, 1, 0), 0);
	assert_int_equal(set_irqs(NONE | MASK, REQ, 0, 2, 0), 0);
	assert_int_equal(signals(0), 0);
	assert_int_equal(signals(1), 1);
	assert_int_equal(set_irqs(EVENTFD | UNMASK, REQ, 1, 1, 0), 0);
	assert_int_equal(set_irqs(NONE | UNMASK, REQ, 0, 2, 0), 0);
	assert_int_equal(signals(2), 1);
	assert_int_equal(signals(3), 0);
	/* None of it is what the device signals. */
	assert_int_equal(device.irq_changes, 0);
}

static void
test_index_that_takes_no_eventfds(void **state)
{
	struct device_description description;

	(void)state;
	device_describe(&device, &description);
	description.irqs[3].flags = 0;
	peer_close(&peer);
	device_restart(&device, &description);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, 3, 0, 1, 1), EOPNOTSUPP);
	assert_int_equal(set_irqs(NONE | TRIGGER, 3, 0, 1, 0), 0);
}

/* Leave the process no descriptor to open, or give it back what it had. */
static void
exhaust_descriptors(bool exhaust)
{
	static struct rlimit had;
	static int fillers[256];
	static unsigned int count;

	if (!exhaust) {
		rp_wire_fd_close_all(fillers, count);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
		return;
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 250, .rlim_max = had.rlim_max}), 0);
	for (count = 0; count < 256 && (fillers[count] = rp_wire_fd_dup(events[0])) >= 0; count++)
		;
	assert_in_range(count, 1, 255);
}

static void
test_no_descriptors_left(void **state)
{
	uint32_t masked, masked_two;
	bool closed;

	(void)state;
	assert_int_equal(set_irqs(EVENTFD | TRIGGER, REQ, 0, 1, 1), 0);
	exhaust_descriptors(true);
	masked = set_irqs(NONE | MASK, REQ, 0, 1, 0);
	/* One descriptor is there, and two are needed: none is masked. */
	close(events[1]);
	masked_two = set_irqs(NONE | MASK, REQ, 0, 2, 0);
	exhaust_descriptors(false);
	assert_int_equal(masked, ENOSPC);
	assert_int_equal(masked_two, ENOSPC);
	events[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(rp_vfu_server_irq_trigger(device.server, REQ, 0), 0);
	assert_int_equal(signals(0), 1);
	/* Descriptors that the kernel could not hand over are lost framing. */
	exhaust_descriptors(true);
	assert_true(peer_command(&peer, 1, 8, COMMAND, NULL, 0, events, 4));
	closed = !peer_receive(&peer, &reply);
	exhaust_descriptors(false);
	assert_true(closed);
	assert_int_equal(device.last_disconnect.error, -EPROTO);
}

static void
test_descriptors_of_the_wrong_kind(void **state)
{
	const uint8_t payload[] = {U32(20), U32(EVENTFD | TRIGGER), U32(MSIX), U32(0), U32(2)};
	int sockets[2], pipes[2], wrong[3], fds[2];
	unsigned int i;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	wrong[0] = sockets[0];
	wrong[1] = pipes[1];
	wrong[2] = device.memory_fd;
	for (i = 0; i < 3; i++) {
		fds[0] = events[0];
		fds[1] = wrong[i];
		assert_int_equal(device_ask(&peer, 8, payload, sizeof(payload), fds, 2, &reply), EINVAL);
		assert_string_equal(device.last_refusal.text, "DEVICE_SET_IRQS: descriptor 1: not an eventfd");
	}
	/* All or nothing. */
	assert_int_equal(device.irq_changes, 0);
	rp_wire_fd_close_all(sockets, 2);
	rp_wire_fd_close_all(pipes, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_set_irqs_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_registers_behind_eventfds_are_answered_with_them, setup, teardown),
		cmocka_unit_test_setup_teardown(test_several_runs_and_per_vector_detach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replacing_an_eventfd_moves_the_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loopback_by_the_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_masked_vector_keeps_its_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_eventfd_that_comes_while_masked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intx_masks_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_eventfd_does_not_block, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_kept_signal_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_set_irqs_refuses_what_breaks_a_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(test_index_that_takes_no_eventfds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors_left, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors_of_the_wrong_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_combination_of_data_and_action, setup, teardown),
		cmocka_unit_test_setup_teardown(test_err_and_req_reach_their_eventfds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_masks_by_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mask_and_unmask_eventfds_are_detached, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: interrupts", tests, NULL, NULL);
}
