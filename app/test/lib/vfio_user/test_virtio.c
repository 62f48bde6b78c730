/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "rp_vring_dev.h"
#include "rp_wire_fd.h"
#include "virtio_fixture.h"

#define fixture virtio_fixture

static void
refused(struct rp_vfu_virtio_config config, const char *words)
{
	struct rp_vfu_virtio *none = NULL;
	struct rp_wire_why why = {.text = ""};

	assert_int_equal(rp_vfu_virtio_create(&config, NULL, NULL, &none, &why), -EINVAL);
	assert_null(none);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' without '%s'", why.text, words);
}

#define REFUSED(words, ...)                                                                                            \
	do {                                                                                                           \
		struct rp_vfu_virtio_config changed = virtio_config;                                                   \
		__VA_ARGS__;                                                                                           \
		refused(changed, words);                                                                               \
	} while (0)

static void
test_what_cannot_be_made(void **state)
{
	(void)state;
	REFUSED("features: 0x104", changed.features = 0x104);
	REFUSED("queues_count: 0, expected 1 to 256", changed.queues_count = 0);
	REFUSED("queues_count: 257", changed.queues_count = 257);
	REFUSED("queue_size_max: 0, expected 1 to 32768", changed.queue_size_max = 0);
	REFUSED("queue_size_max: 32769", changed.queue_size_max = 32769);
	REFUSED("vectors_count: 5", changed.vectors_count = 5);
	REFUSED("config: 4097 bytes", changed.config_bytes = 4097);
	REFUSED("config: 10 bytes", changed.config = NULL);
	REFUSED("notify_stride_bytes: 1", changed.notify_stride_bytes = 1);
	REFUSED("notify_stride_bytes: 12, expected a power of two from 2", changed.notify_stride_bytes = 12);
	REFUSED("notify: 0x9 bytes, expected at least 0xa", changed.notify_stride_bytes = 4;
		changed.notify.size_bytes = 9);
	REFUSED("notify: 0x5 bytes, expected at least 0x6", changed.notify_stride_bytes = 4;
		changed.notify_group_queues = 2; changed.notify.size_bytes = 5);
	REFUSED("notify_group_queues: 257, expected at most 256", changed.notify_group_queues = 257);
	assert_null(rp_vfu_virtio_destroy(NULL));
}

static void
test_a_queue_is_wanted(void **state)
{
	(void)state;
	virtio_negotiate(VIRTIO_FEATURES);
	virtio_enable(1);
	assert_false(rp_vfu_virtio_queue_wanted(fixture.virtio, 1));
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 15);
	assert_true(rp_vfu_virtio_queue_wanted(fixture.virtio, 1));
	assert_false(rp_vfu_virtio_queue_wanted(fixture.virtio, 0));
	function_put(&fixture.function, FUNCTION_CONFIG, PCI_COMMAND, 2, 0);
	assert_false(rp_vfu_virtio_queue_wanted(fixture.virtio, 1));
	function_put(&fixture.function, FUNCTION_CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_true(rp_vfu_virtio_queue_wanted(fixture.virtio, 1));
	fixture.stop_result = -EINPROGRESS;
	virtio_set_state(1, VIRTIO_CONTROL, 1);
	assert_false(rp_vfu_virtio_queue_wanted(fixture.virtio, 1));
}

static void
test_its_layout(void **state)
{
	struct rp_vring_layout layout;

	(void)state;
	virtio_ready(VIRTIO_FEATURES & ~VIRTIO_PACKED_MASK);
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	virtio_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 32);
	virtio_put(VIRTIO_PCI_COMMON_Q_DESCHI, 4, 1);
	virtio_put(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 2);
	virtio_put(VIRTIO_PCI_COMMON_Q_USEDLO, 4, 3);
	rp_vfu_virtio_queue_layout(fixture.virtio, 2, &layout);
	assert_int_equal(layout.num, 32);
	assert_true(layout.desc_iova == 0x100000000);
	assert_int_equal(layout.avail_iova, 2);
	assert_int_equal(layout.used_iova, 3);
	assert_true(layout.features == (VIRTIO_FEATURES & ~VIRTIO_PACKED_MASK));
	assert_null(layout.notes);
}

static void
test_interrupts_by_vector(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	function_attach(&fixture.function, RP_VFU_PCI_MSIX_IRQ, 2, fd);
	virtio_ready(VIRTIO_FEATURES);
	/* No vector: nothing happens. */
	assert_int_equal(rp_vfu_virtio_interrupt(fixture.virtio, 0), 0);
	virtio_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
	assert_int_equal(rp_vfu_virtio_interrupt(fixture.virtio, 0), 0);
	assert_int_equal(function_signals(fd), 1);
	assert_int_equal(virtio_get(VIRTIO_ISR_AT, 1), 0);
	function_put(&fixture.function, FUNCTION_CONFIG, PCI_COMMAND, 2, 0);
	assert_int_equal(rp_vfu_virtio_interrupt(fixture.virtio, 0), 0);
	assert_int_equal(function_signals(fd), 0);
	rp_wire_fd_close(&fd);
}

static void
test_interrupts_by_the_pin(void **state)
{
	struct rp_vfu_virtio_config config = virtio_config;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	config.vectors_count = 0;
	virtio_start_as(&config);
	function_attach(&fixture.function, RP_VFU_PCI_INTX_IRQ, 0, fd);
	virtio_ready(VIRTIO_FEATURES);
	assert_int_equal(rp_vfu_virtio_interrupt(fixture.virtio, 1), 0);
	assert_int_equal(function_signals(fd), 1);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT,
			 PCI_STATUS_INTERRUPT);
	rp_vfu_virtio_set_config(fixture.virtio, 0, "\1", 1);
	assert_int_equal(virtio_get(VIRTIO_ISR_AT, 1), 3);
	assert_int_equal(virtio_get(VIRTIO_ISR_AT, 1), 0);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, 0);
	/* A reset deasserts it too. */
	rp_vfu_virtio_interrupt(fixture.virtio, 1);
	rp_vfu_virtio_reset(fixture.virtio);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, 0);
	assert_int_equal(virtio_get(VIRTIO_ISR_AT, 1), 0);
	virtio_teardown(state);
	rp_wire_fd_close(&fd);
}

static void
test_the_configuration_changes(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	function_attach(&fixture.function, RP_VFU_PCI_MSIX_IRQ, 3, fd);
	virtio_negotiate(VIRTIO_FEATURES);
	virtio_put(VIRTIO_PCI_COMMON_MSIX, 2, 3);
	/* Before the driver is ready nobody is told; the generation says it all the same. */
	assert_int_equal(rp_vfu_virtio_set_config(fixture.virtio, 6, "\0", 1), 0);
	assert_int_equal(function_signals(fd), 0);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 15);
	assert_int_equal(rp_vfu_virtio_set_config(fixture.virtio, 9, "\2", 1), 0);
	assert_int_equal(function_signals(fd), 1);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_CFGGENERATION, 1), 2);
	assert_int_equal(virtio_get(VIRTIO_CONFIG_AT + 6, 4), 0x02010000);
	assert_int_equal(rp_vfu_virtio_set_config(fixture.virtio, 10, "\2", 1), -EINVAL);
	assert_int_equal(rp_vfu_virtio_set_config(fixture.virtio, UINT32_MAX, "\2", 1), -EINVAL);
	assert_int_equal(rp_vfu_virtio_set_config(fixture.virtio, 4, "\2", UINT32_MAX), -EINVAL);
	assert_int_equal(function_signals(fd), 0);
	/* The device configuration outlives a reset. */
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(virtio_get(VIRTIO_CONFIG_AT + 6, 4), 0x02010000);
	rp_wire_fd_close(&fd);
}

static void
test_a_device_that_needs_a_reset(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	function_attach(&fixture.function, RP_VFU_PCI_MSIX_IRQ, 1, fd);
	virtio_ready(VIRTIO_FEATURES);
	virtio_put(VIRTIO_PCI_COMMON_MSIX, 2, 1);
	rp_vfu_virtio_needs_reset(fixture.virtio);
	assert_int_equal(function_signals(fd), 1);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_STATUS, 1), 0x4f);
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_STATUS, 1), 0);
	rp_wire_fd_close(&fd);
}

/* Without a single callback a driver is answered all the same. */
static void
test_a_device_that_hears_nothing(void **state)
{
	static const struct rp_vfu_virtio_config bare = {
		.features = 1ull << VIRTIO_F_VERSION_1, .queues_count = 1, .queue_size_max = 4};
	struct rp_vfu_virtio *virtio = NULL;
	unsigned int value;

	(void)state;
	function_begin(&fixture.function, false, true);
	assert_int_equal(rp_vfu_virtio_create(&bare, NULL, NULL, &virtio, NULL), 0);
	rp_vfu_virtio_describe(virtio, fixture.function.pci);
	function_serve(&fixture.function);
	virtio_negotiate(3ull << VIRTIO_F_VERSION_1);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_STATUS, 1), 3);
	virtio_ready(1ull << VIRTIO_F_VERSION_1);
	virtio_enable(0);
	virtio_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_MSIX, 2), RP_VFU_VIRTIO_NO_VECTOR);
	virtio_put(VIRTIO_CONFIG_AT, 4, 1);
	assert_int_equal(virtio_state(0, VIRTIO_CONTROL), 1);
	virtio_set_state(0, VIRTIO_CONTROL, 1);
	assert_int_equal(virtio_state(0, VIRTIO_CONTROL), 0);
	for (value = 0; value < 256; value++)
		virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, value);
	function_close(&fixture.function);
	rp_vfu_virtio_destroy(virtio);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, virtio_setup, virtio_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_cannot_be_made),
		CASE(test_a_queue_is_wanted),
		CASE(test_its_layout),
		CASE(test_interrupts_by_vector),
		cmocka_unit_test(test_interrupts_by_the_pin),
		CASE(test_the_configuration_changes),
		CASE(test_a_device_that_needs_a_reset),
		cmocka_unit_test(test_a_device_that_hears_nothing),
	};

	return cmocka_run_group_tests_name("virtio registers", tests, NULL, NULL);
}
