/* SPDX-License-Identifier: BSD-3-Clause */
#include <unistd.h>

#include "bench.h"
#include "guest.h"
#include "rp_wire_socket.h"

int
guest_connect(const char *path, uint64_t limit_ns, unsigned int pause_us, int *ret_fd, struct rp_wire_why *why)
{
	uint64_t deadline_ns = bench_now_ns() + limit_ns;
	int rc;

	while ((rc = rp_wire_socket_connect(path, ret_fd, why)) < 0 && bench_now_ns() < deadline_ns)
		usleep(pause_us);
	return rc;
}

int
guest_ring_start(struct rp_vhu_frontend *frontend, unsigned int queue, const struct guest_ring *guest,
		 struct rp_wire_why *why)
{
	const uint64_t uva = (uint64_t)(uintptr_t)guest->memory - guest->gpa;
	struct rp_vhu_frontend_ring ring;
	struct rp_vring_layout layout;
	int rc;

	rp_vring_drv_layout(guest->ring, &layout);
	ring = (struct rp_vhu_frontend_ring){
		.num = layout.num,
		.base = guest->base,
		.desc_uva = layout.desc_iova + uva,
		.avail_uva = layout.avail_iova + uva,
		.used_uva = layout.used_iova + uva,
		.kick_fd = guest->kick_fd,
		.call_fd = guest->call_fd,
	};
	rc = rp_vhu_frontend_ring_start(frontend, queue, &ring, why);
	return rc < 0 ? rc : rp_vhu_frontend_ring_enable(frontend, queue, true, why);
}
