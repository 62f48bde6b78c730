/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "traffic.h"

/* A guest with an IOMMU in front of its device: what is translated, and what is not permitted. */

struct kind {
	uint64_t format;
	bool indirect;
	enum rp_accel_class class;
	bool device_indirect;
	uint16_t num; /* of entries; so many that the ring's parts lie across pages; 0: few */
};

static const struct kind kinds[] = {
	{.class = RP_ACCEL_CLASS_A, .device_indirect = true, .num = 512},
	{.class = RP_ACCEL_CLASS_B, .indirect = true, .device_indirect = true},
	{.class = RP_ACCEL_CLASS_B, .format = TEST_VM_IN_ORDER},
	{.class = RP_ACCEL_CLASS_A, .format = TEST_VM_PACKED, .device_indirect = true, .num = 500},
	{.class = RP_ACCEL_CLASS_B,
	 .format = TEST_VM_PACKED | TEST_VM_IN_ORDER,
	 .indirect = true,
	 .device_indirect = true},
};
#define KINDS_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static void
open_translated(struct traffic *t, const struct kind *kind, enum test_vm_viommu viommu)
{
	struct rp_port_config config = fixture_config();
	struct test_vm_options options = {
		.ring_features = kind->format, .indirect = kind->indirect, .viommu = viommu, .num = kind->num};

	memset(t, 0, sizeof(*t));
	config.access_platform = true;
	fixture_begin(&t->f);
	FAKE_SET(class, kind->class);
	FAKE_SET(queue_size_max, 512);
	FAKE_SET(features,
		 fake_now().features | TEST_VM_PACKED | TEST_VM_IN_ORDER | (kind->device_indirect ? 1ull << 28 : 0));
	fake_accel_serve();
	fixture_open_with(&t->f, &config, &options);
}

static bool
is_shadow(struct fixture *f)
{
	return test_port_queue(&f->port, RX).mode == RP_PORT_QUEUE_SHADOW &&
	       test_port_queue(&f->port, TX).mode == RP_PORT_QUEUE_SHADOW;
}

/* Each frame once, with its bytes, and nothing was written that was not mapped (test_viommu.h). */
static void
translated_traffic(void **state)
{
	struct rp_port_info info;
	struct traffic t;
	unsigned int i;

	(void)state;
	for (i = 0; i < KINDS_COUNT; i++) {
		open_translated(&t, &kinds[i], TEST_VM_TRANSLATED);
		start_pair(&t);
		assert_true(fixture_becomes(&t.f, is_shadow));
		expect_mode(&t, RP_PORT_QUEUE_SHADOW, "the guest's IOMMU translates each address");
		send_frames(&t, 1000);
		all_arrive_once(&t);
		info = test_port_info(&t.f.port);
		assert_true(info.access_platform);
		assert_true(info.iommu.misses > 0 && info.iommu.updates > 0 && info.iommu.invalidations > 0);
		assert_int_equal(info.iommu.misses_refused, 0);
		assert_int_equal(test_port_queue(&t.f.port, TX).accesses_refused, 0);
		assert_int_equal(test_port_queue(&t.f.port, RX).accesses_refused, 0);
		close_traffic(&t);
	}
}

/* Nothing is mapped that a chain names: it comes back undone, counted, and the ring goes on. */
static void
not_permitted(void **state)
{
	const uint8_t frame[FRAME_BYTES] = {0};
	struct traffic t;
	unsigned int i;

	(void)state;
	for (i = 0; i < KINDS_COUNT; i++) {
		open_translated(&t, &kinds[i], TEST_VM_TRANSLATED);
		start_pair(&t);
		send_frames(&t, 100);
		all_arrive_once(&t);
		t.f.vm.viommu_denied = RP_VHU_IOTLB_READ_MASK;
		assert_true(test_vm_send(&t.f.vm, TX, frame, sizeof(frame)));
		assert_true(test_vm_send(&t.f.vm, TX, frame, sizeof(frame)));
		assert_true(fixture_becomes(&t.f, all_received));
		t.f.vm.viommu_denied = 0;
		assert_int_equal(test_port_queue(&t.f.port, TX).accesses_refused, 2);
		assert_int_equal(test_port_queue(&t.f.port, TX).mode, RP_PORT_QUEUE_SHADOW);
		assert_int_equal(test_port_events(&t.f.port, "access-refused"), 1);
		assert_true(test_port_info(&t.f.port).iommu.misses_refused > 0);
		send_frames(&t, 100);
		all_arrive_once(&t);
		close_traffic(&t);
	}
}

static bool
all_held(struct fixture *f)
{
	(void)f;
	return fake_now().hold == 0;
}

/* Nothing else is under way: what the device keeps, and uses others before, is not in order. */
static void
hold_frames(struct traffic *t, unsigned int count)
{
	all_arrive_once(t);
	FAKE_SET(hold, count);
	send_frames(t, count);
	assert_true(fixture_becomes(&t->f, all_held));
}

static void
invalidate_all(struct traffic *t)
{
	struct rp_wire_why why = {0};

	if (rp_vhu_frontend_iotlb_invalidate(t->f.vm.frontend, 0, UINT64_MAX, &why) < 0)
		fail_msg("%s", why.text);
}

/* A guest that flushes everything at times, and unmaps nothing: what was under way is done again. */
static void
taken_back_and_still_there(void **state)
{
	struct traffic t;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < KINDS_COUNT; i++) {
		open_translated(&t, &kinds[i], TEST_VM_TRANSLATED);
		start_pair(&t);
		send_frames(&t, 50);
		all_arrive_once(&t);
		for (k = 0; k < 5; k++) {
			hold_frames(&t, 3);
			invalidate_all(&t);
			send_frames(&t, 20);
			all_arrive_once(&t);
		}
		assert_true(test_port_info(&t.f.port).iommu.rings_stopped >= 5);
		assert_int_equal(test_port_queue(&t.f.port, TX).accesses_refused, 0);
		close_traffic(&t);
	}
}

/* Unmapped under the device's hands: when that is acknowledged nothing is read or written there any more. */
static void
taken_back_while_in_use(void **state)
{
	struct test_viommu *viommu;
	struct traffic t;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < KINDS_COUNT; i++) {
		open_translated(&t, &kinds[i], TEST_VM_TRANSLATED);
		start_pair(&t);
		send_frames(&t, 50);
		all_arrive_once(&t);
		hold_frames(&t, 3);
		viommu = t.f.vm.viommu;
		for (k = 0; k < viommu->pages_count; k++)
			viommu->pages[k].readers -= viommu->pages[k].writers == 0 ? viommu->pages[k].readers : 0;
		invalidate_all(&t);
		test_viommu_fill(viommu);
		/* They are done again by nobody: each names what is not there. */
		for (k = 0; k < LIMIT_MS && test_port_queue(&t.f.port, TX).accesses_refused < 3; k++) {
			rp_vhu_frontend_process(t.f.vm.frontend);
			usleep(1000);
		}
		assert_int_equal(test_port_queue(&t.f.port, TX).accesses_refused, 3);
		usleep(10000);
		receive(&t);
		assert_int_equal(t.received, 50);
		test_viommu_assert_untouched(viommu);
		for (k = 0; k < viommu->pages_count; k++)
			viommu->pages[k].readers += viommu->pages[k].filled ? 2 : 0;
		close_traffic(&t);
	}
}

/* The driver is loaded anew: other pages, other places, the same IOVAs. */
static void
reloaded(void **state)
{
	struct traffic t;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < KINDS_COUNT; i++) {
		open_translated(&t, &kinds[i], TEST_VM_TRANSLATED);
		for (k = 0; k < 10; k++) {
			start_pair(&t);
			send_frames(&t, 100);
			all_arrive_once(&t);
			test_vm_reload(&t.f.vm);
		}
		assert_int_equal(test_port_info(&t.f.port).iommu.misses_refused, 0);
		assert_int_equal(test_port_info(&t.f.port).iommu.translations, 0);
		close_traffic(&t);
	}
}

/* All of the guest's memory where its addresses say, told in one piece: the device may have the guest's own ring. */
static void
identity_told_whole_is_direct(void **state)
{
	struct traffic t;

	(void)state;
	open_translated(&t, &kinds[0], TEST_VM_IDENTITY_WHOLE);
	start_pair(&t);
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, 200);
	all_arrive_once(&t);
	/* It is asked again, and is still the same. */
	invalidate_all(&t);
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, 200);
	all_arrive_once(&t);
	assert_int_equal(test_port_info(&t.f.port).iommu.translations, 1);
	close_traffic(&t);
}

/* Told page by page, as QEMU does: what is not known yet is not taken for granted. */
static void
identity_told_by_page_is_shadow(void **state)
{
	struct traffic t;

	(void)state;
	open_translated(&t, &kinds[0], TEST_VM_IDENTITY);
	start_pair(&t);
	assert_true(fixture_becomes(&t.f, is_shadow));
	send_frames(&t, 1000);
	all_arrive_once(&t);
	/* And what is known is not asked for again. */
	assert_true(test_port_info(&t.f.port).iommu.misses <= t.f.vm.viommu->pages_count);
	close_traffic(&t);
}

static bool
is_told(struct fixture *f)
{
	return test_port_events(&f->port, "ring-not-translated") > 0;
}

static void
a_ring_that_is_not_mapped(void **state)
{
	struct traffic t;

	(void)state;
	open_translated(&t, &kinds[0], TEST_VM_TRANSLATED);
	t.f.vm.viommu_denied = RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK;
	test_vm_queue_start(&t.f.vm, TX, 0);
	assert_true(fixture_becomes(&t.f, is_told));
	assert_int_equal(test_port_queue(&t.f.port, TX).mode, RP_PORT_QUEUE_STOPPED);
	assert_non_null(strstr(test_port_queue(&t.f.port, TX).reason, "does not let the device to its"));
	assert_int_equal(test_vm_queue_stop(&t.f.vm, TX), 0);
	t.f.vm.viommu_denied = 0;
	start_pair(&t);
	send_frames(&t, 100);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* Memory in huge pages: who lays a small page of it down lays all of it. */
static void
a_ring_that_lies_apart_in_huge_pages(void **state)
{
	struct rp_wire_why why = {0};
	struct traffic t;
	int huge_fd = test_huge_memfd(4 * TEST_HUGE_PAGE_BYTES);
	struct rp_vhu_region region = {.gpa = TEST_VM_GPA, .size_bytes = 4 * TEST_HUGE_PAGE_BYTES, .fd = huge_fd};

	(void)state;
	open_translated(&t, &kinds[0], TEST_VM_TRANSLATED);
	assert_true(t.f.vm.memory_bytes <= region.size_bytes);
	region.uva = (uint64_t)(uintptr_t)t.f.vm.plain;
	assert_int_equal(rp_vhu_frontend_set_mem_table(t.f.vm.frontend, &region, 1, &why), 0);
	test_vm_queue_start(&t.f.vm, TX, 0);
	assert_true(fixture_becomes(&t.f, is_told));
	assert_int_equal(test_port_queue(&t.f.port, TX).mode, RP_PORT_QUEUE_STOPPED);
	assert_non_null(strstr(test_port_queue(&t.f.port, TX).reason, "lies apart, in huge pages"));
	close_traffic(&t);
	rp_wire_fd_close(&huge_fd);
}

static void
offered_when_configured(void **state)
{
	struct rp_port_config config = fixture_config();
	struct rp_wire_why why = {0};
	struct rp_port *port;
	struct fixture f;

	(void)state;
	fixture_open(&f);
	assert_int_equal(test_port_info(&f.port).features_offered & TEST_VM_ACCESS_PLATFORM, 0);
	assert_false(test_port_info(&f.port).access_platform);
	fixture_close(&f);
	config.access_platform = config.migratable = true;
	assert_int_equal(rp_port_create(&config, &fake_accel_registry, NULL, NULL, &port, &why), -EINVAL);
	assert_non_null(strstr(why.text, "access_platform"));
}

/* QEMU's stop and cont, and the user's: a private ring has a position in either format. */
static void
stopped_and_continued(void **state)
{
	struct traffic t;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < KINDS_COUNT; i++) {
		open_translated(&t, &kinds[i], TEST_VM_TRANSLATED);
		start_pair(&t);
		stop_and_cont(&t, 10);
		for (k = 0; k < 10; k++) {
			send_frames(&t, 13);
			assert_int_equal(test_port_disable(&t.f.port, k % 2), 0);
			assert_int_equal(test_port_enable(&t.f.port, k % 2), 0);
		}
		all_arrive_once(&t);
		assert_int_equal(test_port_queue(&t.f.port, TX).accesses_refused, 0);
		assert_int_equal(test_port_queue(&t.f.port, TX).lost, 0);
		close_traffic(&t);
	}
}

/* Memory that is plugged, and goes: what lay in it is known no more, and what was under way is done again. */
static void
memory_comes_and_goes(void **state)
{
	struct traffic t;
	unsigned int k;

	(void)state;
	open_translated(&t, &kinds[0], TEST_VM_TRANSLATED);
	start_pair(&t);
	for (k = 0; k < 5; k++) {
		struct rp_vhu_region more = {
			.gpa = TEST_VM_GPA + t.f.vm.memory_bytes,
			.size_bytes = t.f.vm.viommu->page_bytes,
			.uva = UINT64_C(0x100000000000),
			.fd = test_memfd(t.f.vm.viommu->page_bytes, false),
		};
		struct rp_wire_why why = {0};

		send_frames(&t, 20);
		assert_int_equal(rp_vhu_frontend_add_mem_reg(t.f.vm.frontend, &more, &why), 0);
		send_frames(&t, 20);
		assert_int_equal(rp_vhu_frontend_rem_mem_reg(t.f.vm.frontend, &more, &why), 0);
		close(more.fd);
		send_frames(&t, 20);
		all_arrive_once(&t);
	}
	assert_true(test_port_info(&t.f.port).iommu.rings_stopped > 0);
	close_traffic(&t);
}

/* A device that cannot stop one ring alone is stopped whole, and all of its rings go on. */
static void
a_device_that_stops_only_whole(void **state)
{
	struct traffic t;

	(void)state;
	open_translated(&t, &kinds[1], TEST_VM_TRANSLATED);
	start_pair(&t);
	send_frames(&t, 50);
	all_arrive_once(&t);
	FAKE_SET(stop_error, -ENOTSUP);
	hold_frames(&t, 3);
	invalidate_all(&t);
	FAKE_SET(stop_error, 0);
	assert_true(fake_now().resets > 0);
	send_frames(&t, 50);
	all_arrive_once(&t);
	close_traffic(&t);
}

/* Everything at once, from a seed: traffic, flushes of all or of a page, stops, and drivers that come anew. */
static void
at_random(void **state)
{
	const char *seed_text = getenv("TEST_SEED");
	unsigned int seed = seed_text != NULL ? (unsigned int)atoi(seed_text) : (unsigned int)getpid(), i, k;
	struct traffic t;

	(void)state;
	print_message("TEST_SEED=%u\n", seed);
	for (i = 0; i < KINDS_COUNT; i++) {
		open_translated(&t, &kinds[i], TEST_VM_TRANSLATED);
		start_pair(&t);
		for (k = 0; k < 60; k++) {
			struct rp_wire_why why = {0};
			uint64_t page = (uint64_t)rand_r(&seed) % t.f.vm.viommu->pages_count;

			send_frames(&t, 1 + (unsigned int)rand_r(&seed) % 20);
			switch (rand_r(&seed) % 8) {
			case 0:
				invalidate_all(&t);
				break;
			case 1:
				stop_and_cont(&t, 1);
				break;
			case 2:
				all_arrive_once(&t);
				test_vm_reload(&t.f.vm);
				start_pair(&t);
				break;
			case 3:
				hold_frames(&t, 2);
				invalidate_all(&t);
				break;
			default:
				page *= t.f.vm.viommu->page_bytes;
				assert_int_equal(rp_vhu_frontend_iotlb_invalidate(t.f.vm.frontend, t.f.vm.iova + page,
										  t.f.vm.viommu->page_bytes, &why),
						 0);
				break;
			}
		}
		all_arrive_once(&t);
		assert_int_equal(test_port_queue(&t.f.port, TX).accesses_refused, 0);
		assert_int_equal(test_port_queue(&t.f.port, RX).accesses_refused, 0);
		close_traffic(&t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(translated_traffic),
		cmocka_unit_test(not_permitted),
		cmocka_unit_test(taken_back_and_still_there),
		cmocka_unit_test(taken_back_while_in_use),
		cmocka_unit_test(reloaded),
		cmocka_unit_test(identity_told_whole_is_direct),
		cmocka_unit_test(identity_told_by_page_is_shadow),
		cmocka_unit_test(a_ring_that_is_not_mapped),
		cmocka_unit_test(a_ring_that_lies_apart_in_huge_pages),
		cmocka_unit_test(offered_when_configured),
		cmocka_unit_test(stopped_and_continued),
		cmocka_unit_test(memory_comes_and_goes),
		cmocka_unit_test(a_device_that_stops_only_whole),
		cmocka_unit_test(at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
