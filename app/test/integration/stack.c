/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_lcore.h>

#include "rp_wire_fd.h"
#include "stack.h"

#define EAL_BYTES ((size_t)64 << 20)

static char directory[64];

const struct test_vm_options stack_split = {0};
const struct test_vm_options stack_split_in_order = {.ring_features = TEST_VM_IN_ORDER, .indirect = true};
const struct test_vm_options stack_packed = {.ring_features = TEST_VM_PACKED, .num = 60}; /* no power of two */
const struct test_vm_options stack_packed_in_order = {
	.ring_features = TEST_VM_PACKED | TEST_VM_IN_ORDER,
	.indirect = true,
};

static int
begin(bool huge)
{
	/* The EAL wants them writable. */
	static char words[][20] = {"test", "--no-pci", "--no-telemetry", "-m", "64", "-l", "0", "--log-level=error"};
	static char small[][20] = {"--no-huge", "--no-shconf"}, in_memory[] = "--in-memory";
	char *arguments[sizeof(words) / sizeof(words[0]) + sizeof(small) / sizeof(small[0]) + 1] = {NULL};
	unsigned int i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		arguments[i] = words[i];
	if (huge) {
		arguments[i++] = in_memory;
	} else {
		arguments[i++] = small[0];
		arguments[i++] = small[1];
	}
	snprintf(directory, sizeof(directory), "/tmp/ringpass-stack.XXXXXX");
	if (mkdtemp(directory) == NULL)
		return -1;
	return rte_eal_init((int)i, arguments) < 0 ? -1 : 0;
}

int
stack_setup(void **state)
{
	(void)state;
	return begin(false);
}

int
stack_setup_huge(void **state)
{
	int rc;

	(void)state;
	if (!test_huge_allow(EAL_BYTES)) {
		print_message("no huge pages are to be had\n");
		return begin(false);
	}
	rc = begin(true);
	test_huge_restore();
	return rc;
}

const char *
stack_accel_arguments(unsigned int index)
{
	static char text[STACK_FUNCTIONS_MAX][128];

	snprintf(text[index], sizeof(text[index]), "vfio-user,socket=%s/f%u", directory, index);
	return text[index];
}

const char *
stack_port_socket(unsigned int index)
{
	static char text[STACK_FUNCTIONS_MAX][96];

	snprintf(text[index], sizeof(text[index]), "%s/p%u", directory, index);
	return text[index];
}

int
stack_teardown(void **state)
{
	unsigned int i;

	(void)state;
	rte_eal_cleanup();
	/* A test that failed left its sockets. */
	for (i = 0; i < STACK_FUNCTIONS_MAX; i++) {
		unlink(strchr(stack_accel_arguments(i), '/'));
		unlink(stack_port_socket(i));
	}
	return rmdir(directory);
}

static void *
control(void *ctx)
{
	struct stack_accel *stack = ctx;

	for (;;) {
		struct pollfd wait[2] = {
			{.fd = softaccel_fd(stack->accel), .events = POLLIN},
			{.fd = stack->stop_fd, .events = POLLIN},
		};

		poll(wait, 2, -1);
		if (wait[1].revents != 0)
			return NULL;
		softaccel_process(stack->accel);
	}
}

static void *
data(void *ctx)
{
	struct stack_accel *stack = ctx;

	if (rte_thread_register() < 0)
		abort();
	softaccel_run(stack->accel);
	rte_thread_unregister();
	return NULL;
}

static void
on_event(void *ctx, const char *text)
{
	(void)ctx;
	if (getenv("TEST_PORT_LOG") != NULL)
		fprintf(stderr, "softaccel: %s\n", text);
}

static const struct softaccel_ops accel_ops = {.event = on_event};

void
stack_accel_start(struct stack_accel *stack, const struct stack_function *functions, unsigned int count)
{
	struct rp_wire_why why = {0};
	unsigned int i;

	memset(stack, 0, sizeof(*stack));
	stack->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (softaccel_create(&(struct softaccel_config){.mbufs_count = 2048}, &accel_ops, NULL, &stack->accel, &why) <
	    0)
		fail_msg("softaccel: %s", why.text);
	for (i = 0; i < count; i++) {
		struct softaccel_function *function;
		struct softaccel_function_config config = {
			.socket_path = strstr(stack_accel_arguments(i), "/"),
			.group = functions[i].group,
			.queue_pairs = functions[i].queue_pairs,
			.queue_size = 256,
			.mac = {0x52, 0x54, 0, 0, 0, functions[i].mac_last},
			.doorbell = functions[i].doorbell,
			.packed_off = functions[i].packed_off,
			.idle_ms = functions[i].idle_ms,
			.iommu = functions[i].iommu,
			.dma = functions[i].by_messages ? SOFTACCEL_DMA_MESSAGES : SOFTACCEL_DMA_AUTO,
		};

		if (softaccel_function_add(stack->accel, &config, &function, &why) < 0)
			fail_msg("softaccel function %u: %s", i, why.text);
	}
	assert_int_equal(pthread_create(&stack->control, NULL, control, stack), 0);
	assert_int_equal(pthread_create(&stack->data, NULL, data, stack), 0);
}

void
stack_accel_stop(struct stack_accel *stack)
{
	uint64_t one = 1;

	/* The control side waits for the loop at its gate: it ends first. */
	assert_int_equal(write(stack->stop_fd, &one, sizeof(one)), sizeof(one));
	pthread_join(stack->control, NULL);
	softaccel_stop(stack->accel);
	pthread_join(stack->data, NULL);
	stack->accel = softaccel_destroy(stack->accel);
	rp_wire_fd_close(&stack->stop_fd);
}

static void
open_port(struct test_port *port, unsigned int index, unsigned int first, unsigned int count, uint16_t queue_pairs,
	  bool access_platform)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	const char *accelerators[STACK_FUNCTIONS_MAX];
	struct rp_port_config config = {
		.name = "test",
		.socket_path = stack_port_socket(index),
		.socket_mode = RP_PORT_SERVER,
		.accelerators = accelerators,
		.accelerators_count = count,
		.queue_pairs = queue_pairs,
		.doorbell_delay_ms = 1,
		.reconnect_ms = 5,
		.access_platform = access_platform,
	};
	unsigned int i;

	for (i = 0; i < count; i++)
		accelerators[i] = stack_accel_arguments(first + i);
	test_port_open(port, &config, &registry);
}

void
stack_port_open(struct test_port *port, unsigned int index, unsigned int first, unsigned int count)
{
	open_port(port, index, first, count, 0, false);
}

void
stack_port_open_with_room(struct test_port *port, unsigned int index, unsigned int first, unsigned int count,
			  uint16_t queue_pairs)
{
	open_port(port, index, first, count, queue_pairs, false);
}

void
stack_port_open_translated(struct test_port *port, unsigned int index, unsigned int first, unsigned int count)
{
	open_port(port, index, first, count, 0, true);
}

void
stack_wait_direct(struct test_vm *vm, struct test_port *port)
{
	unsigned int i;

	for (i = 0; i < vm->queues_count; i++) {
		if (!test_vm_wait_doorbell(vm, i, true, STACK_LIMIT_MS))
			fail_msg("queue %u has no doorbell: %s", i, test_port_queue(port, i).reason);
		assert_true(test_port_wait_mode(port, i, RP_PORT_QUEUE_DIRECT, STACK_LIMIT_MS));
	}
}

static void
station(uint8_t address[6], uint8_t last)
{
	static const uint8_t prefix[5] = {0x52, 0x54, 0, 0, 0};

	memcpy(address, prefix, 5);
	address[5] = last;
}

void
stack_packet_make(struct stack_packet *packet, uint8_t destination_last, uint8_t source_last, uint32_t stream,
		  uint32_t sequence)
{
	memset(packet, 0, sizeof(*packet));
	station(packet->destination, destination_last);
	station(packet->source, source_last);
	packet->ethertype = htons(0x0800);
	packet->ip[0] = 0x45;
	packet->ip[3] = 28 + sizeof(packet->stream) + sizeof(packet->sequence) + sizeof(packet->filler);
	packet->ip[8] = 64;
	packet->ip[9] = 17;
	packet->ip[12] = 10, packet->ip[15] = source_last;
	packet->ip[16] = 10, packet->ip[19] = destination_last;
	packet->udp[0] = 0x40, packet->udp[1] = (uint8_t)stream; /* ports make the flow */
	packet->udp[2] = 0x50, packet->udp[3] = (uint8_t)(stream * 7);
	packet->stream = stream;
	packet->sequence = sequence;
}

bool
stack_send(struct test_vm *vm, unsigned int queue, uint8_t destination_last, uint8_t source_last, uint32_t stream,
	   uint32_t sequence)
{
	struct stack_packet packet;

	stack_packet_make(&packet, destination_last, source_last, stream, sequence);
	return test_vm_send(vm, queue, &packet, sizeof(packet));
}

bool
stack_receive(struct test_vm *vm, unsigned int queue, struct stack_packet *ret_packet)
{
	uint8_t bytes[TEST_VM_BUFFER_BYTES];
	uint32_t size = test_vm_receive(vm, queue, bytes, sizeof(bytes));

	if (size == 0)
		return false;
	assert_int_equal(size, sizeof(*ret_packet));
	memcpy(ret_packet, bytes, sizeof(*ret_packet));
	return true;
}

void
stack_stream_account(struct stack_stream *stream, uint32_t sequence)
{
	assert_true(sequence < sizeof(stream->seen));
	stream->received++;
	if (stream->seen[sequence]++ != 0)
		stream->duplicated++;
	if (sequence < stream->next_expected)
		stream->reordered++;
	else
		stream->next_expected = sequence + 1;
	stream->lost = stream->next_expected - (stream->received - stream->duplicated);
}
