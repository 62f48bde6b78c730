/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_H
#define DEVICE_H

#include "peer.h"
#include "rp_vfu_server.h"

/*
 * A device behind our server, which counts what it is told. Its regions:
 *
 *   0  4 KiB of registers, with two eventfds (4 bytes at 0x10, any width at 0x20)
 *   2  64 KiB, of which 4 KiB at 0x1000 and 8 KiB at 0x4000 are memory
 *   4  8 KiB, all of it memory
 *   7  256 bytes of configuration space
 *
 * Its interrupts: INTx (masks itself), no MSI, 40 of MSI-X (cannot be masked),
 * one ERR, four REQ (can be masked).
 */

#define DEVICE_MSIX_COUNT 40
#define DEVICE_REQ_COUNT 4

struct device {
	struct rp_vfu_server *server;
	uint8_t registers[4096];
	uint8_t config[256];
	int sparse_fd;
	int memory_fd;
	int kick_fds[2];
	int fail_with; /* what the callbacks of the regions return */
	int trigger_vector; /* of MSI-X, by a write of the registers; -1: none */

	unsigned int connects;
	unsigned int disconnects;
	unsigned int resets;
	unsigned int dma_changes;
	unsigned int leavings;
	unsigned int leaving_maps; /* of the one that left last, when it was about to be forgotten */
	unsigned int refusals;
	unsigned int irq_changes;
	int irq_fds[5][DEVICE_MSIX_COUNT]; /* as told, -1: none */
	struct rp_wire_why last_refusal;
	struct rp_wire_why last_disconnect;
};

/* Describe it, for tests that change a field first. Arrays live in the device. */
struct device_description {
	struct rp_vfu_region regions[9];
	struct rp_vfu_area areas[2];
	struct rp_vfu_io_fd io_fds[2];
	struct rp_vfu_irq_type irqs[5];
	struct rp_vfu_server_config config;
};

void device_init(struct device *device);
void device_describe(struct device *device, struct device_description *ret_description);
void device_close(struct device *device);
extern const struct rp_vfu_server_ops device_ops;

/* All of it, listening at test_socket_path(). */
void device_start(struct device *device);

/* The same device under another description. */
void device_restart(struct device *device, const struct device_description *description);

/* A turn of the server; ctx is the device. */
void device_turn(void *ctx);

/* A peer that gives the device its turns; not negotiated yet. */
void device_connect(struct device *device, struct peer *peer);

/* VERSION 0.1 with everything offered, and its reply thrown away. */
void device_negotiate(struct peer *peer);

/* The same with these capabilities (members of the object) and nothing else. */
void device_negotiate_as(struct peer *peer, const char *capabilities);

/* Another description and a client of it, which negotiated these capabilities. */
void device_restart_as(struct device *device, const struct device_description *description, struct peer *peer,
		       const char *capabilities);

/* A command and its reply, whose error is returned (0: none). */
uint32_t device_ask(struct peer *peer, uint16_t command, const void *payload, size_t payload_bytes, const int *fds,
		    unsigned int fds_count, struct peer_msg *ret_reply);

/* The peer left; turns until the device knows. */
void device_hang_up(struct device *device, struct peer *peer);

#endif
