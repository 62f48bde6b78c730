/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BED_H
#define BED_H

#include "peer.h"
#include "rp_vhu_backend.h"

/* A backend whose frontend is a bare socket, and a diary of what its owner was told. */

#define BED_QUEUES 4u
#define BED_GPA 0x40000000ull
#define BED_UVA 0x7f0000000000ull
#define BED_REGION_BYTES 0x100000ull
#define BED_RING_NUM 256u
#define BED_RING_BYTES 0x10000ull
/* VERSION_1, packed ring, event index, indirect descriptors */
#define BED_FEATURES (1ull << 32 | 1ull << 34 | 1ull << 29 | 1ull << 28)
#define BED_PROTOCOL_FEATURES 0x1ae3dull
#define BED_TOKENS_MAX 1024

struct bed {
	struct test_leaks before;
	struct rp_vhu_backend *backend;
	struct rp_vhu_backend_ops ops; /* of the backend; what a test changes holds from bed_remake() on */
	int peer; /* the frontend's end */
	int channel; /* the frontend's end of the backend channel, -1: none */
	int memory_fd;
	uint64_t features; /* that are offered */
	uint64_t protocol_features; /* these, too */

	char diary[16384]; /* "add:40000000 start:0 " ... */
	size_t diary_used;

	/* What the next call of an owner's callback returns. */
	int refuse_features, refuse_start, refuse_enable, refuse_call, refuse_kick, refuse_config, refuse_status,
		refuse_log, refuse_update, refuse_memory, refuse_err;
	bool tell_more; /* the diary also has error descriptors, and the count of regions after a change */
	struct rp_vhu_inflight *inflight; /* what the owner was told last, NULL: none */
	uint64_t refuse_region_gpa; /* the region whose adding is refused, 0: none */
	uint32_t stop_base; /* what a stop answers, 0: leave it */
	enum rp_vhu_stop stopped; /* why a ring was stopped last */
	bool detach_on_enable; /* the owner hangs up inside callbacks */
	bool detach_on_stop;

	struct rp_wire_why refused; /* the last */
	unsigned int refused_count;
	struct rp_wire_why disconnected;
	unsigned int disconnected_count;
	unsigned int replies_count;
	struct {
		uint64_t token;
		int error;
		size_t diary_used; /* what the owner had been told by then */
	} replies[BED_TOKENS_MAX];
};

#define WITH_BED(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)
/* clang-format off */
#define WITH_PROFILE(test, profile) {#test " (" #profile ")", test, bed_setup_##profile, bed_teardown, NULL}
/* clang-format on */

/* cmocka's; the tear-down fails when anything leaked since the set-up. */
int bed_setup(void **state);
int bed_teardown(void **state);
/* In the other profiles. */
int bed_setup_extended(void **state);
int bed_setup_vfio2018(void **state);

/* Another backend in the place of the one there is, with a connection. */
struct rp_vhu_backend_config bed_config(void);
void bed_remake(struct bed *bed, const struct rp_vhu_backend_config *config);

void bed_attach(struct bed *bed);
void bed_hang_up(struct bed *bed);

/* What was written since the last call. */
const char *bed_diary(struct bed *bed);
void bed_write(struct bed *bed, const char *format, ...) __attribute__((format(printf, 2, 3)));

void bed_process(struct bed *bed);

/* Send and process; `flags` with the version: 0x1, or 0x9 to ask for an answer. */
void bed_send(struct bed *bed, uint32_t id, uint32_t flags, const void *payload, uint32_t size_bytes);
void bed_send_u64(struct bed *bed, uint32_t id, uint32_t flags, uint64_t value);
void bed_send_state(struct bed *bed, uint32_t id, uint32_t flags, uint32_t index, uint32_t num);
void bed_send_addr(struct bed *bed, uint32_t flags, uint32_t index, uint64_t desc, uint64_t avail, uint64_t used);
/* Kick, call or err with an eventfd of its own. */
void bed_send_fd(struct bed *bed, uint32_t id, uint32_t flags, uint32_t index);
void bed_send_region(struct bed *bed, uint32_t id, uint32_t flags, const struct rp_vhu_wire_region *region, int fd);
void bed_send_table(struct bed *bed, uint32_t flags, const struct rp_vhu_wire_region *regions, unsigned int count,
		    const int *fds);

/* The one answer that is there: to `id`, with flags 0x5, of 8 bytes. */
uint64_t bed_answer(struct bed *bed, uint32_t id);
/* Ask where a ring ends, which stops it. */
uint32_t bed_get_base(struct bed *bed, uint32_t index);

/* Refused with this errno and these words; nothing else was refused since the last call. */
void bed_assert_refused(struct bed *bed, int error, const char *words);
void bed_assert_nothing_refused(struct bed *bed);

/* GET_FEATURES is answered as ever. */
void bed_assert_usable(struct bed *bed);

/* Steps of a frontend's life. */
void bed_negotiate(struct bed *bed); /* protocol features, channel, owner, features */
/* Another backend, that offers this in addition; all of it acked. */
void bed_negotiate_with(struct bed *bed, uint64_t protocol_features, uint64_t features);
void bed_negotiate_without(struct bed *bed, uint64_t protocol_features);
void bed_memory(struct bed *bed); /* one region */
struct rp_vhu_wire_region bed_region(uint64_t into_bytes, uint64_t size_bytes);
void bed_ring_describe(struct bed *bed, uint32_t index);
void bed_ring_start(struct bed *bed, uint32_t index);
void bed_run(struct bed *bed); /* all of it, ring 0 running, diary empty */

#endif
