/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Huge pages where they are given: guests' memory, of which a region begins and ends within a
 * huge page, through the frontend's messages, a port, vfio-user and the device; and the device's own buffers.
 */

#include <sys/stat.h>

#include <rte_memory.h>
#include <rte_mempool.h>

#include "rp_wire_fd.h"
#include "stack.h"

#define PACKETS 300u
#define FILE_PAGES 3u /* of a guest's memory of two queues */

struct pair {
	struct stack_accel accel;
	struct test_port ports[2];
	struct test_vm vms[2];
	uint32_t sequence;
};

static struct test_vm_options
huge(const struct test_vm_options *format)
{
	struct test_vm_options options = *format;

	options.huge = true;
	return options;
}

/* Before anything is open that a test which is left would leave behind. */
static void
need_huge_pages(void)
{
	int fd = test_huge_memfd(2 * FILE_PAGES * TEST_HUGE_PAGE_BYTES);

	rp_wire_fd_close(&fd);
}

static void
pair_open(struct pair *p, bool by_messages)
{
	const struct stack_function functions[] = {
		{.queue_pairs = 1, .mac_last = 1, .by_messages = by_messages},
		{.queue_pairs = 1, .mac_last = 2, .by_messages = by_messages},
	};
	unsigned int i;

	p->sequence = 0;
	stack_accel_start(&p->accel, functions, 2);
	for (i = 0; i < 2; i++)
		stack_port_open(&p->ports[i], i, i, 1);
}

static void
guests_open(struct pair *p, const struct test_vm_options *options)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		test_vm_open(&p->vms[i], stack_port_socket(i), 2, 64, options);
		test_vm_start_all(&p->vms[i]);
	}
	for (i = 0; i < 2; i++)
		stack_wait_direct(&p->vms[i], &p->ports[i]);
}

static void
guests_close(struct pair *p)
{
	unsigned int i;
	struct stat st;

	for (i = 0; i < 2; i++) {
		/* Who maps beyond the end of such a file makes it larger. */
		assert_int_equal(fstat(p->vms[i].memory_fd, &st), 0);
		assert_int_equal(st.st_size, FILE_PAGES * TEST_HUGE_PAGE_BYTES);
		test_vm_close(&p->vms[i]);
	}
}

static void
pair_close(struct pair *p)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		test_port_close(&p->ports[i]);
	stack_accel_stop(&p->accel);
}

struct arrival {
	struct test_vm *vm;
	struct stack_packet packet;
};

static bool
arrives(void *ctx)
{
	struct arrival *arrival = ctx;

	return stack_receive(arrival->vm, 0, &arrival->packet);
}

static void
exchange(struct pair *p)
{
	unsigned int i, from;

	for (i = 0; i < PACKETS; i++)
		for (from = 0; from < 2; from++) {
			struct arrival arrival = {.vm = &p->vms[1 - from]};

			assert_true(stack_send(&p->vms[from], 1, (uint8_t)(2 - from), (uint8_t)(1 + from), 0,
					       ++p->sequence));
			assert_true(test_wait(arrives, &arrival, STACK_LIMIT_MS));
			assert_int_equal(arrival.packet.sequence, p->sequence);
		}
}

/* More packets than a ring and its buffers hold, so that each buffer is where both think that it is. */
static void
traffic_of(const struct test_vm_options *format, bool by_messages)
{
	struct test_vm_options options = huge(format);
	struct pair p;
	unsigned int i, queue;

	need_huge_pages();
	pair_open(&p, by_messages);
	guests_open(&p, &options);
	exchange(&p);
	for (i = 0; i < 2; i++)
		for (queue = 0; queue < 2; queue++)
			assert_int_equal(softaccel_queue_by_messages(softaccel_function_at(p.accel.accel, i), queue),
					 by_messages);
	guests_close(&p);
	pair_close(&p);
}

static void
guests_in_huge_pages(void **state)
{
	traffic_of(*state, false);
}

/* Who asks is answered out of a mapping of the same file. */
static void
reached_by_messages(void **state)
{
	traffic_of(*state, true);
}

/* Nothing of a guest that left stays mapped, here or there: munmap(2) takes whole huge pages only. */
static void
guests_come_and_go(void **state)
{
	struct test_vm_options options = huge(*state);
	struct test_leaks before, now;
	struct pair p;
	unsigned int i;

	need_huge_pages();
	pair_open(&p, false);
	guests_open(&p, &options);
	exchange(&p);
	test_leaks_read(&before);
	guests_close(&p);
	test_leaks_read(&now);
	assert_true(now.mappings_count < before.mappings_count);
	for (i = 0; i < 5; i++) {
		guests_open(&p, &options);
		exchange(&p);
		test_leaks_assert_none(&before);
		guests_close(&p);
	}
	pair_close(&p);
}

static void
chunk_is_huge(struct rte_mempool *pool, void *ctx, struct rte_mempool_memhdr *chunk, unsigned int index)
{
	const struct rte_memseg *segment = rte_mem_virt2memseg(chunk->addr, NULL);

	(void)pool;
	(void)index;
	assert_non_null(segment);
	assert_true(segment->hugepage_sz >= TEST_HUGE_PAGE_BYTES);
	++*(unsigned int *)ctx;
}

static void
pool_is_huge(struct rte_mempool *pool, void *ctx)
{
	rte_mempool_mem_iter(pool, chunk_is_huge, ctx);
}

static void
packet_buffers(void **state)
{
	unsigned int chunks_count = 0;
	struct pair p;

	(void)state;
	if (!rte_eal_has_hugepages()) {
		print_message("SKIP: no huge pages of 2 MiB for DPDK\n");
		skip();
	}
	pair_open(&p, false);
	rte_mempool_walk(pool_is_huge, &chunks_count);
	assert_true(chunks_count > 0);
	pair_close(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STACK_TESTS(guests_in_huge_pages),     STACK_TESTS(reached_by_messages),
		STACK_TEST(guests_come_and_go, split), STACK_TEST(guests_come_and_go, packed),
		cmocka_unit_test(packet_buffers),
	};

	return cmocka_run_group_tests(tests, stack_setup_huge, stack_teardown);
}
