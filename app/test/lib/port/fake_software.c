/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "fake_accel.h"
#include "fake_rings.h"
#include "fake_software.h"
#include "port.h"
#include "rp_wire_caller.h"
#include "rp_wire_fd.h"

#define IDLE_US 200

static struct fake_software fake;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; /* a tick calls back into the port */
static struct {
	pthread_t thread;
	_Atomic bool stop;
	bool runs;
	struct rp_dma_reader *reader;
	struct fake_accel_queue queues[FAKE_SOFTWARE_QUEUES];
	int kick_fds[FAKE_SOFTWARE_QUEUES];
} server;

static void
unlock(pthread_mutex_t **held)
{
	pthread_mutex_unlock(*held);
}

static pthread_mutex_t *
hold(void)
{
	pthread_mutex_lock(&lock);
	return &lock;
}

#define LOCKED __attribute__((cleanup(unlock), unused)) pthread_mutex_t *held = hold()

struct fake_software
fake_software_now(void)
{
	LOCKED;

	return fake;
}

struct fake_software *
fake_software_get(void)
{
	hold();
	return &fake;
}

void
fake_software_put(void)
{
	pthread_mutex_unlock(&lock);
}

void
fake_software_setup(void)
{
	LOCKED;

	memset(&fake, 0, sizeof(fake));
	/* All that the fake accelerator may be told to have, and the log. */
	fake.features = 1ull << 32 | 1ull << 29 | 1ull << 28 | 1ull << 15 | 1ull << 34 | 1ull << 35 |
			1ull << RP_VHU_F_LOG_ALL_BIT | 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT;
	fake.protocol_features =
		1ull << RP_VHU_PF_LOG_SHMFD_BIT | 1ull << RP_VHU_PF_RARP_BIT | 1ull << RP_VHU_PF_MTU_BIT;
	fake.queues_max = 4;
	fake.kind = RP_PORT_SOFTWARE_SPECIFICATION;
	fake.serve_error_queue = fake.take_error_queue = -1;
	fake.known = fake.usable = true;
}

static bool
was_kicked(unsigned int index)
{
	return server.queues[index].ring != NULL && server.kick_fds[index] >= 0 &&
	       rp_wire_caller_drain(server.kick_fds[index], NULL) > 0;
}

static void
serve_all(void)
{
	LOCKED;
	unsigned int i;

	if (fake.dead)
		return;
	for (i = 0; i < FAKE_SOFTWARE_QUEUES; i += 2) {
		struct fake_accel_queue rx = server.queues[i], tx = server.queues[i + 1];
		bool kicked = was_kicked(i);

		kicked |= was_kicked(i + 1);
		if (!kicked || tx.ring == NULL)
			continue;
		if (fake.mute)
			rx.call_fd = tx.call_fd = -1;
		rp_dma_reader_online(server.reader);
		fake_rings_loop(&rx, &tx);
		rp_dma_reader_offline(server.reader);
	}
}

static void *
run(void *ctx)
{
	(void)ctx;
	while (!atomic_load(&server.stop)) {
		serve_all();
		usleep(IDLE_US);
	}
	return NULL;
}

int
port_software_open(struct rp_port *port, const struct rp_port_software_config *config, struct rp_wire_why *why)
{
	LOCKED;
	unsigned int i;

	(void)config, (void)why;
	fake.configured = true;
	memset(&server, 0, sizeof(server));
	for (i = 0; i < FAKE_SOFTWARE_QUEUES; i++)
		server.kick_fds[i] = server.queues[i].call_fd = -1;
	assert_int_equal(rp_dma_reader_create(port->memory, &server.reader), 0);
	assert_int_equal(pthread_create(&server.thread, NULL, run, NULL), 0);
	server.runs = true;
	return 0;
}

static void
let_go(unsigned int index)
{
	server.queues[index].ring = fake_ring_close(server.queues[index].ring);
	rp_wire_fd_close(&server.queues[index].call_fd);
	rp_wire_fd_close(&server.kick_fds[index]);
	fake.has[index] = false;
}

void
port_software_close(struct rp_port *port)
{
	unsigned int i;

	(void)port;
	if (!server.runs)
		return;
	atomic_store(&server.stop, true);
	pthread_join(server.thread, NULL);
	for (i = 0; i < FAKE_SOFTWARE_QUEUES; i++)
		let_go(i);
	server.reader = rp_dma_reader_destroy(server.reader);
	server.runs = false;
	fake.configured = false;
}

/* Its end of the connection is gone, and nobody knows what it does. */
static void
go(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++)
		if (port->queues[i].software == PORT_SOFTWARE_RING_SERVES)
			port->queues[i].software = PORT_SOFTWARE_RING_UNPROVEN;
	port_move_software_gone(port);
}

static void
prove(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		if (port->queues[i].software != PORT_SOFTWARE_RING_UNPROVEN)
			continue;
		let_go(i);
		port->queues[i].software = PORT_SOFTWARE_RING_NONE;
	}
	fake.proven = true; /* said at the next tick: until then nobody may have them */
}

void
port_software_tick(struct rp_port *port, uint64_t now_ms)
{
	LOCKED;

	(void)now_ms;
	if (fake.go) {
		fake.go = fake.usable = false;
		go(port);
	}
	if (fake.proven) {
		fake.proven = false;
		port_move_software_proven(port);
	}
	if (fake.prove) {
		fake.prove = false;
		prove(port);
	}
	if (fake.come) {
		fake.come = false;
		fake.known = fake.usable = true;
		port_move_software_usable(port);
	}
}

uint64_t
port_software_deadline(const struct rp_port *port)
{
	LOCKED;

	(void)port;
	return fake.configured && (fake.come || fake.go || fake.prove || fake.proven) ? 1 : 0;
}

bool
port_software_configured(const struct rp_port *port)
{
	LOCKED;

	(void)port;
	return fake.configured;
}

bool
port_software_usable(const struct rp_port *port)
{
	LOCKED;

	(void)port;
	return fake.usable;
}

const char *
port_software_reason(const struct rp_port *port)
{
	(void)port;
	return "the software backend is away";
}

bool
port_software_known(const struct rp_port *port)
{
	LOCKED;

	(void)port;
	return fake.known;
}

uint64_t
port_software_features(const struct rp_port *port)
{
	LOCKED;

	(void)port;
	return fake.known ? fake.features : 0;
}

uint64_t
port_software_protocol_features(const struct rp_port *port)
{
	LOCKED;

	(void)port;
	return fake.known ? fake.protocol_features : 0;
}

unsigned int
port_software_queues_max(const struct rp_port *port)
{
	LOCKED;

	(void)port;
	return fake.known ? fake.queues_max : 0;
}

static int
answer(struct rp_wire_why *why)
{
	LOCKED;

	return fake.usable ? 0 : rp_wire_why_set(why, -ENOTCONN, "the software backend is away");
}

int
port_software_set_features(struct rp_port *port, uint64_t features, struct rp_wire_why *why)
{
	LOCKED;

	(void)port;
	if (fake.usable && fake.features_error != 0)
		return rp_wire_why_set(why, fake.features_error, "features refused");
	fake.features_told = features;
	fake.features_tellings++;
	return answer(why);
}

int
port_software_set_memory(struct rp_port *port, struct rp_wire_why *why)
{
	LOCKED;

	(void)port;
	fake.memory_tellings++;
	return answer(why);
}

int
port_software_set_log(struct rp_port *port, struct rp_wire_why *why)
{
	LOCKED;

	(void)port;
	fake.log_tellings++;
	return answer(why);
}

int
port_software_set_inflight(struct rp_port *port, struct rp_wire_why *why)
{
	(void)port;
	return answer(why);
}

int
port_software_get_inflight(struct rp_port *port, uint16_t queues_count, uint16_t queue_num, int *ret_fd,
			   uint64_t *ret_size_bytes, uint64_t *ret_offset_bytes, struct rp_wire_why *why)
{
	(void)port, (void)queues_count, (void)queue_num, (void)ret_fd, (void)ret_size_bytes, (void)ret_offset_bytes;
	return rp_wire_why_set(why, -ENOTCONN, "the software backend is away");
}

int
port_software_get_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
			 struct rp_wire_why *why)
{
	(void)port;
	memset(ret_bytes, 0x40 + (int)offset_bytes, size_bytes);
	return answer(why);
}

int
port_software_set_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes,
			 uint32_t flags, struct rp_wire_why *why)
{
	(void)port, (void)offset_bytes, (void)size_bytes, (void)bytes, (void)flags;
	return answer(why);
}

int
port_software_set_mtu(struct rp_port *port, uint16_t mtu_bytes, struct rp_wire_why *why)
{
	LOCKED;

	(void)port;
	fake.mtu = mtu_bytes;
	return answer(why);
}

int
port_software_send_rarp(struct rp_port *port, const uint8_t mac[6], struct rp_wire_why *why)
{
	LOCKED;

	(void)port, (void)mac;
	fake.rarps++;
	return answer(why);
}

void
port_software_frontend_gone(struct rp_port *port)
{
	LOCKED;

	(void)port;
	fake.frontends_gone++;
}

void
port_software_ring_started(struct rp_port *port, struct port_queue *queue)
{
	LOCKED;

	(void)port;
	assert_int_not_equal(queue->software, PORT_SOFTWARE_RING_SERVES);
	fake.started++;
}

void
port_software_ring_stopped(struct rp_port *port, struct port_queue *queue)
{
	LOCKED;

	(void)port;
	assert_int_not_equal(queue->software, PORT_SOFTWARE_RING_SERVES);
	fake.stopped++;
}

int
port_software_serve(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	LOCKED;
	struct rp_accel_queue_config config = {
		.num = queue->vring.num,
		.position = queue->position,
		.desc_iova = queue->vring.desc_gpa,
		.avail_iova = queue->vring.avail_gpa,
		.used_iova = queue->vring.used_gpa,
	};
	struct fake_accel_queue *served = &server.queues[queue->index];

	/* The one rule above all. */
	assert_false(queue->running);
	assert_int_equal(queue->kick_source.fd, -1);
	assert_int_not_equal(queue->software, PORT_SOFTWARE_RING_SERVES);
	assert_int_not_equal(queue->software, PORT_SOFTWARE_RING_UNPROVEN);
	assert_false(port->memory_stale);
	if (!fake.usable)
		return answer(why);
	if (fake.serve_error != 0 && (fake.serve_error_queue < 0 || fake.serve_error_queue == (int)queue->index))
		return rp_wire_why_set(why, fake.serve_error, "queue %u: serve refused", queue->index);
	assert_null(served->ring);
	served->ring = fake_ring_open(&config, port->features, server.reader);
	served->call_fd = queue->call_fd < 0 ? -1 : rp_wire_fd_dup(queue->call_fd);
	server.kick_fds[queue->index] = queue->kick_fd < 0 ? -1 : rp_wire_fd_dup(queue->kick_fd);
	queue->software = PORT_SOFTWARE_RING_SERVES;
	fake.has[queue->index] = true;
	return 0;
}

int
port_software_serve_together(struct rp_port *port, struct port_queue *const *queues, unsigned int count,
			     unsigned int *ret_served_count, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < count && rc == 0; i++) {
		rc = port_software_serve(port, queues[i], why);
		*ret_served_count = rc == 0 ? i + 1 : i;
	}
	return rc;
}

void
port_software_announce(struct rp_port *port, struct port_queue *const *queues, unsigned int count)
{
	(void)port, (void)queues, (void)count;
}

void
port_software_park_hold(struct rp_port *port)
{
	(void)port;
}

void
port_software_park_due(struct rp_port *port)
{
	LOCKED;
	unsigned int i;

	(void)port;
	for (i = 0; i < FAKE_ACCEL_QUEUES; i++)
		fake.kicks_when_parked[i] = fake_now().queues[i].kicks;
}

int
port_software_take(struct rp_port *port, struct port_queue *const *queues, unsigned int queues_count,
		   struct rp_wire_why *why)
{
	LOCKED;
	unsigned int i;

	(void)port;
	fake.takes_together += queues_count > 1;
	for (i = 0; i < queues_count; i++) {
		struct port_queue *queue = queues[i];

		assert_int_equal(queue->software, PORT_SOFTWARE_RING_SERVES);
		if (fake.take_error != 0 && (fake.take_error_queue < 0 || fake.take_error_queue == (int)queue->index)) {
			queue->software = PORT_SOFTWARE_RING_UNPROVEN;
			fake.go = true; /* it hangs: disconnected, and the others' rings as well */
			fake.usable = false;
			return rp_wire_why_set(why, fake.take_error, "queue %u: not taken", queue->index);
		}
		queue->position = fake_ring_position(server.queues[queue->index].ring);
		let_go(queue->index);
		queue->software = PORT_SOFTWARE_RING_PARKED;
	}
	return 0;
}

int
port_software_ring_call(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	LOCKED;
	int copy = queue->call_fd < 0 ? -1 : rp_wire_fd_dup(queue->call_fd);

	(void)port;
	rp_wire_fd_replace(&server.queues[queue->index].call_fd, &copy);
	fake.ring_calls++;
	return answer(why);
}

int
port_software_ring_kick(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	LOCKED;
	int copy = queue->kick_fd < 0 ? -1 : rp_wire_fd_dup(queue->kick_fd);

	(void)port;
	rp_wire_fd_replace(&server.kick_fds[queue->index], &copy);
	fake.ring_kicks++;
	return answer(why);
}

int
port_software_ring_err(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	LOCKED;

	(void)port, (void)queue;
	fake.ring_errs++;
	return answer(why);
}

int
port_software_ring_log(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	LOCKED;

	(void)port, (void)queue;
	fake.ring_logs++;
	return answer(why);
}

void
port_software_get_info(const struct rp_port *port, struct rp_port_software_info *ret_info)
{
	LOCKED;

	(void)port;
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->kind = fake.kind;
	ret_info->usable = fake.usable;
	ret_info->connected = fake.usable;
}

/* Nobody behind a guest's IOMMU. */
void
port_software_iotlb_invalidate(struct rp_port *port, uint64_t iova, uint64_t size_bytes)
{
	(void)port, (void)iova, (void)size_bytes;
}

void
port_software_iotlb_run(struct rp_port *port)
{
	(void)port;
}
