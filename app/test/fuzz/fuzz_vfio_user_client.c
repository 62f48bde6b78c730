/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_vfu_client.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "vfio_user.h"

/*
 * A hostile server against rp_vfu_client: answers that lie, are late, too many, to
 * nobody or cut short, and commands while an answer is awaited. The driver calls what
 * it may call. While it waits the server speaks: poll(2) and recvmsg(2) are replaced (the
 * linker's --wrap), what it would wait for is taken from the input, and when the input
 * is over the server hangs up, so that nothing ever waits.
 */

#define ROWS_ROOM 32u
#define ACCESS_MAX 8192u
#define MAPPED_BYTES (4ull * FUZZ_MEMORY_BYTES) /* at most, from FUZZ_GPA on */

struct driver {
	struct rp_vfu_client *client;
	struct fuzz_input *input;
	char socket_path[32];
	int listen_fd;
	int server; /* the hostile end; -1: nobody has come, or it hung up */
	int twin; /* its end of the twin socket; -1: none */
	bool accepted;
	bool refuse; /* what the server wants of memory that is not here */
	bool left; /* disconnected() ran */
	uint16_t id;
	struct fuzz_vfu_queue asked;
	unsigned int started_count; /* commands that somebody listens for */
	uint8_t memory[FUZZ_MEMORY_BYTES];
};

/* Who poll(2) speaks for; there is one at a time. */
static struct driver *waiting;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
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
	struct fuzz_vfu_asked asked = fuzz_vfu_take(&driver->asked, driver->input, in_order);
	struct fuzz_vfu_message message;
	int theirs = -1;

	fuzz_vfu_reply(&message, driver->input, &asked);
	if (asked.header.command == RP_VFU_VERSION && message.fds_count > 0 &&
	    message.fds[0] == fuzz_fd(FUZZ_FD_SOCKET)) {
		rp_wire_fd_close(&driver->twin);
		fuzz_pair(&driver->twin, &theirs);
		message.fds[0] = theirs;
	}
	fuzz_vfu_send(&message, driver->input, driver->server);
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
	if (fuzz_u8(driver->input) >= 192)
		rows[0] = rp_vfu_msg_at(fuzz_below(driver->input, i));
	fuzz_vfu_command(&message, driver->input, rows[fuzz_below(driver->input, count)], driver->id++);
	fuzz_vfu_send(&message, driver->input,
		      driver->twin >= 0 && fuzz_u8(driver->input) < 192 ? driver->twin : driver->server);
}

/* One thing that a server may do. */
static void
speak(struct driver *driver)
{
	unsigned int kind = fuzz_u8(driver->input);
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
		fuzz_vfu_raw(&message, driver->input);
		fuzz_vfu_send(&message, driver->input, driver->server);
	} else if (kind < 248 && driver->twin >= 0) {
		fuzz_vfu_raw(&message, driver->input);
		fuzz_vfu_send(&message, driver->input, driver->twin);
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
		else if (waiting->input->left_bytes > 0 && waiting->server >= 0)
			speak(waiting);
		else if (waiting->server >= 0)
			hang_up(waiting);
		else
			break;
	}
	return rc;
}

/* The client's other way to wait. */
ssize_t
__wrap_recvmsg(int fd, struct msghdr *header, int flags)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	/* Only who sleeps in it waits for what the server says. */
	if ((flags & MSG_DONTWAIT) == 0)
		(void)__wrap_poll(&pollfd, 1, -1);
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

static void
on_done(void *ctx, int error, const struct rp_wire_why *why)
{
	struct driver *driver = ctx;

	fuzz_require(driver->started_count > 0, "a command ends once");
	fuzz_require(error <= 0 && (error == 0 || why->text[0] != '\0'), "an error has a reason");
	driver->started_count--;
}

/* What a caller would mmap lies in the region and in the file. */
static void
check_region(const struct rp_vfu_client_region *region)
{
	struct stat file;
	uint32_t i;

	if (region->fd < 0)
		return;
	fuzz_require(fstat(region->fd, &file) == 0, "a region's descriptor is open");
	for (i = 0; i < region->areas_count; i++) {
		uint64_t offset_bytes = region->areas[i].offset_bytes, size_bytes = region->areas[i].size_bytes;

		fuzz_require(offset_bytes <= region->size_bytes && size_bytes <= region->size_bytes - offset_bytes,
			     "an area lies in its region");
		if (S_ISREG(file.st_mode))
			fuzz_require(region->fd_offset_bytes + offset_bytes + size_bytes <= (uint64_t)file.st_size,
				     "an area lies in its file");
	}
}

static void
learn(struct driver *driver)
{
	struct rp_vfu_client_device device;
	struct rp_vfu_client_region region;
	uint32_t count, flags;

	switch (fuzz_below(driver->input, 3)) {
	case 0:
		if (rp_vfu_client_device_info(driver->client, &device, NULL) == 0)
			fuzz_require(device.regions_count <= RP_VFU_REGIONS_MAX, "regions have a limit");
		break;
	case 1:
		if (rp_vfu_client_region_info(driver->client, fuzz_below(driver->input, FUZZ_VFU_REGIONS), &region,
					      NULL) == 0)
			check_region(&region);
		break;
	default:
		if (rp_vfu_client_irq_info(driver->client, fuzz_below(driver->input, RP_VFU_PCI_IRQS_COUNT), &count,
					   &flags, NULL) == 0)
			fuzz_require(count <= RP_VFU_IRQ_VECTORS_MAX, "vectors have a limit");
		break;
	}
}

static void
access_region(struct driver *driver)
{
	static uint8_t bytes[ACCESS_MAX];
	uint32_t region = fuzz_below(driver->input, FUZZ_VFU_REGIONS);
	uint64_t offset_bytes = fuzz_u16(driver->input);
	uint32_t count_bytes = 1 + fuzz_u16(driver->input) % ACCESS_MAX;

	if (fuzz_u8(driver->input) < 128)
		rp_vfu_client_region_read(driver->client, region, offset_bytes, count_bytes, bytes, NULL);
	else
		rp_vfu_client_region_write(driver->client, region, offset_bytes, count_bytes, bytes, NULL);
}

static void
interrupts(struct driver *driver)
{
	uint32_t irq_index = fuzz_below(driver->input, RP_VFU_PCI_IRQS_COUNT);
	uint32_t vector = fuzz_below(driver->input, FUZZ_VFU_VECTORS);

	if (fuzz_u8(driver->input) < 192)
		rp_vfu_client_irq_set(driver->client, irq_index, vector, fuzz_fd(FUZZ_FD_EVENT), NULL);
	else
		rp_vfu_client_irq_disable(driver->client, irq_index, NULL);
}

static void
memory(struct driver *driver)
{
	struct rp_vfu_client_memory memory = {
		.iova = FUZZ_GPA + (uint64_t)fuzz_below(driver->input, 4) * FUZZ_MEMORY_BYTES,
		.size_bytes = FUZZ_MEMORY_BYTES,
		.fd = -1,
		.access_mask = 1 + fuzz_below(driver->input, 3),
	};
	const struct rp_vfu_client_done done = {on_done, driver};
	unsigned int kind = fuzz_u8(driver->input), end = fuzz_u8(driver->input);

	if (kind < 96)
		memory.fd = fuzz_fd(FUZZ_FD_SEALED);
	else if (kind < 176)
		memory.hva = driver->memory;
	if (kind % 2 == 0)
		rp_vfu_client_dma_map_memory(driver->client, &memory, NULL);
	else if (rp_vfu_client_dma_map_start(driver->client, &memory, &done, NULL) == 0)
		driver->started_count++;
	if (end < 64)
		rp_vfu_client_dma_unmap(driver->client, memory.iova, FUZZ_MEMORY_BYTES, NULL);
	else if (end < 128 &&
		 rp_vfu_client_dma_unmap_start(driver->client, memory.iova, FUZZ_MEMORY_BYTES, &done, NULL) == 0)
		driver->started_count++;
}

static void
doorbell(struct driver *driver)
{
	int fd = -1;

	if (rp_vfu_client_io_fd(driver->client, fuzz_below(driver->input, FUZZ_VFU_REGIONS),
				4ull * fuzz_below(driver->input, 8), 4, &fd, NULL) == 0)
		fuzz_require(fcntl(fd, F_GETFD) >= 0, "a doorbell is open");
	rp_wire_fd_close(&fd);
}

/* The driver does one thing that it may do. */
static void
step(struct driver *driver)
{
	switch (fuzz_below(driver->input, 16)) {
	case 0:
	case 1:
		learn(driver);
		break;
	case 2:
		access_region(driver);
		break;
	case 3:
		interrupts(driver);
		break;
	case 4:
		memory(driver);
		break;
	case 5:
		doorbell(driver);
		break;
	case 6:
		rp_vfu_client_reset(driver->client, NULL);
		break;
	case 7:
		rp_vfu_client_wait(driver->client, NULL);
		fuzz_require(driver->started_count == 0, "who waited for all of them waits for none");
		break;
	case 8:
		driver->refuse = !driver->refuse;
		break;
	default:
		if (driver->server >= 0)
			speak(driver);
		rp_vfu_client_process(driver->client);
		break;
	}
	fuzz_require(rp_vfu_client_connected(driver->client) != driver->left, "both know of the server");
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	struct fuzz_input input = {bytes, size_bytes};
	static struct driver driver;
	struct rp_vfu_client_config config = {.socket_path = driver.socket_path, .timeout_ms = 60 * 1000};
	unsigned int mode = fuzz_u8(&input);

	fuzz_begin();
	driver = (struct driver){.input = &input, .listen_fd = -1, .server = -1, .twin = -1};
	config.twin_socket = (mode & 1) != 0;
	config.specification_only = (mode & 2) != 0;
	config.max_data_xfer_bytes = (mode & 4) != 0 ? RP_VFU_DATA_XFER_FLOOR_BYTES : 0;
	/* In the directory where the fuzzer was started. */
	snprintf(driver.socket_path, sizeof(driver.socket_path), "client-%d.sock", (int)getpid());
	fuzz_require(rp_wire_socket_listen(driver.socket_path, &driver.listen_fd, NULL) == 0, "a socket");
	waiting = &driver;
	if (rp_vfu_client_create(&config, &ops, &driver, &driver.client, NULL) == 0) {
		while (input.left_bytes > 0)
			step(&driver);
		rp_vfu_client_process(driver.client);
	}
	rp_vfu_client_destroy(driver.client);
	fuzz_require(driver.started_count == 0, "nothing is under way without a client");
	waiting = NULL;
	hang_up(&driver);
	unlink(driver.socket_path);
	fuzz_end();
	return 0;
}
