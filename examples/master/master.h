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
#define MASTER_BUFFER_BYTES 2048u /* of each chain's buffer */
#define MASTER_GPA 0x40000000ull /* of guest memory; not 0: an address taken for one of another kind must show */

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

/* Say what went wrong; why may be NULL. @return rc. */
int master_complain(const char *what, int rc, const struct rp_wire_why *why);

/* Packets, or a sector: what a round is for. Rings are started. */
int driver_work(struct master *master);
/* Take chains back, as many as are there. @return how many, or a negative errno. */
int driver_take_used(struct master_queue *queue);
/* Serve the backend until something comes for this queue, at most until the deadline; then -ETIMEDOUT. */
int driver_wait(struct master *master, struct master_queue *queue, uint64_t deadline_ms);

#endif
