/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_backend_parts.h"
#include "rp_vhu_msg.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

#define IDLE_US 200
#define MESSAGES_PER_STEP 16
#define BIT(n) (1ull << (n))

/* What the test and the one who runs both see. */
static struct shared {
	pthread_mutex_t lock;
	struct fake_backend fake;
	char path[108];
	_Atomic bool stop;
	_Atomic bool tell_config;
} * shared;

static pthread_t thread;
static bool threaded;
static pid_t child;

struct fake_backend *
fake_backend_take(void)
{
	/* Whoever was killed with it in hands left nothing half done that matters here. */
	if (pthread_mutex_lock(&shared->lock) == EOWNERDEAD)
		pthread_mutex_consistent(&shared->lock);
	return &shared->fake;
}

void
fake_backend_give(void)
{
	pthread_mutex_unlock(&shared->lock);
}

struct fake_backend
fake_backend_now(void)
{
	struct fake_backend now = *fake_backend_take();

	fake_backend_give();
	return now;
}

static void
default_features(struct fake_backend *fake, enum fake_backend_kind kind)
{
	/* MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED; MQ. */
	fake->features = BIT(15) | BIT(22) | BIT(28) | BIT(29) | BIT(32) | BIT(34) |
			 BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT) | BIT(RP_VHU_F_LOG_ALL_BIT);
	fake->protocol_features = BIT(RP_VHU_PF_MQ_BIT) | BIT(RP_VHU_PF_LOG_SHMFD_BIT) | BIT(RP_VHU_PF_RARP_BIT) |
				  BIT(RP_VHU_PF_REPLY_ACK_BIT) | BIT(RP_VHU_PF_MTU_BIT) |
				  BIT(RP_VHU_PF_BACKEND_REQ_BIT);
	if (kind == FAKE_BACKEND_LIBRTE_VHOST)
		fake->protocol_features |= BIT(RP_VHU_PF_CRYPTO_SESSION_BIT) | BIT(RP_VHU_PF_BACKEND_SEND_FD_BIT) |
					   BIT(RP_VHU_PF_HOST_NOTIFIER_BIT) | BIT(RP_VHU_PF_PAGEFAULT_BIT) |
					   BIT(RP_VHU_PF_STATUS_BIT);
	fake->queues = FAKE_BACKEND_RINGS / 2;
}

void
fake_backend_setup(enum fake_backend_kind kind, const char *socket_path)
{
	pthread_mutexattr_t attributes;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&shared->lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	snprintf(shared->path, sizeof(shared->path), "%s", socket_path);
	shared->fake.kind = kind;
	default_features(&shared->fake, kind);
}

void
fake_backend_teardown(void)
{
	fake_backend_stop();
	unlink(shared->path);
	pthread_mutex_destroy(&shared->lock);
	munmap(shared, sizeof(*shared));
	shared = NULL;
}

static void
forget(struct fake_backend_run *run)
{
	run->lingers_until_ms = 0;
	fake_backend_rings_forget(run);
	rp_dma_space_clear(run->space);
	run->log = rp_vhu_log_destroy(run->log);
	run->fake->device_ready = false;
	run->fake->regions_count = 0;
	run->fake->features_acked = run->fake->protocol_features_acked = 0;
	run->fake->has_log = run->fake->has_log_fd = run->fake->has_inflight = false;
}

static void
hang_up(struct fake_backend_run *run)
{
	run->conn = rp_wire_conn_destroy(run->conn);
	run->pending = NULL;
	rp_wire_fd_close(&run->channel_fd);
	run->fake->connected = false;
	if (run->fake->lingers_ms > 0)
		run->lingers_until_ms = rp_wire_clock_ms() + run->fake->lingers_ms;
	else
		forget(run);
}

static void
find_connection(struct fake_backend_run *run)
{
	int fd = -1, rc;

	if (run->conn != NULL)
		return;
	rc = run->fake->client ? rp_wire_socket_connect(shared->path, &fd, NULL) :
				 rp_wire_socket_accept(run->listen_fd, &fd);
	if (rc == 0 && rp_wire_conn_create(&fd, &rp_vhu_msg_framing, &run->conn) == 0) {
		run->fake->connections++;
		run->fake->connected = true;
	}
	rp_wire_fd_close(&fd);
}

static bool
hangs_over(struct fake_backend *fake, const struct rp_wire_msg *msg)
{
	struct rp_vhu_header header;

	memcpy(&header, msg->bytes, sizeof(header));
	if (fake->hang_at == 0 || header.request != fake->hang_at)
		return false;
	fake->hang_at = 0;
	fake->deaf = true;
	return true;
}

static int
handle(struct fake_backend_run *run, struct rp_wire_msg *msg)
{
	uint32_t slow_ms = run->fake->slow_ms;
	int rc;

	if (slow_ms > 0) {
		fake_backend_give();
		usleep(slow_ms * 1000);
		fake_backend_take();
	}
	rc = fake_backend_handle(run, msg);
	rp_wire_msg_drop(msg);
	return rc;
}

static void
converse(struct fake_backend_run *run)
{
	struct rp_wire_msg *msg;
	struct rp_wire_why why;
	unsigned int i;
	int rc = 0;

	if (run->pending != NULL) {
		rc = handle(run, run->pending);
		run->pending = NULL;
	}
	for (i = 0; rc == 0 && i < MESSAGES_PER_STEP && run->conn != NULL && !run->fake->deaf; i++) {
		rc = rp_wire_conn_receive(run->conn, &msg, &why);
		if (rc == 0 && hangs_over(run->fake, msg))
			run->pending = msg;
		else if (rc == 0)
			rc = handle(run, msg);
	}
	if (rc < 0 && rc != -EAGAIN && run->conn != NULL)
		hang_up(run);
}

static void
tell_config(struct fake_backend_run *run)
{
	const struct rp_vhu_header header = {
		.request = RP_VHU_BACKEND_CONFIG_CHANGE_MSG,
		.flags = RP_VHU_VERSION,
	};

	if (!atomic_exchange(&shared->tell_config, false) || run->channel_fd < 0)
		return;
	if (send(run->channel_fd, &header, sizeof(header), MSG_NOSIGNAL) != sizeof(header))
		fprintf(stderr, "fake backend: the channel takes nothing\n");
}

static void
ask(struct fake_backend_run *run)
{
	struct {
		struct rp_vhu_header header;
		struct rp_vhu_wire_iotlb iotlb;
	} __attribute__((packed)) miss = {
		.header = {.request = RP_VHU_BACKEND_IOTLB_MSG,
			   .flags = RP_VHU_VERSION,
			   .size_bytes = sizeof(miss.iotlb)},
		.iotlb = {.iova = run->fake->ask_iova, .perm = run->fake->ask_perm, .type = RP_VHU_IOTLB_MISS},
	};

	if (run->fake->ask_perm == 0 || run->channel_fd < 0)
		return;
	run->fake->ask_perm = 0;
	if (send(run->channel_fd, &miss, sizeof(miss), MSG_NOSIGNAL) != sizeof(miss))
		fprintf(stderr, "fake backend: the channel takes nothing\n");
}

static void
step(struct fake_backend_run *run)
{
	if (run->lingers_until_ms != 0 && rp_wire_clock_ms() >= run->lingers_until_ms)
		forget(run);
	if (!run->fake->deaf && run->lingers_until_ms == 0) {
		find_connection(run);
		converse(run);
		tell_config(run);
		ask(run);
	}
	fake_backend_rings_serve(run);
}

static void *
run_it(void *ctx)
{
	struct fake_backend_run *run = calloc(1, sizeof(*run));
	unsigned int i;

	(void)ctx;
	if (run == NULL)
		return NULL;
	run->fake = &shared->fake;
	run->listen_fd = run->channel_fd = -1;
	for (i = 0; i < FAKE_BACKEND_RINGS; i++)
		run->rings[i].kick_fd = run->rings[i].call_fd = run->rings[i].err_fd = -1;
	if (rp_dma_space_create(NULL, &run->space) < 0 || rp_dma_reader_create(run->space, &run->reader) < 0)
		abort();
	if (!run->fake->client && rp_wire_socket_listen(shared->path, &run->listen_fd, NULL) < 0)
		abort();
	while (!atomic_load(&shared->stop)) {
		fake_backend_take();
		step(run);
		fake_backend_give();
		usleep(IDLE_US);
	}
	fake_backend_take();
	hang_up(run);
	forget(run);
	rp_wire_fd_close(&run->listen_fd);
	fake_backend_give();
	rp_dma_reader_destroy(run->reader);
	rp_dma_space_destroy(run->space);
	free(run);
	return NULL;
}

void
fake_backend_start(void)
{
	atomic_store(&shared->stop, false);
	threaded = true;
	assert_int_equal(pthread_create(&thread, NULL, run_it, NULL), 0);
}

pid_t
fake_backend_fork(void)
{
	pid_t parent = getpid();

	atomic_store(&shared->stop, false);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* Never left behind by a test that failed. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* What goes wrong here ends this process, not a test in it. */
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		if (getppid() == parent)
			run_it(NULL);
		_exit(0);
	}
	return child;
}

void
fake_backend_stop(void)
{
	atomic_store(&shared->stop, true);
	if (threaded)
		pthread_join(thread, NULL);
	if (child > 0) {
		kill(child, SIGCONT);
		waitpid(child, NULL, 0);
	}
	threaded = false;
	child = 0;
}

void
fake_backend_kill(void)
{
	unsigned int i;

	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	child = 0;
	fake_backend_take();
	for (i = 0; i < FAKE_BACKEND_RINGS; i++)
		shared->fake.rings[i] = (struct fake_backend_ring){.moved = shared->fake.rings[i].moved};
	shared->fake.connected = shared->fake.device_ready = false;
	shared->fake.regions_count = 0;
	fake_backend_give();
}

void
fake_backend_freeze(void)
{
	fake_backend_take();
	kill(child, SIGSTOP);
	waitpid(child, NULL, WUNTRACED);
	fake_backend_give();
}

void
fake_backend_thaw(void)
{
	kill(child, SIGCONT);
}

void
fake_backend_change_config(void)
{
	atomic_store(&shared->tell_config, true);
}

unsigned int
fake_backend_asked(uint32_t request)
{
	struct fake_backend *fake = fake_backend_take();
	unsigned int count = 0, i;

	for (i = 0; i < fake->history_count; i++)
		count += fake->history[i].request == request;
	fake_backend_give();
	return count;
}

int
fake_backend_find(unsigned int from, uint32_t request, unsigned int ring)
{
	struct fake_backend *fake = fake_backend_take();
	int found = -1;
	unsigned int i;

	for (i = from; i < fake->history_count && found < 0; i++)
		if (fake->history[i].request == request && (ring == 255 || fake->history[i].ring == ring))
			found = (int)i;
	fake_backend_give();
	return found;
}
