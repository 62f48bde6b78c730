/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <fcntl.h>

#include "fixture.h"

static int
open_lent(struct fixture *fixture, const char *address, int container_fd, int group_fd)
{
	const struct rp_vfio_config config = {.device = address, .container_fd = container_fd, .group_fd = group_fd};

	return kvfio_transport_open(&fixture->fake->host, &config, &fixture->transports[0], &fixture->why);
}

static void
kernels_that_cannot(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake->version = 1;
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "VFIO: API version: 1, expected 0");
	fixture->fake->version = 0;
	fixture->fake->no_type1 = true;
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP,
			"no type 1 v2 IOMMU: load its driver (modprobe vfio_iommu_type1)");
}

static void
a_container_that_does_not_take_the_group(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake->set_container_error = -EINVAL;
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "group 4 cannot join its container");
	fixture->fake->set_container_error = 0;
	fixture->fake->set_iommu_error = -EPERM;
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "does not remap interrupts");
	fixture->fake->set_iommu_error = -ENOMEM;
	fixture_refused(fixture, FAKE_ALONE, -ENOMEM, "group 4: IOMMU");
	/* Taken out again each time that it had joined. */
	assert_int_equal(fixture->fake->unset_count, 2);
	assert_null(fixture->fake->groups[0].container);
}

static void
groups_have_a_container_each(void **state)
{
	struct fixture *fixture = *state;

	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	fixture_open(fixture, 1, FAKE_FIRST, NULL);
	assert_ptr_not_equal(fixture->fake->groups[0].container, fixture->fake->groups[1].container);
}

static void
groups_share_one_that_both_name(void **state)
{
	struct fixture *fixture = *state;

	fixture_open(fixture, 0, FAKE_ALONE, "vm0");
	fixture_open(fixture, 1, FAKE_FIRST, "vm0");
	assert_ptr_equal(fixture->fake->groups[0].container, fixture->fake->groups[1].container);
	/* It lives as long as one of them is in it. */
	fixture_close(&fixture->transports[0]);
	assert_null(fixture->fake->groups[0].container);
	assert_true(fixture->fake->groups[1].container->has_iommu);
	fixture_open(fixture, 0, FAKE_ALONE, "vm1");
	assert_ptr_not_equal(fixture->fake->groups[0].container, fixture->fake->groups[1].container);
}

static void
devices_of_a_group_share_its_file(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport_info first, second;

	fixture_open(fixture, 0, FAKE_FIRST, NULL);
	fixture_open(fixture, 1, FAKE_SECOND, NULL);
	fixture->transports[0].ops->get_info(fixture->transports[0].priv, &first);
	fixture->transports[1].ops->get_info(fixture->transports[1].priv, &second);
	assert_int_equal(first.vfio_file_fd, second.vfio_file_fd);
	fixture_close(&fixture->transports[0]);
	assert_int_equal(fixture->fake->unset_count, 0);
	assert_int_not_equal(fcntl(second.vfio_file_fd, F_GETFD), -1);
	fixture_close(&fixture->transports[1]);
	assert_int_equal(fixture->fake->unset_count, 1);
}

static void
what_is_taken(void **state)
{
	struct fixture *fixture = *state;

	fixture_open(fixture, 0, FAKE_FIRST, "vm0");
	fixture_refused(fixture, FAKE_FIRST, -EBUSY, "0000:01:00.0 is open already in this process");
	fixture_refused(fixture, FAKE_SECOND, -EBUSY, "is in container 'vm0' already, because of another device of it");
	fixture_open(fixture, 1, FAKE_SECOND, "vm0");
}

/* Somebody else's descriptor of the group: it would stay in the container, and what is mapped pinned. */
static void
a_group_file_that_others_hold(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	RP_WIRE_FD_SCOPED int memory = test_memfd(0x10000, true), held = -1;
	struct rp_accel_transport_info info;

	transport->ops->get_info(transport->priv, &info);
	held = rp_wire_fd_dup(info.vfio_file_fd);
	assert_int_equal(transport->ops->dma_map(transport->priv, 0, 0x10000, memory, 0, NULL, &fixture->why), 0);
	fixture_close(transport);
	assert_int_equal(fake_mapped(fixture->fake), 0);
	assert_null(fixture->fake->groups[0].container);
	fixture_refused(fixture, FAKE_ALONE, -EBUSY, "group 4 is still open in another process");
}

static void
no_more_than_can_be_counted(void **state)
{
	struct fixture *fixture = *state;
	struct kvfio_container *container;

	fixture_open(fixture, 0, FAKE_FIRST, NULL);
	container = fixture->fake->host.containers;
	container->holders_mask = UINT64_MAX;
	fixture_refused(fixture, FAKE_SECOND, -ENOSPC, "has 64 devices");
	container->holders_mask = 1;
	fixture_open(fixture, 1, FAKE_SECOND, NULL);
	assert_int_equal(container->holders_mask, 3);
}

static void
a_container_that_is_lent(void **state)
{
	struct fixture *fixture = *state;
	struct kvfio_kernel *kernel = &fixture->fake->kernel;
	char path[96];
	RP_WIRE_FD_SCOPED int container = -1, group = -1;

	snprintf(path, sizeof(path), "%s/vfio", fixture->fake->dev);
	container = kernel->open(kernel->ctx, path, O_RDWR);
	assert_true(container >= 0);
	/* Nothing in it yet: we choose the IOMMU. */
	assert_int_equal(open_lent(fixture, FAKE_ALONE, container, -1), 0);
	assert_true(fixture->fake->groups[0].container->has_iommu);
	fixture_close(&fixture->transports[0]);
	assert_int_not_equal(fcntl(container, F_GETFD), -1);
	/* With the group in it, as the application put it there. */
	snprintf(path, sizeof(path), "%s/7", fixture->fake->dev);
	group = kernel->open(kernel->ctx, path, O_RDWR);
	assert_int_equal(kernel->ioctl(kernel->ctx, group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	assert_int_equal(kernel->ioctl(kernel->ctx, container, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU), 0);
	assert_int_equal(open_lent(fixture, FAKE_FIRST, container, group), 0);
	fixture_close(&fixture->transports[0]);
	assert_non_null(fixture->fake->groups[1].container);
	assert_int_not_equal(fcntl(group, F_GETFD), -1);
	kernel->ioctl(kernel->ctx, group, VFIO_GROUP_UNSET_CONTAINER, NULL);
}

static void
configurations_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	struct rp_vfio_config config = {.device = FAKE_ALONE, .container_fd = -1, .group_fd = -1};

	assert_int_equal(rp_vfio_check(&config, NULL), 0);
	config.busy_wait_ms = RP_VFIO_BUSY_WAIT_MAX_MS + 1;
	assert_int_equal(rp_vfio_check(&config, &fixture->why), -EBADMSG);
	fixture_said(fixture, -EBADMSG, "busy_wait_ms: 60001, expected at most 60000");
	config.busy_wait_ms = 0;
	config.container = "";
	assert_int_equal(rp_vfio_check(&config, &fixture->why), -EBADMSG);
	fixture_said(fixture, -EBADMSG, "container: '', expected a name of 1 to 31 bytes");
	config.container = "01234567890123456789012345678901";
	assert_int_equal(rp_vfio_check(&config, &fixture->why), -EBADMSG);
	config.container = NULL;
	config.device = "x";
	assert_int_equal(rp_vfio_check(&config, &fixture->why), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(kernels_that_cannot),
		FIXTURE_TEST(a_container_that_does_not_take_the_group),
		FIXTURE_TEST(groups_have_a_container_each),
		FIXTURE_TEST(groups_share_one_that_both_name),
		FIXTURE_TEST(devices_of_a_group_share_its_file),
		FIXTURE_TEST(what_is_taken),
		FIXTURE_TEST(a_group_file_that_others_hold),
		FIXTURE_TEST(no_more_than_can_be_counted),
		FIXTURE_TEST(a_container_that_is_lent),
		FIXTURE_TEST(configurations_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
