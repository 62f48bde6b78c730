/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "script.h"
#include "vfu_client.h"

/* SET_IRQS: every kind of data, every action, and runs. */

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;

static int
setup(void **state)
{
	(void)state;
	script_clear();
	client = liar_client(&liar, script_record);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	client = rp_vfu_client_destroy(client);
	liar_stop(&liar);
	return 0;
}

static void
test_irq_vectors(void **state)
{
	static const uint8_t bools[] = {1, 0, 1};
	int event = eventfd(0, EFD_CLOEXEC);
	int fds[2] = {event, event};

	(void)state;
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 7, event, &why), 0);
	SENT(1, HEADER(1, 8, 36, COMMAND, 0), U32(20), U32(0x24), U32(2), U32(7), U32(1));
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 7, -1, &why), 0);
	SENT(0, HEADER(2, 8, 36, COMMAND, 0), U32(20), U32(0x24), U32(2), U32(7), U32(1));
	assert_int_equal(rp_vfu_client_irq_disable(client, 2, &why), 0);
	SENT(0, HEADER(3, 8, 36, COMMAND, 0), U32(20), U32(0x21), U32(2), U32(0), U32(0));
	assert_int_equal(rp_vfu_client_irq_action(client, 2, RP_VFU_IRQ_ACTION_TRIGGER_MASK, 3, 5, NULL, &why), 0);
	SENT(0, HEADER(4, 8, 36, COMMAND, 0), U32(20), U32(0x21), U32(2), U32(3), U32(5));
	assert_int_equal(rp_vfu_client_irq_action(client, 4, RP_VFU_IRQ_ACTION_MASK_MASK, 1, 3, bools, &why), 0);
	SENT(0, HEADER(5, 8, 39, COMMAND, 0), U32(23), U32(0xa), U32(4), U32(1), U32(3), 1, 0, 1);
	assert_int_equal(rp_vfu_client_irq_action(client, 4, RP_VFU_IRQ_ACTION_UNMASK_MASK, 0, 1, NULL, &why), 0);
	SENT(0, HEADER(6, 8, 36, COMMAND, 0), U32(20), U32(0x11), U32(4), U32(0), U32(1));
	assert_int_equal(rp_vfu_client_irq_eventfds(client, 4, RP_VFU_IRQ_ACTION_UNMASK_MASK, 2, 2, fds, &why), 0);
	SENT(2, HEADER(7, 8, 36, COMMAND, 0), U32(20), U32(0x14), U32(4), U32(2), U32(2));
	close(event);
}

static uint8_t dropped[36];

static bool
record_dropped(struct liar *from, const struct peer_msg *command)
{
	if ((command->flags & NO_REPLY) == 0 || command->size_bytes != sizeof(dropped))
		return script_record(from, command);
	memcpy(dropped, command->bytes, sizeof(dropped));
	return true;
}

/* Nobody answers, and nobody waits; what is asked next is asked after it. */
static void
test_a_vector_is_dropped(void **state)
{
	static const uint8_t expected[] = {HEADER(1, 8, 36, NO_REPLY, 0), U32(20), U32(0x24), U32(2), U32(7), U32(1)};

	(void)state;
	script_clear();
	client = liar_client(&liar, record_dropped);
	assert_int_equal(rp_vfu_client_irq_drop(client, 2, 7, &why), 0);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	assert_memory_equal(dropped, expected, sizeof(expected));
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* It wakes nobody by itself. Where nothing else is asked, it leaves when the client is processed, and calls for that. */
static void
test_a_dropped_vector_leaves_with_the_next_command(void **state)
{
	struct pollfd wait = {.events = POLLIN};

	(void)state;
	script_clear();
	client = liar_client(&liar, record_dropped);
	wait.fd = rp_vfu_client_fd(client);
	assert_int_equal(rp_vfu_client_irq_drop(client, 2, 7, &why), 0);
	assert_false(rp_wire_conn_is_idle(client->conn));
	assert_int_equal(poll(&wait, 1, 0), 1);
	assert_int_equal(rp_vfu_client_process(client), 0);
	assert_true(rp_wire_conn_is_idle(client->conn));
	assert_int_equal(poll(&wait, 1, 0), 0);
	assert_int_equal(rp_vfu_client_irq_drop(client, 2, 7, &why), 0);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	assert_true(rp_wire_conn_is_idle(client->conn));
	assert_int_equal(poll(&wait, 1, 0), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static void
test_our_callers_mistakes(void **state)
{
	int none = -1;

	(void)state;
	assert_int_equal(rp_vfu_client_irq_action(client, 2, 0, 0, 1, NULL, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_irq_action(client, 2, 0x30, 0, 1, NULL, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_irq_action(client, 2, 0x1, 0, 1, NULL, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_irq_action(client, 2, 0x20, 0, 0, NULL, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_irq_action(client, 2, 0x20, UINT32_MAX, 1, NULL, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_irq_eventfds(client, 2, 0x20, 0, 0, &none, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_irq_eventfds(client, 2, 0x21, 0, 1, &none, &why), -EINVAL);
	assert_int_equal(script_sent_count(), 0);
	/* A descriptor that is none is noticed before anything is sent, and costs nothing. */
	assert_int_equal(rp_vfu_client_irq_set(client, 2, 0, 99999, &why), -EINVAL);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	assert_int_equal(script_sent_count(), 1);
}

/* Which vectors came, by runs. */
static struct {
	uint32_t start, count;
	unsigned int fds_count;
} runs[32];
static unsigned int runs_count;
static uint32_t refuse_from;

static bool
note_runs(struct liar *l, const struct peer_msg *command)
{
	if (command->command != 8 || runs_count == 32)
		return false;
	memcpy(&runs[runs_count].start, command->payload + 12, 4);
	memcpy(&runs[runs_count].count, command->payload + 16, 4);
	runs[runs_count].fds_count = command->fds_count;
	if (runs[runs_count++].start < refuse_from)
		return false;
	liar_error(l, command, EINVAL);
	return true;
}

static void
test_runs_of_what_a_message_carries(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC);
	uint8_t bools[5000];
	int fds[40];
	unsigned int i;

	(void)state;
	for (i = 0; i < 40; i++)
		fds[i] = i >= 9 && i < 30 ? -1 : event;
	runs_count = 0;
	refuse_from = UINT32_MAX;
	/* The honest server takes eight in a message. */
	client = liar_client(&liar, note_runs);
	assert_int_equal(rp_vfu_client_irq_eventfds(client, 2, RP_VFU_IRQ_ACTION_TRIGGER_MASK, 100, 40, fds, &why), 0);
	assert_int_equal(runs_count, 5);
	assert_true(runs[0].start == 100 && runs[0].count == 8 && runs[0].fds_count == 8);
	assert_true(runs[1].start == 108 && runs[1].count == 1 && runs[1].fds_count == 1);
	assert_true(runs[2].start == 109 && runs[2].count == 21 && runs[2].fds_count == 0);
	assert_true(runs[3].start == 130 && runs[3].count == 8 && runs[3].fds_count == 8);
	assert_true(runs[4].start == 138 && runs[4].count == 2 && runs[4].fds_count == 2);
	memset(bools, 1, sizeof(bools));
	assert_int_equal(rp_vfu_client_irq_action(client, 2, RP_VFU_IRQ_ACTION_TRIGGER_MASK, 0, 5000, bools, &why), 0);
	assert_int_equal(runs_count, 8);
	assert_true(runs[7].start == 4096 && runs[7].count == 904);
	/* One run that is refused is the call's error, and the connection goes on. */
	refuse_from = 108;
	assert_int_equal(rp_vfu_client_irq_eventfds(client, 2, RP_VFU_IRQ_ACTION_TRIGGER_MASK, 100, 40, fds, &why),
			 -EINVAL);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
	close(event);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_irq_vectors, setup, teardown),
		cmocka_unit_test(test_a_vector_is_dropped),
		cmocka_unit_test(test_a_dropped_vector_leaves_with_the_next_command),
		cmocka_unit_test_setup_teardown(test_our_callers_mistakes, setup, teardown),
		cmocka_unit_test(test_runs_of_what_a_message_carries),
	};

	return cmocka_run_group_tests_name("vfio-user client: interrupts", tests, NULL, NULL);
}
