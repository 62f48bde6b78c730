/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_vhu_frontend.h"
#include "rp_wire_fd.h"

/*
 * A frontend for tests written in another language: it does what is read from
 * standard input, one call for each line, and prints what came of it.
 *
 *   speak_frontend SOCKET-FD PROFILE PROTOCOL-FEATURES QUEUES NEED-REPLY
 */

struct speaker {
	struct rp_vhu_frontend *frontend;
	int memory_fd;
	int event_fd;
	bool done;
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

static int
on_notify_area(void *ctx, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("notify_area %u %s %" PRIu64, queue, map->address != NULL ? "mapped" : "gone", map->size_bytes);
	return 0;
}

static void
on_config_changed(void *ctx)
{
	(void)ctx;
	say("config_changed");
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	(void)ctx;
	say("refused %d %s", why->error, why->text);
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct speaker *speaker = ctx;

	say("disconnected %d %s", why->error, why->text);
	speaker->done = true;
}

static int
on_iotlb_miss(void *ctx, uint64_t iova, uint8_t perm, bool access_fail, struct rp_wire_why *why)
{
	struct speaker *speaker = ctx;

	say("iotlb_miss 0x%" PRIx64 " %u %d", iova, perm, access_fail);
	return rp_vhu_frontend_iotlb_update(speaker->frontend, iova, 0x1000, 0x7f0000000000, perm, why);
}

static int
on_file_add(void *ctx, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why)
{
	(void)ctx, (void)fd, (void)why;
	say("file_add %d", type);
	return 0;
}

static void
on_file_remove(void *ctx, int fd, enum rp_vhu_vfio_type type)
{
	(void)ctx, (void)fd;
	say("file_remove %d", type);
}

static const struct rp_vhu_vfio_files_ops files_ops = {.add = on_file_add, .remove = on_file_remove};

static const struct rp_vhu_frontend_ops ops = {
	.notify_area = on_notify_area,
	.config_changed = on_config_changed,
	.iotlb_miss = on_iotlb_miss,
	.refused = on_refused,
	.disconnected = on_disconnected,
};

static int
do_negotiate(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	(void)n;
	return rp_vhu_frontend_negotiate(speaker->frontend, why);
}

static int
do_set_features(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	return rp_vhu_frontend_set_features(speaker->frontend, n[0], why);
}

static struct rp_vhu_region
region_of(const struct speaker *speaker, const uint64_t *n)
{
	return (struct rp_vhu_region){
		.gpa = n[0], .size_bytes = n[1], .uva = n[2], .offset_bytes = n[3], .fd = speaker->memory_fd};
}

static int
do_mem_table(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	struct rp_vhu_region regions[] = {region_of(speaker, n), region_of(speaker, n + 4)};

	return rp_vhu_frontend_set_mem_table(speaker->frontend, regions, regions[1].size_bytes == 0 ? 1 : 2, why);
}

static int
do_add_mem_reg(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	struct rp_vhu_region region = region_of(speaker, n);

	return rp_vhu_frontend_add_mem_reg(speaker->frontend, &region, why);
}

static int
do_rem_mem_reg(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	struct rp_vhu_region region = region_of(speaker, n);

	return rp_vhu_frontend_rem_mem_reg(speaker->frontend, &region, why);
}

static int
do_ring_start(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	struct rp_vhu_frontend_ring ring = {
		.num = (uint16_t)n[1],
		.base = (uint32_t)n[2],
		.desc_uva = n[3],
		.avail_uva = n[4],
		.used_uva = n[5],
		.kick_fd = speaker->event_fd,
		.call_fd = n[6] != 0 ? speaker->event_fd : -1,
	};

	return rp_vhu_frontend_ring_start(speaker->frontend, (unsigned int)n[0], &ring, why);
}

static int
do_ring_stop(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	uint32_t base = 0;
	int rc = rp_vhu_frontend_ring_stop(speaker->frontend, (unsigned int)n[0], &base, why);

	if (rc == 0)
		say("base 0x%x", base);
	return rc;
}

static int
do_ring_enable(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	return rp_vhu_frontend_ring_enable(speaker->frontend, (unsigned int)n[0], n[1] != 0, why);
}

static int
do_ring_call(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	return rp_vhu_frontend_ring_call(speaker->frontend, (unsigned int)n[0], n[1] != 0 ? speaker->event_fd : -1,
					 why);
}

static int
do_get_config(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	uint8_t bytes[RP_VHU_CONFIG_MAX] = {0};
	int rc = rp_vhu_frontend_get_config(speaker->frontend, (uint32_t)n[0], (uint32_t)n[1], bytes, why);

	if (rc == 0)
		say("config first=0x%02x", bytes[0]);
	return rc;
}

static int
do_reset_device(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	(void)n;
	return rp_vhu_frontend_reset_device(speaker->frontend, why);
}

static int
do_set_config(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	uint8_t bytes[RP_VHU_CONFIG_MAX];

	memset(bytes, 0xab, sizeof(bytes));
	return rp_vhu_frontend_set_config(speaker->frontend, (uint32_t)n[0], (uint32_t)n[1], bytes, (uint32_t)n[2],
					  why);
}

static int
do_set_status(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	return rp_vhu_frontend_set_status(speaker->frontend, (uint8_t)n[0], why);
}

static int
do_get_status(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	uint8_t status = 0;
	int rc = rp_vhu_frontend_get_status(speaker->frontend, &status, why);

	(void)n;
	if (rc == 0)
		say("status 0x%x", status);
	return rc;
}

static int
do_set_mtu(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	return rp_vhu_frontend_set_mtu(speaker->frontend, (uint16_t)n[0], why);
}

static int
do_send_rarp(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	uint8_t mac[6];
	unsigned int i;

	for (i = 0; i < 6; i++)
		mac[i] = (uint8_t)n[i];
	return rp_vhu_frontend_send_rarp(speaker->frontend, mac, why);
}

static int
do_max_slots(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	uint32_t slots = 0;
	int rc = rp_vhu_frontend_get_max_mem_slots(speaker->frontend, &slots, why);

	(void)n;
	if (rc == 0)
		say("slots %u", slots);
	return rc;
}

static int
do_ring_err(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	return rp_vhu_frontend_ring_err(speaker->frontend, (unsigned int)n[0], n[1] != 0 ? speaker->event_fd : -1, why);
}

static int
do_reset_owner(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	(void)n;
	return rp_vhu_frontend_reset_owner(speaker->frontend, why);
}

static int
do_log_base(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	return rp_vhu_frontend_set_log_base(speaker->frontend, speaker->memory_fd, n[0], n[1], why);
}

static int
do_log_fd(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	(void)n;
	return rp_vhu_frontend_set_log_fd(speaker->frontend, speaker->event_fd, why);
}

static int
do_inflight(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	struct rp_vhu_frontend_inflight inflight = {.fd = -1};
	int rc = rp_vhu_frontend_get_inflight(speaker->frontend, (uint16_t)n[0], (uint16_t)n[1], &inflight, why);

	if (rc == 0) {
		say("inflight 0x%" PRIx64 " 0x%" PRIx64, inflight.size_bytes, inflight.offset_bytes);
		rc = rp_vhu_frontend_set_inflight(speaker->frontend, &inflight, why);
	}
	rp_wire_fd_close(&inflight.fd);
	return rc;
}

static int
do_iotlb_update(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	return rp_vhu_frontend_iotlb_update(speaker->frontend, n[0], n[1], n[2], (uint8_t)n[3], why);
}

static int
do_iotlb_invalidate(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why)
{
	return rp_vhu_frontend_iotlb_invalidate(speaker->frontend, n[0], n[1], why);
}

static const struct {
	const char *name;
	int (*act)(struct speaker *speaker, const uint64_t *n, struct rp_wire_why *why);
} commands[] = {
	{"negotiate", do_negotiate},	 {"set_features", do_set_features}, {"mem_table", do_mem_table},
	{"add_mem_reg", do_add_mem_reg}, {"rem_mem_reg", do_rem_mem_reg},   {"ring_start", do_ring_start},
	{"ring_stop", do_ring_stop},	 {"ring_enable", do_ring_enable},   {"ring_call", do_ring_call},
	{"get_config", do_get_config},	 {"reset_device", do_reset_device}, {"set_config", do_set_config},
	{"set_status", do_set_status},	 {"get_status", do_get_status},	    {"set_mtu", do_set_mtu},
	{"send_rarp", do_send_rarp},	 {"max_slots", do_max_slots},	    {"ring_err", do_ring_err},
	{"reset_owner", do_reset_owner}, {"log_base", do_log_base},	    {"log_fd", do_log_fd},
	{"inflight", do_inflight},	 {"iotlb_update", do_iotlb_update}, {"iotlb_invalidate", do_iotlb_invalidate},
};

/* "name number number ...": numbers that are not there are 0. */
static void
obey(struct speaker *speaker, char *line)
{
	uint64_t numbers[16] = {0};
	struct rp_wire_why why = {0};
	char *rest, *name = strtok_r(line, " \n", &rest), *word;
	unsigned int i;

	for (i = 0; i < 16 && (word = strtok_r(NULL, " \n", &rest)) != NULL; i++)
		numbers[i] = strtoull(word, NULL, 0);
	for (i = 0; name != NULL && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(name, commands[i].name) == 0) {
			int rc = commands[i].act(speaker, numbers, &why);

			say("result %d %s", rc, why.text);
			return;
		}
	say("result %d no such command", -EINVAL);
}

static void
serve(struct speaker *speaker)
{
	char line[256];

	while (!speaker->done) {
		struct pollfd fds[] = {
			{.fd = rp_vhu_frontend_fd(speaker->frontend), .events = POLLIN},
			{.fd = STDIN_FILENO, .events = POLLIN},
		};

		if (poll(fds, 2, -1) < 0)
			return;
		if (fds[0].revents != 0)
			rp_vhu_frontend_process(speaker->frontend);
		if (fds[1].revents == 0 || speaker->done)
			continue;
		if (fgets(line, sizeof(line), stdin) == NULL)
			return;
		obey(speaker, line);
	}
}

int
main(int argc, char **argv)
{
	struct speaker speaker = {.memory_fd = -1, .event_fd = -1};
	struct rp_vhu_frontend_config config = {.timeout_ms = 60000};
	int fd, rc;

	if (argc != 6 || rp_vhu_profile_parse(argv[2], &config.profile) < 0)
		return 2;
	setvbuf(stdin, NULL, _IONBF, 0);
	fd = atoi(argv[1]);
	config.protocol_features = strtoull(argv[3], NULL, 0);
	config.queues_max = (uint16_t)atoi(argv[4]);
	config.need_reply_always = atoi(argv[5]) != 0;
	speaker.memory_fd = memfd_create("memory", MFD_CLOEXEC);
	speaker.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = rp_vhu_vfio_files_create(&files_ops, NULL, &config.vfio_files);
	if (rc < 0)
		return 1;
	rc = rp_vhu_frontend_create(&fd, &config, &ops, &speaker, &speaker.frontend);
	say("ready %d ", rc);
	if (rc < 0)
		return 1;
	serve(&speaker);
	rp_vhu_frontend_destroy(speaker.frontend);
	rp_vhu_vfio_files_destroy(config.vfio_files);
	rp_wire_fd_close(&speaker.memory_fd);
	rp_wire_fd_close(&speaker.event_fd);
	return 0;
}
