/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "fixture.h"

#define BAR 4u
#define ACCESS (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)

struct sparse {
	uint32_t count;
	uint32_t reserved;
	struct vfio_region_sparse_mmap_area areas[VFIO_AREAS_MAX + 1];
};

static void
put_areas(struct fixture *fixture, const struct sparse *sparse, unsigned int real_count)
{
	struct fake_answer *answer = &fake_find(fixture->fake, FAKE_ALONE)->regions[BAR];

	fake_answer_region(answer, BAR, FAKE_BAR_BYTES, ACCESS | VFIO_REGION_INFO_FLAG_MMAP);
	fake_answer_add(answer, FAKE_REGION_FIRST, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, "", 0);
	fake_answer_add(answer, FAKE_REGION_FIRST, VFIO_REGION_INFO_CAP_SPARSE_MMAP, sparse,
			8 + real_count * sizeof(sparse->areas[0]));
}

static int
window(struct fixture *fixture, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
       struct rp_accel_transport_window *ret_window)
{
	struct rp_accel_transport *transport = &fixture->transports[0];

	return transport->ops->region_window(transport->priv, region, offset_bytes, size_bytes, ret_window,
					     &fixture->why);
}

static void
sizes(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	uint64_t size_bytes = 1;

	assert_int_equal(transport->ops->region_size(transport->priv, BAR, &size_bytes, NULL), 0);
	assert_int_equal(size_bytes, FAKE_BAR_BYTES);
	assert_int_equal(transport->ops->region_size(transport->priv, FAKE_CONFIG, &size_bytes, NULL), 0);
	assert_int_equal(size_bytes, 4096);
	/* Absent, unknown to the kernel, unknown to all. */
	assert_int_equal(transport->ops->region_size(transport->priv, 0, &size_bytes, NULL), 0);
	assert_int_equal(size_bytes, 0);
	assert_int_equal(transport->ops->region_size(transport->priv, 8, &size_bytes, NULL), 0);
	assert_int_equal(size_bytes, 0);
	assert_int_equal(transport->ops->region_size(transport->priv, UINT32_MAX, &size_bytes, NULL), 0);
	assert_int_equal(size_bytes, 0);
}

static void
bytes_in_and_out(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	uint32_t value = 0x12345678, back = 0;
	struct rp_accel_transport_window place;

	assert_int_equal(transport->ops->region_write(transport->priv, BAR, 0x3000, 4, &value, &fixture->why), 0);
	assert_int_equal(transport->ops->region_read(transport->priv, BAR, 0x3000, 4, &back, &fixture->why), 0);
	assert_int_equal(back, value);
	/* The same bytes for who maps them. */
	assert_int_equal(window(fixture, BAR, 0x3000, 0x1000, &place), 0);
	{
		uint32_t *page =
			mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, place.fd, (off_t)place.offset_bytes);

		assert_true(page != MAP_FAILED);
		assert_int_equal(page[0], value);
		munmap(page, 0x1000);
	}
	assert_int_equal(place.size_bytes, 0x1000);
}

static void
accesses_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_transport *transport;
	uint32_t value = 0;

	fake_answer_region(&fake_find(fixture->fake, FAKE_ALONE)->regions[2], 2, 0x1000, VFIO_REGION_INFO_FLAG_READ);
	transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(
		transport->ops->region_read(transport->priv, BAR, FAKE_BAR_BYTES - 2, 4, &value, &fixture->why),
		-EINVAL);
	fixture_said(fixture, -EINVAL, "beyond its end");
	assert_int_equal(transport->ops->region_read(transport->priv, BAR, UINT64_MAX - 1, 4, &value, NULL), -EINVAL);
	assert_int_equal(transport->ops->region_read(transport->priv, 9, 0, 4, &value, NULL), -EINVAL);
	assert_int_equal(transport->ops->region_read(transport->priv, 2, 0, 4, &value, NULL), 0);
	assert_int_equal(transport->ops->region_write(transport->priv, 2, 0, 4, &value, &fixture->why), -ENOTSUP);
	fixture_said(fixture, -ENOTSUP, "region 2: write is not possible");
	/* None of it was the device's fault. */
	assert_int_equal(transport->ops->process(transport->priv, NULL), 0);
}

/* pread(2) of a device whose memory is disabled or that left the bus. */
static void
a_device_that_does_not_answer(void **state)
{
	static const ssize_t results[] = {-EIO, 2, -ENODEV};
	struct fixture *fixture = *state;
	uint32_t value = 0;
	unsigned int i;

	for (i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		struct rp_accel_transport *transport = fixture_open(fixture, 0, FAKE_ALONE, NULL);

		fixture->fake->access_result = results[i];
		assert_int_equal(transport->ops->region_read(transport->priv, BAR, 0, 4, &value, &fixture->why), -EIO);
		fixture_said(fixture, -EIO, "region 4: read at 0x0");
		fixture->fake->access_result = 0;
		assert_int_equal(transport->ops->process(transport->priv, &fixture->why), -EIO);
		fixture_said(fixture, -EIO, "region 4: read at 0x0");
		fixture_close(transport);
	}
}

static void
areas(void **state)
{
	static const struct sparse sparse = {3, 0, {{0x1000, 0x1000}, {0x4000, 0x3000}, {0x8000, 0}}};
	struct fixture *fixture = *state;
	struct rp_accel_transport_window place;

	put_areas(fixture, &sparse, 3);
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(window(fixture, BAR, 0x1000, 0x1000, &place), 0);
	assert_int_equal(place.offset_bytes, (UINT64_C(4) << 40) + 0x1000);
	assert_int_equal(window(fixture, BAR, 0x5000, 0x2000, &place), 0);
	assert_int_equal(window(fixture, BAR, 0, 0x1000, &place), -ENOTSUP);
	assert_int_equal(window(fixture, BAR, 0x1000, 0x2000, &place), -ENOTSUP);
	assert_int_equal(window(fixture, BAR, 0x6000, 0x2000, &place), -ENOTSUP);
	assert_int_equal(window(fixture, BAR, UINT64_MAX, 0x1000, &place), -ENOTSUP);
	assert_int_equal(window(fixture, BAR, 0x1000, UINT64_MAX, &place), -ENOTSUP);
	fixture_said(fixture, -ENOTSUP, "region 4 is not mmap-able at 0x1000");
	assert_int_equal(window(fixture, FAKE_CONFIG, 0, 0x1000, &place), -ENOTSUP);
	assert_int_equal(window(fixture, 0, 0, 0x1000, &place), -ENOTSUP);
	fixture_said(fixture, -ENOTSUP, "region 0 is absent");
	assert_int_equal(window(fixture, UINT32_MAX, 0, 0x1000, &place), -ENOTSUP);
}

static void
areas_that_cannot_be(void **state)
{
	static const struct {
		struct sparse sparse;
		unsigned int real_count;
		const char *words;
	} rows[] = {
		{{.count = 2, .areas = {{0, 0x1000}}}, 1, "nr_areas: 2"},
		{{.count = UINT32_MAX, .areas = {{0, 0x1000}}}, 1, "nr_areas: 4294967295"},
		{{.count = VFIO_AREAS_MAX + 1}, VFIO_AREAS_MAX + 1, "nr_areas: 65, expected at most 64"},
		{{.count = 1, .areas = {{0x7000, 0x2000}}},
		 1,
		 "area 0x7000 + 0x2000, expected within its 0x8000 bytes"},
		{{.count = 1, .areas = {{0x9000, 0x1000}}}, 1, "area 0x9000"},
		{{.count = 1, .areas = {{UINT64_MAX - 0xfff, 0x2000}}}, 1, "area 0xfffffffffffff000"},
		{{.count = 1, .areas = {{0x1000, UINT64_MAX}}}, 1, "area 0x1000 + 0xffffffffffffffff"},
	};
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put_areas(fixture, &rows[i].sparse, rows[i].real_count);
		fixture_refused(fixture, FAKE_ALONE, -EBADMSG, rows[i].words);
	}
}

static void
an_empty_list_of_areas_is_none(void **state)
{
	static const struct sparse sparse = {0};
	struct fixture *fixture = *state;
	struct rp_accel_transport_window place;

	put_areas(fixture, &sparse, 0);
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(window(fixture, BAR, 0, 0x1000, &place), -ENOTSUP);
}

static void
set_field(struct fake_answer *answer, size_t at, const void *value, size_t size_bytes)
{
	memcpy(answer->bytes + at, value, size_bytes);
}

static void
regions_that_cannot_be(void **state)
{
	static const uint64_t far = (uint64_t)INT64_MAX - 0xfff, huge = UINT64_MAX;
	struct fixture *fixture = *state;
	struct fake_device *device = fake_find(fixture->fake, FAKE_ALONE);
	struct fake_answer *answer = &device->regions[BAR], good = *answer;
	uint32_t index = 5, cap_offset = 20;

	set_field(answer, offsetof(struct vfio_region_info, index), &index, sizeof(index));
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "region 4: index: 5");
	*answer = good;
	set_field(answer, offsetof(struct vfio_region_info, size), &huge, sizeof(huge));
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "expected an end below 2^63");
	*answer = good;
	set_field(answer, offsetof(struct vfio_region_info, offset), &far, sizeof(far));
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "expected an end below 2^63");
	*answer = good;
	fake_answer_add(answer, FAKE_REGION_FIRST, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, "", 0);
	set_field(answer, FAKE_REGION_FIRST, &cap_offset, sizeof(cap_offset));
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "capability at 20, expected from 32 on");
	*answer = good;
	fake_answer_region(&device->regions[FAKE_CONFIG], FAKE_CONFIG, 64, ACCESS);
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "configuration space: 64 bytes, expected at least 256");
	fake_answer_region(&device->regions[FAKE_CONFIG], FAKE_CONFIG, 256, VFIO_REGION_INFO_FLAG_READ);
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "that can be read and written");
}

/* Whatever bytes the kernel answers with: an answer, never a crash; sanitizers watch. */
static void
answers_of_random_bytes(void **state)
{
	struct fixture *fixture = *state;
	struct fake_answer *answer = &fake_find(fixture->fake, FAKE_ALONE)->regions[BAR], good;
	unsigned int i, j, opened = 0;

	fake_answer_add(answer, FAKE_REGION_FIRST, VFIO_REGION_INFO_CAP_SPARSE_MMAP,
			&(struct sparse){1, 0, {{0x1000, 0x1000}}}, 24);
	good = *answer;
	srand(11);
	for (i = 0; i < 3000; i++) {
		*answer = good;
		for (j = 0; j < 1 + i % 4; j++)
			answer->bytes[4 + (unsigned int)rand() % (answer->size_bytes - 4)] = (uint8_t)rand();
		if (fake_open(fixture->fake, FAKE_ALONE, NULL, &fixture->transports[0], &fixture->why) == 0) {
			opened++;
			fixture_close(&fixture->transports[0]);
		}
	}
	/* It depends on the bytes. */
	assert_true(opened > 0 && opened < i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(sizes),
		FIXTURE_TEST(bytes_in_and_out),
		FIXTURE_TEST(accesses_that_cannot_be),
		FIXTURE_TEST(a_device_that_does_not_answer),
		FIXTURE_TEST(areas),
		FIXTURE_TEST(areas_that_cannot_be),
		FIXTURE_TEST(an_empty_list_of_areas_is_none),
		FIXTURE_TEST(regions_that_cannot_be),
		FIXTURE_TEST(answers_of_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
