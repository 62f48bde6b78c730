/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PORT_IOMMU_TABLE_H
#define PORT_IOMMU_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Translations as a frontend told them: ranges of IOVAs, each with the guest-physical
 * addresses behind it and what is permitted. It is a cache: what does not fit any more is
 * forgotten, the oldest first, and asked for again. Neighbours that belong together are
 * one range. Every call costs the logarithm of how many there are.
 */

struct port_translation {
	uint64_t first; /* IOVAs */
	uint64_t last;
	uint64_t gpa; /* of the first */
	uint8_t perm; /* RP_VHU_IOTLB_READ_MASK, RP_VHU_IOTLB_WRITE_MASK */
};

struct port_translations;

/* @param count_max at least 1. @return 0 or -ENOMEM. */
int port_translations_create(uint32_t count_max, struct port_translations **ret_translations);
struct port_translations *port_translations_destroy(struct port_translations *translations); /* NULL is allowed */

/* Put one in the place of whatever is in its range. Without memory it is not known afterwards. */
void port_translations_set(struct port_translations *translations, const struct port_translation *translation);
/* Whether it says the same as, or permits more than, all that is known of its range. */
bool port_translations_agree(const struct port_translations *translations, const struct port_translation *translation);
/* Forget what is in [first, last]; what reaches beyond stays there. */
void port_translations_unset(struct port_translations *translations, uint64_t first, uint64_t last);
/* Forget what lies in guest-physical memory that goes. */
void port_translations_unset_gpa(struct port_translations *translations, uint64_t gpa, uint64_t size_bytes);
void port_translations_clear(struct port_translations *translations);

/* @return the one with this address, until the next change; or NULL. */
const struct port_translation *port_translations_find(const struct port_translations *translations, uint64_t iova);
uint32_t port_translations_count(const struct port_translations *translations);

#endif
