/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "fake_backend_parts.h"
#include "rp_wire_fd.h"

#define BIT(n) (1ull << (n))
#define FRAME_MAX 4096

bool
fake_backend_is_packed(const struct fake_backend *fake)
{
	return (fake->features_acked & BIT(34)) != 0;
}

static bool
logs(const struct fake_backend_run *run)
{
	return run->log != NULL && (run->fake->features_acked & BIT(RP_VHU_F_LOG_ALL_BIT)) != 0;
}

static bool
has_enable(const struct fake_backend *fake)
{
	return (fake->features_acked & BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT)) != 0;
}

int
fake_backend_gpa(const struct fake_backend *fake, uint64_t uva, uint64_t *ret_gpa)
{
	unsigned int i;

	for (i = 0; i < fake->regions_count; i++)
		if (uva - fake->regions[i].uva < fake->regions[i].size_bytes) {
			*ret_gpa = fake->regions[i].gpa + (uva - fake->regions[i].uva);
			return 0;
		}
	return -1;
}

static void *
at_uva(const struct fake_backend_run *run, uint64_t uva, uint64_t size_bytes)
{
	uint64_t gpa;

	if (fake_backend_gpa(run->fake, uva, &gpa) < 0)
		return NULL;
	return rp_dma_space_translate(run->space, gpa, size_bytes, RP_DMA_READ | RP_DMA_WRITE);
}

/* Complete, as librte_vhost sees it. */
static bool
is_complete(const struct fake_backend *fake, unsigned int index)
{
	const struct fake_backend_ring *ring = &fake->rings[index];

	return ring->has_address && ring->has_kick && ring->has_call && (ring->enabled || !has_enable(fake));
}

static bool
should_serve(const struct fake_backend *fake, unsigned int index)
{
	const struct fake_backend_ring *ring = &fake->rings[index];

	if (fake->kind == FAKE_BACKEND_LIBRTE_VHOST)
		return fake->device_ready && is_complete(fake, index);
	return ring->started && ring->has_address && (ring->enabled || !has_enable(fake));
}

/* vhost-user.rst, "Ring states": a disabled ring of a network card discards what is sent. */
static bool
should_discard(const struct fake_backend *fake, unsigned int index)
{
	const struct fake_backend_ring *ring = &fake->rings[index];

	return fake->kind == FAKE_BACKEND_SPECIFICATION && index % 2 == 1 && ring->started && ring->has_address &&
	       !ring->enabled && has_enable(fake);
}

/* librte_vhost believes the used ring rather than what it was told. */
static void
correct(struct fake_backend_run *run, unsigned int index)
{
	uint16_t *used = at_uva(run, run->rings[index].used_uva, 4);

	if (run->fake->kind == FAKE_BACKEND_LIBRTE_VHOST && !fake_backend_is_packed(run->fake) && used != NULL)
		run->rings[index].at = le16toh(used[1]);
}

static bool
begin(struct fake_backend_run *run, unsigned int index)
{
	struct fake_backend_run_ring *ring = &run->rings[index];
	struct fake_backend_ring *shown = &run->fake->rings[index];
	struct rp_vring_layout layout = {.num = shown->num, .features = run->fake->features_acked};
	struct rp_wire_why why;
	int rc;

	if (fake_backend_gpa(run->fake, shown->desc_uva, &layout.desc_iova) < 0 ||
	    fake_backend_gpa(run->fake, ring->avail_uva, &layout.avail_iova) < 0 ||
	    fake_backend_gpa(run->fake, ring->used_uva, &layout.used_iova) < 0)
		return false;
	free(ring->notes);
	layout.notes = ring->notes = calloc(shown->num, sizeof(*ring->notes));
	correct(run, index);
	rp_dma_reader_online(run->reader);
	rc = rp_vring_dev_init(&ring->dev, &layout, ring->at, run->reader, &why);
	if (rc == 0)
		rp_vring_dev_set_notify(&ring->dev, !run->fake->polls);
	rp_dma_reader_offline(run->reader);
	ring->look = true;
	return rc == 0;
}

void
fake_backend_ring_pause(struct fake_backend_run *run, unsigned int index)
{
	if (!run->fake->rings[index].serving && !run->rings[index].discarding)
		return;
	run->rings[index].at = rp_vring_dev_position(&run->rings[index].dev);
	run->fake->rings[index].serving = run->rings[index].discarding = false;
}

static void
become_ready(struct fake_backend *fake)
{
	unsigned int i;

	if (fake->kind != FAKE_BACKEND_LIBRTE_VHOST || fake->device_ready || !is_complete(fake, 0) ||
	    !is_complete(fake, 1))
		return;
	fake->device_ready = true;
	fake->ready_count++;
	fake->rings_at_ready = 0;
	for (i = 0; i < FAKE_BACKEND_RINGS; i++)
		if (fake->rings[i].mentioned)
			fake->rings_at_ready = i + 1;
}

void
fake_backend_rings_settle(struct fake_backend_run *run)
{
	struct fake_backend *fake = run->fake;
	unsigned int i;

	become_ready(fake);
	for (i = 0; i < FAKE_BACKEND_RINGS; i++) {
		bool serve = should_serve(fake, i), discard = should_discard(fake, i);

		if (fake->rings[i].serving != serve || run->rings[i].discarding != discard)
			fake_backend_ring_pause(run, i);
		if (serve && !fake->rings[i].serving)
			fake->rings[i].serving = begin(run, i);
		if (discard && !run->rings[i].discarding)
			run->rings[i].discarding = begin(run, i);
	}
}

/* librte_vhost looks at all addresses anew, and writes what it wants to be notified of. */
void
fake_backend_rings_memory_changed(struct fake_backend_run *run)
{
	unsigned int i;

	for (i = 0; i < FAKE_BACKEND_RINGS; i++) {
		uint16_t *used = at_uva(run, run->rings[i].used_uva, 4);

		if (run->fake->kind == FAKE_BACKEND_LIBRTE_VHOST && run->fake->rings[i].has_address && used != NULL &&
		    !fake_backend_is_packed(run->fake))
			used[0] = htole16(1);
	}
}

void
fake_backend_rings_forget(struct fake_backend_run *run)
{
	unsigned int i;

	for (i = 0; i < FAKE_BACKEND_RINGS; i++) {
		struct fake_backend_ring *shown = &run->fake->rings[i];
		struct fake_backend_ring kept = *shown;

		rp_wire_fd_close(&run->rings[i].kick_fd);
		rp_wire_fd_close(&run->rings[i].call_fd);
		rp_wire_fd_close(&run->rings[i].err_fd);
		free(run->rings[i].notes);
		run->rings[i] = (struct fake_backend_run_ring){.kick_fd = -1, .call_fd = -1, .err_fd = -1};
		*shown = (struct fake_backend_ring){
			.moved = kept.moved, .discarded = kept.discarded, .bases_told = kept.bases_told};
	}
}

static void
mark(struct fake_backend_run *run, const void *address, uint64_t size_bytes)
{
	unsigned int i;

	for (i = 0; i < run->fake->regions_count; i++) {
		const struct rp_vhu_wire_region *region = &run->fake->regions[i];
		const uint8_t *begins =
			rp_dma_space_translate(run->space, region->gpa, region->size_bytes, RP_DMA_READ);

		if ((uint64_t)((const uint8_t *)address - begins) < region->size_bytes)
			rp_vhu_log_mark(run->log, region->gpa + (uint64_t)((const uint8_t *)address - begins),
					size_bytes);
	}
}

static void
used(struct fake_backend_run *run, unsigned int index)
{
	const struct fake_backend_ring *shown = &run->fake->rings[index];

	if (logs(run) && (shown->addr_flags & RP_VHU_VRING_ADDR_LOG_MASK) != 0)
		rp_vhu_log_mark(run->log, shown->log_gpa, 6 + 8ull * shown->num);
	if (rp_vring_dev_needs_interrupt(&run->rings[index].dev) == 1 && run->rings[index].call_fd >= 0)
		eventfd_write(run->rings[index].call_fd, 1);
}

/* A chain that waits, or none, in which case the driver is asked for a kick. */
static bool
peek(struct fake_backend_run *run, unsigned int index, struct rp_vring_chain *ret_chain)
{
	struct rp_vring_dev *dev = &run->rings[index].dev;

	if (rp_vring_dev_peek(dev, 0, ret_chain) == 1)
		return true;
	rp_vring_dev_set_notify(dev, !run->fake->polls);
	return rp_vring_dev_peek(dev, 0, ret_chain) == 1;
}

static bool
was_kicked(const struct fake_backend_run_ring *ring)
{
	struct pollfd kicked = {.fd = ring->kick_fd, .events = POLLIN};
	eventfd_t count;

	/* Without a descriptor nobody will say so. */
	return ring->kick_fd < 0 || (poll(&kicked, 1, 0) == 1 && eventfd_read(ring->kick_fd, &count) == 0);
}

static uint32_t
copy(struct fake_backend_run *run, const struct rp_vring_chain *from, const struct rp_vring_chain *to)
{
	uint8_t frame[FRAME_MAX];
	uint32_t size_bytes = 0, done_bytes = 0;
	unsigned int i;

	for (i = 0; i < from->out_count && size_bytes + from->iov[i].iov_len <= FRAME_MAX; i++) {
		memcpy(frame + size_bytes, from->iov[i].iov_base, from->iov[i].iov_len);
		size_bytes += (uint32_t)from->iov[i].iov_len;
	}
	for (i = to->out_count; i < to->out_count + to->in_count && done_bytes < size_bytes; i++) {
		uint32_t part = size_bytes - done_bytes;

		if (part > to->iov[i].iov_len)
			part = (uint32_t)to->iov[i].iov_len;
		memcpy(to->iov[i].iov_base, frame + done_bytes, part);
		if (logs(run))
			mark(run, to->iov[i].iov_base, part);
		done_bytes += part;
	}
	return done_bytes;
}

/* One frame from tx to rx. @return whether there is nothing to wait for. */
static bool
loop_one(struct fake_backend_run *run, unsigned int rx, const struct rp_vring_chain *sent)
{
	struct rp_vring_chain room;
	uint32_t size_bytes;

	if (!run->fake->rings[rx].serving) {
		run->fake->dropped++;
		return true;
	}
	if (!peek(run, rx, &room))
		return false;
	size_bytes = copy(run, sent, &room);
	rp_vring_dev_advance(&run->rings[rx].dev, 1);
	rp_vring_dev_push(&run->rings[rx].dev, room.head, size_bytes);
	run->fake->rings[rx].moved++;
	used(run, rx);
	return true;
}

static void
serve_pair(struct fake_backend_run *run, unsigned int rx)
{
	unsigned int tx = rx + 1;
	bool discarding = run->rings[tx].discarding;
	struct rp_vring_chain sent;

	if (!run->fake->rings[tx].serving && !discarding)
		return;
	run->rings[rx].look = run->rings[tx].look = false;
	while (peek(run, tx, &sent)) {
		if (!discarding && !loop_one(run, rx, &sent))
			return;
		rp_vring_dev_advance(&run->rings[tx].dev, 1);
		rp_vring_dev_push(&run->rings[tx].dev, sent.head, 0);
		if (discarding)
			run->fake->rings[tx].discarded++;
		else
			run->fake->rings[tx].moved++;
		used(run, tx);
	}
}

static bool
should_look(struct fake_backend_run *run, unsigned int index)
{
	struct fake_backend_run_ring *ring = &run->rings[index];

	/* What is read from the eventfd of a ring that is not served would be lost. */
	if (!run->fake->rings[index].serving && !ring->discarding)
		return false;
	ring->look |= was_kicked(ring) || run->fake->polls;
	return ring->look;
}

void
fake_backend_rings_serve(struct fake_backend_run *run)
{
	unsigned int i;

	rp_dma_reader_online(run->reader);
	for (i = 0; i < FAKE_BACKEND_RINGS && !run->fake->paused; i += 2)
		if (should_look(run, i) | should_look(run, i + 1))
			serve_pair(run, i);
	for (i = 0; i < FAKE_BACKEND_RINGS; i++)
		if (run->fake->rings[i].serving)
			run->fake->rings[i].position = rp_vring_dev_position(&run->rings[i].dev);
	rp_dma_reader_offline(run->reader);
}
