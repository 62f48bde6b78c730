/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "rp_wire_fd.h"

int
guest_setup(void **state)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	test_leaks_read(&guest->before);
	guest->fd = test_memfd(GUEST_BYTES, true);
	guest->memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);
	assert_ptr_not_equal(guest->memory, MAP_FAILED);
	assert_int_equal(rp_dma_space_create(NULL, &guest->space), 0);
	assert_int_equal(rp_dma_reader_create(guest->space, &guest->reader), 0);
	rp_dma_reader_online(guest->reader);
	guest_map(guest, GUEST_IOVA, 0, GUEST_BYTES, RP_DMA_READ | RP_DMA_WRITE);
	*state = guest;
	return 0;
}

int
guest_teardown(void **state)
{
	struct guest *guest = *state;

	rp_dma_reader_offline(guest->reader);
	rp_dma_reader_destroy(guest->reader);
	rp_dma_space_destroy(guest->space);
	munmap(guest->memory, GUEST_BYTES);
	rp_wire_fd_close(&guest->fd);
	test_leaks_assert_none(&guest->before);
	free(guest);
	return 0;
}

void
guest_map(struct guest *guest, uint64_t iova, uint64_t offset_bytes, uint64_t size_bytes, uint32_t access_mask)
{
	const struct rp_dma_mapping mapping = {
		.iova = iova,
		.size_bytes = size_bytes,
		.offset_bytes = offset_bytes,
		.access_mask = access_mask,
		.fd = guest->fd,
	};
	struct rp_wire_why why = {0};

	rp_dma_reader_offline(guest->reader);
	if (rp_dma_space_map(guest->space, &mapping, &why) != 0)
		fail_msg("%s", why.text);
	rp_dma_reader_online(guest->reader);
}

void
guest_unmap(struct guest *guest, uint64_t iova, uint64_t size_bytes)
{
	rp_dma_reader_offline(guest->reader);
	assert_int_equal(rp_dma_space_unmap(guest->space, iova, size_bytes, NULL), 0);
	rp_dma_reader_online(guest->reader);
}

void
guest_start(struct guest *guest, uint16_t num, uint16_t index, uint64_t features)
{
	struct rp_wire_why why = {0};

	memset(guest->memory + GUEST_DESC_AT, 0, 16 * (size_t)num);
	memset(guest->memory + GUEST_AVAIL_AT, 0, 6 + 2 * (size_t)num);
	memset(guest->memory + GUEST_USED_AT, 0, 6 + 8 * (size_t)num);
	guest->layout = (struct rp_vring_layout){
		.num = num,
		.desc_iova = GUEST_IOVA + GUEST_DESC_AT,
		.avail_iova = GUEST_IOVA + GUEST_AVAIL_AT,
		.used_iova = GUEST_IOVA + GUEST_USED_AT,
		.features = features & ~F_RING_PACKED,
		.notes = guest->notes,
	};
	guest_put16(guest, GUEST_AVAIL_AT + 2, index);
	guest_put16(guest, GUEST_USED_AT + 2, index);
	if (rp_vring_dev_init(&guest->ring, &guest->layout, index, guest->reader, &why) != 0)
		fail_msg("%s", why.text);
}

static void
put(struct guest *guest, size_t at, uint64_t value, unsigned int bytes)
{
	while (bytes-- > 0) {
		guest->memory[at++] = (uint8_t)value;
		value >>= 8;
	}
}

void
guest_put16(struct guest *guest, size_t at, uint16_t value)
{
	put(guest, at, value, 2);
}

void
guest_put32(struct guest *guest, size_t at, uint32_t value)
{
	put(guest, at, value, 4);
}

void
guest_put64(struct guest *guest, size_t at, uint64_t value)
{
	put(guest, at, value, 8);
}

uint16_t
guest_get16(const struct guest *guest, size_t at)
{
	return (uint16_t)(guest->memory[at] | guest->memory[at + 1] << 8);
}

uint32_t
guest_get32(const struct guest *guest, size_t at)
{
	return guest_get16(guest, at) | (uint32_t)guest_get16(guest, at + 2) << 16;
}

void
guest_desc_at(struct guest *guest, size_t table_at, uint32_t index, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t next)
{
	size_t at = table_at + (size_t)index * 16;

	guest_put64(guest, at, addr);
	guest_put32(guest, at + 8, len);
	guest_put16(guest, at + 12, flags);
	guest_put16(guest, at + 14, next);
}

void
guest_desc(struct guest *guest, uint16_t index, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	guest_desc_at(guest, GUEST_DESC_AT, index, addr, len, flags, next);
}

void
guest_offer(struct guest *guest, uint16_t head)
{
	uint16_t index = guest_get16(guest, GUEST_AVAIL_AT + 2);

	guest_put16(guest, GUEST_AVAIL_AT + 4 + 2 * (size_t)(index % guest->layout.num), head);
	guest_put16(guest, GUEST_AVAIL_AT + 2, (uint16_t)(index + 1));
}

void
guest_used(const struct guest *guest, uint16_t position, uint32_t *ret_id, uint32_t *ret_len)
{
	size_t at = GUEST_USED_AT + 4 + 8 * (size_t)(position % guest->layout.num);

	*ret_id = guest_get32(guest, at);
	*ret_len = guest_get32(guest, at + 4);
}

uint16_t
guest_used_index(const struct guest *guest)
{
	return guest_get16(guest, GUEST_USED_AT + 2);
}

void *
guest_hva(const struct guest *guest, uint64_t iova)
{
	return rp_dma_space_translate(guest->space, iova, 1, RP_DMA_READ);
}

void
guest_pop(struct guest *guest)
{
	if (rp_vring_dev_pop(&guest->ring, &guest->chain) != 1)
		fail_msg("pop: %s", rp_vring_dev_why(&guest->ring) != NULL ? rp_vring_dev_why(&guest->ring) : "empty");
	assert_null(rp_vring_dev_why(&guest->ring));
}

void
guest_pop_breaks(struct guest *guest, const char *words)
{
	uint8_t *before = malloc(GUEST_BUFFERS_AT);

	memcpy(before, guest->memory, GUEST_BUFFERS_AT);
	assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), -EBADMSG);
	assert_non_null(rp_vring_dev_why(&guest->ring));
	if (strstr(rp_vring_dev_why(&guest->ring), words) == NULL)
		fail_msg("'%s' does not say '%s'", rp_vring_dev_why(&guest->ring), words);
	assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), -EBADMSG);
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 0, &guest->chain), -EBADMSG);
	assert_int_equal(rp_vring_dev_available(&guest->ring), -EBADMSG);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 0), -EBADMSG);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 0, 0), -EBADMSG);
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 1), -EBADMSG);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), -EBADMSG);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, true), -EBADMSG);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, false), -EBADMSG);
	assert_memory_equal(before, guest->memory, GUEST_BUFFERS_AT);
	free(before);
}
