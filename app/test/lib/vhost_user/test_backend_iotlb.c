/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "bed.h"

#define ACCESS_PLATFORM (1ull << RP_VHU_F_ACCESS_PLATFORM_BIT)
#define BASIC (1ull << 32 | 1ull << 30)

static int
setup(void **state)
{
	struct rp_vhu_backend_config config = bed_config();
	int rc = bed_setup(state);

	config.features |= ACCESS_PLATFORM;
	bed_remake(*state, &config);
	return rc;
}

#define WITH_IOMMU(test) cmocka_unit_test_setup_teardown(test, setup, bed_teardown)

static void
begin(struct bed *bed, uint64_t without)
{
	bed_negotiate_without(bed, without);
	bed_memory(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, BASIC | ACCESS_PLATFORM);
	bed_assert_nothing_refused(bed);
	bed_diary(bed);
}

static uint64_t
send_iotlb(struct bed *bed, struct rp_vhu_wire_iotlb wire)
{
	bed_send(bed, RP_VHU_IOTLB_MSG, 0x9, &wire, sizeof(wire));
	return bed_answer(bed, RP_VHU_IOTLB_MSG);
}

static struct rp_vhu_wire_iotlb
update(uint64_t iova, uint64_t size_bytes, uint64_t uva)
{
	return (struct rp_vhu_wire_iotlb){
		.iova = iova, .size_bytes = size_bytes, .uva = uva, .perm = 3, .type = RP_VHU_IOTLB_UPDATE};
}

static void
updates_and_invalidations(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_wire_iotlb invalidate = {.size_bytes = UINT64_MAX, .type = RP_VHU_IOTLB_INVALIDATE};

	begin(bed, 0);
	assert_int_equal(send_iotlb(bed, update(0xffff0000, 0x2000, BED_UVA + 0x3000)), 0);
	assert_string_equal(bed_diary(bed), "update:ffff0000+2000=40003000/3 ");
	assert_int_equal(send_iotlb(bed, update(UINT64_MAX - 0xfff, 0x1000, BED_UVA)), 0);
	bed_diary(bed);
	assert_int_equal(send_iotlb(bed, invalidate), 0);
	assert_string_equal(bed_diary(bed), "invalidate:0+ffffffffffffffff ");
	invalidate = (struct rp_vhu_wire_iotlb){.iova = 0x1000, .size_bytes = 0x1000, .type = RP_VHU_IOTLB_INVALIDATE};
	assert_int_equal(send_iotlb(bed, invalidate), 0);
	assert_string_equal(bed_diary(bed), "invalidate:1000+1000 ");
}

static void
what_breaks_a_rule(void **state)
{
	struct bed *bed = *state;
	static const struct {
		struct rp_vhu_wire_iotlb wire;
		const char *words;
	} cases[] = {
		{{.iova = 0, .size_bytes = 0, .uva = BED_UVA, .perm = 1, .type = 2}, "expected at least one"},
		{{.iova = 2, .size_bytes = UINT64_MAX, .type = 3}, "none beyond 2^64"},
		{{.iova = 0, .size_bytes = 0x1000, .uva = BED_UVA - 1, .perm = 1, .type = 2},
		 "are in no memory region"},
		{{.size_bytes = BED_REGION_BYTES + 1, .uva = BED_UVA, .perm = 1, .type = 2}, "are in no memory region"},
		{{.size_bytes = 1, .uva = UINT64_MAX, .perm = 1, .type = 2}, "are in no memory region"},
		{{.size_bytes = 0x1000, .perm = 1, .type = 1}, "type: 1, expected 2 (update) or 3 (invalidate)"},
		{{.size_bytes = 0x1000, .perm = 1, .type = 4}, "type: 4, expected 2 (update) or 3 (invalidate)"},
		{{.size_bytes = 0x1000, .perm = 1, .type = 0}, "type: 0, expected 1 to 4"},
		{{.size_bytes = 0x1000, .perm = 1, .type = 5}, "type: 5, expected 1 to 4"},
		{{.size_bytes = 0x1000, .uva = BED_UVA, .perm = 4, .type = 2}, "permissions: 4"},
	};
	unsigned int i;

	begin(bed, 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(send_iotlb(bed, cases[i].wire), 1);
		bed_assert_refused(bed, -EBADMSG, cases[i].words);
		assert_string_equal(bed_diary(bed), "");
	}
	bed->refuse_update = -ENOSPC;
	assert_int_equal(send_iotlb(bed, update(0, 0x1000, BED_UVA)), 1);
	bed_assert_refused(bed, -ENOSPC, "IOTLB_MSG: ");
}

static void
only_with_access_platform(void **state)
{
	struct bed *bed = *state;
	struct rp_wire_why why;

	bed_run(bed);
	assert_int_equal(send_iotlb(bed, update(0, 0x1000, BED_UVA)), 1);
	bed_assert_refused(bed, -ENOTSUP, "IOTLB_MSG: VIRTIO_F_ACCESS_PLATFORM was not negotiated");
	assert_int_equal(rp_vhu_backend_iotlb_miss(bed->backend, 0, 1, 1, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, "VIRTIO_F_ACCESS_PLATFORM"));
	assert_true(peer_silent(bed->channel));
}

/* The addresses are the guest's IOVAs: in no region, and passed on as they are. */
static void
rings_at_iovas(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_wire_region region = bed_region(0, BED_REGION_BYTES);
	struct rp_vhu_vring vring;

	/* One address is a region's guest-physical one, by chance. */
	begin(bed, 0);
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 0, 256);
	bed_send_addr(bed, 0x1, 0, 0xfffff000, 0x10, BED_GPA);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 0);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_true(vring.started && vring.iova);
	assert_int_equal(vring.desc_gpa, 0xfffff000);
	assert_int_equal(vring.avail_gpa, 0x10);
	assert_int_equal(vring.used_gpa, BED_GPA);
	/* Alignment is of the ring, wherever it lies. */
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 1, 256);
	bed_send_addr(bed, 0x1, 1, 0xfffff008, 0x10, BED_GPA);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, 1);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 1);
	bed_assert_refused(bed, -EBADMSG, "descriptor table: 0xfffff008 is not aligned to 16");
	/* Whether memory is in use behind the translations is the owner's to know. */
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &region, -1);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 0);
}

static void
a_ring_is_translated_without(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;

	bed_run(bed);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_false(vring.iova);
}

static void
misses_are_asked_and_answered(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_wire_iotlb wire;
	struct rp_wire_why why;
	struct peer_msg msg;
	uint64_t zero = 0;

	begin(bed, 0);
	assert_int_equal(rp_vhu_backend_iotlb_miss(bed->backend, 0xdeadb000, 2, 71, &why), 0);
	assert_true(peer_receive(bed->channel, &msg));
	assert_int_equal(msg.id, RP_VHU_BACKEND_IOTLB_MSG);
	assert_int_equal(msg.flags, 0x9);
	memcpy(&wire, msg.payload, sizeof(wire));
	assert_int_equal(wire.iova, 0xdeadb000);
	assert_int_equal(wire.perm, 2);
	assert_int_equal(wire.type, RP_VHU_IOTLB_MISS);
	/* The update comes on the connection, before the answer on the channel. */
	assert_int_equal(send_iotlb(bed, update(0xdeadb000, 0x1000, BED_UVA)), 0);
	assert_int_equal(bed->replies_count, 0);
	assert_true(peer_send(bed->channel, RP_VHU_BACKEND_IOTLB_MSG, 0x5, &zero, 8, NULL, 0));
	bed_process(bed);
	assert_int_equal(bed->replies_count, 1);
	assert_int_equal(bed->replies[0].token, 71);
	assert_int_equal(bed->replies[0].error, 0);
	assert_int_equal(rp_vhu_backend_iotlb_access_fail(bed->backend, 0x1000, 1, 72, &why), 0);
	assert_true(peer_receive(bed->channel, &msg));
	memcpy(&wire, msg.payload, sizeof(wire));
	assert_int_equal(wire.type, RP_VHU_IOTLB_ACCESS_FAIL);
	assert_int_equal(rp_vhu_backend_iotlb_miss(bed->backend, 0, 0, 1, &why), -EINVAL);
	assert_int_equal(rp_vhu_backend_iotlb_miss(bed->backend, 0, 4, 1, &why), -EINVAL);
	bed_hang_up(bed);
	assert_int_equal(bed->replies[1].error, -ENOTCONN);
}

/* Two sockets: what was sent later may be read first. */
static void
an_answer_may_overtake_its_update(void **state)
{
	const struct rp_vhu_wire_iotlb wire = update(0xdeadb000, 0x1000, BED_UVA);
	const uint64_t zero = 0;
	struct bed *bed = *state;
	struct peer_msg msg;

	begin(bed, 0);
	assert_int_equal(rp_vhu_backend_iotlb_miss(bed->backend, 0xdeadb000, 2, 71, NULL), 0);
	assert_true(peer_receive(bed->channel, &msg));
	assert_true(peer_send(bed->peer, RP_VHU_IOTLB_MSG, 0x1, &wire, sizeof(wire), NULL, 0));
	assert_true(peer_send(bed->channel, RP_VHU_BACKEND_IOTLB_MSG, 0x5, &zero, sizeof(zero), NULL, 0));
	bed_process(bed);
	assert_int_equal(bed->replies_count, 1);
	assert_int_equal(bed->replies[0].error, 0);
	assert_int_equal(bed->replies[0].diary_used, 0);
	assert_non_null(strstr(bed_diary(bed), "update:deadb000"));
}

static void
a_miss_needs_the_channel_and_answers(void **state)
{
	static const struct {
		unsigned int bit;
		const char *words;
	} needed[] = {{RP_VHU_PF_BACKEND_REQ_BIT, "BACKEND_REQ"}, {RP_VHU_PF_REPLY_ACK_BIT, "REPLY_ACK"}};
	struct bed *bed = *state;
	struct rp_wire_why why;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		begin(bed, 1ull << needed[i].bit);
		assert_int_equal(rp_vhu_backend_iotlb_miss(bed->backend, 0, 1, 1, &why), -ENOTSUP);
		assert_non_null(strstr(why.text, needed[i].words));
		bed_hang_up(bed);
		bed_attach(bed);
	}
}

/* Without REPLY_ACK nothing is answered, and the owner is told all the same. */
static void
updates_without_acknowledgements(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_wire_iotlb wire = update(0, 0x1000, BED_UVA);

	begin(bed, 1ull << RP_VHU_PF_REPLY_ACK_BIT);
	bed_send(bed, RP_VHU_IOTLB_MSG, 0x9, &wire, sizeof(wire));
	assert_true(peer_silent(bed->peer));
	assert_string_equal(bed_diary(bed), "update:0+1000=40000000/3 ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_IOMMU(updates_and_invalidations),	       WITH_IOMMU(what_breaks_a_rule),
		WITH_IOMMU(only_with_access_platform),	       WITH_IOMMU(rings_at_iovas),
		WITH_IOMMU(a_ring_is_translated_without),      WITH_IOMMU(misses_are_asked_and_answered),
		WITH_IOMMU(an_answer_may_overtake_its_update), WITH_IOMMU(a_miss_needs_the_channel_and_answers),
		WITH_IOMMU(updates_without_acknowledgements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
