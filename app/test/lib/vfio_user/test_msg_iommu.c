/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "rp_vfu_msg.h"
#include "test_support.h"
#include "vfu_version.h"

/* The rules across fields of ringpass.iommu's messages, and PASIDs on others. */

static struct rp_vfu_terms terms;
static struct rp_wire_why why;

static int
setup(void **state)
{
	(void)state;
	rp_vfu_terms_ours(&terms);
	rp_vfu_terms_offer(&terms, RP_VFU_TERM_TRANSLATIONS, 4);
	rp_vfu_terms_offer(&terms, RP_VFU_TERM_INVALIDATIONS, 4);
	rp_vfu_terms_offer(&terms, RP_VFU_TERM_PAGE_REQUESTS, 4);
	rp_vfu_terms_offer(&terms, RP_VFU_TERM_PASID_BITS, 8);
	return 0;
}

static struct rp_vfu_msg_view
view_of(const uint8_t *bytes, size_t count_bytes)
{
	struct rp_wire_msg msg = {.bytes = (uint8_t *)bytes, .size_bytes = count_bytes};
	struct rp_vfu_msg_view view;

	rp_vfu_msg_parse(&msg, &view);
	return view;
}

static int
check(const uint8_t *bytes, size_t count_bytes, enum rp_vfu_direction direction)
{
	struct rp_vfu_msg_view view = view_of(bytes, count_bytes);

	return rp_vfu_msg_check_command(&view, direction, RP_VFU_STATE_READY, &terms, NULL, &why);
}

#define CHECK(direction, ...) check((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), direction)

static void
test_translate(void **state)
{
	(void)state;
	assert_int_equal(CHECK(RP_VFU_TO_CLIENT, HEADER(1, 0x5205, 40, COMMAND, 0), U64(0xfffffffffffff000), U32(3),
			       U32(0), U32(0), U32(0)),
			 0);
	assert_int_equal(
		CHECK(RP_VFU_TO_CLIENT, HEADER(1, 0x5205, 40, COMMAND, 0), U64(1), U32(3), U32(0), U32(0), U32(0)),
		-EBADMSG);
	assert_string_equal(why.text, "TRANSLATE: address: 0x1 is not of a whole page of 4096");
	assert_int_equal(
		CHECK(RP_VFU_TO_CLIENT, HEADER(1, 0x5205, 40, COMMAND, 0), U64(0), U32(0), U32(0), U32(0), U32(0)),
		-EBADMSG);
	assert_string_equal(why.text, "TRANSLATE: access: 0x0, expected readable (1), writeable (2) or both");
	assert_int_equal(
		CHECK(RP_VFU_TO_CLIENT, HEADER(1, 0x5205, 40, COMMAND, 0), U64(0), U32(1), U32(1), U32(0), U32(0)),
		-EBADMSG);
	assert_string_equal(why.text, "TRANSLATE: reserved: 0x1, expected 0");
	assert_int_equal(
		CHECK(RP_VFU_TO_SERVER, HEADER(1, 0x5205, 40, COMMAND, 0), U64(0), U32(1), U32(0), U32(0), U32(0)),
		-ENOTSUP);
}

static void
test_invalidate(void **state)
{
	(void)state;
	assert_int_equal(CHECK(RP_VFU_TO_SERVER, HEADER(1, 0x5206, 48, COMMAND, 0), U64(9), U64(0xfffffffffffff000),
			       U64(0x1000), U32(0), U32(0)),
			 0);
	assert_int_equal(CHECK(RP_VFU_TO_SERVER, HEADER(1, 0x5206, 48, COMMAND, 0), U64(9), U64(0xfffffffffffff000),
			       U64(0x2000), U32(0), U32(0)),
			 -EBADMSG);
	assert_string_equal(why.text, "INVALIDATE: size: 0x2000 from address 0xfffffffffffff000 wraps");
	assert_int_equal(
		CHECK(RP_VFU_TO_SERVER, HEADER(1, 0x5206, 48, COMMAND, 0), U64(9), U64(0), U64(1), U32(0), U32(0)),
		-EBADMSG);
	/* Of everything the range is not looked at. */
	assert_int_equal(
		CHECK(RP_VFU_TO_SERVER, HEADER(1, 0x5206, 48, COMMAND, 0), U64(9), U64(1), U64(1), U32(0), U32(2)), 0);
}

static void
test_pages(void **state)
{
	(void)state;
	assert_int_equal(CHECK(RP_VFU_TO_CLIENT, HEADER(1, 0x5207, 48, NO_REPLY, 0), U32(1), U32(1), U32(0), U32(0),
			       U64(0x1000), U32(1), U32(0)),
			 0);
	assert_int_equal(CHECK(RP_VFU_TO_CLIENT, HEADER(1, 0x5207, 48, NO_REPLY, 0), U32(1), U32(2), U32(0), U32(0),
			       U64(0x1000), U32(1), U32(0)),
			 -EBADMSG);
	assert_string_equal(why.text, "PAGE_REQUEST: count: 2, but 16 bytes of pages, 16 each");
	assert_int_equal(CHECK(RP_VFU_TO_CLIENT, HEADER(1, 0x5207, 49, NO_REPLY, 0), U32(1), U32(1), U32(0), U32(0),
			       U64(0x1000), U32(1), U32(0), 0),
			 -EBADMSG);
	assert_int_equal(CHECK(RP_VFU_TO_SERVER, HEADER(1, 0x5208, 24, NO_REPLY, 0), U32(1), U32(16)), 0);
	assert_int_equal(CHECK(RP_VFU_TO_SERVER, HEADER(1, 0x5208, 24, NO_REPLY, 0), U32(1), U32(3)), -EBADMSG);
	assert_string_equal(why.text, "PAGE_RESPONSE: code: 3, expected 0, 1, 15 or 16");
}

static int
take(const uint8_t *bytes, size_t count_bytes, uint64_t body_bytes, uint32_t *ret_pasid)
{
	struct rp_vfu_msg_view view = view_of(bytes, count_bytes);
	uint32_t trailer_bytes = 77;
	int rc = rp_vfu_msg_take_pasid(&view, &terms, body_bytes, 16, ret_pasid, &trailer_bytes, &why);

	if (rc == 0)
		assert_int_equal(trailer_bytes, view.payload_bytes - body_bytes);
	return rc;
}

#define TAKE(body_bytes, ...)                                                                                          \
	take((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), body_bytes, &pasid)

/* The size says whether there is one, and it stands before the data. */
static void
test_pasid_behind_fixed_fields(void **state)
{
	uint32_t pasid;

	(void)state;
	assert_int_equal(TAKE(16, HEADER(1, 11, 32, COMMAND, 0), U64(0), U64(1)), 0);
	assert_int_equal(pasid, RP_VFU_NO_PASID);
	assert_int_equal(TAKE(16, HEADER(1, 11, 40, COMMAND, 0), U64(0), U64(1), U32(255), U32(1)), 0);
	assert_int_equal(pasid, 255);
	assert_int_equal(TAKE(18, HEADER(1, 12, 42, COMMAND, 0), U64(0), U64(2), U32(7), U32(1), 'x', 'y'), 0);
	assert_int_equal(pasid, 7);
	assert_int_equal(TAKE(16, HEADER(1, 11, 40, COMMAND, 0), U64(0), U64(1), U32(7), U32(0)), 0);
	assert_int_equal(pasid, RP_VFU_NO_PASID);
	assert_int_equal(TAKE(16, HEADER(1, 11, 40, COMMAND, 0), U64(0), U64(1), U32(256), U32(1)), -EBADMSG);
	assert_string_equal(why.text, "pasid: 0x100, expected at most 8 bits");
	assert_int_equal(TAKE(16, HEADER(1, 11, 40, COMMAND, 0), U64(0), U64(1), U32(1), U32(3)), -EBADMSG);
	assert_int_equal(TAKE(16, HEADER(1, 11, 36, COMMAND, 0), U64(0), U64(1), U32(1)), -EMSGSIZE);
	/* A count that no message has room for. */
	assert_int_equal(TAKE(UINT64_MAX, HEADER(1, 12, 32, COMMAND, 0), U64(0), U64(2)), -EMSGSIZE);
	rp_vfu_terms_drop(&terms, RP_VFU_TERM_PASID_BITS);
	assert_int_equal(TAKE(16, HEADER(1, 11, 40, COMMAND, 0), U64(0), U64(1), U32(0), U32(1)), -EMSGSIZE);
}

/* A row's longest payload grows by a PASID once there are some, and not before. */
static void
test_sizes_with_and_without_pasids(void **state)
{
	static const uint8_t map[] = {
		HEADER(1, 2, 56, COMMAND, 0), U32(32), U32(3), U64(0), U64(0), U64(4096), U32(1), U32(1)};
	static const uint8_t info[] = {HEADER(1, 7, 40, COMMAND, 0), U32(16), U32(0), U64(0), U64(0)};

	(void)state;
	assert_int_equal(check(map, sizeof(map), RP_VFU_TO_SERVER), 0);
	assert_int_equal(check(info, sizeof(info), RP_VFU_TO_SERVER), -EMSGSIZE);
	rp_vfu_terms_drop(&terms, RP_VFU_TERM_PASID_BITS);
	assert_int_equal(check(map, sizeof(map), RP_VFU_TO_SERVER), -EMSGSIZE);
	assert_string_equal(why.text, "DMA_MAP: payload: 40 bytes, expected 32 to 32");
}

/* The capability is whole or not there. */
static void
test_terms_that_do_without(void **state)
{
	const enum rp_vfu_term needed[] = {RP_VFU_TERM_TRANSLATIONS, RP_VFU_TERM_INVALIDATIONS};
	struct rp_vfu_terms left;
	unsigned int i;

	(void)state;
	left = terms;
	rp_vfu_terms_settle_iommu(&left);
	assert_int_equal(left.named_mask, terms.named_mask);
	for (i = 0; i < 2; i++) {
		left = terms;
		rp_vfu_terms_drop(&left, needed[i]);
		rp_vfu_terms_settle_iommu(&left);
		assert_int_equal(left.named_mask & RP_VFU_TERMS_IOMMU_MASK, 0);
		assert_int_equal(left.value[RP_VFU_TERM_PASID_BITS], 0);
	}
	left = terms;
	rp_vfu_terms_drop(&left, RP_VFU_TERM_SERVE);
	rp_vfu_terms_settle_iommu(&left);
	assert_int_equal(left.named_mask & RP_VFU_TERMS_IOMMU_MASK, RP_VFU_TERMS_IOMMU_MASK);
	rp_vfu_terms_drop(&left, RP_VFU_TERM_TWIN_SOCKET);
	rp_vfu_terms_settle_iommu(&left);
	assert_int_equal(left.named_mask & RP_VFU_TERMS_IOMMU_MASK, 0);
	/* Below its floor nothing is offered. */
	rp_vfu_terms_offer(&left, RP_VFU_TERM_PASID_BITS, 0);
	assert_int_equal(left.named_mask & RP_VFU_TERMS_IOMMU_MASK, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_translate, setup),
		cmocka_unit_test_setup(test_invalidate, setup),
		cmocka_unit_test_setup(test_pages, setup),
		cmocka_unit_test_setup(test_pasid_behind_fixed_fields, setup),
		cmocka_unit_test_setup(test_sizes_with_and_without_pasids, setup),
		cmocka_unit_test_setup(test_terms_that_do_without, setup),
	};

	return cmocka_run_group_tests_name("vfio-user messages: IOMMU", tests, NULL, NULL);
}
