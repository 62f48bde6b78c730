/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "rp_wire_fd.h"
#include "vfu_client.h"
#include "test_support.h"

/* Descriptions of regions, most of them lies. */

#define HEAD(flags, index, cap, size, offset) REGION(0, flags, index, cap, size, offset)

static int
parse(const uint8_t *bytes, size_t size_bytes, uint32_t region, bool bar, struct rp_vfu_region_reply *ret_reply,
      struct rp_wire_why *why)
{
	/* Of exact size, so that a sanitizer sees a byte too many. */
	uint8_t *copy = malloc(size_bytes);
	int rc;

	assert_non_null(copy);
	memcpy(copy, bytes, size_bytes);
	rc = rp_vfu_region_reply_parse(copy, (uint32_t)size_bytes, region, bar, ret_reply, why);
	free(copy);
	return rc;
}

static void
assert_lie(const uint8_t *bytes, size_t size_bytes, const char *words)
{
	struct rp_vfu_region_reply reply;
	struct rp_wire_why why = {.text = ""};

	assert_int_equal(parse(bytes, size_bytes, 2, true, &reply, &why), -EBADMSG);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
}

#define LIE(words, ...)                                                                                                \
	do {                                                                                                           \
		const uint8_t bytes_[] = {__VA_ARGS__};                                                                \
		assert_lie(bytes_, sizeof(bytes_), words);                                                             \
	} while (0)

static void
test_honest_descriptions(void **state)
{
	static const uint8_t plain[] = {HEAD(3, 2, 0, 0x1000, 0)};
	static const uint8_t mapped[] = {HEAD(7, 2, 0, 0x4000, 0x1000)};
	struct rp_vfu_region_reply reply;

	(void)state;
	assert_int_equal(parse(plain, sizeof(plain), 2, true, &reply, NULL), 0);
	assert_null(reply.areas);
	assert_int_equal(reply.info.size_bytes, 0x1000);
	assert_int_equal(parse(mapped, sizeof(mapped), 2, true, &reply, NULL), 0);
	assert_null(reply.areas);
}

static void
test_chain_in_any_order(void **state)
{
	/* At 32 a stranger that ends the chain, at 40 the areas, at 72 a stranger where it begins. */
	static const uint8_t sparse[] = {HEAD(0xf, 2, 72, 0x8000, 0), CAP(3, 1, 0),  CAP(1, 1, 32), U32(1), U32(0),
					 AREA(0x1000, 0x1000),	      CAP(99, 7, 40)};
	struct rp_vfu_region_reply reply;

	(void)state;
	assert_int_equal(parse(sparse, sizeof(sparse), 2, true, &reply, NULL), 0);
	assert_int_equal(reply.areas_count, 1);
	assert_int_equal(reply.areas[0].offset_bytes, 0x1000);
	assert_int_equal(reply.areas[0].size_bytes, 0x1000);
	free(reply.areas);
}

static void
test_lies_about_the_region(void **state)
{
	(void)state;
	LIE("payload: 28 bytes", U32(32), U32(3), U32(2), U32(0), U64(0x1000), U32(0));
	LIE("index: 3, asked for 2", HEAD(3, 3, 0, 0x1000, 0));
	LIE("size: 0x1800 of a BAR is not a power of two", HEAD(3, 2, 0, 0x1800, 0));
	LIE("size: 0xffffffffffffffff of a BAR", HEAD(3, 2, 0, UINT64_MAX, 0));
	LIE("size: 0, and mmap-able", HEAD(7, 2, 0, 0, 0));
	LIE("offset: 0x800 is no multiple of the page size", HEAD(7, 2, 0, 0x1000, 0x800));
	LIE("leave every file", HEAD(7, 2, 0, 0x1000, UINT64_MAX - 0xfff));
	LIE("leave every file", HEAD(7, 2, 0, UINT64_C(1) << 63, 0));
	LIE("size: 0x100 is not of whole pages, and mmap-able", HEAD(7, 2, 0, 0x100, 0));
}

static void
test_lies_about_areas(void **state)
{
	(void)state;
	LIE("area 0: 0x1000 bytes at 0x800 are not whole pages", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(1),
	    AREA(0x800, 0x1000));
	LIE("area 0: 0x0 bytes", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(1), AREA(0, 0));
	LIE("area 0: 0x1001 bytes", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(1), AREA(0, 0x1001));
	LIE("area 1: 0x2000 bytes at 0x7000 leave the region of 0x8000", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(2),
	    AREA(0, 0x1000), AREA(0x7000, 0x2000));
	LIE("leave the region", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(1), AREA(UINT64_MAX - 0xfff, 0x1000));
	LIE("leave the region", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(1), AREA(0x1000, UINT64_MAX - 0xfff));
	LIE("area 1: overlaps area 0", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(2), AREA(0, 0x2000), AREA(0x1000, 0x1000));
	LIE("area 1: overlaps area 0", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(2), AREA(0x1000, 0x1000), AREA(0, 0x8000));
}

static void
test_lies_about_capabilities(void **state)
{
	(void)state;
	LIE("capabilities: offset 31 of", HEAD(0xf, 2, 31, 0x8000, 0), SPARSE(0));
	LIE("capabilities: offset 41 of", HEAD(0xf, 2, 41, 0x8000, 0), SPARSE(0));
	LIE("capabilities: offset 48 of a reply of 48", HEAD(0xf, 2, 48, 0x8000, 0), SPARSE(0));
	LIE("capabilities: offset 4294967295", HEAD(0xf, 2, UINT32_MAX, 0x8000, 0), SPARSE(0));
	LIE("capabilities: offset 8 of", HEAD(0xf, 2, 32, 0x8000, 0), U16(9), U16(1), U32(8));
	LIE("capabilities: the chain is a loop", HEAD(0xf, 2, 32, 0x8000, 0), U16(9), U16(1), U32(32));
	LIE("capabilities: the chain is a loop", HEAD(0xf, 2, 32, 0x8000, 0), U16(9), U16(1), U32(40), U16(9), U16(1),
	    U32(32));
	LIE("capabilities: a list of areas is cut off", HEAD(0xf, 2, 32, 0x8000, 0), U16(1), U16(1), U32(0), U32(0));
	LIE("capabilities: 2 areas in 16 bytes", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(2), AREA(0, 0x1000));
	LIE("capabilities: 1 areas in 15 bytes", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(1), U64(0), U32(0), U16(0), 0);
	LIE("capabilities: 4294967295 areas", HEAD(0xf, 2, 32, 0x8000, 0), SPARSE(UINT32_MAX), AREA(0, 0x1000));
	LIE("capabilities: two lists of areas", HEAD(0xf, 2, 32, 0x8000, 0), U16(1), U16(1), U32(48), U32(0), U32(0),
	    SPARSE(0));
}

static void
test_huge_chain(void **state)
{
	uint8_t *bytes = calloc(1, 65536);
	const uint8_t head[] = {HEAD(0xf, 2, 32, 0x8000, 0)};
	struct rp_vfu_region_reply reply;
	struct rp_wire_why why;
	uint32_t at;

	(void)state;
	assert_non_null(bytes);
	memcpy(bytes, head, sizeof(head));
	for (at = 32; at < 65536; at += 8) {
		const uint8_t cap[] = {U16(9), U16(1), U32(at + 8 == 65536 ? 0 : at + 8)};

		memcpy(bytes + at, cap, sizeof(cap));
	}
	/* Long, and no lie. */
	assert_int_equal(parse(bytes, 65536, 2, true, &reply, &why), 0);
	assert_null(reply.areas);
	free(bytes);
}

static void
test_files(void **state)
{
	static const uint8_t mapped[] = {HEAD(7, 2, 0, 0x4000, 0x1000)};
	static const uint8_t sparse[] = {HEAD(0xf, 2, 32, 0x8000, 0x1000), SPARSE(1), AREA(0x1000, 0x1000)};
	static const uint8_t nothing[] = {HEAD(0xf, 2, 32, 0x8000, 0x1000), SPARSE(0)};
	struct rp_vfu_region_reply reply;
	struct rp_wire_why why;
	int fd, zero_fd;

	(void)state;
	fd = test_memfd(0x4fff, false);
	assert_int_equal(parse(mapped, sizeof(mapped), 2, true, &reply, NULL), 0);
	assert_int_equal(rp_vfu_region_reply_check_file(&reply, fd, &why), -EBADMSG);
	assert_string_equal(why.text, "descriptor: the file ends at 0x4fff, before what may be mapped of it (0x5000)");
	assert_int_equal(ftruncate(fd, 0x5000), 0);
	assert_int_equal(rp_vfu_region_reply_check_file(&reply, fd, &why), 0);
	assert_int_equal(rp_vfu_region_reply_check_file(&reply, -1, &why), -EBADMSG);
	/* A device node has no size that could be asked. */
	zero_fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	assert_int_equal(rp_vfu_region_reply_check_file(&reply, zero_fd, &why), 0);
	/* With areas only they count. */
	assert_int_equal(parse(sparse, sizeof(sparse), 2, true, &reply, NULL), 0);
	assert_int_equal(ftruncate(fd, 0x3000), 0);
	assert_int_equal(rp_vfu_region_reply_check_file(&reply, fd, &why), 0);
	assert_int_equal(ftruncate(fd, 0x2fff), 0);
	assert_int_equal(rp_vfu_region_reply_check_file(&reply, fd, &why), -EBADMSG);
	free(reply.areas);
	assert_int_equal(parse(nothing, sizeof(nothing), 2, true, &reply, NULL), 0);
	assert_int_equal(reply.areas_count, 0);
	free(reply.areas);
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&zero_fd);
}

static void
test_random_descriptions(void **state)
{
	static const uint32_t odd[] = {0, 1, 2, 8, 32, 40, 48, 64, 0x1000, 0x2000, UINT32_MAX};
	unsigned int seed = 3, round, at;
	uint8_t bytes[160];

	(void)state;
	for (round = 0; round < 200000; round++) {
		const uint8_t head[] = {HEAD(rand_r(&seed) % 16, 2, 32, 0x8000, 0)};
		size_t size_bytes = 32 + (size_t)rand_r(&seed) % (sizeof(bytes) - 31);
		struct rp_vfu_region_reply reply;

		for (at = 0; at < sizeof(bytes); at += 4) {
			uint32_t word = rand_r(&seed) % 3 == 0 ? 0 : odd[(size_t)rand_r(&seed) % 11];

			memcpy(bytes + at, &word, sizeof(word));
		}
		memcpy(bytes, head, rand_r(&seed) % 2 == 0 ? sizeof(head) : 12);
		if (parse(bytes, size_bytes, 2, false, &reply, NULL) == 0)
			free(reply.areas);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_honest_descriptions),
		cmocka_unit_test(test_chain_in_any_order),
		cmocka_unit_test(test_lies_about_the_region),
		cmocka_unit_test(test_lies_about_areas),
		cmocka_unit_test(test_lies_about_capabilities),
		cmocka_unit_test(test_huge_chain),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_random_descriptions),
	};

	return cmocka_run_group_tests_name("vfio-user client: region descriptions", tests, NULL, NULL);
}
