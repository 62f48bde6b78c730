/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "vfu_pci.h"

/*
 * Two lists: capabilities between the header and 0x100 (PCI 3.0, 6.7), extended
 * ones from 0x100 on (PCIe 3.0, 7.9.1), which must begin there.
 */

#define CAP_HEADER_BYTES 2u
#define EXTENDED_HEADER_BYTES 4u
#define EXTENDED_BEGIN VFU_PCI_CONFIG_BYTES
#define CAP_ID_MAX 0xffu
#define EXTENDED_VERSION_MAX 0xfu

static uint32_t
list_begin(const struct rp_vfu_pci_cap *cap)
{
	return cap->extended ? EXTENDED_BEGIN : VFU_PCI_HEADER_BYTES;
}

static uint32_t
list_end(const struct rp_vfu_pci_cap *cap)
{
	return cap->extended ? VFU_PCIE_CONFIG_BYTES : VFU_PCI_CONFIG_BYTES;
}

static int
check_kind(const struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap, struct rp_wire_why *why)
{
	uint32_t header_bytes = cap->extended ? EXTENDED_HEADER_BYTES : CAP_HEADER_BYTES;

	if (cap->extended && pci->size_bytes < VFU_PCIE_CONFIG_BYTES)
		return rp_wire_why_set(why, -ENOTSUP, "extended: configuration space has %u bytes (express is false)",
				       pci->size_bytes);
	if (cap->id == 0 || (!cap->extended && cap->id > CAP_ID_MAX))
		return rp_wire_why_set(why, -EINVAL, "id: 0x%x, expected 1 to 0x%x", cap->id,
				       cap->extended ? UINT16_MAX : CAP_ID_MAX);
	if (cap->version > EXTENDED_VERSION_MAX || (!cap->extended && cap->version != 0))
		return rp_wire_why_set(why, -EINVAL, "version: %u, expected %s", cap->version,
				       cap->extended ? "at most 15" : "0");
	if (cap->size_bytes < header_bytes || cap->bytes == NULL)
		return rp_wire_why_set(why, -EINVAL, "size_bytes: %u, expected at least %u, and bytes", cap->size_bytes,
				       header_bytes);
	if ((cap->read != NULL || cap->write != NULL) && pci->hooks_count == VFU_PCI_HOOKS_MAX)
		return rp_wire_why_set(why, -ENOSPC, "more than %u capabilities with handlers", VFU_PCI_HOOKS_MAX);
	return 0;
}

/* Behind the last taken place of the list's part of configuration space. */
static uint32_t
next_free(const struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap)
{
	uint32_t at = list_end(cap);

	while (at > list_begin(cap) && pci->taken[at / 4 - 1] == 0)
		at -= 4;
	return at;
}

static int
find_place(const struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap, uint32_t *ret_at, struct rp_wire_why *why)
{
	uint32_t at = cap->offset_bytes != 0 ? cap->offset_bytes : next_free(pci, cap);
	uint32_t word;

	if (at % 4 != 0 || at < list_begin(cap) || at > list_end(cap))
		return rp_wire_why_set(why, -EINVAL, "offset_bytes: 0x%x, expected a multiple of 4 from 0x%x on", at,
				       list_begin(cap));
	if (cap->size_bytes > list_end(cap) - at)
		return rp_wire_why_set(why, -ENOSPC, "%u bytes at 0x%x: there is room to 0x%x", cap->size_bytes, at,
				       list_end(cap));
	if (cap->extended && pci->last_extended_at == 0 && at != EXTENDED_BEGIN)
		return rp_wire_why_set(why, -EINVAL, "offset_bytes: 0x%x, expected 0x%x of the first one", at,
				       EXTENDED_BEGIN);
	for (word = at / 4; word * 4 < at + cap->size_bytes; word++) {
		if (pci->taken[word] != 0)
			return rp_wire_why_set(why, -EEXIST, "offset_bytes: 0x%x is taken", word * 4);
	}
	*ret_at = at;
	return 0;
}

static void
link_cap(struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap, uint32_t at)
{
	pci->bytes[at] = (uint8_t)cap->id;
	pci->bytes[at + PCI_CAP_LIST_NEXT] = 0;
	if (pci->last_cap_at == 0) {
		pci->bytes[PCI_CAPABILITY_LIST] = (uint8_t)at;
		pci->bytes[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	} else {
		pci->bytes[pci->last_cap_at + PCI_CAP_LIST_NEXT] = (uint8_t)at;
	}
	pci->last_cap_at = at;
}

static void
link_extended(struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap, uint32_t at)
{
	vfu_pci_put(pci->bytes + at, 4, cap->id | (uint32_t)cap->version << 16);
	if (pci->last_extended_at != 0) {
		uint8_t *last = pci->bytes + pci->last_extended_at;

		vfu_pci_put(last, 4, vfu_pci_get(last, 4) | at << 20);
	}
	pci->last_extended_at = at;
}

static void
put_cap(struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap, uint32_t at)
{
	uint32_t header_bytes = cap->extended ? EXTENDED_HEADER_BYTES : CAP_HEADER_BYTES;
	uint32_t word;

	for (word = at / 4; word * 4 < at + cap->size_bytes; word++)
		pci->taken[word] = 1;
	memcpy(pci->bytes + at, cap->bytes, cap->size_bytes);
	if (cap->writable != NULL)
		memcpy(pci->writable + at, cap->writable, cap->size_bytes);
	memset(pci->writable + at, 0, header_bytes);
	if (cap->extended)
		link_extended(pci, cap, at);
	else
		link_cap(pci, cap, at);
	if (cap->read != NULL || cap->write != NULL)
		pci->hooks[pci->hooks_count++] = (struct vfu_pci_hook){.offset_bytes = at,
								       .size_bytes = cap->size_bytes,
								       .read = cap->read,
								       .write = cap->write,
								       .ctx = cap->ctx != NULL ? cap->ctx : pci->ctx};
}

int
rp_vfu_pci_add(struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap, uint32_t *ret_offset_bytes,
	       struct rp_wire_why *why)
{
	struct rp_wire_why reason = {.error = 0};
	uint32_t at = 0;
	int rc = vfu_pci_check_open(pci, &reason);

	if (rc == 0)
		rc = check_kind(pci, cap, &reason);
	if (rc == 0)
		rc = find_place(pci, cap, &at, &reason);
	if (rc < 0) {
		rp_wire_why_prefix(&reason, "capability 0x%x: ", cap->id);
		return vfu_pci_describe(pci, rc, &reason, why);
	}
	put_cap(pci, cap, at);
	if (ret_offset_bytes != NULL)
		*ret_offset_bytes = at;
	return 0;
}

int
vfu_pci_add_once(struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap, uint32_t *at, struct rp_wire_why *why)
{
	struct rp_wire_why reason;

	if (*at == 0)
		return rp_vfu_pci_add(pci, cap, at, why);
	rp_wire_why_set(&reason, -EEXIST, "capability 0x%x: there is one, at 0x%x", cap->id, *at);
	return vfu_pci_describe(pci, -EEXIST, &reason, why);
}
