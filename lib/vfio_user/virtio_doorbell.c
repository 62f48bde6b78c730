/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "vfu_virtio.h"

/*
 * A word in a page of its own for each doorbell, in a file that nobody can make
 * shorter and that holds nothing else: fit to be handed to a guest. The address says
 * which queues may be meant; what is stored does not matter, as long as it is no word at rest.
 *
 * Where queues share a word, a kick of one is remembered for each of them: two processors of a
 * guest may store before we look, and then the word says the number of the later one only. Each
 * made its ring's entries visible before its store, so before any store that came to lie over it,
 * and we look at rings after the exchange: whoever is asked about then has them.
 */

#define AT_REST 0xffffffffu /* no queue has that number */

static uint32_t *
word_of(const struct rp_vfu_virtio *virtio, unsigned int queue)
{
	return (uint32_t *)(void *)(virtio->doorbells +
				    (uint64_t)vfu_virtio_doorbell_index(&virtio->config, queue) * virtio->stride_bytes);
}

static int
make_memory(struct rp_vfu_virtio *virtio)
{
	void *memory;

	virtio->doorbells_fd = memfd_create("doorbells", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (virtio->doorbells_fd < 0 || ftruncate(virtio->doorbells_fd, (off_t)virtio->doorbells_bytes) < 0 ||
	    fcntl(virtio->doorbells_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	memory = mmap(NULL, virtio->doorbells_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, virtio->doorbells_fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	virtio->doorbells = memory;
	memset(memory, 0xff, virtio->doorbells_bytes);
	return 0;
}

int
vfu_virtio_doorbells_init(struct rp_vfu_virtio *virtio, struct rp_wire_why *why)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t pages_count = vfu_virtio_doorbell_index(&virtio->config, virtio->config.queues_count - 1u) + 1u;
	int rc;

	virtio->doorbells_fd = -1;
	virtio->stride_bytes = virtio->config.notify_stride_bytes;
	if (virtio->stride_bytes != 0)
		return 0;
	virtio->stride_bytes = (uint32_t)page_bytes;
	virtio->doorbells_bytes = page_bytes;
	while (virtio->doorbells_bytes < pages_count * page_bytes)
		virtio->doorbells_bytes *= 2;
	rc = make_memory(virtio);
	if (rc < 0)
		rp_wire_why_set(why, rc, "doorbells: 0x%llx bytes: %s", (unsigned long long)virtio->doorbells_bytes,
				strerror(-rc));
	return rc;
}

void
vfu_virtio_doorbells_fini(struct rp_vfu_virtio *virtio)
{
	if (virtio->doorbells != NULL)
		munmap(virtio->doorbells, virtio->doorbells_bytes);
	rp_wire_fd_close(&virtio->doorbells_fd);
}

void
vfu_virtio_doorbells_clear(struct rp_vfu_virtio *virtio)
{
	unsigned int queue;

	for (queue = 0; queue < virtio->config.queues_count; queue++)
		(void)rp_vfu_virtio_rung(virtio, queue);
}

static void
remember(struct rp_vfu_virtio *virtio, unsigned int queue)
{
	unsigned int group = virtio->config.notify_group_queues > 1 ? virtio->config.notify_group_queues : 1;
	unsigned int first = queue - queue % group, i;

	for (i = first; i < first + group && i < virtio->config.queues_count; i++)
		virtio->rung[i] = true;
}

bool
rp_vfu_virtio_rung(struct rp_vfu_virtio *virtio, unsigned int queue)
{
	uint32_t *word;
	bool rung;

	if (virtio->doorbells == NULL)
		return false;
	word = word_of(virtio, queue);
	/* Loaded first: an exchange takes the cache line from the other side whether it rang or not. */
	if (__atomic_load_n(word, __ATOMIC_RELAXED) != AT_REST &&
	    __atomic_exchange_n(word, AT_REST, __ATOMIC_SEQ_CST) != AT_REST)
		remember(virtio, queue);
	rung = virtio->rung[queue];
	virtio->rung[queue] = false;
	return rung;
}
