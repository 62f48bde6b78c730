/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Handlers of the log of a live migration. The log covers all memory that is known:
 * what comes later and does not fit is refused, because its pages would be lost.
 */

#include <errno.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "vhu_backend.h"

static int
check_regions(const struct rp_vhu_backend *backend, const struct rp_vhu_log *log, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < backend->regions_count; i++)
		if (!rp_vhu_log_covers(log, backend->regions[i].gpa, backend->regions[i].size_bytes))
			return rp_wire_why_set(why, -EBADMSG,
					       "log size: does not cover the region at 0x%llx of %llu bytes",
					       (unsigned long long)backend->regions[i].gpa,
					       (unsigned long long)backend->regions[i].size_bytes);
	return 0;
}

static int
check_vrings(const struct rp_vhu_backend *backend, const struct rp_vhu_log *log, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && i < backend->config.queues_max; i++) {
		const struct rp_vhu_vring *vring = &backend->vrings[i].state;

		if (vring->started && vring->log_used)
			rc = vhu_log_check_used(backend, log, i, vring->log_gpa, why);
	}
	return rc;
}

int
vhu_log_check_used(const struct rp_vhu_backend *backend, const struct rp_vhu_log *log, unsigned int queue,
		   uint64_t log_gpa, struct rp_wire_why *why)
{
	uint64_t size_bytes = vhu_vring_used_bytes(backend, queue);

	if (log == NULL || rp_vhu_log_covers(log, log_gpa, size_bytes))
		return 0;
	return rp_wire_why_set(why, -EBADMSG, "log: ring %u: the used ring's %llu bytes at 0x%llx are beyond it", queue,
			       (unsigned long long)size_bytes, (unsigned long long)log_gpa);
}

int
vhu_log_check_region(const struct rp_vhu_backend *backend, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	if (backend->log == NULL || rp_vhu_log_covers(backend->log, region->gpa, region->size_bytes))
		return 0;
	return rp_wire_why_set(why, -EBUSY, "region at 0x%llx: the log of the migration does not cover it",
			       (unsigned long long)region->gpa);
}

static void
replace(struct rp_vhu_backend *backend, struct rp_vhu_log *log, struct rp_vhu_shared_file *file)
{
	struct rp_vhu_log *old = backend->log;

	if (old == log)
		return;
	backend->log = log;
	rp_wire_fd_replace(&backend->log_file.fd, &file->fd);
	backend->log_file.size_bytes = file->size_bytes;
	backend->log_file.offset_bytes = file->offset_bytes;
	if (backend->ops->log != NULL)
		backend->ops->log(backend->ctx, log);
	rp_vhu_log_destroy(old);
}

int
vhu_on_set_log_base(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_shared_file file;
	struct rp_vhu_wire_log wire;
	struct rp_vhu_log *log;
	int rc;

	memcpy(&wire, request->payload, sizeof(wire));
	rc = rp_vhu_log_create(request->msg->fds[0], wire.size_bytes, wire.offset_bytes, &log, why);
	if (rc < 0)
		return rc;
	rc = check_regions(backend, log, why);
	if (rc == 0)
		rc = check_vrings(backend, log, why);
	if (rc < 0) {
		rp_vhu_log_destroy(log);
		return rc;
	}
	file = (struct rp_vhu_shared_file){
		.fd = rp_wire_fd_take(&request->msg->fds[0]),
		.size_bytes = wire.size_bytes,
		.offset_bytes = wire.offset_bytes,
	};
	replace(backend, log, &file);
	return 0;
}

int
vhu_on_set_log_fd(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	(void)why;
	rp_wire_fd_replace(&backend->log_fd, &request->msg->fds[0]);
	return 0;
}

void
vhu_log_clear(struct rp_vhu_backend *backend)
{
	struct rp_vhu_shared_file none = {.fd = -1};

	replace(backend, NULL, &none);
	rp_wire_fd_close(&backend->log_fd);
}

struct rp_vhu_log *
rp_vhu_backend_log(const struct rp_vhu_backend *backend)
{
	return backend->log;
}

int
rp_vhu_backend_log_file(const struct rp_vhu_backend *backend, struct rp_vhu_shared_file *ret_file)
{
	if (backend->log == NULL)
		return -ENOENT;
	*ret_file = backend->log_file;
	return 0;
}

int
rp_vhu_backend_log_fd(const struct rp_vhu_backend *backend)
{
	return backend->log_fd;
}
