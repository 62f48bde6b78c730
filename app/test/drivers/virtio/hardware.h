/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HARDWARE_H
#define HARDWARE_H

#include "rp_virtio.h"
#include "rp_vring_drv.h"
#include "test_support.h"

/*
 * The driver on a device that is not ours: a virtio-net function bound to vfio-pci
 * (environment: RINGPASS_DEVICE), on a network where RINGPASS_PEER answers to ARP.
 * RINGPASS_PACKED and the like say what the function is expected to be, so that nothing is
 * skipped unnoticed.
 */

#define RING_ENTRIES 64u
#define BUFFER_BYTES 2048u
#define RINGS_MAX 4u
#define RING_BYTES 0x10000u
#define MEMORY_IOVA 0x10000000ull
#define MEMORY_BYTES (RINGS_MAX * (RING_BYTES + RING_ENTRIES * BUFFER_BYTES))
#define HEADER_BYTES 12u
#define ARP_BYTES 42u

#define HARDWARE_WAIT_MS 20000u

#define VERSION_1 (1ull << 32)
#define PACKED (1ull << 34)
#define RING_RESET (1ull << 40)

struct ring {
	struct rp_vring_drv *ring;
	uint8_t *buffers;
	uint64_t buffers_iova;
	int call_fd;
};

struct hardware {
	struct rp_accel accel;
	struct rp_accel_info info;
	struct rp_wire_why why;
	uint64_t features;
	int memory_fd;
	uint8_t *memory;
	struct ring rings[RINGS_MAX];
};

extern const struct rp_accel_registry hw_registry;
extern const uint64_t hw_formats[];

bool hw_is_expected(const char *name);
void hw_check(const struct hardware *hw, int rc, int expected);
/* "vfio,device=..." */
void hw_arguments(char ret_arguments[100]);
void hw_open(struct hardware *hw);
int hw_setup(void **state);
int hw_teardown(void **state);
void hw_negotiate(struct hardware *hw, uint64_t features);
int hw_net_set(struct hardware *hw, uint16_t pairs, const uint8_t *mac, bool promiscuous);
/* A fresh ring in the place of queue `index`; a receive ring has all its buffers. */
void hw_start(struct hardware *hw, unsigned int index);
int hw_stop(struct hardware *hw, unsigned int index);
/* "Who has the peer's address?", asked by mac; RFC 826 */
void hw_write_question(uint8_t *frame, const uint8_t *mac);
/* Make the question available; take it back when the device has sent it. */
void hw_ask(struct hardware *hw, unsigned int index, const uint8_t *mac);
void hw_take_back(struct hardware *hw, unsigned int index);
/* Both, and ring in between. */
void hw_send_question(struct hardware *hw, unsigned int index, const uint8_t *mac);
void hw_drain_interrupt(const struct hardware *hw, unsigned int index);
void hw_assert_interrupted(const struct hardware *hw, unsigned int index);
/* An answer, ARP_BYTES of it; false: there was none. */
bool hw_receive_frame(struct hardware *hw, unsigned int index, unsigned int wait_ms, uint8_t *ret_frame);
/* The address that an answer was sent to; false: there was none. */
bool hw_receive_answer(struct hardware *hw, unsigned int index, unsigned int wait_ms, uint8_t *ret_mac);
void hw_assert_answered(struct hardware *hw, unsigned int rx, const uint8_t *mac);
void hw_assert_not_answered(struct hardware *hw, unsigned int rx, const uint8_t *mac);
/* The formats that the device has, of hw_formats. */
unsigned int hw_formats_count(const struct hardware *hw);

/* hardware_peer.c; RINGPASS_NEIGHBOUR is another such function */
void it_reads_its_neighbours_memory(void **state);

/* hardware_hand_over.c */
void it_goes_on_in_another_process(void **state);

#endif
