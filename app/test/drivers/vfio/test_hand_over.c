/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixture.h"
#include "test_parcel.h"

#define MIB (1u << 20)
#define HIGH (UINT64_C(1) << 40)
#define MEMORIES 2u
#define VECTOR 1u

/* One process, its successor, and memory of which each has its own descriptor. */
struct bench {
	struct fixture *fixture;
	struct kvfio_host successor;
	struct rp_accel_memory memories[MEMORIES];
	struct rp_accel_transport adopted[FIXTURE_TRANSPORTS];
	int memory_fd, again_fd, call_fd;
};

/* What a device or an IOMMU would feel. */
struct felt {
	unsigned int irq_sets, unmaps, maps, set_containers, unset_containers, resets, opens, writes;
};

static struct felt
feel(const struct fake_kernel *fake)
{
	struct felt felt = {fake->irq_sets_count,      fake->unmaps_count, fake->maps_count,
			    fake->set_container_count, fake->unset_count,  0,
			    fake->device_opens_count,  fake->writes_count};
	unsigned int i;

	for (i = 0; i < FAKE_DEVICES; i++)
		felt.resets += fake->devices[i].resets_count;
	return felt;
}

static void
assert_not_felt(const struct fake_kernel *fake, const struct felt *before)
{
	const struct felt now = feel(fake);

	assert_memory_equal(&now, before, sizeof(now));
}

static int
setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	fixture_setup((void **)&bench->fixture);
	bench->successor.kernel = &bench->fixture->fake->kernel;
	pthread_mutex_init(&bench->successor.lock, NULL);
	bench->memory_fd = test_memfd(4 * MIB, true);
	bench->again_fd = rp_wire_fd_dup(bench->memory_fd);
	bench->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* In another order than they were mapped. */
	bench->memories[0] = (struct rp_accel_memory){HIGH, MIB, bench->again_fd, 2 * MIB, NULL};
	bench->memories[1] = (struct rp_accel_memory){0, 2 * MIB, bench->again_fd, 0, NULL};
	*state = bench;
	return 0;
}

static int
teardown(void **state)
{
	struct bench *bench = *state;
	unsigned int i;

	for (i = 0; i < FIXTURE_TRANSPORTS; i++)
		fixture_close(&bench->adopted[i]);
	assert_null(bench->successor.containers);
	pthread_mutex_destroy(&bench->successor.lock);
	rp_wire_fd_close(&bench->memory_fd);
	rp_wire_fd_close(&bench->again_fd);
	rp_wire_fd_close(&bench->call_fd);
	fixture_teardown((void **)&bench->fixture);
	free(bench);
	return 0;
}

/* Memory is mapped, a vector is wired. */
static void
start(struct bench *bench, unsigned int number, const char *address, const char *container)
{
	struct rp_accel_transport *transport = fixture_open(bench->fixture, number, address, container);
	unsigned int i;

	for (i = MEMORIES; i-- > 0;)
		assert_int_equal(transport->ops->dma_map(transport->priv, bench->memories[i].iova,
							 bench->memories[i].size_bytes, bench->memory_fd,
							 bench->memories[i].offset_bytes, NULL, NULL),
				 0);
	assert_int_equal(transport->ops->irq_set(transport->priv, VECTOR, bench->call_fd, NULL), 0);
}

static struct rp_wire_parcel *
give(struct bench *bench, unsigned int number)
{
	const struct rp_accel_transport *transport = &bench->fixture->transports[number];
	struct rp_wire_parcel *parcel;

	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(transport->ops->give(transport->priv, parcel, &bench->fixture->why), 0);
	return parcel;
}

static void
leave(struct bench *bench, unsigned int number)
{
	struct rp_accel_transport *transport = &bench->fixture->transports[number];

	transport->ops->leave(transport->priv);
	transport->ops = NULL;
}

static int
adopt(struct bench *bench, unsigned int number, const char *address, const char *container,
      struct rp_wire_parcel *parcel)
{
	const struct rp_vfio_config config = {
		.device = address, .container = container, .container_fd = -1, .group_fd = -1};

	memset(&bench->fixture->why, 0, sizeof(bench->fixture->why));
	return kvfio_transport_adopt(&bench->successor, &config, parcel, bench->memories, MEMORIES,
				     &bench->adopted[number], &bench->fixture->why);
}

static void
adopt_ok(struct bench *bench, unsigned int number, const char *address, const char *container,
	 struct rp_wire_parcel *parcel)
{
	int rc = adopt(bench, number, address, container, parcel);

	if (rc < 0)
		print_error("%s\n", bench->fixture->why.text);
	assert_int_equal(rc, 0);
}

static int
unmap(struct bench *bench, unsigned int number, unsigned int memory)
{
	return bench->adopted[number].ops->dma_unmap(bench->adopted[number].priv, bench->memories[memory].iova,
						     bench->memories[memory].size_bytes, NULL);
}

static void
neither_the_device_nor_the_iommu_feels_it(void **state)
{
	struct bench *bench = *state;
	struct fake_kernel *fake = bench->fixture->fake;
	struct fake_device *device = fake_find(fake, FAKE_FIRST);
	struct rp_accel_transport *adopted = &bench->adopted[0];
	struct rp_accel_transport_info info;
	struct rp_wire_parcel *parcel;
	uint64_t size_bytes;
	struct felt before;

	start(bench, 0, FAKE_FIRST, NULL);
	before = feel(fake);
	parcel = give(bench, 0);
	leave(bench, 0);
	assert_null(fake->host.containers);
	adopt_ok(bench, 0, FAKE_FIRST, NULL, parcel);
	rp_wire_parcel_destroy(parcel);
	assert_not_felt(fake, &before);
	assert_int_equal(fake_mapped(fake), MEMORIES);
	assert_int_equal(rp_wire_fd_same(device->eventfds[VFIO_PCI_MSIX_IRQ_INDEX][VECTOR], bench->call_fd), 1);

	/* And then it can do everything. */
	adopted->ops->get_info(adopted->priv, &info);
	assert_string_equal(info.device, FAKE_FIRST);
	assert_int_equal(info.msix_count, FAKE_VECTORS);
	assert_true(info.resettable);
	assert_int_equal(adopted->ops->region_size(adopted->priv, 4, &size_bytes, NULL), 0);
	assert_int_equal(size_bytes, FAKE_BAR_BYTES);
	assert_int_equal(adopted->ops->irq_set(adopted->priv, VECTOR, -1, NULL), 0);
	assert_int_equal(adopted->ops->irq_set(adopted->priv, VECTOR + 1, bench->call_fd, NULL), 0);
	assert_int_equal(device->enables_count, 1);
	assert_int_equal(adopted->ops->reset(adopted->priv, NULL), 0);
	assert_int_equal(unmap(bench, 0, 0), 0);
	assert_int_equal(unmap(bench, 0, 0), -EINVAL);
	assert_int_equal(fake_mapped(fake), 1);
	assert_int_equal(adopted->ops->dma_map(adopted->priv, HIGH, MIB, bench->memory_fd, 0, NULL, NULL), 0);
	assert_int_equal(adopted->ops->dma_map(adopted->priv, 0, MIB, bench->memory_fd, 0, NULL, NULL), -EEXIST);
	assert_int_equal(adopted->ops->process(adopted->priv, NULL), 0);
	fixture_close(adopted);
	assert_int_equal(fake_mapped(fake), 0);
	assert_null(device->group->container);
}

/* The kernel has the eventfds of the first process; what comes by them is seen in the second. */
static void
the_kernels_own_signals_go_on(void **state)
{
	struct bench *bench = *state;
	struct fake_device *device = fake_find(bench->fixture->fake, FAKE_ALONE);
	struct rp_wire_parcel *parcel;
	struct rp_accel_transport *adopted = &bench->adopted[0];

	start(bench, 0, FAKE_ALONE, NULL);
	parcel = give(bench, 0);
	leave(bench, 0);
	/* While nobody is there, too. */
	eventfd_write(device->eventfds[VFIO_PCI_REQ_IRQ_INDEX][0], 1);
	adopt_ok(bench, 0, FAKE_ALONE, NULL, parcel);
	rp_wire_parcel_destroy(parcel);
	assert_int_equal(adopted->ops->process(adopted->priv, &bench->fixture->why), -EIO);
	fixture_said(bench->fixture, -EIO, "the kernel wants the device back");
}

static void
who_gave_may_go_on(void **state)
{
	struct bench *bench = *state;
	struct rp_accel_transport *transport = &bench->fixture->transports[0];

	start(bench, 0, FAKE_ALONE, NULL);
	rp_wire_parcel_destroy(give(bench, 0));
	assert_int_equal(transport->ops->irq_set(transport->priv, VECTOR, -1, NULL), 0);
	assert_int_equal(transport->ops->dma_unmap(transport->priv, HIGH, MIB, NULL), 0);
	fixture_close(transport);
	assert_int_equal(fake_mapped(bench->fixture->fake), 0);
}

/* In one container by its name, or because they are of one group; what both have mapped is mapped once. */
static void
two_devices_of_one_guest(void **state)
{
	static const struct {
		const char *first, *second, *container;
	} rows[] = {{FAKE_ALONE, FAKE_FIRST, "vm0"}, {FAKE_FIRST, FAKE_SECOND, NULL}, {FAKE_FIRST, FAKE_SECOND, "x"}};
	struct bench *bench = *state;
	struct fake_kernel *fake = bench->fixture->fake;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rp_wire_parcel *first, *second;
		struct felt before;

		start(bench, 0, rows[i].first, rows[i].container);
		start(bench, 1, rows[i].second, rows[i].container);
		before = feel(fake);
		first = give(bench, 0);
		second = give(bench, 1);
		leave(bench, 0);
		leave(bench, 1);
		assert_null(fake->host.containers);
		/* The other way round. */
		adopt_ok(bench, 1, rows[i].second, rows[i].container, second);
		adopt_ok(bench, 0, rows[i].first, rows[i].container, first);
		rp_wire_parcel_destroy(first);
		rp_wire_parcel_destroy(second);
		assert_not_felt(fake, &before);
		assert_non_null(bench->successor.containers);
		assert_null(bench->successor.containers->next);
		assert_int_equal(unmap(bench, 0, 0), 0);
		fixture_close(&bench->adopted[0]);
		assert_int_equal(fake_mapped(fake), MEMORIES);
		fixture_close(&bench->adopted[1]);
		assert_int_equal(fake_mapped(fake), 0);
	}
}

/* The one that stays is closed, and takes nothing from the one that went. */
static void
one_goes_and_one_stays(void **state)
{
	static const struct {
		const char *goes, *stays, *container;
	} rows[] = {{FAKE_ALONE, FAKE_FIRST, "vm0"}, {FAKE_FIRST, FAKE_SECOND, NULL}};
	struct bench *bench = *state;
	struct fake_kernel *fake = bench->fixture->fake;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct fake_group *group = fake_find(fake, rows[i].goes)->group;
		struct rp_wire_parcel *parcel;

		start(bench, 0, rows[i].goes, rows[i].container);
		start(bench, 1, rows[i].stays, rows[i].container);
		parcel = give(bench, 0);
		leave(bench, 0);
		fixture_close(&bench->fixture->transports[1]);
		assert_int_equal(fake_mapped(fake), MEMORIES);
		assert_non_null(group->container);
		adopt_ok(bench, 0, rows[i].goes, rows[i].container, parcel);
		rp_wire_parcel_destroy(parcel);
		fixture_close(&bench->adopted[0]);
		assert_int_equal(fake_mapped(fake), 0);
	}
}

/* A service manager's store. */
struct store {
	int fd;
	unsigned int opened_count, closed_count;
	struct rp_wire_why why;
};

static void
store_take(void *ctx, unsigned int group, int *ret_fd)
{
	struct store *store = ctx;

	(void)group;
	if (store->fd >= 0)
		*ret_fd = rp_wire_fd_dup(store->fd);
}

static void
store_opened(void *ctx, unsigned int group, int fd)
{
	struct store *store = ctx;

	assert_int_equal(group, 4);
	store->fd = rp_wire_fd_dup(fd);
	store->opened_count++;
}

static void
store_closed(void *ctx, unsigned int group, const struct rp_wire_why *why)
{
	struct store *store = ctx;

	assert_int_equal(group, 4);
	rp_wire_fd_close(&store->fd);
	store->closed_count++;
	if (why != NULL)
		store->why = *why;
}

static const struct rp_vfio_keeper keeper = {.take = store_take, .opened = store_opened, .closed = store_closed};

static void
a_group_that_is_kept(void **state)
{
	struct bench *bench = *state;
	struct fake_kernel *fake = bench->fixture->fake;
	struct store store = {.fd = -1};
	struct rp_wire_parcel *parcel;

	fake->host.keeper = bench->successor.keeper = &keeper;
	fake->host.keeper_ctx = bench->successor.keeper_ctx = &store;
	start(bench, 0, FAKE_ALONE, NULL);
	assert_int_equal(store.opened_count, 1);
	parcel = give(bench, 0);
	assert_false(rp_wire_parcel_has(parcel, "vfio[0].group"));
	leave(bench, 0);
	assert_int_equal(store.closed_count, 0);
	adopt_ok(bench, 0, FAKE_ALONE, NULL, parcel);
	assert_int_equal(store.opened_count, 1);
	assert_int_equal(store.closed_count, 0);
	fixture_close(&bench->adopted[0]);
	assert_int_equal(store.closed_count, 1);
	/* It was not kept after all. */
	assert_int_equal(adopt(bench, 0, FAKE_ALONE, NULL, parcel), -EBADMSG);
	fixture_said(bench->fixture, -EBADMSG, "group: neither in the parcel nor kept, expected group 4");
	rp_wire_parcel_destroy(parcel);
}

/* Of what is refused nothing stays in the store, or nobody could open it again. */
static void
a_kept_group_of_no_use(void **state)
{
	struct bench *bench = *state;
	struct fake_kernel *fake = bench->fixture->fake;
	struct store store = {.fd = -1};
	struct rp_wire_parcel *parcel, *changed;
	int group_fd;

	fake->host.keeper = bench->successor.keeper = &keeper;
	fake->host.keeper_ctx = bench->successor.keeper_ctx = &store;
	start(bench, 0, FAKE_ALONE, NULL);
	parcel = give(bench, 0);
	leave(bench, 0);
	group_fd = rp_wire_fd_dup(store.fd);
	changed = test_parcel_changed(parcel, TEST_PARCEL_NUMBER, "vfio[0].vectors", 5);
	assert_int_equal(adopt(bench, 0, FAKE_ALONE, NULL, changed), -EBADMSG);
	fixture_said(bench->fixture, -EBADMSG, "vectors: 5, expected at most 4");
	assert_int_equal(store.closed_count, 1);
	assert_string_equal(store.why.text, "vectors: 5, expected at most 4");
	rp_wire_parcel_destroy(changed);
	/* One that was put there in another way. */
	rp_wire_fd_replace(&store.fd, &group_fd);
	adopt_ok(bench, 0, FAKE_ALONE, NULL, parcel);
	rp_wire_parcel_destroy(parcel);
	fixture_close(&bench->adopted[0]);
}

/* Refused by name; nothing is held, nothing was told to the kernel, and the right one is still taken. */
static void
a_parcel_that_was_changed(void **state)
{
	static const struct {
		enum test_parcel_change change;
		const char *path;
		uint64_t number;
		int error;
		const char *words;
	} rows[] = {
		{TEST_PARCEL_DROP, "vfio[0].version", 0, -EBADMSG, "vfio[0].version: expected a number"},
		{TEST_PARCEL_NUMBER, "vfio[0].version", 2, -ENOTSUP, "version: 2, expected 1"},
		{TEST_PARCEL_NUMBER, "vfio[0].address", 2, -EBADMSG, "vfio[0].address: expected a text"},
		{TEST_PARCEL_NUMBER, "vfio[0].group_number", 4, -EBADMSG, "group_number: 4, expected 7"},
		{TEST_PARCEL_NUMBER, "vfio[0].vectors", 5, -EBADMSG, "vectors: 5, expected at most 4"},
		{TEST_PARCEL_NUMBER, "vfio[0].vectors", 1u << 20, -EBADMSG, "vectors: 1048576, expected at most 2048"},
		{TEST_PARCEL_DROP, "vfio[0].container", 0, -EBADMSG, "vfio[0].container: expected a descriptor"},
		{TEST_PARCEL_FILE, "vfio[0].container", 0, -ENOTSUP, "VFIO: API version"},
		{TEST_PARCEL_DROP, "vfio[0].group", 0, -EBADMSG, "group: neither in the parcel nor kept"},
		{TEST_PARCEL_FILE, "vfio[0].group", 0, -EIO, "group 7: status"},
		{TEST_PARCEL_DROP, "vfio[0].device", 0, -EBADMSG, "vfio[0].device: expected a descriptor"},
		{TEST_PARCEL_FILE, "vfio[0].error", 0, -EBADMSG, "error: not an eventfd"},
		{TEST_PARCEL_FILE, "vfio[0].request", 0, -EBADMSG, "request: not an eventfd"},
		{TEST_PARCEL_DROP, "vfio[0].request", 0, -EBADMSG, "vfio[0].request: expected a descriptor"},
		{TEST_PARCEL_NUMBER, "vfio[0].mappings", 1, -EBADMSG, "mappings: 1, expected 2"},
		{TEST_PARCEL_NUMBER, "vfio[0].mappings", UINT32_MAX, -EBADMSG, "mappings: 4294967295, expected 2"},
		{TEST_PARCEL_NUMBER, "vfio[0].mapping[1].iova", MIB, -EBADMSG,
		 "DMA 0x100000 + 0x200000: is mapped, expected a range that is mapped here"},
		{TEST_PARCEL_NUMBER, "vfio[0].mapping[1].offset", MIB, -EBADMSG,
		 "is mapped from another file than ours"},
		{TEST_PARCEL_NUMBER, "vfio[0].mapping[0].inode", 0, -EBADMSG, "is mapped from another file than ours"},
		{TEST_PARCEL_NUMBER, "vfio[0].mapping[0].device", 0xffff, -EBADMSG,
		 "is mapped from another file than ours"},
		{TEST_PARCEL_DROP, "vfio[0].mapping[1].size", 0, -EBADMSG, "mapping[1].size: expected a number"},
	};
	struct bench *bench = *state;
	struct fake_kernel *fake = bench->fixture->fake;
	struct rp_wire_parcel *parcel;
	struct test_leaks leaks;
	struct felt before;
	size_t i;

	start(bench, 0, FAKE_FIRST, NULL);
	parcel = give(bench, 0);
	leave(bench, 0);
	before = feel(fake);
	test_leaks_read(&leaks);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rp_wire_parcel *changed =
			test_parcel_changed(parcel, rows[i].change, rows[i].path, rows[i].number);
		int rc = adopt(bench, 0, FAKE_FIRST, NULL, changed);

		if (rc != rows[i].error)
			print_error("%zu: %d %s\n", i, rc, bench->fixture->why.text);
		assert_int_equal(rc, rows[i].error);
		fixture_said(bench->fixture, rows[i].error, rows[i].words);
		assert_null(bench->adopted[0].ops);
		assert_null(bench->successor.containers);
		rp_wire_parcel_destroy(changed);
		test_leaks_assert_none(&leaks);
	}
	assert_not_felt(fake, &before);
	adopt_ok(bench, 0, FAKE_FIRST, NULL, parcel);
	rp_wire_parcel_destroy(parcel);
}

/* Another device's, another container's, twice, and memory that differs. */
static void
what_does_not_fit(void **state)
{
	struct bench *bench = *state;
	struct rp_wire_parcel *parcel;
	struct rp_vfio_config config = {.device = FAKE_ALONE, .container_fd = -1, .group_fd = 0};

	start(bench, 0, FAKE_FIRST, "vm0");
	parcel = give(bench, 0);
	leave(bench, 0);
	assert_int_equal(adopt(bench, 0, FAKE_SECOND, "vm0", parcel), -EBADMSG);
	fixture_said(bench->fixture, -EBADMSG, "address: 0000:01:00.0, expected 0000:01:00.1");
	assert_int_equal(adopt(bench, 0, FAKE_ALONE, "vm0", parcel), -EBADMSG);
	assert_int_equal(adopt(bench, 0, "0000:00:05.0", "vm0", parcel), -ENOENT);
	assert_int_equal(kvfio_transport_adopt(&bench->successor, &config, parcel, NULL, 0, &bench->adopted[0],
					       &bench->fixture->why),
			 -ENOTSUP);
	bench->memories[1].size_bytes = MIB;
	assert_int_equal(adopt(bench, 0, FAKE_FIRST, "vm0", parcel), -EBADMSG);
	fixture_said(bench->fixture, -EBADMSG, "DMA 0x0 + 0x200000: is mapped, expected a range that is mapped here");
	bench->memories[1].size_bytes = 2 * MIB;
	bench->memories[1].fd = -1;
	assert_int_equal(adopt(bench, 0, FAKE_FIRST, "vm0", parcel), -EBADMSG);
	bench->memories[1].fd = bench->again_fd;
	adopt_ok(bench, 0, FAKE_FIRST, "vm0", parcel);
	assert_int_equal(adopt(bench, 1, FAKE_FIRST, "vm0", parcel), -EEXIST);
	fixture_said(bench->fixture, -EEXIST, "0000:01:00.0 is open already in this process");
	rp_wire_parcel_destroy(parcel);
}

/* A container of the same name that is another one. */
static void
a_name_that_is_taken(void **state)
{
	struct bench *bench = *state;
	struct rp_wire_parcel *first, *second;

	start(bench, 0, FAKE_FIRST, "vm0");
	start(bench, 1, FAKE_ALONE, "vm1");
	first = give(bench, 0);
	second = give(bench, 1);
	leave(bench, 0);
	leave(bench, 1);
	adopt_ok(bench, 0, FAKE_FIRST, "vm0", first);
	assert_int_equal(adopt(bench, 1, FAKE_ALONE, "vm0", second), -EEXIST);
	fixture_said(bench->fixture, -EEXIST, "container 'vm0': another one of this name is open");
	adopt_ok(bench, 1, FAKE_ALONE, "vm1", second);
	rp_wire_parcel_destroy(first);
	rp_wire_parcel_destroy(second);
}

/* The device was lost while nobody had it, or its group: then its rings are gone too. */
static void
a_group_that_left_its_container(void **state)
{
	struct bench *bench = *state;
	struct fake_group *group = &bench->fixture->fake->groups[0];
	struct rp_wire_parcel *parcel;

	start(bench, 0, FAKE_ALONE, NULL);
	parcel = give(bench, 0);
	leave(bench, 0);
	group->flags &= ~(uint32_t)VFIO_GROUP_FLAGS_CONTAINER_SET;
	assert_int_equal(adopt(bench, 0, FAKE_ALONE, NULL, parcel), -EIO);
	fixture_said(bench->fixture, -EIO, "group 4: is in no container any more");
	group->flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
	adopt_ok(bench, 0, FAKE_ALONE, NULL, parcel);
	rp_wire_parcel_destroy(parcel);
}

static void
refuses_to_go(struct bench *bench, int error, const char *words)
{
	const struct rp_accel_transport *transport = &bench->fixture->transports[0];
	struct rp_wire_parcel *parcel;

	assert_int_equal(rp_wire_parcel_create(&parcel), 0);
	assert_int_equal(transport->ops->give(transport->priv, parcel, &bench->fixture->why), error);
	fixture_said(bench->fixture, error, words);
	assert_int_equal(rp_wire_parcel_fds_count(parcel), 0);
	rp_wire_parcel_destroy(parcel);
}

static void
what_cannot_be_given(void **state)
{
	struct bench *bench = *state;
	struct fake_device *device = fake_find(bench->fixture->fake, FAKE_ALONE);
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	void *hva = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct rp_accel_transport *transport;

	start(bench, 0, FAKE_ALONE, NULL);
	transport = &bench->fixture->transports[0];
	assert_int_equal(transport->ops->dma_map(transport->priv, 2 * HIGH, page_bytes, -1, 0, hva, NULL), 0);
	refuses_to_go(bench, -ENOTSUP, "is memory of this process, expected a file's, which outlives it");
	assert_int_equal(transport->ops->dma_unmap(transport->priv, 2 * HIGH, page_bytes, NULL), 0);
	munmap(hva, page_bytes);
	eventfd_write(device->eventfds[VFIO_PCI_ERR_IRQ_INDEX][0], 1);
	assert_int_equal(transport->ops->process(transport->priv, NULL), -EIO);
	refuses_to_go(bench, -EIO, "PCIe error");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(neither_the_device_nor_the_iommu_feels_it),
		TEST(the_kernels_own_signals_go_on),
		TEST(who_gave_may_go_on),
		TEST(two_devices_of_one_guest),
		TEST(one_goes_and_one_stays),
		TEST(a_group_that_is_kept),
		TEST(a_kept_group_of_no_use),
		TEST(a_parcel_that_was_changed),
		TEST(what_does_not_fit),
		TEST(a_name_that_is_taken),
		TEST(a_group_that_left_its_container),
		TEST(what_cannot_be_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
