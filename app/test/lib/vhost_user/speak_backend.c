/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_vhu_backend.h"
#include "rp_wire_fd.h"

/*
 * A backend for tests written in another language: what its owner is told is
 * printed, one line for each call; what its owner may ask of the frontend is read
 * from standard input.
 *
 *   speak_backend SOCKET-FD PROFILE FEATURES PROTOCOL-FEATURES QUEUES
 */

struct speaker {
	struct rp_vhu_backend *backend;
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
on_features(void *ctx, uint64_t features, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("features 0x%" PRIx64, features);
	return 0;
}

static int
on_region_add(void *ctx, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("region_add 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " %s", region->gpa, region->size_bytes,
	    region->uva, region->offset_bytes, fcntl(region->fd, F_GETFD) >= 0 ? "fd" : "none");
	return 0;
}

static void
on_region_remove(void *ctx, const struct rp_vhu_region *region)
{
	(void)ctx;
	say("region_remove 0x%" PRIx64, region->gpa);
}

static int
on_vring_start(void *ctx, unsigned int queue, const struct rp_vhu_vring *vring, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("vring_start %u num=%u base=0x%x desc=0x%" PRIx64 " avail=0x%" PRIx64 " used=0x%" PRIx64
	    " enabled=%d kick=%d call=%d",
	    queue, vring->num, vring->base, vring->desc_gpa, vring->avail_gpa, vring->used_gpa, vring->enabled,
	    vring->kick_fd >= 0, vring->call_fd >= 0);
	return 0;
}

static void
on_vring_stop(void *ctx, unsigned int queue, enum rp_vhu_stop stop, uint32_t *ret_base)
{
	static const char *const ways[] = {
		[RP_VHU_STOP_DRAIN] = "drain", [RP_VHU_STOP_LEAVE] = "leave", [RP_VHU_STOP_MEMORY] = "memory",
		[RP_VHU_STOP_RESET] = "reset", [RP_VHU_STOP_END] = "end",
	};

	(void)ctx;
	*ret_base += 3; /* as if three entries had been served */
	say("vring_stop %u %s", queue, ways[stop]);
}

static int
on_vring_enable(void *ctx, unsigned int queue, bool enabled, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("vring_enable %u %d", queue, enabled);
	return 0;
}

static int
on_vring_call(void *ctx, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("vring_call %u %d", queue, call_fd >= 0);
	return 0;
}

static int
on_vring_kick(void *ctx, unsigned int queue, int kick_fd, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("vring_kick %u %d", queue, kick_fd >= 0);
	return 0;
}

static int
on_config_get(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes, struct rp_wire_why *why)
{
	uint32_t i;

	(void)ctx, (void)why;
	for (i = 0; i < size_bytes; i++)
		ret_bytes[i] = (uint8_t)(offset_bytes + i);
	say("config_get %u %u", offset_bytes, size_bytes);
	return 0;
}

static int
on_config_set(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes, uint32_t flags,
	      struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("config_set %u %u flags=%u first=0x%02x", offset_bytes, size_bytes, flags, bytes[0]);
	return 0;
}

static int
on_mtu(void *ctx, uint16_t mtu_bytes, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("mtu %u", mtu_bytes);
	return 0;
}

static int
on_rarp(void *ctx, const uint8_t mac[6], struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("rarp %02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return 0;
}

static int
on_status(void *ctx, uint8_t status, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("status 0x%x", status);
	return 0;
}

static void
on_log(void *ctx, struct rp_vhu_log *log)
{
	(void)ctx;
	say("log %s", log != NULL ? "there" : "none");
	if (log != NULL)
		rp_vhu_log_mark(log, 0x9000, 1);
}

static void
on_inflight(void *ctx, struct rp_vhu_inflight *inflight)
{
	const struct rp_vhu_inflight_layout *layout = inflight == NULL ? NULL : rp_vhu_inflight_layout(inflight);
	struct rp_vhu_inflight_split *notes = NULL;

	(void)ctx;
	if (layout == NULL)
		say("inflight none");
	else
		say("inflight %u %u %d", layout->queues_count, layout->queue_num, layout->packed);
	/* One buffer, head 3 of queue 1: something to be found in the file. */
	if (layout != NULL && rp_vhu_inflight_split_create(inflight, 1, layout->queue_num, 0x102, &notes, NULL) == 0)
		rp_vhu_inflight_split_take(notes, 3);
	rp_vhu_inflight_split_destroy(notes);
}

static int
on_vring_log(void *ctx, unsigned int queue, bool log_used, uint64_t log_gpa, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("vring_log %u %d 0x%" PRIx64, queue, log_used, log_gpa);
	return 0;
}

static int
on_iotlb_update(void *ctx, const struct rp_vhu_iotlb *entry, struct rp_wire_why *why)
{
	(void)ctx, (void)why;
	say("iotlb_update 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " %u", entry->iova, entry->size_bytes,
	    entry->uva, entry->gpa, entry->perm);
	return 0;
}

static void
on_iotlb_invalidate(void *ctx, uint64_t iova, uint64_t size_bytes)
{
	(void)ctx;
	say("iotlb_invalidate 0x%" PRIx64 " 0x%" PRIx64, iova, size_bytes);
}

static void
on_reset(void *ctx)
{
	(void)ctx;
	say("reset");
}

static void
on_channel_up(void *ctx)
{
	(void)ctx;
	say("channel_up");
}

static void
on_channel_reply(void *ctx, uint64_t token, int error)
{
	(void)ctx;
	say("channel_reply %" PRIu64 " %d", token, error);
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

static const struct rp_vhu_backend_ops ops = {
	.features = on_features,
	.region_add = on_region_add,
	.region_remove = on_region_remove,
	.vring_start = on_vring_start,
	.vring_stop = on_vring_stop,
	.vring_enable = on_vring_enable,
	.vring_call = on_vring_call,
	.vring_kick = on_vring_kick,
	.log = on_log,
	.vring_log = on_vring_log,
	.inflight = on_inflight,
	.iotlb_update = on_iotlb_update,
	.iotlb_invalidate = on_iotlb_invalidate,
	.config_get = on_config_get,
	.config_set = on_config_set,
	.mtu = on_mtu,
	.rarp = on_rarp,
	.status = on_status,
	.reset = on_reset,
	.channel_up = on_channel_up,
	.channel_reply = on_channel_reply,
	.refused = on_refused,
	.disconnected = on_disconnected,
};

static int
doorbell_file(void)
{
	int fd = memfd_create("doorbell", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 &&
	    (ftruncate(fd, 4 * sysconf(_SC_PAGESIZE)) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0))
		rp_wire_fd_close(&fd);
	return fd;
}

static void
obey(struct speaker *speaker, const char *line)
{
	unsigned long long a, b, c, d;
	struct rp_wire_why why = {0};
	int rc = -EINVAL, fd;

	if (sscanf(line, "area_set %llu %llu %llu %llu", &a, &b, &c, &d) == 4) {
		fd = doorbell_file();
		rc = rp_vhu_backend_notify_area_set(speaker->backend, (unsigned int)a, fd, b, c, d, &why);
		rp_wire_fd_close(&fd);
	} else if (sscanf(line, "area_clear %llu %llu", &a, &b) == 2) {
		rc = rp_vhu_backend_notify_area_clear(speaker->backend, (unsigned int)a, b, &why);
	} else if (sscanf(line, "vfio_set %llu %llu %llu", &a, &b, &c) == 3) {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		rc = rp_vhu_backend_vfio_file_set(speaker->backend, (unsigned int)a, fd, (enum rp_vhu_vfio_type)b, c,
						  &why);
		rp_wire_fd_close(&fd);
	} else if (sscanf(line, "vfio_clear %llu %llu", &a, &b) == 2) {
		rc = rp_vhu_backend_vfio_file_clear(speaker->backend, (unsigned int)a, b, &why);
	} else if (sscanf(line, "miss %llu %llu %llu", &a, &b, &c) == 3) {
		rc = rp_vhu_backend_iotlb_miss(speaker->backend, a, (uint8_t)b, c, &why);
	} else if (sscanf(line, "config_changed %llu", &a) == 1) {
		rc = rp_vhu_backend_config_changed(speaker->backend, a, &why);
	}
	say("result %d %s", rc, why.text);
}

static void
listen_to_input(struct speaker *speaker)
{
	char line[256];

	if (fgets(line, sizeof(line), stdin) == NULL)
		speaker->done = true;
	else
		obey(speaker, line);
}

int
main(int argc, char **argv)
{
	struct speaker speaker = {0};
	struct rp_vhu_backend_config config = {0};
	struct rp_wire_why why = {0};
	struct pollfd fds[2];
	int fd, rc;

	if (argc != 6 || rp_vhu_profile_parse(argv[2], &config.profile) < 0)
		return 2;
	setvbuf(stdin, NULL, _IONBF, 0);
	fd = atoi(argv[1]);
	config.features = strtoull(argv[3], NULL, 0);
	config.protocol_features = strtoull(argv[4], NULL, 0);
	config.queues_max = (uint16_t)atoi(argv[5]);
	rc = rp_vhu_backend_create(&config, &ops, &speaker, &speaker.backend, &why);
	if (rc == 0)
		rc = rp_vhu_backend_attach(speaker.backend, &fd);
	say("ready %d %s", rc, why.text);
	if (rc < 0)
		return 1;
	while (!speaker.done) {
		fds[0] = (struct pollfd){.fd = rp_vhu_backend_fd(speaker.backend), .events = POLLIN};
		fds[1] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
		if (poll(fds, 2, -1) < 0)
			break;
		if (fds[1].revents != 0)
			listen_to_input(&speaker);
		rp_vhu_backend_process(speaker.backend);
	}
	rp_vhu_backend_destroy(speaker.backend);
	return 0;
}
