/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "guest_packed.h"

uint16_t
packed_used_bits(bool wrap)
{
	return wrap ? AVAIL | USED : 0;
}

void
packed_desc_at(struct guest *guest, size_t table_at, uint32_t index, uint64_t addr, uint32_t len, uint16_t id,
	       uint16_t flags)
{
	guest_desc_at(guest, table_at, index, addr, len, id, flags);
}

void
packed_start(struct packed_guest *driver, struct guest *guest, uint16_t num, uint16_t at, bool wrap, uint64_t features)
{
	uint32_t half = (uint32_t)at | (uint32_t)wrap << 15;
	struct rp_wire_why why = {0};
	uint16_t i;

	*driver = (struct packed_guest){.guest = guest, .at = at, .wrap = wrap};
	memset(guest->memory + GUEST_DESC_AT, 0, 16 * (size_t)num);
	for (i = 0; i < num; i++)
		guest_put16(guest, GUEST_DESC_AT + 16 * (size_t)i + 14, packed_used_bits(i < at ? wrap : !wrap));
	memset(guest->memory + GUEST_AVAIL_AT, 0, 4);
	memset(guest->memory + GUEST_USED_AT, 0, 4);
	guest->layout = (struct rp_vring_layout){
		.num = num,
		.desc_iova = GUEST_IOVA + GUEST_DESC_AT,
		.avail_iova = GUEST_IOVA + GUEST_AVAIL_AT,
		.used_iova = GUEST_IOVA + GUEST_USED_AT,
		.features = features | F_RING_PACKED,
		.notes = guest->notes,
	};
	if (rp_vring_dev_init(&guest->ring, &guest->layout, half << 16 | half, guest->reader, &why) != 0)
		fail_msg("%s", why.text);
}

void
packed_offer(struct packed_guest *driver, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags)
{
	packed_desc_at(driver->guest, GUEST_DESC_AT, driver->at, addr, len, id,
		       (uint16_t)(flags | (driver->wrap ? AVAIL : USED)));
	if (++driver->at == driver->guest->layout.num) {
		driver->at = 0;
		driver->wrap = !driver->wrap;
	}
}

uint16_t
packed_read(const struct guest *guest, uint16_t index, uint16_t *ret_id, uint32_t *ret_len)
{
	size_t at = GUEST_DESC_AT + 16 * (size_t)index;

	*ret_len = guest_get32(guest, at + 8);
	*ret_id = guest_get16(guest, at + 12);
	return guest_get16(guest, at + 14);
}

void
packed_event_put(struct guest *guest, uint16_t off, bool wrap, uint16_t flags)
{
	guest_put16(guest, GUEST_AVAIL_AT, (uint16_t)(off | wrap << 15));
	guest_put16(guest, GUEST_AVAIL_AT + 2, flags);
}
