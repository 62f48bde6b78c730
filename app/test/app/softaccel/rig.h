/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RIG_H
#define RIG_H

#include "rp_accel_vendor.h"
#include "rp_vfu_client.h"
#include "rp_vring_drv.h"
#include "rp_vring_position.h"
#include "softaccel.h"
#include "test_support.h"

/*
 * An accelerator with its two threads, and guests: the driver's side of a
 * function, reached through its socket as any driver would.
 */

#define RIG_FUNCTIONS_MAX 4u
#define RIG_QUEUES_MAX 8u
#define RIG_QUEUE_SIZE 64u
#define RIG_BUFFER_BYTES 2048u
#define RIG_BUFFERS_COUNT 1024u
#define RIG_MEMORY_BYTES (4u << 20)
#define RIG_MEMORY_IOVA 0x40000000ull
#define RIG_HEADER_BYTES 12u

#define RIG_BAR_REGISTERS 2u
#define RIG_BAR_NOTIFY 4u
#define RIG_NET_CONFIG 0x2000u
#define RIG_VENDOR 0x4000u

struct rig {
	struct softaccel *accel;
	struct softaccel_function *functions[RIG_FUNCTIONS_MAX];
	char sockets[RIG_FUNCTIONS_MAX][108];
	unsigned int functions_count;
	pthread_t control;
	pthread_t data;
	pthread_mutex_t control_turn; /* held while the control side works */
	bool running;
	bool stop; /* atomic */
	void (*heard)(const char *text); /* atomic; the control side says something; NULL: nobody listens */
};

struct rig_queue {
	struct rp_vring_drv *ring;
	void *memory;
	uint64_t memory_iova;
	int call_fd;
	uint16_t notify_off;
	unsigned int posted_count;
};

/* Which of its memory a guest gives with descriptors. Rings are in the lower half, buffers in the upper. */
enum rig_reach {
	RIG_REACH_ALL,
	RIG_REACH_NONE,
	RIG_REACH_RINGS,
	RIG_REACH_BUFFERS,
	RIG_REACH_MOST, /* all but the last eighth */
	RIG_REACH_PAGES, /* all, each page by itself and from anywhere in the file: as behind an IOMMU of the guest's */
	RIG_REACH_LATER, /* nothing: the test maps what is asked for */
};

struct rig_guest {
	enum rig_reach reach; /* this and the next two: before it connects */
	uint16_t queue_size; /* 0: RIG_QUEUE_SIZE */
	struct rp_vfu_client_config client_config; /* beside the socket's path */
	struct rp_vfu_client *client;
	int memory_fd;
	uint8_t *memory;
	uint32_t used_bytes; /* of memory, by rings; buffers are at its end */
	uint16_t free_buffers[RIG_BUFFERS_COUNT];
	unsigned int free_count;
	uint8_t *doorbells; /* the notify BAR, mapped; NULL: it cannot be */
	uint32_t multiplier_bytes;
	uint64_t features;
	struct rig_queue queues[RIG_QUEUES_MAX];
};

/* Initialise DPDK once for the process. */
void rig_eal_init(void);

/* An accelerator without threads: the test polls. */
void rig_create(struct rig *rig);
/* Add a function; @param config socket_path is filled in; zero fields get defaults. @return its number. */
unsigned int rig_function(struct rig *rig, struct softaccel_function_config config);
/* Give both sides a thread. */
void rig_run(struct rig *rig);
/* The control side does nothing more until it is resumed; the data path goes on. */
void rig_control_pause(struct rig *rig);
void rig_control_resume(struct rig *rig);
void rig_destroy(struct rig *rig);

/*
 * The kinds of ring: features beside RIG_FEATURES_DEFAULT. RIG_TESTS() runs a test with each; its setup
 * finds its own in cmocka's state.
 */
#define RIG_PACKED (1ull << 34)
#define RIG_IN_ORDER (1ull << 35)
extern const uint64_t rig_split, rig_split_in_order, rig_packed, rig_packed_in_order;
#define RIG_TEST(test, kind)                                                                                           \
	{                                                                                                              \
		.name = #test " " #kind, .test_func = test, .setup_func = setup, .teardown_func = teardown,            \
		.initial_state = (void *)&rig_##kind                                                                   \
	}
#define RIG_TESTS(test)                                                                                                \
	RIG_TEST(test, split), RIG_TEST(test, split_in_order), RIG_TEST(test, packed), RIG_TEST(test, packed_in_order)

#define RIG_FEATURES_DEFAULT ((1ull << 32) | (1ull << 33) | (1ull << 40) | (1ull << 29) | (1ull << 28) | (1ull << 15))

void rig_guest_connect(struct rig_guest *guest, const struct rig *rig, unsigned int function);
/* Map memory, negotiate, up to FEATURES_OK. */
void rig_guest_negotiate(struct rig_guest *guest, uint64_t features);
/* Make a ring and enable it from `index`. Only before or after DRIVER_OK. */
void rig_guest_queue(struct rig_guest *guest, unsigned int queue);
/* Take page `place` of a guest's memory from the device, or give it back as it was (RIG_REACH_PAGES). */
void rig_guest_unmap_page(struct rig_guest *guest, uint32_t place);
void rig_guest_map_page(struct rig_guest *guest, uint32_t place);
/* Which page of the guest's memory has that byte. */
uint32_t rig_guest_page_of(const struct rig_guest *guest, const void *byte);
/* Where the next buffer that is sent will be. */
const void *rig_next_buffer(const struct rig_guest *guest);
/* Program the queue's registers for the ring that is there; does not enable it. */
void rig_guest_program(struct rig_guest *guest, unsigned int queue);
void rig_guest_enable(struct rig_guest *guest, unsigned int queue);
void rig_guest_driver_ok(struct rig_guest *guest);
/* All of the above for `queues` queues, receive rings filled and kicked. */
void rig_guest_start(struct rig_guest *guest, const struct rig *rig, unsigned int function, unsigned int queues,
		     uint64_t features);
/* Answer the device's messages, once. Whatever waits for a guest whose memory is reached by them must call it. */
void rig_guest_serve(struct rig_guest *guest);
void rig_guest_disconnect(struct rig_guest *guest);
void rig_guest_fini(struct rig_guest *guest);

uint64_t rig_common_read(struct rig_guest *guest, uint32_t at, uint32_t bytes);
void rig_common_write(struct rig_guest *guest, uint32_t at, uint32_t bytes, uint64_t value);
void rig_vendor_read(struct rig_guest *guest, unsigned int queue, struct rp_accel_vendor_queue *ret_queue);
void rig_vendor_write(struct rig_guest *guest, unsigned int queue, uint32_t field, uint32_t value);

/* Where the doorbell of a queue that was programmed is, in the notify BAR. */
uint64_t rig_doorbell_at(const struct rig_guest *guest, unsigned int queue);
/* Run with RIG_QUEUE_PAIRS: its queues have one, so that a kick of one may show what is on another. */
bool rig_shares_doorbell(const struct rig_guest *guest);
/* Store to the doorbell page, as a guest does. */
void rig_ring(struct rig_guest *guest, unsigned int queue);
/* As rig_ring(), only if the device asked for it: what a driver does, and what shows a lost wish. */
void rig_ring_if_wanted(struct rig_guest *guest, unsigned int queue);
/* CPU time of the data path's thread. */
uint64_t rig_data_cpu_us(const struct rig *rig);

/* Put a frame on a transmit ring; does not kick. @return false: the ring is full. */
bool rig_send(struct rig_guest *guest, unsigned int queue, const void *frame, uint32_t frame_bytes);
bool rig_send_raw(struct rig_guest *guest, unsigned int queue, const void *packet, uint32_t packet_bytes);
/* Take back what was sent. @return how many. */
unsigned int rig_reap(struct rig_guest *guest, unsigned int queue);
/* Make receive buffers of `bytes` available until `count` are out; does not kick. */
void rig_post(struct rig_guest *guest, unsigned int queue, unsigned int count, uint32_t bytes);
/*
 * Take one packet, header included, merging buffers.
 * @return its size, 0: none.
 */
uint32_t rig_receive(struct rig_guest *guest, unsigned int queue, uint8_t *ret_packet, uint32_t room_bytes);
/* As rig_receive(), waiting up to two seconds. */
uint32_t rig_receive_wait(struct rig_guest *guest, unsigned int queue, uint8_t *ret_packet, uint32_t room_bytes);

/* A minimal frame: addresses 02:00:00:00:00:<n>, a UDP packet of that flow, a sequence number. */
#define RIG_FRAME_BYTES 60u
#define RIG_BROADCAST 0xffffu
void rig_frame(uint8_t *ret_frame, unsigned int to, unsigned int from, uint16_t flow, uint32_t sequence);
uint32_t rig_frame_sequence(const uint8_t *frame);
uint16_t rig_frame_flow(const uint8_t *frame);

#endif
