/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MASTER_H
#define MASTER_H

#include <stdbool.h>
#include <stdint.h>

#include "guest.h"
#include "rp_vhu_frontend.h"
#include "rp_vhu_kvm.h"
#include "rp_vring_drv.h"

#define MASTER_PAIRS_MAX (RP_VHU_QUEUES_MAX / 2)
#define MASTER_QUEUE_SIZE_MAX 1024u
#define MASTER_SECTOR_BYTES 512u

struct master_options {
	const char *socket_path;
	bool listen;
	enum rp_vhu_profile profile;
	unsigned int pairs;
	unsigned int queue_size;
	unsigned int packets; /* on each transmit queue, in each round */
	unsigned int rounds;
	unsigned int wait_ms; /* for doorbells, after each start */
	bool packed;
	bool blk;
	bool guest;
	bool pause;
	bool json;
};

struct master_queue {
	struct rp_vring_drv *ring;
	uint8_t *buffers; /* in guest memory */
	uint16_t *free; /* a stack of buffers */
	uint16_t free_count;
	int kick_fd;
	int call_fd;
	uint32_t position; /* where the ring goes on at its next start */
	bool doorbell; /* mapped when the last round ended */
	unsigned int maps, unmaps;
	uint64_t doorbell_kicks, eventfd_kicks, interrupts, chains;
	uint64_t guest_kicks; /* as the guest has counted them */
};

struct master {
	const struct master_options *options;
	struct rp_vhu_frontend *frontend;
	struct rp_vhu_vfio_files *vfio_files;
	struct guest *guest; /* NULL: none, we kick and read interrupts ourselves */
	struct rp_vhu_kvm *kvm; /* its VFIO device */
	int memory_fd;
	uint8_t *memory; /* the guest's */
	uint64_t memory_bytes;
	uint64_t queue_bytes; /* of guest memory, for each queue: ring, then buffers */
	uint64_t features, protocol_features;
	struct master_queue *queues;
	unsigned int queues_count;
	unsigned int vfio_files_most; /* at any time */
	unsigned int files_added, files_removed; /* of KVM's VFIO device */
	uint64_t capacity_sectors; /* of a block device */
	uint8_t sector[MASTER_SECTOR_BYTES];
};

/* Errors were said on standard error; a master that was opened in part is closed as a whole one. */
int master_open(struct master *master);
int master_round(struct master *master);
/* The connection ends: doorbells and VFIO files go, and nothing is counted any more. */
void master_leave(struct master *master);
void master_close(struct master *master);

#endif
