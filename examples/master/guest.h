/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GUEST_H
#define GUEST_H

#include <stdint.h>

#include "guest_map.h"
#include "rp_vhu_frontend.h"

/*
 * A guest that KVM runs: one virtual CPU, a few instructions (guest_code.S), which kick
 * and count. What a VMM does for a queue is all here, in KVM's own terms:
 *
 *   the notify area   a memory slot                KVM_SET_USER_MEMORY_REGION
 *   no notify area    an ioeventfd: the kick_fd    KVM_IOEVENTFD
 *   the interrupt     an irqfd: the call_fd        KVM_SET_GSI_ROUTING, KVM_IRQFD
 *
 * The CPU has a thread of its own; everything else belongs to one thread, the caller's.
 */

struct guest;

struct guest_config {
	unsigned int queues_count; /* 1 to GUEST_QUEUES_MAX */
	void *memory; /* where the rings are: the guest has it at memory_gpa; borrowed */
	uint64_t memory_gpa;
	uint64_t memory_bytes;
};

struct guest_counts {
	uint32_t kicks; /* that the CPU has stored */
	uint32_t interrupts; /* that the CPU has taken */
};

/* @return 0, -ENOTSUP (no KVM that can do it), or what KVM says. The CPU does not run yet. */
int guest_open(const struct guest_config *config, struct guest **ret_guest, struct rp_wire_why *why);

/* NULL is allowed. @return NULL. */
struct guest *guest_close(struct guest *guest);

/* Of KVM_CREATE_VM, borrowed. */
int guest_vm_fd(const struct guest *guest);

/* Kicks go to kick_fd, where no notify area is; call_fd, which nobody else reads from now on, interrupts. Borrowed. */
int guest_wire(struct guest *guest, unsigned int queue, int kick_fd, int call_fd, struct rp_wire_why *why);

/* After guest_wire() of all queues. */
int guest_run(struct guest *guest, struct rp_wire_why *why);

/* Put the area where the queue's doorbell is, in place of what is there; map->address NULL: take it out. */
int guest_doorbell(struct guest *guest, unsigned int queue, const struct rp_vhu_notify_map *map,
		   struct rp_wire_why *why);

/* Have the CPU kick, and wait until it has. @return 1: a store to the notify area, 0: to the ioeventfd, or an error. */
int guest_kick(struct guest *guest, unsigned int queue, struct rp_wire_why *why);

/* Readable when the CPU has taken interrupts. guest_settle() makes it unreadable. */
int guest_done_fd(const struct guest *guest);
void guest_settle(struct guest *guest);

/* As the guest itself has written them. */
struct guest_counts guest_counts(const struct guest *guest, unsigned int queue);

#endif
