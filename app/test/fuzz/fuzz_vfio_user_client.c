/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rp_vfu_client.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "vfio_user_caller.h"

/*
 * A hostile server against rp_vfu_client: answers that lie, are late, too many, to
 * nobody or cut short, and commands while an answer is awaited. The driver calls what
 * it may call. While it waits the server speaks: poll(2) and the recv(2) family are replaced (the
 * linker's --wrap), what it would wait for is taken from the input, and when the input
 * is over the server hangs up, so that nothing ever waits.
 */

#define ROWS_ROOM 32u
#define MAPPED_BYTES ((uint64_t)FUZZ_VFU_SLOTS_COUNT * FUZZ_MEMORY_BYTES) /* at most, from FUZZ_GPA on */

struct driver {
	struct fuzz_vfu_caller caller;
	char socket_path[32];
	int listen_fd;
	int server; /* the hostile end; -1: nobody has come, or it hung up */
	int twin; /* its end of the twin socket; -1: none */
	bool accepted;
	bool refuse; /* what the server wants of memory that is not here */
	bool left; /* disconnected() ran */
	uint16_t id;
	struct fuzz_vfu_queue asked;
};

/* Who poll(2) speaks for; there is one at a time. */
static struct driver *waiting;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
ssize_t __real_recv(int fd, void *bytes, size_t count, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t count, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *header, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *header, int flags);

static void
listen_to(struct driver *driver)
{
	fuzz_vfu_hear(driver->server, &driver->asked, NULL);
	fuzz_vfu_hear(driver->twin, &driver->asked, NULL);
}

/* To the oldest command, or to any; without one, to the last again. */
static void
answer(struct driver *driver, bool in_order)
{
	struct fuzz_vfu_asked asked = fuzz_vfu_take(&driver->asked, driver->caller.input, in_order);
	struct fuzz_vfu_message message;
	int theirs = -1;
	bool whole;

	fuzz_vfu_reply(&message, driver->caller.input, &asked);
	if (asked.header.command == RP_VFU_VERSION && message.fds_count > 0 &&
	    message.fds[0] == fuzz_fd(FUZZ_FD_SOCKET)) {
		rp_wire_fd_close(&driver->twin);
		fuzz_pair(&driver->twin, &theirs);
		message.fds[0] = theirs;
	}
	whole = fuzz_vfu_send(&message, driver->caller.input, driver->server);
	fuzz_vfu_answered(&driver->caller, &message, &asked, whole);
	rp_wire_fd_close(&theirs);
}

static void
command(struct driver *driver)
{
	static const struct rp_vfu_msg *rows[ROWS_ROOM];
	unsigned int count = 0, i;
	struct fuzz_vfu_message message;

	for (i = 0; rp_vfu_msg_at(i) != NULL; i++) {
		if (rp_vfu_msg_at(i)->direction == RP_VFU_TO_CLIENT)
			rows[count++] = rp_vfu_msg_at(i);
	}
	/* One of four is the client's own. */
	if (fuzz_u8(driver->caller.input) >= 192)
		rows[0] = rp_vfu_msg_at(fuzz_below(driver->caller.input, i));
	fuzz_vfu_command(&message, driver->caller.input, rows[fuzz_below(driver->caller.input, count)], driver->id++);
	if (driver->twin >= 0 && fuzz_u8(driver->caller.input) < 192)
		fuzz_vfu_send(&message, driver->caller.input, driver->twin);
	else if (!fuzz_vfu_send(&message, driver->caller.input, driver->server) || !fuzz_vfu_is_framed(&message))
		driver->caller.unframed = true;
}

/* One thing that a server may do. */
static void
speak(struct driver *driver)
{
	unsigned int kind = fuzz_u8(driver->caller.input);
	struct fuzz_vfu_message message;

	if (kind % 16 != 15)
		listen_to(driver);
	if (kind < 160) {
		answer(driver, true);
	} else if (kind < 176) {
		answer(driver, false);
	} else if (kind < 232) {
		command(driver);
	} else if (kind < 240) {
		driver->caller.unframed = true;
		fuzz_vfu_raw(&message, driver->caller.input);
		fuzz_vfu_send(&message, driver->caller.input, driver->server);
	} else if (kind < 248 && driver->twin >= 0) {
		fuzz_vfu_raw(&message, driver->caller.input);
		fuzz_vfu_send(&message, driver->caller.input, driver->twin);
	} else if (kind == 253) {
		rp_wire_fd_close(&driver->twin);
	} else if (kind == 254) {
		shutdown(driver->server, SHUT_WR);
	}
}

static void
hang_up(struct driver *driver)
{
	rp_wire_fd_close(&driver->listen_fd);
	rp_wire_fd_close(&driver->server);
	rp_wire_fd_close(&driver->twin);
}

int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	int rc;

	while ((rc = __real_poll(fds, count, 0)) == 0 && timeout_ms != 0 && waiting != NULL) {
		if (!waiting->accepted)
			waiting->accepted = rp_wire_socket_accept(waiting->listen_fd, &waiting->server) == 0;
		else if (waiting->caller.input->left_bytes > 0 && waiting->server >= 0)
			speak(waiting);
		else if (waiting->server >= 0)
			hang_up(waiting);
		else
			break;
	}
	return rc;
}

/* The client's other ways to wait. */
static void
wait_for(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	(void)__wrap_poll(&pollfd, 1, -1);
}

ssize_t
__wrap_recv(int fd, void *bytes, size_t count, int flags)
{
	if ((flags & MSG_DONTWAIT) == 0)
		wait_for(fd);
	return __real_recv(fd, bytes, count, flags | MSG_DONTWAIT);
}

ssize_t
__wrap_recvmsg(int fd, struct msghdr *header, int flags)
{
	if ((flags & MSG_DONTWAIT) == 0)
		wait_for(fd);
	return __real_recvmsg(fd, header, flags | MSG_DONTWAIT);
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct driver *driver = ctx;

	fuzz_require(!driver->left, "a server leaves once");
	fuzz_require(why->text[0] != '\0', "a reason for leaving");
	driver->left = true;
}

/* What the server reaches by messages lies in what was mapped. */
static void
check_reach(uint64_t iova, uint64_t size_bytes)
{
	fuzz_require(size_bytes > 0 && iova >= FUZZ_GPA && iova - FUZZ_GPA < MAPPED_BYTES &&
			     size_bytes <= MAPPED_BYTES - (iova - FUZZ_GPA),
		     "an access lies in what was mapped");
}

static int
on_dma_read(void *ctx, uint64_t iova, uint64_t size_bytes, void *ret_bytes)
{
	struct driver *driver = ctx;

	check_reach(iova, size_bytes);
	memset(ret_bytes, 0x5a, size_bytes);
	return driver->refuse ? -EFAULT : 0;
}

static int
on_dma_write(void *ctx, uint64_t iova, uint64_t size_bytes, const void *bytes)
{
	static uint8_t copy[RP_VFU_DATA_XFER_MAX_BYTES];
	struct driver *driver = ctx;

	check_reach(iova, size_bytes);
	memcpy(copy, bytes, size_bytes < sizeof(copy) ? size_bytes : sizeof(copy));
	return driver->refuse ? -EFAULT : 0;
}

static const struct rp_vfu_client_ops ops = {
	.disconnected = on_disconnected,
	.dma_read = on_dma_read,
	.dma_write = on_dma_write,
};

/* The driver does one thing that it may do. */
static void
step(struct driver *driver)
{
	static void (*const calls[])(struct fuzz_vfu_caller *) = {
		[0] = fuzz_vfu_learn,	     [1] = fuzz_vfu_learn,	   [2] = fuzz_vfu_access,
		[3] = fuzz_vfu_interrupts,   [4] = fuzz_vfu_memory,	   [5] = fuzz_vfu_doorbell,
		[16] = fuzz_vfu_write_multi, [17] = fuzz_vfu_feature,	   [18] = fuzz_vfu_migrate,
		[19] = fuzz_vfu_log,	     [20] = fuzz_vfu_places,	   [21] = fuzz_vfu_remap,
		[22] = fuzz_vfu_memory_many, [23] = fuzz_vfu_access_start, [24] = fuzz_vfu_log,
		[25] = fuzz_vfu_places,	     [26] = fuzz_vfu_iommu,
	};
	struct fuzz_vfu_caller *caller = &driver->caller;
	unsigned int kind = fuzz_below(caller->input, 32);

	switch (kind) {
	case 6:
		FUZZ_VFU_CALL(caller, rp_vfu_client_reset(caller->client, NULL));
		break;
	case 7:
		rp_vfu_client_wait(caller->client, NULL);
		fuzz_require(caller->started_count == 0, "who waited for all of them waits for none");
		break;
	case 8:
		driver->refuse = !driver->refuse;
		break;
	default:
		if (kind < sizeof(calls) / sizeof(calls[0]) && calls[kind] != NULL) {
			calls[kind](caller);
			break;
		}
		if (driver->server >= 0)
			speak(driver);
		rp_vfu_client_process(caller->client);
		break;
	}
	fuzz_require(rp_vfu_client_connected(caller->client) != driver->left, "both know of the server");
	fuzz_require((rp_vfu_client_fd(caller->client) < 0) == driver->left, "who has left is not polled for");
	fuzz_require((rp_vfu_client_socket_fd(caller->client) < 0) == driver->left, "who has left has no socket");
	fuzz_require(driver->left || rp_vfu_client_peer(caller->client) == getpid(), "the server is who listened");
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	struct fuzz_input input = {bytes, size_bytes};
	static struct driver driver;
	struct rp_vfu_client_config config = {.socket_path = driver.socket_path, .timeout_ms = 60 * 1000};
	unsigned int mode = fuzz_u8(&input);

	fuzz_begin();
	driver = (struct driver){.caller.input = &input, .listen_fd = -1, .server = -1, .twin = -1};
	config.twin_socket = (mode & 1) != 0;
	config.specification_only = (mode & 2) != 0;
	config.max_data_xfer_bytes = (mode & 4) != 0 ? RP_VFU_DATA_XFER_FLOOR_BYTES : 0;
	config.max_msg_fds = (mode & 8) != 0 ? RP_VFU_CLIENT_NO_FDS : 0;
	config.window_bytes = (mode & 16) != 0 ? 65536 : 0;
	config.withheld_mask = (mode & 32) != 0 ? fuzz_u16(&input) : 0;
	config.iommu = (mode & 64) != 0 ? &fuzz_vfu_client_iommu : NULL;
	/* In the directory where the fuzzer was started. */
	snprintf(driver.socket_path, sizeof(driver.socket_path), "client-%d.sock", (int)getpid());
	fuzz_require(rp_wire_socket_listen(driver.socket_path, &driver.listen_fd, NULL) == 0, "a socket");
	waiting = &driver;
	if (rp_vfu_client_create(&config, &ops, &driver, &driver.caller.client, NULL) == 0) {
		while (input.left_bytes > 0)
			step(&driver);
		rp_vfu_client_process(driver.caller.client);
	}
	rp_vfu_client_destroy(driver.caller.client);
	fuzz_require(driver.caller.started_count == 0, "nothing is under way without a client");
	waiting = NULL;
	hang_up(&driver);
	unlink(driver.socket_path);
	fuzz_end();
	return 0;
}
