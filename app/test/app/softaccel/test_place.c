/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "rig.h"
#include "rp_dma_node.h"
#include "sa_device.h"

/* On a machine of one node nothing moves; app/test/e2e/test_numa.py runs this where there are two. */

#define PATIENCE 5000u /* of a millisecond, or more */
#define MBUFS 255u

static struct rte_mempool *pool;
static cpu_set_t all;

/* Pages as large as a test says, and what was asked of the kernel. */
static uint64_t page_bytes; /* 0: as they are */
static unsigned int placed_count;
static size_t placed_bytes;
static time_t passed_s; /* atomic: added to the clock, or ... */
static bool clock_stands; /* ... all that it says: the rig needs a real one */

/* Nodes that the machine need not have. */
static int said_node; /* atomic: where all memory is said to be; RP_DMA_NODE_ANY: where it is */
static uint8_t *doorbells; /* atomic: whose memory is looked for ... */
static int doorbells_node; /* atomic: ... and where it was sent last */
static unsigned int doorbells_moves; /* atomic */
static int messenger_node; /* atomic: where a messenger sent itself last */

#define LOCALS_MAX 8u
static void *locals[LOCALS_MAX]; /* atomic: memory that was sent to node 1 */
static unsigned int locals_count; /* atomic */

static struct sa_datapath *arriving; /* who sends itself to one CPU stops there */

struct rte_memseg *__wrap_rte_mem_virt2memseg(const void *address, const struct rte_memseg_list *list);
struct rte_memseg *__real_rte_mem_virt2memseg(const void *address, const struct rte_memseg_list *list);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);
unsigned int __wrap_rp_dma_nodes_count(void);
unsigned int __real_rp_dma_nodes_count(void);
int __wrap_rp_dma_node_of(const void *memory);
int __real_rp_dma_node_of(const void *memory);
int __wrap_rp_dma_node_place(void *memory, size_t size_bytes, int node);
int __real_rp_dma_node_place(void *memory, size_t size_bytes, int node);
int __wrap_rp_dma_node_run(int node);
int __real_rp_dma_node_run(int node);

struct rte_memseg *
__wrap_rte_mem_virt2memseg(const void *address, const struct rte_memseg_list *list)
{
	static struct rte_memseg segment;

	if (page_bytes == 0)
		return __real_rte_mem_virt2memseg(address, list);
	segment.hugepage_sz = page_bytes;
	return &segment;
}

unsigned int
__wrap_rp_dma_nodes_count(void)
{
	if (__atomic_load_n(&said_node, __ATOMIC_RELAXED) == RP_DMA_NODE_ANY)
		return __real_rp_dma_nodes_count();
	return 2;
}

int
__wrap_rp_dma_node_of(const void *memory)
{
	int node = __atomic_load_n(&said_node, __ATOMIC_RELAXED);

	return node == RP_DMA_NODE_ANY ? __real_rp_dma_node_of(memory) : node;
}

int
__wrap_rp_dma_node_place(void *memory, size_t size_bytes, int node)
{
	if (memory == __atomic_load_n(&doorbells, __ATOMIC_RELAXED)) {
		__atomic_store_n(&doorbells_node, node, __ATOMIC_RELAXED);
		__atomic_add_fetch(&doorbells_moves, 1, __ATOMIC_RELAXED);
		return -EIO;
	}
	if (node == 1 && __atomic_load_n(&said_node, __ATOMIC_RELAXED) == 1) {
		unsigned int i = __atomic_fetch_add(&locals_count, 1, __ATOMIC_RELAXED);

		__atomic_store_n(&locals[i % LOCALS_MAX], memory, __ATOMIC_RELAXED);
	}
	placed_count++;
	placed_bytes += size_bytes;
	if (page_bytes != 0)
		assert_int_equal(((uintptr_t)memory | size_bytes) % page_bytes, 0);
	return __real_rp_dma_node_place(memory, size_bytes, node);
}

int
__wrap_rp_dma_node_run(int node)
{
	char name[16];
	cpu_set_t one;
	int cpu = 0;

	assert_int_equal(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
	if (strcmp(name, "sa-messenger") == 0)
		__atomic_store_n(&messenger_node, node, __ATOMIC_RELAXED);
	if (arriving == NULL)
		return __real_rp_dma_node_run(node);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sa_datapath_stop(arriving);
	return sched_setaffinity(0, sizeof(one), &one);
}

int
__wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	int rc = __real_clock_gettime(clock, ret_now);

	if (clock == CLOCK_MONOTONIC && clock_stands)
		*ret_now = (struct timespec){0};
	if (rc == 0 && clock == CLOCK_MONOTONIC)
		ret_now->tv_sec += __atomic_load_n(&passed_s, __ATOMIC_RELAXED);
	return rc;
}

static void
pass(unsigned int seconds)
{
	__atomic_add_fetch(&passed_s, (time_t)seconds, __ATOMIC_RELAXED);
}

static int
setup(void **state)
{
	(void)state;
	clock_stands = false;
	said_node = RP_DMA_NODE_ANY;
	doorbells = NULL;
	doorbells_node = RP_DMA_NODE_ANY;
	doorbells_moves = 0;
	messenger_node = RP_DMA_NODE_ANY;
	memset(locals, 0, sizeof(locals));
	locals_count = 0;
	arriving = NULL;
	page_bytes = 0;
	placed_count = 0;
	placed_bytes = 0;
	pool = rte_pktmbuf_pool_create("placed", MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	assert_non_null(pool);
	return sched_getaffinity(0, sizeof(all), &all);
}

static int
teardown(void **state)
{
	(void)state;
	rte_mempool_free(pool);
	return sched_setaffinity(0, sizeof(all), &all);
}

static void
assert_pool_on(int node)
{
	struct rte_mbuf *mbufs[MBUFS];
	unsigned int i;

	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, mbufs, MBUFS), 0);
	/* A page at either end of the pool may be somebody else's. */
	for (i = 4; i < MBUFS - 4; i++)
		assert_int_equal(rp_dma_node_of(rte_pktmbuf_mtod(mbufs[i], void *)), node);
	rte_pktmbuf_free_bulk(mbufs, MBUFS);
}

static void
nobody_votes(void **state)
{
	struct sa_place place;
	cpu_set_t now;

	(void)state;
	sa_place_init(&place, pool);
	sa_place_begin(&place);
	sa_place_vote(&place, RP_DMA_NODE_ANY, 1);
	sa_place_vote(&place, RP_DMA_VOTE_NODES_MAX, 1);
	sa_place_follow(&place);
	assert_int_equal(rp_dma_vote_node(&place.vote), RP_DMA_NODE_ANY);
	assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
	assert_true(CPU_EQUAL(&now, &all));
}

/* Also where the nodes do not exist: nothing can be moved, and nothing breaks. */
static void
most_votes_win(void **state)
{
	struct sa_place place;

	(void)state;
	clock_stands = true;
	sa_place_init(&place, pool);
	sa_place_begin(&place);
	sa_place_vote(&place, 1, 1);
	assert_int_equal(rp_dma_vote_node(&place.vote), 1);
	pass(RP_DMA_VOTE_SETTLE_S);
	sa_place_vote(&place, 0, 1);
	assert_int_equal(rp_dma_vote_node(&place.vote), 1);
	sa_place_vote(&place, 0, 1);
	assert_int_equal(rp_dma_vote_node(&place.vote), 0);
	pass(RP_DMA_VOTE_SETTLE_S);
	sa_place_vote(&place, 0, -1);
	assert_int_equal(rp_dma_vote_node(&place.vote), 0);
	sa_place_vote(&place, 0, -1);
	assert_int_equal(rp_dma_vote_node(&place.vote), 1);
	/* With nobody left it stays: the next one is as good a guess. */
	sa_place_vote(&place, 1, -1);
	assert_int_equal(rp_dma_vote_node(&place.vote), 1);
	sa_place_follow(&place);
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS);
}

/* A guest whose rings are now on this node and now on that one. */
static void
moves_are_rare(void **state)
{
	struct sa_place place;
	unsigned int i, placed_once;

	(void)state;
	clock_stands = true;
	sa_place_init(&place, pool);
	sa_place_vote(&place, 1, 1);
	placed_once = placed_count;
	assert_true(placed_once > 0);
	for (i = 0; i < 100; i++) {
		sa_place_vote(&place, 1, -1);
		sa_place_vote(&place, 0, 1);
		sa_place_vote(&place, 0, -1);
		sa_place_vote(&place, 1, 1);
	}
	sa_place_vote(&place, 0, 1);
	sa_place_vote(&place, 0, 1);
	assert_int_equal(placed_count, placed_once);
	assert_int_equal(rp_dma_vote_node(&place.vote), 1);
	/* The majority that is there already. */
	pass(RP_DMA_VOTE_SETTLE_S);
	sa_place_vote(&place, 0, 1);
	assert_int_equal(rp_dma_vote_node(&place.vote), 0);
	assert_int_equal(placed_count, 2 * placed_once);
}

/* The kernel refuses a range of huge pages that does not begin with one, and takes none of it. */
static void
whole_pages_move(void **state)
{
	struct sa_place place;

	(void)state;
	page_bytes = 64 << 10;
	sa_place_init(&place, pool);
	sa_place_vote(&place, 1, 1);
	assert_true(placed_count > 0);
	assert_true(placed_bytes >= MBUFS * RTE_MBUF_DEFAULT_BUF_SIZE / 2);

	placed_count = 0;
	page_bytes = (uint64_t)1 << 40;
	sa_place_init(&place, pool);
	sa_place_vote(&place, 1, 1);
	assert_int_equal(placed_count, 0);
}

static void
pool_and_thread_follow(void **state)
{
	struct sa_place place;
	unsigned int node;
	int wanted;

	(void)state;
	if (rp_dma_nodes_count() < 2)
		skip();
	sa_place_init(&place, pool);
	sa_place_begin(&place);
	for (wanted = 1; wanted >= 0; wanted--) {
		pass(RP_DMA_VOTE_SETTLE_S);
		sa_place_vote(&place, wanted, 1);
		sa_place_follow(&place);
		assert_int_equal(getcpu(NULL, &node), 0);
		assert_int_equal(node, wanted);
		assert_pool_on(wanted);
		sa_place_vote(&place, wanted, -1);
	}
}

/* Its caller's thread: what it may run on is his again, also for the next data path. */
static void
the_thread_is_given_back(void **state)
{
	static struct sa_datapath path;
	struct softaccel_config config = {0};
	cpu_set_t now;

	(void)state;
	if (CPU_COUNT(&all) < 2)
		skip();
	assert_int_equal(sa_datapath_init(&path, &config), 0);
	sa_place_vote(&path.place, 1, 1);
	arriving = &path;
	sa_datapath_run(&path);
	assert_true(path.stop);
	assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
	assert_true(CPU_EQUAL(&now, &all));
	sa_datapath_fini(&path);
}

static void
assert_doorbells(int node, unsigned int moves)
{
	assert_int_equal(__atomic_load_n(&doorbells_node, __ATOMIC_RELAXED), node);
	assert_int_equal(__atomic_load_n(&doorbells_moves, __ATOMIC_RELAXED), moves);
}

/* Where the nodes do not exist, or the kernel will not, its rings start all the same. */
static void
doorbells_follow_their_guest(void **state)
{
	static struct rig rig;
	static struct rig_guest guest;
	struct softaccel_nodes nodes;
	unsigned int queue, life;

	(void)state;
	rig_create(&rig);
	rig_function(&rig, (struct softaccel_function_config){.queue_pairs = 1});
	__atomic_store_n(&doorbells, softaccel_function_at(rig.accel, 0)->doorbells.memory, __ATOMIC_RELAXED);
	softaccel_nodes(rig.accel, &nodes);
	assert_int_equal(nodes.buffers, RP_DMA_NODE_ANY);
	assert_int_equal(nodes.data_path, RP_DMA_NODE_ANY);
	assert_int_equal(softaccel_function_doorbells_node(softaccel_function_at(rig.accel, 0)), RP_DMA_NODE_ANY);
	rig_run(&rig);
	for (life = 0; life < 2; life++) {
		__atomic_store_n(&said_node, 1 - (int)life, __ATOMIC_RELAXED);
		memset(&guest, 0, sizeof(guest));
		rig_guest_connect(&guest, &rig, 0);
		rig_guest_negotiate(&guest, RIG_FEATURES_DEFAULT);
		for (queue = 0; queue < 2; queue++)
			rig_guest_queue(&guest, queue);
		rig_guest_driver_ok(&guest);
		for (queue = 0; queue < 2; queue++)
			assert_int_equal(softaccel_queue_state(softaccel_function_at(rig.accel, 0), queue),
					 SOFTACCEL_QUEUE_RUNNING);
		assert_int_equal(softaccel_function_doorbells_node(softaccel_function_at(rig.accel, 0)), 1 - (int)life);
		/* One move for all rings. */
		assert_doorbells(1 - (int)life, life + 1);
		rig_guest_fini(&guest);
		pass(RP_DMA_VOTE_SETTLE_S);
	}
	rig_destroy(&rig);
}

static bool
was_placed(const void *memory)
{
	unsigned int i;

	for (i = 0; i < LOCALS_MAX; i++)
		if (__atomic_load_n(&locals[i], __ATOMIC_RELAXED) == memory)
			return true;
	return false;
}

/* A guest whose rings are mapped, and whose buffers are reached by messages: who copies them is drawn there too. */
static void
messengers_follow(void **state)
{
	static struct rig rig;
	static struct rig_guest guest;
	const struct softaccel_function *function;
	unsigned int queue, i;

	(void)state;
	rig_create(&rig);
	rig_function(&rig, (struct softaccel_function_config){.queue_pairs = 1});
	function = softaccel_function_at(rig.accel, 0);
	rig_run(&rig);
	__atomic_store_n(&said_node, 1, __ATOMIC_RELAXED);
	memset(&guest, 0, sizeof(guest));
	guest.reach = RIG_REACH_RINGS;
	rig_guest_connect(&guest, &rig, 0);
	rig_guest_negotiate(&guest, RIG_FEATURES_DEFAULT);
	for (queue = 0; queue < 2; queue++)
		rig_guest_queue(&guest, queue);
	rig_guest_driver_ok(&guest);
	for (queue = 0; queue < 2; queue++)
		assert_true(softaccel_queue_by_messages(function, queue));
	for (i = 0; i < PATIENCE && __atomic_load_n(&messenger_node, __ATOMIC_RELAXED) != 1; i++)
		usleep(1000);
	assert_int_equal(__atomic_load_n(&messenger_node, __ATOMIC_RELAXED), 1);
	rig_control_pause(&rig);
	for (queue = 0; queue < 2; queue++)
		assert_true(was_placed(function->queues[queue].carriage->courier.local.memory));
	rig_control_resume(&rig);
	rig_guest_fini(&guest);
	rig_destroy(&rig);
}

static cpu_set_t
cpus_of(int node)
{
	cpu_set_t of_node;

	assert_int_equal(rp_dma_node_run(node), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(of_node), &of_node), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	return of_node;
}

/* On the CPUs of that node, and no others. */
static bool
runs_on(pthread_t thread, int node)
{
	cpu_set_t theirs, of_node = cpus_of(node);

	assert_int_equal(pthread_getaffinity_np(thread, sizeof(theirs), &theirs), 0);
	return CPU_EQUAL(&theirs, &of_node);
}

/* What stands for its buffers, when they are reached by messages. */
static void
assert_locals_on(struct rig *rig, int node)
{
	const struct softaccel_function *function = softaccel_function_at(rig->accel, 0);
	unsigned int queue;

	rig_control_pause(rig);
	for (queue = 0; queue < 2; queue++)
		assert_int_equal(rp_dma_node_of(function->queues[queue].carriage->courier.local.memory), node);
	rig_control_resume(rig);
}

static void
a_guest_on(struct rig *rig, enum rig_reach reach, int node)
{
	static struct rig_guest guest;
	const cpu_set_t far = cpus_of(1 - node);
	struct softaccel_nodes nodes;
	unsigned int i, queue;

	/* What it makes would be beside it, by itself. */
	assert_int_equal(pthread_setaffinity_np(rig->control, sizeof(far), &far), 0);
	pass(RP_DMA_VOTE_SETTLE_S);
	memset(&guest, 0, sizeof(guest));
	guest.reach = reach;
	rig_guest_connect(&guest, rig, 0);
	assert_int_equal(rp_dma_node_place(guest.memory, RIG_MEMORY_BYTES, node), 0);
	/* Pages that the device has touched already are not moved; the next ones come from there. */
	assert_int_equal(madvise(guest.memory, RIG_MEMORY_BYTES, MADV_REMOVE), 0);
	rig_guest_negotiate(&guest, RIG_FEATURES_DEFAULT);
	for (queue = 0; queue < 2; queue++)
		rig_guest_queue(&guest, queue);
	rig_guest_driver_ok(&guest);
	softaccel_nodes(rig->accel, &nodes);
	for (i = 0; i < PATIENCE && nodes.data_path != node; i++) {
		usleep(1000);
		softaccel_nodes(rig->accel, &nodes);
	}
	if (!runs_on(rig->data, node))
		fail_msg("its memory is on node %d, its rings' on %d and %d, the data path is not on node %d",
			 rp_dma_node_of(guest.memory), rp_dma_node_of(guest.queues[0].memory),
			 rp_dma_node_of(guest.queues[1].memory), node);
	assert_int_equal(nodes.buffers, node);
	/* The guest touches them now: before, nobody else had them. */
	if (reach == RIG_REACH_ALL)
		assert_int_equal(rp_dma_node_of(guest.doorbells), node);
	else
		assert_locals_on(rig, node);
	rig_guest_fini(&guest);
}

static void
a_guest_draws_it_to_its_memory(void **state)
{
	static const enum rig_reach reaches[] = {RIG_REACH_ALL, RIG_REACH_RINGS};
	static struct rig rig;
	unsigned int i;
	int node;

	(void)state;
	if (rp_dma_nodes_count() < 2)
		skip();
	rig_create(&rig);
	rig_function(&rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_run(&rig);
	for (i = 0; i < 2; i++)
		for (node = 1; node >= 0; node--)
			a_guest_on(&rig, reaches[i], node);
	rig_destroy(&rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nobody_votes),	 TEST(most_votes_win),		 TEST(moves_are_rare),
		TEST(whole_pages_move),	 TEST(the_thread_is_given_back), TEST(doorbells_follow_their_guest),
		TEST(messengers_follow), TEST(pool_and_thread_follow),	 TEST(a_guest_draws_it_to_its_memory),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
