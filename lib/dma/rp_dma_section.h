/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_SECTION_H
#define RP_DMA_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_dma_iova.h"
#include "rp_wire_why.h"

/**
 * @file
 * Which mappings of a device's address space may fail, and what is done then: the one
 * place that decides it for everybody who has an IOMMU programmed.
 *
 * Theory of operation: a section is a range of a device's addresses and what it leads
 * to: RAM, or device memory (a BAR of another device: a peer-to-peer window). An IOMMU
 * sees no difference between the two; what a section is says who offers it, and knows
 * where it came from. The kind decides only what a failure costs. The guest may name any
 * byte of its RAM to its device, so a piece of RAM that cannot be mapped ends the operation.
 * Device memory is extra: a section that does not fit the IOMMU's smallest page, or that
 * the IOMMU refuses, is reported, counted and left out, and the rest works.
 *
 * rp_dma_section_check() is the rule alone, without state, also for who can only map RAM.
 * A struct rp_dma_sections adds what was decided: unmapping looks it up instead of
 * deciding again, because the rules may have changed meanwhile (another group joined the
 * container, and brought larger pages).
 *
 * RAM goes first: device memory that lies where RAM comes is taken out, and tried again
 * when the RAM went.
 *
 * All of this is for addresses that the device uses as the guest has them, with no guest
 * IOMMU in between. Where there is one it says what the device may reach, so device memory
 * is left out, as a cause of its own, and RAM is as strict as ever.
 *
 * Threads: a struct rp_dma_sections belongs to one thread; the rest has no state.
 * Errors: the dictionary of rp_wire_why.h.
 */

/** Between two reports of one cause; what is left out meanwhile is counted and told with the next. */
#define RP_DMA_SECTION_REPORT_MS 10000u
#define RP_DMA_SECTION_NAME_MAX 160
#define RP_DMA_SECTION_HOLES_MAX 2u
/** What is left of a section with so many holes, and the holes' own pages. */
#define RP_DMA_SECTION_PIECES_MAX (2 * RP_DMA_SECTION_HOLES_MAX + 1)

enum rp_dma_section_kind {
	RP_DMA_SECTION_RAM, /**< strict */
	RP_DMA_SECTION_DEVICE, /**< may be left out */
};

/** Why a section is not mapped. */
enum rp_dma_section_cause {
	RP_DMA_SECTION_FITS, /**< it is */
	RP_DMA_SECTION_EMPTY, /**< no bytes, or beyond the last address */
	RP_DMA_SECTION_GUEST_IOMMU, /**< device memory behind a guest's IOMMU */
	RP_DMA_SECTION_INTERRUPTS, /**< device memory with an MSI-X table in it */
	RP_DMA_SECTION_MISALIGNED, /**< to the smallest page */
	RP_DMA_SECTION_UNREACHABLE, /**< beyond the IOMMU's addresses, or in a range that it reserves */
	RP_DMA_SECTION_OCCUPIED, /**< device memory where something else is */
	RP_DMA_SECTION_REFUSED, /**< by who was asked to map it: the IOMMU, the kernel */
	RP_DMA_SECTION_CAUSES_COUNT
};

struct rp_dma_section {
	enum rp_dma_section_kind kind;
	uint64_t iova; /**< first address */
	uint64_t size_bytes;
	/* Of device memory: */
	uint64_t tag; /**< the caller's own number for it, another for each section that is offered at one time */
	uint64_t
		offset_bytes; /**< where it begins in the device memory that is behind it; an IOMMU's page begins there too */
	bool has_interrupts; /**< an MSI-X table or its pending bits lie in it */
	char name[RP_DMA_SECTION_NAME_MAX]; /**< for people: "BAR 4 of 0000:00:10.0" */
};

/** What the IOMMU in front of a device can do. */
struct rp_dma_section_iommu {
	const struct rp_dma_iova_range *ranges;
	unsigned int ranges_count; /**< 0: anywhere */
	uint64_t page_bytes; /**< the smallest; a power of two, or 0: any byte */
	bool guest_iommu; /**< the guest has put an IOMMU of its own before the device */
};

/**
 * Judge a section by the rules, before anybody is asked to map it.
 *
 * @param ret_cause NULL, or set always.
 * @return 0 (RP_DMA_SECTION_FITS), -EINVAL (EMPTY), -ENOSPC (MISALIGNED, UNREACHABLE), -ENOTSUP
 *         (GUEST_IOMMU, INTERRUPTS; of device memory only). why has address, size and reason.
 */
int rp_dma_section_check(const struct rp_dma_section *section, const struct rp_dma_section_iommu *iommu,
			 enum rp_dma_section_cause *ret_cause, struct rp_wire_why *why);

/** A word for people and JSON: "fits", "empty", "guest-iommu", "interrupts", "misaligned", ... Any thread. */
const char *rp_dma_section_cause_name(enum rp_dma_section_cause cause);

/** What a user can do about it; NULL: nothing. Any thread. */
const char *rp_dma_section_cure(enum rp_dma_section_cause cause);

/** Bytes of device memory that no other device may write. Offsets as in rp_dma_section.offset_bytes. */
struct rp_dma_section_hole {
	uint64_t offset_bytes;
	uint64_t size_bytes; /**< 0: none */
};

/**
 * Cut device memory so that only the pages with the holes have interrupts in them. A section that is
 * misaligned itself stays whole: it is left out whole.
 *
 * @param whole with the tag of its first piece; the others have the numbers after it.
 * @param holes_count at most RP_DMA_SECTION_HOLES_MAX; what of them lies outside is ignored.
 * @param ret_pieces room for RP_DMA_SECTION_PIECES_MAX; in the order of their addresses.
 * @return how many.
 */
unsigned int rp_dma_section_cut(const struct rp_dma_section *whole, const struct rp_dma_section_hole *holes,
				unsigned int holes_count, uint64_t page_bytes, struct rp_dma_section *ret_pieces);

/**
 * Map a file, shared, for reading and writing, where an IOMMU with larger pages than this machine's
 * can be told of it: the address is a multiple of its page too.
 *
 * @param fd borrowed. @param page_bytes a power of two.
 * @param ret_memory ended by munmap(2) of size_bytes.
 * @return 0, -EINVAL (no bytes, an offset beyond what a file can have, or a part of a huge page), -ENOMEM, or what
 *         mmap says of the file.
 */
int rp_dma_section_memory(int fd, uint64_t offset_bytes, uint64_t size_bytes, uint64_t page_bytes, void **ret_memory);

/** What an address space is told to do. */
struct rp_dma_sections_ops {
	/**
	 * @return 0; -ENOTCONN, -ETIMEDOUT or -EIO (the device is lost); any other error is a refusal,
	 *         -EEXIST the one that something else is mapped there.
	 */
	int (*map)(void *ctx, const struct rp_dma_section *section, struct rp_wire_why *why);
	/** @return 0, or an error: it may still be mapped. */
	int (*unmap)(void *ctx, const struct rp_dma_section *section, struct rp_wire_why *why);
	/** Device memory was left out. One line: name, address, size, reason, cure. May be NULL. */
	void (*report)(void *ctx, enum rp_dma_section_cause cause, const char *text);
};

struct rp_dma_sections;

/** What became of device memory. */
struct rp_dma_section_state {
	struct rp_dma_section section;
	enum rp_dma_section_cause cause; /**< RP_DMA_SECTION_FITS: it is mapped */
	char reason[RP_WIRE_WHY_MAX]; /**< empty when it is */
};

struct rp_dma_sections_counters {
	unsigned int mapped_count; /**< of device memory, now */
	unsigned int left_out_count; /**< now */
	uint64_t left_out[RP_DMA_SECTION_CAUSES_COUNT]; /**< of each cause; cumulative */
	uint64_t reports; /**< cumulative */
	uint64_t reports_held_back; /**< cumulative */
};

/** @param ops must outlive it. @return 0, -ENOMEM. */
int rp_dma_sections_create(const struct rp_dma_sections_ops *ops, void *ctx, struct rp_dma_sections **ret_sections);

/** Unmaps nothing. NULL is allowed. @return NULL. */
struct rp_dma_sections *rp_dma_sections_destroy(struct rp_dma_sections *sections);

/**
 * Have a section mapped. RAM takes the place of device memory of the same address space; of
 * address spaces that share an IOMMU's table, rp_dma_sections_make_way() is said to all before.
 *
 * @param iommu as it is now. @param now_ms a monotonic clock.
 * @return 0 mapped; 1 device memory that was left out (why has the reason); of RAM what
 *         rp_dma_section_check() and ops.map say; of device memory -EEXIST (the tag is in use),
 *         -ENOMEM, and -ENOTCONN, -ETIMEDOUT or -EIO of ops.map, which leave no trace.
 */
int rp_dma_sections_map(struct rp_dma_sections *sections, const struct rp_dma_section *section,
			const struct rp_dma_section_iommu *iommu, uint64_t now_ms, struct rp_wire_why *why);

/**
 * Take a section back: what was mapped is unmapped, what was left out is forgotten.
 *
 * @param section RAM: as it was mapped. Device memory: its kind and tag.
 * @return 0 unmapped; 1 it had been left out; -ENOENT (device memory that was not offered), or what
 *         ops.unmap says: then nothing changed.
 */
int rp_dma_sections_unmap(struct rp_dma_sections *sections, const struct rp_dma_section *section,
			  struct rp_wire_why *why);

/**
 * RAM comes: take device memory out that lies there. It stays offered.
 *
 * @return 0, or what ops.unmap says: the rest of it is still there.
 */
int rp_dma_sections_make_way(struct rp_dma_sections *sections, uint64_t iova, uint64_t size_bytes, uint64_t now_ms,
			     struct rp_wire_why *why);

/**
 * RAM went: try again what was left out because something was there. Says nothing of what is still so.
 *
 * @return 0, or -ENOTCONN, -ETIMEDOUT, -EIO of ops.map.
 */
int rp_dma_sections_retry(struct rp_dma_sections *sections, const struct rp_dma_section_iommu *iommu, uint64_t now_ms,
			  struct rp_wire_why *why);

/** The address space is gone, and all that was in it: nothing is unmapped, nothing is offered any more. */
void rp_dma_sections_forget(struct rp_dma_sections *sections);

/** @param ret_state set on success. @return 0, -ENOENT. */
int rp_dma_sections_state(const struct rp_dma_sections *sections, uint64_t tag, struct rp_dma_section_state *ret_state);

/** What was counted. @param ret_counters always set. */
void rp_dma_sections_counters(const struct rp_dma_sections *sections, struct rp_dma_sections_counters *ret_counters);

#endif
