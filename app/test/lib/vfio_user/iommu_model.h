/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IOMMU_MODEL_H
#define IOMMU_MODEL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "device.h"
#include "rp_vfu_client_iommu.h"
#include "rp_vfu_server_iommu.h"
#include "serving.h"

/*
 * A device with PASIDs whose memory is given to it page by page, when it asks, and an
 * IOMMU that takes pages away at the worst moments.
 *
 * Each page of each PASID gets a frame when the device asks for it; the frame is mapped
 * then, and has the page's name on it. When a page is taken away its frame is wiped, and
 * unmapped, as soon as the invalidation is complete: who still uses it finds another name.
 */

#define MODEL_PAGE 4096u
#define MODEL_PASIDS 3u /* the last one stands for requests without */
#define MODEL_PAGES 24u
#define MODEL_FRAMES 96u /* more than there are pages: those on their way out have one too */
#define MODEL_THREADS 3u
#define MODEL_BASE 0x40000000ull /* translated address of frame 0 */
#define MODEL_NOBODY UINT32_MAX
#define MODEL_NO_FRAME UINT32_MAX
#define MODEL_LEAVING_MAX 3u

/* A thread of the device. */
struct model_user {
	struct rp_dma_reader *reader;
	struct rp_dma_atc_wait wait;
	struct rp_vfu_page page;
	struct rp_vfu_page_group group;
	sem_t heard;
	int error;
	uint32_t seed;
	pthread_t thread;
	_Atomic uint64_t accesses;
};

/* A page that goes: until its invalidation, and then its unmap, has been answered. */
struct model_leaving {
	bool used;
	uint32_t frame;
};

/* A page that comes: until its map has been answered. */
struct model_coming {
	bool used;
	uint32_t group, pasid, page, frame;
};

struct model {
	struct device device;
	struct serving serving;
	struct rp_vfu_client *client;
	struct rp_wire_why why;
	struct test_leaks before;
	struct model_user users[MODEL_THREADS];
	_Atomic bool stop;
	int fd;
	uint8_t *frames; /* the client's own mapping */
	bool by_message;
	/* The IOMMU's. */
	uint32_t seed;
	uint32_t frame_of[MODEL_PASIDS][MODEL_PAGES];
	bool taken[MODEL_FRAMES];
	struct model_leaving leaving[MODEL_LEAVING_MAX];
	struct model_coming coming[MODEL_THREADS];
	uint64_t token; /* of a question that is answered later, where a test says so */
	bool answers_later;
	struct rp_vfu_client_translate later;
};

/* The one of the running test. */
extern struct model model;

int model_setup(void **state);
int model_teardown(void **state);

/* Both ends, and a serving thread. @param by_message no frame has a descriptor. */
void model_begin(const struct rp_vfu_client_config *way, bool by_message);

uint32_t model_draw(uint32_t *seed, uint32_t below);

/* What a page's frame says of itself, and where. */
uint32_t model_name(uint32_t pasid, uint32_t page);
_Atomic uint32_t *model_name_on(uint32_t frame);
/* On the wire, the last PASID is none. */
uint32_t model_wire_pasid(uint32_t pasid);

/* The IOMMU: what it would answer, how it maps a frame, and a page that it takes away, if it is there. */
struct rp_vfu_client_translation model_translation(const struct rp_vfu_client_translate *request);
struct rp_vfu_client_memory model_memory(uint32_t frame);
bool model_take_away(uint32_t pasid, uint32_t page);

/* The device: its cache, and what its threads wait with. */
struct rp_dma_atc *model_atc(void);
void model_on_translated(struct rp_dma_atc_wait *wait, int error);
void model_on_present(struct rp_vfu_page_group *group, int error);
/* Ask for a translation, and for the page if there is none; nothing is held. @return 0: try again; or the end. */
int model_make_present(struct model_user *user, uint32_t pasid, uint64_t iova);

#endif
