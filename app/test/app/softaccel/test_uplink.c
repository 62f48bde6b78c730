/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_eth_ring.h>
#include <rte_log.h>
#include <rte_ring.h>

#include "rig.h"

/* The uplink is an ethdev made of two rings of DPDK, whose other ends the test holds. */

#define RX 0u
#define TX 1u

static struct {
	struct rig rig;
	struct rig_guest guest;
	struct rte_ring *to_switch;
	struct rte_ring *from_switch;
	struct rte_mempool *pool;
	uint16_t port;
} fixture;

/* What its driver says that it announces by: as it is, or ... */
static int announce_fd = -1;
static bool unwatchable; /* ... nobody can wait for it */

static FILE *printed; /* by DPDK while the uplink was attached */

int __wrap_rte_eth_dev_rx_intr_enable(uint16_t port, uint16_t queue);
int __real_rte_eth_dev_rx_intr_enable(uint16_t port, uint16_t queue);
int __wrap_rte_eth_dev_rx_intr_ctl_q_get_fd(uint16_t port, uint16_t queue);
int __real_rte_eth_dev_rx_intr_ctl_q_get_fd(uint16_t port, uint16_t queue);
int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);
int __real_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);

int
__wrap_rte_eth_dev_rx_intr_enable(uint16_t port, uint16_t queue)
{
	return announce_fd >= 0 ? 0 : __real_rte_eth_dev_rx_intr_enable(port, queue);
}

int
__wrap_rte_eth_dev_rx_intr_ctl_q_get_fd(uint16_t port, uint16_t queue)
{
	return announce_fd >= 0 ? announce_fd : __real_rte_eth_dev_rx_intr_ctl_q_get_fd(port, queue);
}

int
__wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	if (unwatchable && fd == announce_fd) {
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(epoll_fd, operation, fd, event);
}

static int
setup(void **state)
{
	static unsigned int lives_count;
	struct rp_wire_why why;
	char name[32];
	int port;

	(void)state;
	/* A closed ethdev keeps its name. */
	snprintf(name, sizeof(name), "uplink%u", lives_count++);
	memset(&fixture, 0, sizeof(fixture));
	fixture.to_switch = rte_ring_create("to", 256, SOCKET_ID_ANY, 0);
	fixture.from_switch = rte_ring_create("from", 256, SOCKET_ID_ANY, 0);
	fixture.pool = rte_pktmbuf_pool_create("test", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	port = rte_eth_from_rings(name, &fixture.to_switch, 1, &fixture.from_switch, 1, 0);
	assert_true(port >= 0);
	fixture.port = (uint16_t)port;
	rig_create(&fixture.rig);
	printed = tmpfile();
	assert_non_null(printed);
	assert_int_equal(rte_openlog_stream(printed), 0);
	if (softaccel_uplink_attach(fixture.rig.accel, fixture.port, &why) < 0)
		fail_msg("%s", why.text);
	rte_openlog_stream(NULL);
	assert_int_equal(softaccel_uplink_attach(fixture.rig.accel, fixture.port, &why), -EBUSY);
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_run(&fixture.rig);
	rig_guest_start(&fixture.guest, &fixture.rig, 0, 2, RIG_FEATURES_DEFAULT | 1);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_guest_fini(&fixture.guest);
	rig_destroy(&fixture.rig);
	fclose(printed);
	rte_eth_dev_close(fixture.port);
	rte_mempool_free(fixture.pool);
	rte_ring_free(fixture.to_switch);
	rte_ring_free(fixture.from_switch);
	return 0;
}

/* Always readable, and nobody knows what would end that. */
static int
odd_setup(void **state)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "", 1), 1);
	close(ends[1]);
	announce_fd = ends[0];
	return setup(state);
}

static int
unwatchable_setup(void **state)
{
	announce_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(announce_fd >= 0);
	unwatchable = true;
	return setup(state);
}

static int
announced_teardown(void **state)
{
	int rc = teardown(state);

	close(announce_fd);
	announce_fd = -1;
	unwatchable = false;
	return rc;
}

static struct rte_mbuf *
take_from_switch(void)
{
	void *mbuf = NULL;
	unsigned int tries;

	for (tries = 0; tries < 20000 && rte_ring_dequeue(fixture.from_switch, &mbuf) != 0; tries++)
		usleep(100);
	assert_non_null(mbuf);
	return mbuf;
}

static void
out_and_in(void **state)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];
	struct softaccel_port_counters port;
	struct rte_mbuf *mbuf;

	(void)state;
	rig_frame(frame, RIG_BROADCAST, 0, 1, 1);
	assert_true(rig_send(&fixture.guest, TX, frame, sizeof(frame)));
	rig_ring(&fixture.guest, TX);
	mbuf = take_from_switch();
	assert_int_equal(rte_pktmbuf_pkt_len(mbuf), sizeof(frame));
	assert_memory_equal(rte_pktmbuf_mtod(mbuf, void *), frame, sizeof(frame));
	rte_pktmbuf_free(mbuf);

	mbuf = rte_pktmbuf_alloc(fixture.pool);
	rig_frame((uint8_t *)rte_pktmbuf_append(mbuf, RIG_FRAME_BYTES), 0, 5, 1, 2);
	assert_int_equal(rte_ring_enqueue(fixture.to_switch, mbuf), 0);
	assert_int_equal(rig_receive_wait(&fixture.guest, RX, packet, sizeof(packet)),
			 RIG_HEADER_BYTES + RIG_FRAME_BYTES);
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), 2);
	assert_int_equal(softaccel_uplink_port_counters(fixture.rig.accel, &port), 0);
	assert_int_equal(port.in_packets, 1);
	assert_int_equal(port.out_packets, 1);
}

/* Nobody sleeps for what will not wake him, or not let him sleep. */
static void
it_is_polled(void **state)
{
	struct softaccel_sleep_counters sleeps;
	unsigned int tries = 0;

	out_and_in(state);
	do {
		usleep(100);
		softaccel_sleep_counters(fixture.rig.accel, &sleeps);
	} while (sleeps.timed == 0 && ++tries < 20000);
	assert_true(sleeps.timed > 0);
	assert_int_equal(sleeps.untimed, 0);
}

/* A wire takes no half-done checksum. */
static void
checksum_is_completed(void **state)
{
	uint8_t sent[RIG_HEADER_BYTES + RIG_FRAME_BYTES] = {1, 0, 0, 0, 0, 0, 34, 0, 6, 0};
	struct rte_mbuf *mbuf;
	const uint8_t *frame;
	uint32_t sum = 0;
	unsigned int i;

	(void)state;
	rig_frame(sent + RIG_HEADER_BYTES, RIG_BROADCAST, 0, 1, 3);
	assert_true(rig_send_raw(&fixture.guest, TX, sent, sizeof(sent)));
	rig_ring(&fixture.guest, TX);
	mbuf = take_from_switch();
	frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	for (i = 34; i < RIG_FRAME_BYTES; i += 2)
		sum += (uint32_t)frame[i] << 8 | frame[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
	rte_pktmbuf_free(mbuf);
}

static void
segments_are_dropped(void **state)
{
	struct softaccel_port_counters port;
	struct rte_mbuf *first, *second;
	unsigned int tries = 0;

	(void)state;
	first = rte_pktmbuf_alloc(fixture.pool);
	second = rte_pktmbuf_alloc(fixture.pool);
	rig_frame((uint8_t *)rte_pktmbuf_append(first, RIG_FRAME_BYTES), 0, 5, 1, 2);
	rte_pktmbuf_append(second, 10);
	assert_int_equal(rte_pktmbuf_chain(first, second), 0);
	assert_int_equal(rte_ring_enqueue(fixture.to_switch, first), 0);
	do {
		usleep(100);
		softaccel_uplink_port_counters(fixture.rig.accel, &port);
	} while (port.drops[SOFTACCEL_DROP_UPLINK_SEGMENTS] == 0 && ++tries < 20000);
	assert_int_equal(port.drops[SOFTACCEL_DROP_UPLINK_SEGMENTS], 1);
	assert_int_equal(rte_mempool_in_use_count(fixture.pool), 0);
}

/* A full uplink loses packets, counts them, and gives every buffer back. */
static void
full_uplink(void **state)
{
	struct softaccel_port_counters port;
	uint8_t frame[RIG_FRAME_BYTES];
	unsigned int i, tries = 0;
	void *mbuf;

	(void)state;
	/* More than there are buffers. */
	for (i = 0; i < 3000; i++) {
		rig_frame(frame, RIG_BROADCAST, 0, 1, i);
		while (rig_reap(&fixture.guest, TX), !rig_send(&fixture.guest, TX, frame, sizeof(frame)))
			usleep(100);
		rig_ring(&fixture.guest, TX);
	}
	do {
		usleep(100);
		softaccel_uplink_port_counters(fixture.rig.accel, &port);
	} while (port.out_packets + port.drops[SOFTACCEL_DROP_UPLINK_FULL] < 3000 && ++tries < 20000);
	assert_int_equal(port.out_packets, 255);
	assert_int_equal(port.drops[SOFTACCEL_DROP_UPLINK_FULL], 3000 - 255);
	while (rte_ring_dequeue(fixture.from_switch, &mbuf) == 0)
		rte_pktmbuf_free(mbuf);
}

/* A wire that announces what comes: a TAP of the kernel's, whose other end is an interface. */

#define IDLE_MS 40u
#define EVENTFD 1u /* RP_ACCEL_VENDOR_DOORBELL_EVENTFD */
#define PATIENCE 20000u /* of a millisecond */

static struct {
	struct rig rig;
	struct rig_guest guest;
	char interface[IF_NAMESIZE];
	int socket;
} wire;

/* The kernel says nothing of its own there; what it said before that is not ours, and skipped. */
static void
wire_hush(void)
{
	char path[80];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", wire.interface);
	file = fopen(path, "w");
	if (file != NULL) {
		fputs("1", file);
		fclose(file);
	}
}

static bool
wire_make(void)
{
	char arguments[40];

	snprintf(wire.interface, sizeof(wire.interface), "rpw%d", (int)getpid());
	snprintf(arguments, sizeof(arguments), "iface=%s", wire.interface);
	if (rte_eal_hotplug_add("vdev", "net_tap_wire", arguments) != 0)
		return false;
	wire_hush();
	return true;
}

/* Its interface is up. */
static void
wire_hold(void)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

	at.sll_ifindex = (int)if_nametoindex(wire.interface);
	wire.socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	assert_true(wire.socket >= 0 && at.sll_ifindex > 0);
	assert_int_equal(bind(wire.socket, (struct sockaddr *)&at, sizeof(at)), 0);
}

static int
wire_setup(void **state)
{
	struct rp_wire_why why;
	uint16_t port;

	(void)state;
	memset(&wire, 0, sizeof(wire));
	wire.socket = -1;
	if (!wire_make())
		return 0;
	assert_int_equal(rte_eth_dev_get_port_by_name("net_tap_wire", &port), 0);
	rig_create(&wire.rig);
	if (softaccel_uplink_attach(wire.rig.accel, port, &why) < 0)
		fail_msg("%s", why.text);
	wire_hold();
	rig_function(&wire.rig, (struct softaccel_function_config){.queue_pairs = 1, .idle_ms = IDLE_MS});
	rig_run(&wire.rig);
	rig_guest_start(&wire.guest, &wire.rig, 0, 2, RIG_FEATURES_DEFAULT | 1);
	return 0;
}

static int
wire_teardown(void **state)
{
	(void)state;
	if (wire.socket < 0)
		return 0;
	rig_guest_fini(&wire.guest);
	rig_destroy(&wire.rig);
	close(wire.socket);
	assert_int_equal(rte_eal_hotplug_remove("vdev", "net_tap_wire"), 0);
	return 0;
}

static void
wait_unwatched(void)
{
	struct softaccel_queue_doorbell doorbell = {.watched = true};
	unsigned int queue, i;

	for (queue = 0; queue < 2; queue++) {
		rig_vendor_write(&wire.guest, queue, offsetof(struct rp_accel_vendor_queue, doorbell), EVENTFD);
		for (i = 0; i < PATIENCE; i++) {
			softaccel_queue_doorbell(wire.rig.functions[0], queue, &doorbell);
			if (!doorbell.watched)
				break;
			usleep(1000);
		}
		assert_false(doorbell.watched);
	}
}

/* Whether a while passes in which it neither woke nor used any time of a processor. */
static bool
sleeps_through(void)
{
	struct softaccel_sleep_counters before, after;
	unsigned int tries;
	uint64_t cpu_us;

	for (tries = 0; tries < 50; tries++) {
		softaccel_sleep_counters(wire.rig.accel, &before);
		cpu_us = rig_data_cpu_us(&wire.rig);
		usleep(100000);
		softaccel_sleep_counters(wire.rig.accel, &after);
		if (memcmp(&before, &after, sizeof(before)) == 0 && rig_data_cpu_us(&wire.rig) == cpu_us)
			return true;
	}
	return false;
}

static void
from_the_wire(uint32_t sequence)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];
	unsigned int tries;

	rig_frame(frame, 0, 5, 1, sequence);
	assert_int_equal(send(wire.socket, frame, sizeof(frame), 0), sizeof(frame));
	for (tries = 0; tries < 20; tries++)
		if (rig_receive_wait(&wire.guest, RX, packet, sizeof(packet)) ==
			    (int)sizeof(frame) + RIG_HEADER_BYTES &&
		    memcmp(packet + RIG_HEADER_BYTES, frame, sizeof(frame)) == 0)
			return;
	fail_msg("frame %u did not come", sequence);
}

static void
to_the_wire(uint32_t sequence)
{
	struct pollfd wait = {.fd = wire.socket, .events = POLLIN};
	uint8_t frame[RIG_FRAME_BYTES], seen[RIG_BUFFER_BYTES];
	uint16_t kick = htole16(TX);

	rig_frame(frame, RIG_BROADCAST, 0, 1, sequence);
	assert_true(rig_send(&wire.guest, TX, frame, sizeof(frame)));
	assert_int_equal(rp_vfu_client_region_write(wire.guest.client, RIG_BAR_NOTIFY, rig_doorbell_at(&wire.guest, TX),
						    sizeof(kick), &kick, NULL),
			 0);
	do {
		assert_int_equal(poll(&wait, 1, (int)PATIENCE), 1);
		assert_true(recv(wire.socket, seen, sizeof(seen), 0) > 0);
	} while (memcmp(seen, frame, sizeof(frame)) != 0);
}

/* Nobody looks at it again and again, and nothing that comes is late or lost. */
static void
a_quiet_wire_costs_nothing(void **state)
{
	uint32_t sequence;

	(void)state;
	if (wire.socket < 0) {
		print_message("no TAP can be made here\n");
		skip();
	}
	wait_unwatched();
	for (sequence = 1; sequence <= 20; sequence++) {
		if (sequence % 5 == 1)
			assert_true(sleeps_through());
		from_the_wire(sequence);
		if (sequence % 2 == 0)
			to_the_wire(1000 + sequence);
	}
	assert_true(sleeps_through());
}

/* A driver without such announcements is not asked for what it announces by: DPDK prints an error for that. */
static void
attached_without_a_word(void **state)
{
	char text[256] = "";

	(void)state;
	rewind(printed);
	if (fread(text, 1, sizeof(text) - 1, printed) > 0)
		fail_msg("%s", text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(out_and_in, setup, teardown),
		cmocka_unit_test_setup_teardown(attached_without_a_word, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_polled, odd_setup, announced_teardown),
		cmocka_unit_test_setup_teardown(it_is_polled, unwatchable_setup, announced_teardown),
		cmocka_unit_test_setup_teardown(checksum_is_completed, setup, teardown),
		cmocka_unit_test_setup_teardown(segments_are_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(full_uplink, setup, teardown),
		cmocka_unit_test_setup_teardown(a_quiet_wire_costs_nothing, wire_setup, wire_teardown),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
