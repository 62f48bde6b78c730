/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "desk.h"
#include "hostile.h"
#include "rp_wire_fd.h"

/* What is under attack. */
static enum rp_vhu_profile profile;
static struct rp_vhu_dialect dialect;

struct attempt {
	uint32_t id;
	uint32_t flags;
	uint32_t size_bytes;
	unsigned int fds_count;
	uint32_t seed;
};

static void
check(bool good, const char *what, const struct attempt *attempt, const char *text)
{
	if (!good)
		fail_msg("%s: request %u, flags 0x%x, %u bytes, %u descriptors, seed %u: %s", what, attempt->id,
			 attempt->flags, attempt->size_bytes, attempt->fds_count, attempt->seed, text);
}

#define CHECK(condition) check(condition, #condition, attempt, desk->refused.text)

static void
send_attempt(struct desk *desk, int socket_fd, const struct attempt *attempt)
{
	uint8_t payload[PEER_PAYLOAD_MAX];
	int fds[16];
	unsigned int i;

	hostile_payload(attempt->seed, payload, attempt->size_bytes);
	for (i = 0; i < attempt->fds_count; i++)
		fds[i] = i % 2 == 0 ? rp_wire_fd_dup(desk->area_fd) : peer_eventfd();
	assert_true(peer_send(socket_fd, attempt->id, attempt->flags, payload, attempt->size_bytes, fds,
			      attempt->fds_count));
	rp_wire_fd_close_all(fds, attempt->fds_count);
}

static bool
names_it(const struct desk *desk, const struct attempt *attempt)
{
	const struct rp_vhu_msg_row *row = rp_vhu_dialect_find(&dialect, attempt->id);
	char number[32];

	snprintf(number, sizeof(number), "request %u:", attempt->id);
	return strstr(desk->refused.text, row == NULL ? number : row->name) == desk->refused.text;
}

/* On the backend channel: whatever comes, the connection and the mapped doorbell of another queue stay. */
static void
try_channel(struct desk *desk, const struct attempt *attempt)
{
	struct peer_msg msg;

	desk->refused_count = 0;
	send_attempt(desk, desk->channel, attempt);
	CHECK(rp_vhu_frontend_process(desk->frontend) == 0);
	if (hostile_breaks_framing(attempt->size_bytes, attempt->fds_count)) {
		CHECK(desk->refused_count == 1 && desk->refused.error == -EPROTO);
		CHECK(strstr(desk->refused.text, "backend channel: ") == desk->refused.text);
		CHECK(peer_closed(desk->channel));
		CHECK(rp_vhu_frontend_notify_map(desk->frontend, 1).address == NULL);
	} else {
		CHECK(desk->refused_count <= 1);
		CHECK(desk->refused_count == 0 || names_it(desk, attempt));
		if ((attempt->flags & 0x8) != 0) {
			CHECK(peer_receive(desk->channel, &msg));
			CHECK(msg.id == attempt->id && msg.flags == 0x5);
			CHECK((peer_msg_u64(&msg) != 0) == (desk->refused_count == 1));
		}
		CHECK(peer_silent(desk->channel));
		CHECK(rp_vhu_frontend_notify_map(desk->frontend, 1).address != NULL);
	}
	CHECK(rp_vhu_frontend_set_features(desk->frontend, 0, NULL) == 0);
}

static void
start(struct desk *desk, unsigned int queue)
{
	const struct rp_vhu_frontend_ring ring = {.num = 256, .kick_fd = desk->kick_fd, .call_fd = desk->call_fd};

	assert_int_equal(rp_vhu_frontend_ring_start(desk->frontend, queue, &ring, NULL), 0);
}

/* Ring 0 as an aim, and ring 1 with a doorbell that must outlive what aims at 0. */
static void
prepare_channel(struct desk *desk)
{
	if (desk->frontend != NULL && peer_closed(desk->channel))
		desk_close(desk);
	if (desk->frontend == NULL) {
		desk_open_profile(desk, profile, true);
		start(desk, 0);
		start(desk, 1);
	}
	if (rp_vhu_frontend_notify_map(desk->frontend, 1).address == NULL)
		assert_int_equal(desk_map(desk, 1), 0);
}

static void
prepare_connection(struct desk *desk)
{
	desk_close(desk);
	desk_open(desk, &desk_config);
	desk->disconnected_count = 0;
}

static void
try_connection(struct desk *desk, const struct attempt *attempt)
{
	send_attempt(desk, desk->peer, attempt);
	CHECK(rp_vhu_frontend_process(desk->frontend) == -ENOTCONN);
	CHECK(desk->disconnected_count == 1);
	CHECK(desk->disconnected.error == -EPROTO);
}

static void
every_message(struct desk *desk, void (*prepare)(struct desk *), void (*try)(struct desk *, const struct attempt *))
{
	uint32_t ids[HOSTILE_IDS_MAX], sizes[HOSTILE_SIZES_MAX];
	unsigned int ids_count = hostile_ids(ids), sizes_count, i, j;
	struct attempt attempt = {.seed = 0};
	struct test_leaks before;

	desk_close(desk);
	test_leaks_read(&before);
	for (i = 0; i < ids_count; i++) {
		sizes_count = hostile_sizes(rp_vhu_dialect_find(&dialect, ids[i]), sizes);
		for (j = 0; j < sizes_count * HOSTILE_FDS_COUNT * 2; j++, attempt.seed++) {
			attempt.id = ids[i];
			attempt.size_bytes = sizes[j / 2 / HOSTILE_FDS_COUNT];
			attempt.fds_count = hostile_fds[j / 2 % HOSTILE_FDS_COUNT];
			attempt.flags = j % 2 == 0 ? 0x1 : 0x9;
			prepare(desk);
			try(desk, &attempt);
			desk_diary(desk);
		}
		desk_close(desk);
		test_leaks_assert_none(&before);
	}
}

static void
every_message_on_the_channel(void **state)
{
	for (profile = RP_VHU_PROFILE_STANDARD; profile <= RP_VHU_PROFILE_VFIO2018; profile++) {
		assert_int_equal(rp_vhu_dialect_init(&dialect, profile, NULL, NULL), 0);
		every_message(*state, prepare_channel, try_channel);
	}
}

/* A backend asks for nothing on the connection itself. */
static void
every_message_on_the_connection(void **state)
{
	assert_int_equal(rp_vhu_dialect_init(&dialect, RP_VHU_PROFILE_STANDARD, NULL, NULL), 0);
	every_message(*state, prepare_connection, try_connection);
}

static void
a_reply_on_the_channel(void **state)
{
	const uint64_t zero = 0;
	struct desk *desk = *state;

	desk_negotiate(desk);
	assert_true(peer_send(desk->channel, 3, 0x5, &zero, sizeof(zero), NULL, 0));
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	desk_assert_refused(desk, -EPROTO, "backend channel: header: flags: a reply (0x5)");
	assert_true(peer_closed(desk->channel));
}

/* Asks and asks, and never reads what it is answered. */
static void
a_backend_that_never_reads(void **state)
{
	struct desk *desk = *state;
	unsigned int i;

	desk_negotiate(desk);
	for (i = 0; i < 100000 && desk->refused_count == 0; i++) {
		peer_send(desk->channel, 2, 0x9, NULL, 0, NULL, 0);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	}
	desk_assert_refused(desk, -EPROTO, "backend channel: the backend does not read its answers");
	assert_int_equal(desk->disconnected_count, 0);
}

/* Found by reading: after a queue of answers was written, the loop was kept awake for ever. */
static void
a_backend_that_reads_late(void **state)
{
	struct desk *desk = *state;
	unsigned int got = 0, sent;

	desk_negotiate(desk);
	for (sent = 0; sent < 1000; sent++) {
		assert_true(peer_send(desk->channel, 2, 0x9, NULL, 0, NULL, 0));
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	}
	while (got < sent) {
		got += peer_drain(desk->channel);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	}
	assert_false(peer_readable(rp_vhu_frontend_fd(desk->frontend)));
	assert_int_equal(desk->refused_count, 0);
}

static void
half_a_message_and_gone(void **state)
{
	struct desk *desk = *state;
	uint8_t bytes[16];
	size_t cut;

	peer_fields("00000003 00000009 00000018 00000000", bytes, sizeof(bytes));
	for (cut = 1; cut <= sizeof(bytes); cut++) {
		desk_negotiate(desk);
		assert_true(peer_send_bytes(desk->channel, bytes, cut, &desk->area_fd, 1));
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		rp_wire_fd_close(&desk->channel);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		assert_true(peer_send_bytes(desk->peer, bytes, cut, &desk->area_fd, 1));
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		desk_hang_up(desk);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), -ENOTCONN);
		assert_string_equal(desk->disconnected.text, "peer left in the middle of a message");
		desk_close(desk);
		desk_open(desk, &desk_config);
	}
}

static void
noise(void **state)
{
	struct desk *desk = *state;
	struct test_leaks before;
	uint32_t random = 20180319;
	unsigned int i;

	desk_close(desk);
	test_leaks_read(&before);
	for (i = 0; i < 10000; i++) {
		struct attempt attempt = {
			.id = hostile_random(&random) % 8,
			.flags = hostile_random(&random) % 50 == 0 ? hostile_random(&random) : 0x9,
			.fds_count = hostile_random(&random) % 2,
			.size_bytes = hostile_random(&random) % 4 == 0 ? hostile_random(&random) % 64 : 24,
			.seed = hostile_random(&random),
		};

		if (desk->channel >= 0 && peer_closed(desk->channel)) {
			desk_close(desk);
			test_leaks_assert_none(&before);
		}
		if (desk->frontend == NULL) {
			desk_open(desk, &desk_config);
			desk_negotiate(desk);
			desk_ring_start(desk, 0);
		}
		send_attempt(desk, desk->channel, &attempt);
		assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		while (!peer_closed(desk->channel) && peer_drain(desk->channel) > 0)
			;
		desk_diary(desk);
	}
	desk_close(desk);
	test_leaks_assert_none(&before);
}

/* The backend's thread may be about to get it. */
static bool
has_channel(struct desk *desk)
{
	bool has;

	pthread_mutex_lock(&desk->lock);
	has = desk->channel >= 0;
	pthread_mutex_unlock(&desk->lock);
	return has;
}

/*
 * A whole life, with everything that a frontend can say; steps fail once the backend is
 * gone, and whatever the channel brings comes between them.
 */
static void
live(struct desk *desk)
{
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	const struct rp_vhu_region region = {.size_bytes = page_bytes, .fd = desk->area_fd};
	const struct rp_vhu_frontend_ring ring = {.num = 256, .kick_fd = desk->kick_fd, .call_fd = desk->call_fd};
	const struct rp_vhu_wire_area area = {0, page_bytes, 0};
	const struct rp_vhu_wire_vfio_file file = {0, 0};
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	uint8_t byte = 0;
	uint32_t word;

	rp_vhu_frontend_negotiate(desk->frontend, NULL);
	rp_vhu_frontend_set_features(desk->frontend, 0, NULL);
	rp_vhu_frontend_set_mem_table(desk->frontend, &region, 1, NULL);
	rp_vhu_frontend_get_max_mem_slots(desk->frontend, &word, NULL);
	rp_vhu_frontend_add_mem_reg(desk->frontend, &region, NULL);
	rp_vhu_frontend_rem_mem_reg(desk->frontend, &region, NULL);
	rp_vhu_frontend_get_config(desk->frontend, 0, 1, &byte, NULL);
	rp_vhu_frontend_set_config(desk->frontend, 0, 1, &byte, false, NULL);
	rp_vhu_frontend_set_mtu(desk->frontend, 1500, NULL);
	if (has_channel(desk)) {
		peer_send(desk->channel, profile == RP_VHU_PROFILE_VFIO2018 ? 3 : 0x5600, 0x9, &file,
			  profile == RP_VHU_PROFILE_VFIO2018 ? 8 : sizeof(file), &desk->null_fd, 1);
		rp_vhu_frontend_process(desk->frontend);
	}
	rp_vhu_frontend_ring_start(desk->frontend, 0, &ring, NULL);
	rp_vhu_frontend_ring_err(desk->frontend, 0, desk->call_fd, NULL);
	rp_vhu_frontend_ring_enable(desk->frontend, 0, true, NULL);
	rp_vhu_frontend_set_status(desk->frontend, 0xf, NULL);
	rp_vhu_frontend_get_status(desk->frontend, &byte, NULL);
	if (has_channel(desk)) {
		peer_send(desk->channel, desk->notify_request, 0x9, &area, sizeof(area), &desk->area_fd, 1);
		rp_vhu_frontend_process(desk->frontend);
	}
	rp_vhu_frontend_kick(desk->frontend, 0);
	rp_vhu_frontend_ring_addr(desk->frontend, 0, &ring, NULL);
	rp_vhu_frontend_send_rarp(desk->frontend, mac, NULL);
	rp_vhu_frontend_ring_stop(desk->frontend, 0, &word, NULL);
	rp_vhu_frontend_ring_start(desk->frontend, 0, &ring, NULL);
	rp_vhu_frontend_reset_device(desk->frontend, NULL);
	rp_vhu_frontend_reset_owner(desk->frontend, NULL);
}

static struct rp_vhu_frontend_config
config_of_profile(void)
{
	struct rp_vhu_frontend_config config = desk_config;

	config.profile = profile;
	config.protocol_features = UINT64_MAX;
	return config;
}

static void
vanish_at_each_step(struct desk *desk, bool ack)
{
	struct rp_vhu_frontend_config config = config_of_profile();
	uint64_t offer = desk_offer(profile) & ~(ack ? 0 : 1ull << RP_VHU_PF_REPLY_ACK_BIT);
	struct test_leaks before;
	unsigned int i, steps;

	desk_yes(desk, &config, offer);
	live(desk);
	assert_int_equal(desk->disconnected_count, 0);
	steps = desk->seen_count;
	assert_true(steps > 20);
	desk_close(desk);
	test_leaks_read(&before);
	for (i = 1; i <= steps; i++) {
		desk_yes(desk, &config, offer);
		pthread_mutex_lock(&desk->lock);
		desk->vanish_after = i;
		pthread_mutex_unlock(&desk->lock);
		live(desk);
		if (rp_vhu_frontend_process(desk->frontend) != -ENOTCONN || desk->disconnected_count != 1)
			fail_msg("profile %d, step %u of %u: the end was not noticed", profile, i, steps);
		assert_null(rp_vhu_frontend_notify_map(desk->frontend, 0).address);
		assert_null(rp_vhu_frontend_vfio_file(desk->frontend, 0));
		desk_close(desk);
		test_leaks_assert_none(&before);
	}
}

/* The steps are counted, not picked. */
static void
gone_at_every_single_step(void **state)
{
	for (profile = RP_VHU_PROFILE_STANDARD; profile <= RP_VHU_PROFILE_VFIO2018; profile++) {
		vanish_at_each_step(*state, true);
		vanish_at_each_step(*state, false);
	}
}

/* A message that comes one byte at a time is one message, and so are its descriptors. */
static void
one_byte_at_a_time(void **state)
{
	struct desk *desk = *state;
	const struct rp_vhu_wire_area area = {.size_bytes = (uint64_t)sysconf(_SC_PAGESIZE)};
	uint8_t bytes[sizeof(struct rp_vhu_header) + sizeof(area)];
	size_t i;

	for (profile = RP_VHU_PROFILE_STANDARD; profile <= RP_VHU_PROFILE_VFIO2018; profile++) {
		desk_open_profile(desk, profile, true);
		start(desk, 0);
		memcpy(bytes, &(struct rp_vhu_header){desk->notify_request, 0x9, sizeof(area)}, 12);
		memcpy(bytes + 12, &area, sizeof(area));
		for (i = 0; i < sizeof(bytes); i++) {
			assert_null(rp_vhu_frontend_notify_map(desk->frontend, 0).address);
			assert_true(peer_send_bytes(desk->channel, bytes + i, 1, &desk->area_fd, i == 0));
			assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
		}
		assert_non_null(rp_vhu_frontend_notify_map(desk->frontend, 0).address);
		assert_int_equal(peer_drain(desk->channel), 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(every_message_on_the_channel),
		WITH_DESK(every_message_on_the_connection),
		WITH_DESK(a_reply_on_the_channel),
		WITH_DESK(a_backend_that_never_reads),
		WITH_DESK(a_backend_that_reads_late),
		WITH_DESK(half_a_message_and_gone),
		WITH_DESK(noise),
		WITH_DESK(gone_at_every_single_step),
		WITH_DESK(one_byte_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
