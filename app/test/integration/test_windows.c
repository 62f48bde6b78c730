/* SPDX-License-Identifier: BSD-3-Clause */

/* Device memory of one function of softaccel for the other, over vfio-user: a file for each BAR. */

#include "stack.h"

#define FIRST_IOVA 0x3800000000ull
#define STEP_BYTES 0x100000000ull
#define FRAMES 100u

static const struct stack_function functions[] = {
	{.queue_pairs = 1, .mac_last = 1},
	{.queue_pairs = 1, .mac_last = 2},
};

/* Every BAR of the second function, at addresses of the first. */
static void
open_port(struct test_port *port)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	const char *accelerators[] = {stack_accel_arguments(0), stack_accel_arguments(1)};
	struct rp_port_window windows[RP_PORT_WINDOW_BARS];
	const struct rp_port_config config = {
		.name = "test",
		.socket_path = stack_port_socket(0),
		.socket_mode = RP_PORT_SERVER,
		.accelerators = accelerators,
		.accelerators_count = 2,
		.windows = windows,
		.windows_count = RP_PORT_WINDOW_BARS,
		.doorbell_delay_ms = 1,
		.reconnect_ms = 5,
	};
	unsigned int i;

	for (i = 0; i < RP_PORT_WINDOW_BARS; i++)
		windows[i] =
			(struct rp_port_window){.of = 1, .region = i, .to = 0, .iova = FIRST_IOVA + i * STEP_BYTES};
	test_port_open(port, &config, &registry);
}

struct arrival {
	struct test_vm *vm;
	struct stack_packet packet;
};

static bool
arrives(void *ctx)
{
	struct arrival *arrival = ctx;

	return stack_receive(arrival->vm, 2, &arrival->packet);
}

/* The doorbells are a file, and mapped; registers are messages, and left out; the table of vectors is nobody's. */
static void
bars_of_a_device_process(void **state)
{
	unsigned int i, j, causes[RP_DMA_SECTION_CAUSES_COUNT] = {0};
	struct rp_dma_sections_counters counters;
	struct stack_accel accel;
	struct test_port port;
	struct arrival arrival;
	struct test_vm vm;

	stack_accel_start(&accel, functions, 2);
	open_port(&port);
	for (i = 0; i < RP_PORT_WINDOW_BARS; i++) {
		const struct rp_port_window_info info = test_port_window(&port, i);

		assert_true(info.sections_count > 0);
		for (j = 0; j < info.sections_count; j++) {
			causes[info.sections[j].cause]++;
			print_message("%s: %s %s\n", info.sections[j].section.name,
				      rp_dma_section_cause_name(info.sections[j].cause), info.sections[j].reason);
		}
	}
	assert_true(causes[RP_DMA_SECTION_FITS] >= 1);
	assert_true(causes[RP_DMA_SECTION_INTERRUPTS] >= 1);
	assert_true(causes[RP_DMA_SECTION_REFUSED] >= 1);
	counters = test_port_accelerator(&port, 0).sections;
	assert_int_equal(counters.mapped_count, causes[RP_DMA_SECTION_FITS]);
	/* One line for each cause. */
	assert_int_equal(test_port_events(&port, "section-left-out"), 2);
	test_vm_open(&vm, stack_port_socket(0), 4, 64, *state);
	test_vm_start_all(&vm);
	stack_wait_direct(&vm, &port);
	arrival.vm = &vm;
	for (i = 0; i < FRAMES; i++) {
		assert_true(stack_send(&vm, 1, 2, 1, 0, i));
		assert_true(test_wait(arrives, &arrival, STACK_LIMIT_MS));
		assert_int_equal(arrival.packet.sequence, i);
	}
	assert_int_equal(test_port_events(&port, "accelerator-failed"), 0);
	test_vm_close(&vm);
	test_port_close(&port);
	stack_accel_stop(&accel);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STACK_TEST(bars_of_a_device_process, split),
		STACK_TEST(bars_of_a_device_process, packed),
	};

	return cmocka_run_group_tests(tests, stack_setup, stack_teardown);
}
