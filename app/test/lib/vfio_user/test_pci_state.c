/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "function.h"
#include "rp_wire_fd.h"

#define CONFIG_AT 16u

static struct function function;
static uint8_t *saved;
static uint32_t saved_bytes;
static int event_fd = -1;

static int
setup(void **state)
{
	(void)state;
	function_start(&function);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	saved_bytes = rp_vfu_pci_state_bytes(function.pci);
	saved = calloc(1, saved_bytes);
	assert_non_null(saved);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	free(saved);
	function_close(&function);
	rp_wire_fd_close(&event_fd);
	return 0;
}

static void
read_config(uint8_t *ret_bytes)
{
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, 4096, ret_bytes), 0);
	/* That byte counts. */
	ret_bytes[FUNCTION_VENDOR + FUNCTION_VENDOR_BYTES - 1] = 0;
}

/* A guest at work, which another process takes over. */
static void
test_a_function_moves(void **state)
{
	static const uint8_t memory_and_master[] = {6, 0};
	uint8_t config[4096], table[64], again[4096];
	const uint32_t entry = FUNCTION_TABLE + 2 * 16;

	(void)state;
	assert_int_equal(function_write(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, memory_and_master), 0);
	function_put(&function, FUNCTION_CONFIG, 0x10, 4, 0x34560000);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_MSIX + 2, 2, 0x8000);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_MSI + 16, 1, 0x10);
	function_put(&function, 0, entry, 4, 0xfee01000);
	function_put(&function, 0, entry + 12, 4, 1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 2), 0);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSI_IRQ, 4), 0);
	/* Pending, unmasked, and nobody has listened yet. */
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 0), 0);
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 0);
	read_config(config);
	assert_int_equal(function_read(&function, 0, FUNCTION_TABLE, sizeof(table), table), 0);
	rp_vfu_pci_save(function.pci, saved);
	function_close(&function);

	function_start(&function);
	assert_int_equal(rp_vfu_pci_load(function.pci, saved, saved_bytes, NULL), 0);
	read_config(again);
	assert_memory_equal(again, config, sizeof(config));
	assert_int_equal(function_read(&function, 0, FUNCTION_TABLE, sizeof(table), again), 0);
	assert_memory_equal(again, table, sizeof(table));
	assert_int_equal(function.masters_on, 1);
	assert_int_equal(function.resets, 0);
	/* Masks hold there too, and nothing that was pending is lost. */
	assert_int_equal(function_get(&function, 0, FUNCTION_PENDING, 4), 0x5);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_MSI + 20, 4), 0x10);
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 2, event_fd);
	assert_int_equal(function_signals(event_fd), 0);
	function_put(&function, 0, entry + 12, 4, 0);
	assert_int_equal(function_signals(event_fd), 1);
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 0, event_fd);
	assert_int_equal(function_signals(event_fd), 1);
	/* A vector that nobody touched masks nothing, as before. */
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 3, event_fd);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 3), 0);
	assert_int_equal(function_signals(event_fd), 1);
}

static void
test_the_format_in_bytes(void **state)
{
	(void)state;
	function_put(&function, 0, FUNCTION_TABLE + 16 + 12, 4, 1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 1), 0);
	rp_vfu_pci_save(function.pci, saved);
	assert_int_equal(saved_bytes, 16 + 4096 + 70 * 16 + 70 + 8);
	assert_memory_equal(saved, ((uint8_t[]){'R', 'P', 'P', 'P', 0, 0x10, 0, 0, 8, 0, 0, 0, 70, 0, 0, 0}), 16);
	assert_memory_equal(saved + CONFIG_AT, ((uint8_t[]){0x34, 0x12, 0x78, 0x56}), 4);
	assert_memory_equal(saved + CONFIG_AT + 4096 + 12, ((uint8_t[]){1, 0, 0, 0}), 4);
	assert_memory_equal(saved + CONFIG_AT + 4096 + 70 * 16, ((uint8_t[]){0, 3, 0}), 3);
}

static void
refused(int error, const char *words)
{
	uint8_t before[4096], after[4096];
	struct rp_wire_why why = {.text = ""};

	read_config(before);
	assert_int_equal(rp_vfu_pci_load(function.pci, saved, saved_bytes, &why), error);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' without '%s'", why.text, words);
	read_config(after);
	assert_memory_equal(after, before, sizeof(after));
	assert_int_equal(function.masters_on, 0);
}

static void
test_what_is_not_its_own(void **state)
{
	static const uint32_t places[] = {CONFIG_AT,	     CONFIG_AT + 0xe,
					  CONFIG_AT + 0x34,  CONFIG_AT + FUNCTION_MSIX + 4,
					  CONFIG_AT + 0x100, CONFIG_AT + 4095};
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	rp_vfu_pci_save(function.pci, saved);
	saved[CONFIG_AT + FUNCTION_COMMAND] = 4;
	for (i = 0; i < 16; i++) {
		saved[i] ^= 1;
		refused(-EBADMSG, "header");
		saved[i] ^= 1;
	}
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		saved[places[i]] ^= 0x40;
		refused(-EBADMSG, "another device");
		saved[places[i]] ^= 0x40;
	}
	saved_bytes--;
	refused(-EMSGSIZE, "expected 5310");
	saved_bytes++;
	assert_int_equal(rp_vfu_pci_load(function.pci, saved, saved_bytes, &why), 0);
	assert_int_equal(function.masters_on, 1);
}

/* Every byte that is not judged may be anything. */
static void
test_noise(void **state)
{
	uint8_t whole[4096], config[4096];
	unsigned int round;
	uint32_t i;

	(void)state;
	srandom(5);
	for (round = 0; round < 200; round++) {
		rp_vfu_pci_save(function.pci, saved);
		memset(whole, 0xff, sizeof(whole));
		whole[FUNCTION_EXPRESS + 9] &= 0x7f;
		assert_int_equal(function_write(&function, FUNCTION_CONFIG, 0, sizeof(whole), whole), 0);
		read_config(config);
		for (i = 4; i < FUNCTION_VENDOR; i++)
			saved[CONFIG_AT + i] ^= (uint8_t)(random() & (config[i] ^ saved[CONFIG_AT + i]));
		saved[CONFIG_AT + FUNCTION_EXPRESS + 9] |= 0x80;
		for (i = CONFIG_AT + 4096; i < saved_bytes; i++)
			saved[i] = (uint8_t)random();
		assert_int_equal(rp_vfu_pci_load(function.pci, saved, saved_bytes, NULL), 0);
	}
	assert_int_equal(function.resets, 0);
}

static void
test_one_that_does_not_listen(void **state)
{
	struct function other;
	struct rp_wire_why why;

	(void)state;
	function_begin(&other, false, true);
	saved_bytes = rp_vfu_pci_state_bytes(other.pci);
	assert_int_equal(saved_bytes, 16 + 256);
	rp_vfu_pci_save(other.pci, saved);
	assert_int_equal(rp_vfu_pci_load(other.pci, saved, saved_bytes, &why), -EINVAL);
	function_close(&other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_function_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_format_in_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_not_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_that_does_not_listen, setup, teardown),
	};

	return cmocka_run_group_tests_name("PCI state", tests, NULL, NULL);
}
