/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "desk.h"
#include "rp_wire_fd.h"

const struct rp_vhu_frontend_config desk_config = {
	.protocol_features = DESK_PROTOCOL_FEATURES,
	.queues_max = DESK_QUEUES,
	.timeout_ms = DESK_TIMEOUT_MS,
};

static void
note(struct desk *desk, const char *word, unsigned int queue)
{
	size_t room = sizeof(desk->diary) - desk->diary_used;
	int wrote = snprintf(desk->diary + desk->diary_used, room, "%s:%u ", word, queue);

	if (wrote > 0 && (size_t)wrote < room)
		desk->diary_used += (size_t)wrote;
}

const char *
desk_diary(struct desk *desk)
{
	static char copy[sizeof(desk->diary)];

	memcpy(copy, desk->diary, sizeof(copy));
	desk->diary[0] = '\0';
	desk->diary_used = 0;
	return copy;
}

static int
on_notify_area(void *ctx, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why)
{
	struct desk *desk = ctx;
	int error = desk->refuse_area;
	uint8_t byte;

	note(desk, map->address == NULL ? "unmap" : "map", queue);
	if (desk->wait_in_callback)
		desk->wait_result = rp_vhu_frontend_get_config(desk->frontend, 0, 1, &byte, NULL);
	desk->refuse_area = 0;
	return error == 0 ? 0 : rp_wire_why_set(why, error, "the owner has no slot");
}

static void
on_config_changed(void *ctx)
{
	struct desk *desk = ctx;
	uint8_t byte;

	note(desk, "config", 0);
	if (desk->wait_in_callback)
		desk->wait_result = rp_vhu_frontend_get_config(desk->frontend, 0, 1, &byte, NULL);
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	struct desk *desk = ctx;

	assert_true(why->error < 0);
	assert_true(why->text[0] != '\0');
	desk->refused = *why;
	desk->refused_count++;
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct desk *desk = ctx;

	assert_true(why->text[0] != '\0');
	desk->disconnected = *why;
	desk->disconnected_count++;
}

static int
on_iotlb_miss(void *ctx, uint64_t iova, uint8_t perm, bool access_fail, struct rp_wire_why *why)
{
	struct desk *desk = ctx;
	char word[32];

	snprintf(word, sizeof(word), "%s:%llx", access_fail ? "fail" : "miss", (unsigned long long)iova);
	note(desk, word, perm);
	if (access_fail)
		return 0;
	if (desk->translate == 0)
		return rp_wire_why_set(why, -EFAULT, "nothing there");
	return rp_vhu_frontend_iotlb_update(desk->frontend, iova, 0x1000, desk->translate, perm, why);
}

static const struct rp_vhu_frontend_ops ops = {
	.notify_area = on_notify_area,
	.config_changed = on_config_changed,
	.iotlb_miss = on_iotlb_miss,
	.refused = on_refused,
	.disconnected = on_disconnected,
};

static void
record(struct desk *desk, struct peer_msg *msg)
{
	if (desk->asked_count == DESK_ASKED_MAX)
		return;
	desk->asked[desk->asked_count].id = msg->id;
	desk->asked[desk->asked_count].flags = msg->flags;
	desk->asked[desk->asked_count].fd = msg->fds_count > 0 ? rp_wire_fd_take(&msg->fds[0]) : -1;
	desk->asked[desk->asked_count].size_bytes = msg->size_bytes;
	memcpy(desk->asked[desk->asked_count].payload, msg->payload, msg->size_bytes < 512 ? msg->size_bytes : 512);
	desk->asked_count++;
}

/* What a good backend answers. */
static void
say_yes(struct desk *desk, struct peer_msg *msg)
{
	const uint32_t position = 7;
	uint64_t value = 0;

	switch (msg->id) {
	case RP_VHU_GET_FEATURES:
		value = DESK_FEATURES;
		break;
	case RP_VHU_GET_PROTOCOL_FEATURES:
		value = desk->offered;
		break;
	case RP_VHU_GET_QUEUE_NUM:
	case RP_VHU_GET_MAX_MEM_SLOTS:
		value = DESK_QUEUES;
		break;
	case RP_VHU_GET_STATUS:
		break;
	case RP_VHU_GET_VRING_BASE:
		memcpy(msg->payload + 4, &position, sizeof(position));
		/* fallthrough */
	case RP_VHU_GET_CONFIG:
		peer_send(desk->peer, msg->id, 0x5, msg->payload, msg->size_bytes, NULL, 0);
		return;
	default:
		if ((msg->flags & 0x8) == 0)
			return;
	}
	peer_send(desk->peer, msg->id, 0x5, &value, sizeof(value), NULL, 0);
}

static bool
answer_as_told(struct desk *desk, uint32_t id)
{
	if (desk->script_count == 0 || desk->script[0].id != id)
		return false;
	peer_send(desk->peer, id, 0x5, desk->script[0].payload, desk->script[0].size_bytes, desk->script[0].fds,
		  desk->script[0].fds_count);
	desk->script_count--;
	memmove(&desk->script[0], &desk->script[1], desk->script_count * sizeof(desk->script[0]));
	return true;
}

static void
serve_one(struct desk *desk)
{
	struct peer_msg msg;

	if (!peer_receive(desk->peer, &msg))
		return;
	if (!desk->yes)
		record(desk, &msg);
	else if (msg.id == RP_VHU_SET_BACKEND_REQ_FD)
		rp_wire_fd_replace(&desk->channel, &msg.fds[0]);
	/* Before the answer: whoever has it counts descriptors. */
	peer_msg_close(&msg);
	if (desk->yes && ++desk->seen_count == desk->vanish_after)
		shutdown(desk->peer, SHUT_RDWR);
	else if (!answer_as_told(desk, msg.id) && desk->yes)
		say_yes(desk, &msg);
}

static void *
serve(void *ctx)
{
	struct desk *desk = ctx;

	for (;;) {
		struct pollfd wait[2] = {{.fd = desk->peer, .events = POLLIN}, {.fd = desk->stop_fd, .events = POLLIN}};

		poll(wait, 2, -1);
		if (wait[1].revents != 0 || (wait[0].revents & (POLLHUP | POLLERR)) == (POLLHUP | POLLERR))
			return NULL;
		pthread_mutex_lock(&desk->lock);
		serve_one(desk);
		pthread_mutex_unlock(&desk->lock);
		if ((wait[0].revents & POLLHUP) != 0 && peer_closed(desk->peer))
			return NULL;
	}
}

void
desk_open(struct desk *desk, const struct rp_vhu_frontend_config *config)
{
	int ours;

	peer_pair(&ours, &desk->peer);
	desk->stop_fd = peer_eventfd();
	desk->script_count = desk->asked_count = 0;
	desk->yes = false;
	desk->vanish_after = 0;
	desk->notify_request = RP_VHU_BACKEND_VRING_HOST_NOTIFIER_MSG;
	assert_int_equal(pthread_create(&desk->thread, NULL, serve, desk), 0);
	assert_int_equal(rp_vhu_frontend_create(&ours, config, &ops, desk, &desk->frontend), 0);
	assert_int_equal(ours, -1);
}

void
desk_hang_up(struct desk *desk)
{
	const uint64_t one = 1;
	unsigned int i;

	if (desk->peer < 0)
		return;
	assert_int_equal(write(desk->stop_fd, &one, sizeof(one)), sizeof(one));
	pthread_join(desk->thread, NULL);
	for (i = 0; i < desk->asked_count; i++)
		rp_wire_fd_close(&desk->asked[i].fd);
	desk->asked_count = 0;
	rp_wire_fd_close(&desk->stop_fd);
	rp_wire_fd_close(&desk->peer);
}

void
desk_close(struct desk *desk)
{
	desk->frontend = rp_vhu_frontend_destroy(desk->frontend);
	desk_hang_up(desk);
	rp_wire_fd_close(&desk->channel);
}

void
desk_make(struct desk *desk)
{
	memset(desk, 0, sizeof(*desk));
	test_leaks_read(&desk->before);
	desk->peer = desk->channel = desk->stop_fd = -1;
	pthread_mutex_init(&desk->lock, NULL);
	desk->area_fd = test_memfd(16 * 4096, true);
	desk->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	desk->kick_fd = peer_eventfd();
	desk->call_fd = peer_eventfd();
	desk_open(desk, &desk_config);
}

void
desk_unmake(struct desk *desk)
{
	desk_close(desk);
	rp_wire_fd_close(&desk->area_fd);
	rp_wire_fd_close(&desk->null_fd);
	rp_wire_fd_close(&desk->kick_fd);
	rp_wire_fd_close(&desk->call_fd);
	pthread_mutex_destroy(&desk->lock);
}

int
desk_setup(void **state)
{
	static struct desk desk;

	desk_make(&desk);
	*state = &desk;
	return 0;
}

int
desk_teardown(void **state)
{
	struct desk *desk = *state;

	desk_unmake(desk);
	test_leaks_assert_none(&desk->before);
	return 0;
}

void
desk_assert_refused(struct desk *desk, int error, const char *words)
{
	if (desk->refused_count != 1 || desk->refused.error != error || strstr(desk->refused.text, words) == NULL)
		fail_msg("refused %u times, %d: %s; expected %d: %s", desk->refused_count, desk->refused.error,
			 desk->refused.text, error, words);
	desk->refused_count = 0;
}

void
desk_answer(struct desk *desk, uint32_t id, const void *payload, uint32_t size_bytes)
{
	desk_answer_fds(desk, id, payload, size_bytes, NULL, 0);
}

void
desk_answer_fds(struct desk *desk, uint32_t id, const void *payload, uint32_t size_bytes, const int *fds,
		unsigned int fds_count)
{
	pthread_mutex_lock(&desk->lock);
	assert_true(desk->script_count < DESK_SCRIPT_MAX && size_bytes <= sizeof(desk->script[0].payload));
	desk->script[desk->script_count].id = id;
	desk->script[desk->script_count].size_bytes = size_bytes;
	if (size_bytes > 0)
		memcpy(desk->script[desk->script_count].payload, payload, size_bytes);
	desk->script[desk->script_count].fds_count = fds_count;
	if (fds_count > 0)
		memcpy(desk->script[desk->script_count].fds, fds, fds_count * sizeof(fds[0]));
	desk->script_count++;
	pthread_mutex_unlock(&desk->lock);
}

void
desk_answer_u64(struct desk *desk, uint32_t id, uint64_t value)
{
	desk_answer(desk, id, &value, sizeof(value));
}

static bool
was_asked(void *ctx)
{
	struct desk *desk = ctx;
	bool any;

	pthread_mutex_lock(&desk->lock);
	any = desk->asked_count > 0;
	pthread_mutex_unlock(&desk->lock);
	return any;
}

void
desk_expect(struct desk *desk, uint32_t id, uint32_t flags)
{
	int fd;

	assert_true(test_wait(was_asked, desk, 5000));
	pthread_mutex_lock(&desk->lock);
	assert_int_equal(desk->asked[0].id, id);
	assert_int_equal(desk->asked[0].flags, flags);
	fd = desk->asked[0].fd;
	desk->said_bytes = desk->asked[0].size_bytes;
	memcpy(desk->said, desk->asked[0].payload, sizeof(desk->said));
	desk->asked_count--;
	memmove(&desk->asked[0], &desk->asked[1], desk->asked_count * sizeof(desk->asked[0]));
	pthread_mutex_unlock(&desk->lock);
	if (id == RP_VHU_SET_BACKEND_REQ_FD)
		desk->channel = rp_wire_fd_take(&fd);
	rp_wire_fd_close(&fd);
}

void
desk_expect_no_more(struct desk *desk)
{
	pthread_mutex_lock(&desk->lock);
	assert_int_equal(desk->asked_count, 0);
	assert_true(peer_silent(desk->peer));
	pthread_mutex_unlock(&desk->lock);
}

void
desk_yes(struct desk *desk, const struct rp_vhu_frontend_config *config, uint64_t offered)
{
	desk_close(desk);
	desk->diary[0] = '\0';
	desk->diary_used = 0;
	desk->refused_count = desk->disconnected_count = 0;
	desk_open(desk, config);
	pthread_mutex_lock(&desk->lock);
	desk->yes = true;
	desk->offered = offered;
	desk->seen_count = 0;
	pthread_mutex_unlock(&desk->lock);
}

uint64_t
desk_offer(enum rp_vhu_profile profile)
{
	struct rp_vhu_dialect dialect;

	assert_int_equal(rp_vhu_dialect_init(&dialect, profile, NULL, NULL), 0);
	return dialect.protocol_features;
}

void
desk_open_profile(struct desk *desk, enum rp_vhu_profile profile, bool ack)
{
	static const uint32_t notify_requests[] = {3, 0x5601, 4};
	struct rp_vhu_frontend_config config = desk_config;

	config.profile = profile;
	config.protocol_features = UINT64_MAX;
	config.vfio_files = desk->vfio_files;
	desk_yes(desk, &config, desk_offer(profile) & ~(ack ? 0 : 1ull << RP_VHU_PF_REPLY_ACK_BIT));
	desk->notify_request = notify_requests[profile];
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
}

void
desk_negotiate(struct desk *desk)
{
	desk_answer_u64(desk, RP_VHU_GET_FEATURES, DESK_FEATURES);
	desk_answer_u64(desk, RP_VHU_GET_PROTOCOL_FEATURES, DESK_PROTOCOL_FEATURES);
	desk_answer_u64(desk, RP_VHU_GET_QUEUE_NUM, DESK_QUEUES);
	desk_answer_u64(desk, RP_VHU_SET_BACKEND_REQ_FD, 0);
	desk_answer_u64(desk, RP_VHU_SET_OWNER, 0);
	assert_int_equal(rp_vhu_frontend_negotiate(desk->frontend, NULL), 0);
	desk_expect(desk, RP_VHU_GET_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_GET_PROTOCOL_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_SET_PROTOCOL_FEATURES, 0x1);
	desk_expect(desk, RP_VHU_GET_QUEUE_NUM, 0x1);
	desk_expect(desk, RP_VHU_SET_BACKEND_REQ_FD, 0x9);
	desk_expect(desk, RP_VHU_SET_OWNER, 0x9);
}

void
desk_ring_start(struct desk *desk, unsigned int queue)
{
	const struct rp_vhu_frontend_ring ring = {.num = 256, .kick_fd = desk->kick_fd, .call_fd = desk->call_fd};

	desk_answer_u64(desk, RP_VHU_SET_VRING_KICK, 0);
	desk_answer_u64(desk, RP_VHU_SET_VRING_CALL, 0);
	assert_int_equal(rp_vhu_frontend_ring_start(desk->frontend, queue, &ring, NULL), 0);
	desk_expect(desk, RP_VHU_SET_VRING_NUM, 0x1);
	desk_expect(desk, RP_VHU_SET_VRING_BASE, 0x1);
	desk_expect(desk, RP_VHU_SET_VRING_ADDR, 0x1);
	desk_expect(desk, RP_VHU_SET_VRING_KICK, 0x9);
	desk_expect(desk, RP_VHU_SET_VRING_CALL, 0x9);
}

uint32_t
desk_ring_stop(struct desk *desk, unsigned int queue)
{
	const struct rp_vhu_wire_vring_state state = {.index = queue, .num = 7};
	uint32_t base = 0;

	desk_answer(desk, RP_VHU_GET_VRING_BASE, &state, sizeof(state));
	assert_int_equal(rp_vhu_frontend_ring_stop(desk->frontend, queue, &base, NULL), 0);
	desk_expect(desk, RP_VHU_GET_VRING_BASE, 0x1);
	return base;
}

uint64_t
desk_ask(struct desk *desk, uint32_t id, const void *payload, uint32_t size_bytes, int fd)
{
	bool ack = (rp_vhu_frontend_protocol_features(desk->frontend) & 1ull << RP_VHU_PF_REPLY_ACK_BIT) != 0;
	unsigned int refused_count = desk->refused_count;
	struct peer_msg msg;

	assert_true(peer_send(desk->channel, id, 0x9, payload, size_bytes, &fd, fd >= 0 ? 1 : 0));
	assert_int_equal(rp_vhu_frontend_process(desk->frontend), 0);
	if (!ack) {
		assert_true(peer_silent(desk->channel));
		return desk->refused_count - refused_count;
	}
	assert_true(peer_receive(desk->channel, &msg));
	assert_int_equal(msg.id, id);
	assert_int_equal(msg.flags, 0x5);
	assert_true(peer_silent(desk->channel));
	assert_int_equal(peer_msg_u64(&msg), desk->refused_count - refused_count);
	return peer_msg_u64(&msg);
}

uint64_t
desk_area(struct desk *desk, const struct desk_area *area)
{
	const struct rp_vhu_wire_area wire = {area->queue_flags, area->size_bytes, area->offset_bytes};

	return desk_ask(desk, desk->notify_request, &wire, sizeof(wire), area->fd);
}

uint64_t
desk_vfio_file(struct desk *desk, uint64_t queue_flags, uint64_t type, int fd)
{
	const struct rp_vhu_wire_vfio_file wire = {queue_flags, type};

	if (desk->notify_request == RP_VHU_BACKEND_2018_NOTIFY_AREA)
		return desk_ask(desk, RP_VHU_BACKEND_2018_VFIO_GROUP, &wire, sizeof(wire.queue_flags), fd);
	return desk_ask(desk, RP_VHU_BACKEND_VFIO_FILE, &wire, sizeof(wire), fd);
}

uint64_t
desk_map(struct desk *desk, unsigned int queue)
{
	return desk_area(desk, &(struct desk_area){queue, 4096, queue * 4096ull, desk->area_fd});
}
