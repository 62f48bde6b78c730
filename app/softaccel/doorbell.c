/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "sa_doorbell.h"

static size_t
power_of_two_at_least(size_t size)
{
	size_t power = SA_DOORBELL_PAGE_BYTES;

	while (power < size)
		power *= 2;
	return power;
}

static int
make_memory(struct sa_doorbells *doorbells)
{
	void *memory;

	doorbells->fd = memfd_create("softaccel-doorbells", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (doorbells->fd < 0)
		return -errno;
	if (ftruncate(doorbells->fd, (off_t)doorbells->size_bytes) < 0 ||
	    fcntl(doorbells->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	memory = mmap(NULL, doorbells->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, doorbells->fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	doorbells->memory = memory;
	memset(memory, 0xff, doorbells->size_bytes);
	return 0;
}

/* @param ret_fds also set on failure: what there is. */
static int
make_eventfds(unsigned int count, int **ret_fds)
{
	unsigned int i;
	int *fds = calloc(count, sizeof(*fds));

	*ret_fds = fds;
	if (fds == NULL)
		return -ENOMEM;
	memset(fds, 0xff, count * sizeof(*fds));
	for (i = 0; i < count; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fds[i] < 0)
			return -errno;
	}
	return 0;
}

static void
close_eventfds(unsigned int count, int **fds)
{
	if (*fds != NULL)
		rp_wire_fd_close_all(*fds, count);
	free(*fds);
	*fds = NULL;
}

unsigned int
sa_doorbells_sharing(enum softaccel_doorbell mode, unsigned int queues_count)
{
	unsigned int sharing = 1;

	while (mode == SOFTACCEL_DOORBELL_PAGE && sharing * SA_DOORBELL_PAGES_MAX < queues_count)
		sharing *= 2;
	return sharing;
}

int
sa_doorbells_init(struct sa_doorbells *doorbells, enum softaccel_doorbell mode, unsigned int queues_count)
{
	int rc;

	*doorbells = (struct sa_doorbells){
		.fd = -1,
		.count = queues_count,
		.sharing = sa_doorbells_sharing(mode, queues_count),
		.multiplier_bytes =
			mode == SOFTACCEL_DOORBELL_SHARED ? SA_DOORBELL_SHARED_MULTIPLIER : SA_DOORBELL_PAGE_BYTES,
	};
	rp_dma_vote_init(&doorbells->vote);
	doorbells->size_bytes = power_of_two_at_least(
		(size_t)((queues_count + doorbells->sharing - 1) / doorbells->sharing) * doorbells->multiplier_bytes);
	rc = make_memory(doorbells);
	if (rc == 0)
		rc = make_eventfds(queues_count, &doorbells->kick_fds);
	if (rc == 0)
		rc = make_eventfds(queues_count, &doorbells->said_fds);
	if (rc < 0) {
		sa_doorbells_fini(doorbells);
		return rc;
	}
	if (mode == SOFTACCEL_DOORBELL_NONE)
		rp_wire_fd_close(&doorbells->fd);
	return 0;
}

void
sa_doorbells_fini(struct sa_doorbells *doorbells)
{
	close_eventfds(doorbells->count, &doorbells->said_fds);
	close_eventfds(doorbells->count, &doorbells->kick_fds);
	if (doorbells->memory != NULL)
		munmap(doorbells->memory, doorbells->size_bytes);
	doorbells->memory = NULL;
	rp_wire_fd_close(&doorbells->fd);
}

void
sa_doorbells_clear(struct sa_doorbells *doorbells)
{
	unsigned int i;

	for (i = 0; i < doorbells->count; i++) {
		sa_doorbell_observe(sa_doorbell_word(doorbells, i));
		sa_doorbell_drain(doorbells->kick_fds[i]);
		sa_doorbell_drain(doorbells->said_fds[i]);
	}
}

void
sa_doorbells_vote(struct sa_doorbells *doorbells, int node, int by)
{
	/* What cannot be moved stays, and works. */
	if (rp_dma_vote_cast(&doorbells->vote, node, by))
		rp_dma_node_place(doorbells->memory, doorbells->size_bytes, rp_dma_vote_node(&doorbells->vote));
}

void
sa_doorbells_say(const struct sa_doorbells *doorbells, unsigned int queue)
{
	eventfd_write(doorbells->said_fds[queue], 1);
}

int
sa_doorbells_queue_at(const struct sa_doorbells *doorbells, uint64_t offset_bytes)
{
	uint64_t queue = offset_bytes / doorbells->multiplier_bytes * doorbells->sharing;

	if (offset_bytes % doorbells->multiplier_bytes != 0 || queue >= doorbells->count)
		return -1;
	return (int)queue;
}

void
sa_doorbells_wrote(const struct sa_doorbells *doorbells, uint64_t offset_bytes, uint16_t value)
{
	int first = sa_doorbells_queue_at(doorbells, offset_bytes);
	unsigned int queue, end;

	if (first < 0)
		return;
	queue = (unsigned int)first;
	end = queue + doorbells->sharing < doorbells->count ? queue + doorbells->sharing : doorbells->count;
	if (value >= queue && value < end) {
		queue = value;
		end = queue + 1;
	}
	for (; queue < end; queue++)
		sa_doorbells_say(doorbells, queue);
}

uint64_t
sa_doorbell_drain(int kick_fd)
{
	uint64_t count = 0;
	struct iovec iov = {.iov_base = &count, .iov_len = sizeof(count)};

	/* O_NONBLOCK belongs to the open file, which the other side holds too and may have cleared. */
	if (preadv2(kick_fd, &iov, 1, -1, RWF_NOWAIT) != (ssize_t)sizeof(count))
		return 0;
	return count;
}
