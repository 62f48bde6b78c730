/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STACK_H
#define STACK_H

#include <pthread.h>

#include "rp_virtio.h"
#include "softaccel.h"
#include "test_port.h"
#include "test_vm.h"

/* softaccel served by two threads of its own, as its program does. */
struct stack_accel {
	struct softaccel *accel;
	pthread_t control;
	pthread_t data;
	int stop_fd;
};

#define STACK_LIMIT_MS 20000
#define STACK_FUNCTIONS_MAX 4

struct stack_function {
	uint16_t queue_pairs;
	const char *group;
	uint8_t mac_last;
	enum softaccel_doorbell doorbell;
	bool packed_off;
	uint32_t idle_ms; /* 0: never idle */
	bool by_messages; /* its guest's memory is reached by these alone */
	bool iommu; /* its addresses may be translated by its client */
};

/* The kinds of ring that every test runs with; a test finds its own in cmocka's state. */
extern const struct test_vm_options stack_split, stack_split_in_order, stack_packed, stack_packed_in_order;
#define STACK_TEST(test, format)                                                                                       \
	{                                                                                                              \
		.name = #test " " #format, .test_func = test, .initial_state = (void *)&stack_##format                 \
	}
#define STACK_TESTS(test)                                                                                              \
	STACK_TEST(test, split), STACK_TEST(test, split_in_order), STACK_TEST(test, packed),                           \
		STACK_TEST(test, packed_in_order)

/* Once per program. */
int stack_setup(void **state);
/* The same, with memory of DPDK's in huge pages; where there are none it says so, and they are not. */
int stack_setup_huge(void **state);
int stack_teardown(void **state);

void stack_accel_start(struct stack_accel *stack, const struct stack_function *functions, unsigned int count);
void stack_accel_stop(struct stack_accel *stack);

/* "vfio-user,socket=..." of function `index`, and the socket of port `index`. */
const char *stack_accel_arguments(unsigned int index);
const char *stack_port_socket(unsigned int index);

/* A port number `index` on functions [first, first + count). */
void stack_port_open(struct test_port *port, unsigned int index, unsigned int first, unsigned int count);

/* Of so many queue pairs, which may be fewer than the functions have. */
void stack_port_open_with_room(struct test_port *port, unsigned int index, unsigned int first, unsigned int count,
			       uint16_t queue_pairs);

/* The same, for guests that may have an IOMMU in front of the device. */
void stack_port_open_translated(struct test_port *port, unsigned int index, unsigned int first, unsigned int count);

/* All queues of the guest have their doorbell and run direct. */
void stack_wait_direct(struct test_vm *vm, struct test_port *port);

/* A numbered packet: who sends it to whom, on which flow. */
struct stack_packet {
	uint8_t destination[6];
	uint8_t source[6];
	uint16_t ethertype;
	uint8_t ip[20]; /* so that the switch sees flows */
	uint8_t udp[8];
	uint32_t stream;
	uint32_t sequence;
	uint8_t filler[12];
} __attribute__((packed));

/* Station addresses: 52:54:00:00:00:last. */
void stack_packet_make(struct stack_packet *packet, uint8_t destination_last, uint8_t source_last, uint32_t stream,
		       uint32_t sequence);
bool stack_send(struct test_vm *vm, unsigned int queue, uint8_t destination_last, uint8_t source_last, uint32_t stream,
		uint32_t sequence);
/* @return true and the packet when one arrived on that rx queue. */
bool stack_receive(struct test_vm *vm, unsigned int queue, struct stack_packet *ret_packet);

/* What a stream must look like at its receiver: every number once, in order. */
struct stack_stream {
	uint32_t next_to_send;
	uint32_t next_expected;
	uint32_t received;
	uint32_t lost;
	uint32_t duplicated;
	uint32_t reordered;
	uint8_t seen[65536];
};

void stack_stream_account(struct stack_stream *stream, uint32_t sequence);

#endif
