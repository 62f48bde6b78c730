/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "fake_backend.h"
#include "fixture.h"

/* A software backend behind a guest's IOMMU: it asks, is told, and what is taken back is taken back from it. */

#define BIT(n) (1ull << (n))
#define TX 1

static char backend_path[108];

struct both {
	struct fixture f;
	struct test_leaks leaks;
};

static bool
knows_the_backend(struct test_port *port)
{
	/* Only then is there an offer. */
	return test_port_info(port).queues_count != 0;
}

static void
open_both(struct both *b, enum fake_backend_kind kind, uint64_t features)
{
	struct rp_port_config config = fixture_config();
	const struct test_vm_options options = {
		.viommu = (features & TEST_VM_ACCESS_PLATFORM) != 0 ? TEST_VM_TRANSLATED : TEST_VM_NO_VIOMMU};
	unsigned int i;

	memset(b, 0, sizeof(*b));
	snprintf(backend_path, sizeof(backend_path), "%.90s.backend", test_socket_path());
	test_leaks_read(&b->leaks);
	fake_backend_setup(kind, backend_path);
	FAKE_BACKEND_SET(features, fake_backend_now().features | features);
	FAKE_BACKEND_SET(protocol_features, fake_backend_now().protocol_features | BIT(RP_VHU_PF_BACKEND_REQ_BIT));
	fake_backend_start();
	config.accelerators_count = 0;
	config.access_platform = true;
	config.software = (struct rp_port_software_config){
		.socket_path = backend_path, .socket_mode = RP_PORT_CLIENT, .timeout_ms = 5000, .reconnect_ms = 5};
	fake_accel_setup();
	test_port_open(&b->f.port, &config, &fake_accel_registry);
	if (kind == FAKE_BACKEND_LIBRTE_VHOST)
		return;
	for (i = 0; i < LIMIT_MS && !knows_the_backend(&b->f.port); i++)
		usleep(1000);
	/* It listens a moment later. */
	for (i = 0;
	     i < LIMIT_MS && test_port_events(&b->f.port, "port-up") == 0 && access(config.socket_path, F_OK) < 0; i++)
		usleep(1000);
	test_vm_open(&b->f.vm, config.socket_path, 2, 64, &options);
}

static void
close_both(struct both *b, bool with_vm)
{
	if (with_vm)
		test_vm_close(&b->f.vm);
	test_port_close(&b->f.port);
	fake_accel_teardown();
	fake_backend_stop();
	fake_backend_teardown();
	test_leaks_assert_none(&b->leaks);
}

static bool
is_served(struct fixture *f)
{
	return test_port_queue(&f->port, TX).mode == RP_PORT_QUEUE_SOFTWARE;
}

static bool
was_told_one(struct fixture *f)
{
	(void)f;
	return fake_backend_now().iotlb_updates == 1;
}

static void
it_asks_and_is_told(void **state)
{
	struct rp_vring_layout layout;
	struct rp_wire_why why = {0};
	struct fake_backend now;
	struct both b;
	uint64_t ring_at;

	(void)state;
	open_both(&b, FAKE_BACKEND_SPECIFICATION, TEST_VM_ACCESS_PLATFORM);
	test_vm_queue_start(&b.f.vm, TX, 0);
	assert_true(fixture_becomes(&b.f, is_served));
	rp_vring_drv_layout(b.f.vm.queues[TX].ring, &layout);
	now = fake_backend_now();
	assert_true((now.features_acked & TEST_VM_ACCESS_PLATFORM) != 0);
	/* The ring is where the guest says; nothing was told that it did not ask for. */
	assert_int_equal(now.rings[TX].desc_uva, layout.desc_iova);
	assert_int_equal(now.iotlb_updates, 0);
	FAKE_BACKEND_SET(ask_iova, layout.desc_iova + 5);
	FAKE_BACKEND_SET(ask_perm, (uint8_t)RP_VHU_IOTLB_READ_MASK);
	assert_true(fixture_becomes(&b.f, was_told_one));
	now = fake_backend_now();
	ring_at = b.f.vm.viommu->pages[(layout.desc_iova - b.f.vm.iova) / b.f.vm.viommu->page_bytes].place *
		  b.f.vm.viommu->page_bytes;
	assert_int_equal(now.iotlb.iova, layout.desc_iova);
	assert_int_equal(now.iotlb.uva, (uint64_t)(uintptr_t)b.f.vm.plain + ring_at);
	assert_int_equal(now.iotlb.perm, RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK);
	/* Acknowledged to the frontend when the backend has acknowledged it. */
	assert_int_equal(rp_vhu_frontend_iotlb_invalidate(b.f.vm.frontend, layout.desc_iova, 4096, &why), 0);
	now = fake_backend_now();
	assert_int_equal(now.iotlb_invalidations, 1);
	assert_int_equal(now.iotlb.iova, layout.desc_iova);
	/* It goes on to serve, and where it stops is what it says. */
	assert_true(is_served(&b.f));
	assert_int_equal(test_vm_queue_stop(&b.f.vm, TX), 0);
	close_both(&b, true);
}

static bool
was_asked(struct fixture *f)
{
	return f->vm.misses_refused > 0;
}

/* What the frontend does not know is not told to it either; what comes later is. */
static void
what_is_not_mapped(void **state)
{
	struct both b;
	uint64_t buffer = TEST_VM_QUEUE_BYTES - 4096;

	(void)state;
	open_both(&b, FAKE_BACKEND_SPECIFICATION, TEST_VM_ACCESS_PLATFORM);
	test_vm_queue_start(&b.f.vm, TX, 0);
	assert_true(fixture_becomes(&b.f, is_served));
	FAKE_BACKEND_SET(ask_iova, b.f.vm.iova + buffer);
	FAKE_BACKEND_SET(ask_perm, (uint8_t)RP_VHU_IOTLB_WRITE_MASK);
	assert_true(fixture_becomes(&b.f, was_asked));
	assert_int_equal(fake_backend_now().iotlb_updates, 0);
	test_viommu_map(b.f.vm.viommu, buffer, 1, TEST_VIOMMU_WRITE);
	FAKE_BACKEND_SET(ask_perm, (uint8_t)RP_VHU_IOTLB_WRITE_MASK);
	assert_true(fixture_becomes(&b.f, was_told_one));
	assert_int_equal(fake_backend_now().iotlb.perm, RP_VHU_IOTLB_WRITE_MASK);
	close_both(&b, true);
}

/* One that cannot is served without: the feature is not offered. */
static void
a_backend_without_it(void **state)
{
	struct both b;

	(void)state;
	open_both(&b, FAKE_BACKEND_SPECIFICATION, 0);
	assert_int_equal(test_port_info(&b.f.port).features_offered & TEST_VM_ACCESS_PLATFORM, 0);
	test_vm_queue_start(&b.f.vm, TX, 0);
	assert_true(fixture_becomes(&b.f, is_served));
	assert_int_equal(fake_backend_now().rings[TX].desc_uva & ~UINT64_C(0xfff),
			 (uint64_t)(uintptr_t)(b.f.vm.plain + TX * TEST_VM_QUEUE_BYTES));
	close_both(&b, true);
}

static void
one_with_parked_rings_is_refused(void **state)
{
	struct both b;
	unsigned int i;

	(void)state;
	open_both(&b, FAKE_BACKEND_LIBRTE_VHOST, TEST_VM_ACCESS_PLATFORM);
	for (i = 0; i < LIMIT_MS && !test_port_warned(&b.f.port, "access_platform: a software backend of kind"); i++)
		usleep(1000);
	assert_true(test_port_warned(&b.f.port, "librte_vhost cannot be behind it"));
	close_both(&b, false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_asks_and_is_told),
		cmocka_unit_test(what_is_not_mapped),
		cmocka_unit_test(a_backend_without_it),
		cmocka_unit_test(one_with_parked_rings_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
