/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "rp_wire_fd.h"

#define FDS_SENT_MAX 253 /* the kernel's own limit */

struct counts {
	unsigned int fds;
	unsigned int mappings;
};

static struct counts before;
static int pool[FUZZ_FDS_COUNT];
static bool pool_made;

uint8_t
fuzz_u8(struct fuzz_input *input)
{
	if (input->left_bytes == 0)
		return 0;
	input->left_bytes--;
	return *input->at++;
}

uint16_t
fuzz_u16(struct fuzz_input *input)
{
	uint16_t low = fuzz_u8(input);

	return (uint16_t)(low | fuzz_u8(input) << 8);
}

unsigned int
fuzz_below(struct fuzz_input *input, unsigned int limit)
{
	return fuzz_u8(input) % limit;
}

void
fuzz_bytes(struct fuzz_input *input, void *ret_bytes, size_t size_bytes)
{
	size_t count = size_bytes < input->left_bytes ? size_bytes : input->left_bytes;

	memset(ret_bytes, 0, size_bytes);
	if (count > 0)
		memcpy(ret_bytes, input->at, count);
	input->at += count;
	input->left_bytes -= count;
}

uint64_t
fuzz_number(struct fuzz_input *input)
{
	static const uint64_t edges[] = {
		0,
		1,
		2,
		15,
		16,
		255,
		256,
		257,
		0xfff,
		0x1000,
		0x2000,
		0x8000,
		0xffff,
		FUZZ_MEMORY_BYTES,
		FUZZ_MEMORY_BYTES - 0x1000,
		FUZZ_GPA,
		FUZZ_GPA + FUZZ_MEMORY_BYTES,
		FUZZ_UVA,
		FUZZ_UVA + FUZZ_MEMORY_BYTES - 1,
		0x80008000,
		INT32_MAX,
		UINT32_MAX,
		1ull << 32,
		INT64_MAX,
		UINT64_MAX - 0xfff,
		UINT64_MAX,
	};
	const unsigned int edges_count = sizeof(edges) / sizeof(edges[0]);
	unsigned int kind = fuzz_u8(input);
	uint64_t value;

	if (kind < edges_count)
		return edges[kind];
	if (kind < 128)
		return kind - edges_count;
	if (kind < 192)
		return 1ull << (kind - 128);
	fuzz_bytes(input, &value, sizeof(value));
	return value;
}

static int
memory(size_t size_bytes, bool sealed)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	fuzz_require(fd >= 0 && ftruncate(fd, (off_t)size_bytes) == 0, "a memfd");
	if (sealed)
		fuzz_require(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0, "a seal");
	return fd;
}

static void
make_pool(void)
{
	int unused;

	pool_made = true;
	signal(SIGPIPE, SIG_IGN);
	pool[FUZZ_FD_SEALED] = memory(FUZZ_MEMORY_BYTES, true);
	pool[FUZZ_FD_SEALED_TWIN] = memory(FUZZ_MEMORY_BYTES, true);
	pool[FUZZ_FD_UNSEALED] = memory(FUZZ_MEMORY_BYTES, false);
	pool[FUZZ_FD_SMALL] = memory(1, true);
	pool[FUZZ_FD_EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fuzz_pair(&pool[FUZZ_FD_SOCKET], &unused);
	pool[FUZZ_FD_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
	pool[FUZZ_FD_ZERO] = open("/dev/zero", O_RDWR | O_CLOEXEC);
}

int
fuzz_fd(enum fuzz_fd kind)
{
	return pool[kind];
}

void
fuzz_pair(int *ret_ours, int *ret_theirs)
{
	int pair[2];

	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0, "a socket pair");
	*ret_ours = pair[0];
	*ret_theirs = pair[1];
}

size_t
fuzz_send(int peer, const void *bytes, size_t size_bytes, const int *fds, unsigned int fds_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * FDS_SENT_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size_bytes};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (fds_count > 0) {
		struct cmsghdr *rights;

		memset(&control, 0, CMSG_SPACE(sizeof(int) * fds_count));
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
		memcpy(CMSG_DATA(rights), fds, sizeof(int) * fds_count);
	}
	sent = sendmsg(peer, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	return sent < 0 ? 0 : (size_t)sent;
}

/* All but the first, if somebody wants it. */
static void
close_received(struct msghdr *header, int *kept_fd)
{
	struct cmsghdr *control;

	for (control = CMSG_FIRSTHDR(header); control != NULL; control = CMSG_NXTHDR(header, control)) {
		size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;

		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
			if (kept_fd != NULL && i == 0)
				rp_wire_fd_replace(kept_fd, &fd);
			rp_wire_fd_close(&fd);
		}
	}
}

size_t
fuzz_receive(int peer, void *ret_bytes, size_t room_bytes)
{
	return fuzz_receive_fd(peer, ret_bytes, room_bytes, NULL);
}

size_t
fuzz_receive_fd(int peer, void *ret_bytes, size_t room_bytes, int *kept_fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * FDS_SENT_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = ret_bytes, .iov_len = room_bytes};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got = recvmsg(peer, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got <= 0)
		return 0;
	close_received(&header, kept_fd);
	return (size_t)got;
}

void
fuzz_drain(int peer)
{
	uint8_t bytes[4096];

	while (fuzz_receive(peer, bytes, sizeof(bytes)) > 0)
		;
}

void
fuzz_require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz: does not hold: %s\n", what);
	abort();
}

static void
count(struct counts *ret_counts)
{
	char line[4352];
	DIR *dir = opendir("/proc/self/fd");
	FILE *maps = fopen("/proc/self/maps", "re");

	fuzz_require(dir != NULL && maps != NULL, "/proc");
	memset(ret_counts, 0, sizeof(*ret_counts));
	while (readdir(dir) != NULL)
		ret_counts->fds++;
	while (fgets(line, sizeof(line), maps) != NULL) {
		char sharing;

		/* What a rp_wire_caller was is kept for the next one. */
		if (sscanf(line, "%*s %*3c%c", &sharing) == 1 && sharing == 's' && strstr(line, "/[aio]") == NULL)
			ret_counts->mappings++;
	}
	fclose(maps);
	closedir(dir);
}

void
fuzz_begin(void)
{
	if (!pool_made)
		make_pool();
	count(&before);
}

void
fuzz_end(void)
{
	struct counts now;

	count(&now);
	if (now.fds != before.fds)
		fprintf(stderr, "fuzz: %u descriptors are open, were %u\n", now.fds, before.fds);
	if (now.mappings != before.mappings)
		fprintf(stderr, "fuzz: %u shared mappings, were %u\n", now.mappings, before.mappings);
	fuzz_require(now.fds == before.fds && now.mappings == before.mappings, "nothing is left behind");
}
