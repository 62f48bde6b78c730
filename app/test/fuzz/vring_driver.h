/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_VRING_DRIVER_H
#define FUZZ_VRING_DRIVER_H

#include "fuzz.h"
#include "rp_vring_dev.h"

/*
 * A driver that writes anything to its ring, but knows what a ring looks like: without
 * that no input would get further than the first descriptor.
 */

#define FUZZ_DRIVER_BYTES 0x10000u /* of memory, at FUZZ_GPA: the ring, then buffers */
#define FUZZ_DRIVER_NUM_MAX 256u

struct fuzz_driver {
	struct fuzz_input *input;
	uint8_t *memory; /* its own mapping */
	struct rp_vring_layout layout;
	uint16_t offer_at; /* its next place: index of the available ring, or descriptor */
	bool offer_wrap;
};

/* Choose a ring with these features beside those that the input chooses. @return where it stands. */
uint32_t fuzz_driver_start(struct fuzz_driver *driver, uint64_t features, struct rp_vring_note *notes);

/* Make a chain of some descriptors available, well-formed but for their fields. */
void fuzz_driver_offer(struct fuzz_driver *driver);

/* A table of descriptors in a buffer, to which an indirect one may point. */
void fuzz_driver_table(struct fuzz_driver *driver);

/* The driver's memory for the device, in place of what was mapped; or nothing. The reader is online after it. */
void fuzz_driver_map(struct rp_dma_space *space, struct rp_dma_reader *reader, bool mapped);

/* Some bytes anywhere in the ring. */
void fuzz_driver_scribble(struct fuzz_driver *driver);

#endif
