/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * How many pages a client can map, and unmap, in a second: many commands in flight,
 * against one after the other, with a file behind each page and without.
 */

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "vfu_rig.h"

#define PAGES_MAX 2000u
#define FILE_PAGES 256u
#define IOVA 0x100000000ull

struct pages {
	struct vfu_rig rig;
	struct vfu_raw raw;
	struct vfu_raw_pages pages;
	bool unmap; /* what is timed */
};

static int
run_lap(struct pages *pages, unsigned int in_flight, double *ret_per_second)
{
	uint64_t started_ns, mapped_ns, unmapped_ns;
	int rc;

	vfu_rig_do(&pages->rig, VFU_TASK_SERVE_ASLEEP);
	started_ns = bench_now_ns();
	rc = vfu_raw_map(&pages->raw, &pages->pages, in_flight);
	mapped_ns = bench_now_ns();
	if (rc == 0)
		rc = vfu_raw_unmap(&pages->raw, &pages->pages, in_flight);
	unmapped_ns = bench_now_ns();
	*ret_per_second =
		pages->pages.count * 1e9 / (double)(pages->unmap ? unmapped_ns - mapped_ns : mapped_ns - started_ns);
	return rc;
}

static int
many(void *ctx, double *ret_per_second)
{
	return run_lap(ctx, VFU_RAW_IN_FLIGHT, ret_per_second);
}

static int
one(void *ctx, double *ret_per_second)
{
	return run_lap(ctx, 1, ret_per_second);
}

static int
measure(struct pages *pages, int fd, struct bench_rows *rows)
{
	static const char *const names[2][2] = {
		{"vfu_dma_map", "vfu_dma_unmap"},
		{"vfu_dma_map_file", "vfu_dma_unmap_file"},
	};
	unsigned int i;
	int rc = 0;

	pages->pages.fd = fd;
	for (i = 0; rc == 0 && i < 2; i++) {
		const struct vfu_measure measure = {
			.name = names[fd >= 0][i],
			.unit = "per s",
			.peer = "one command in flight instead of 64",
			.ours = many,
			.theirs = one,
			.ctx = pages,
			.share = (fd >= 0 ? 2 : 4) - i,
		};

		pages->unmap = i == 1;
		rc = vfu_rig_measure(&pages->rig, &measure, rows);
	}
	return rc;
}

int
bench_vfio_user_map(const struct bench_options *options, struct bench_rows *rows)
{
	static struct pages pages;
	RP_WIRE_FD_SCOPED int fd = memfd_create("bench-pages", MFD_CLOEXEC);
	int rc;

	pages = (struct pages){
		.raw.fd = -1,
		.pages =
			{
				.iova = IOVA,
				.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE),
				.count = options->quick ? 500 : PAGES_MAX,
				.file_pages = FILE_PAGES,
			},
	};
	if (fd < 0 || ftruncate(fd, (off_t)(FILE_PAGES * pages.pages.page_bytes)) < 0)
		return vfu_rig_complain("memory", -errno, NULL);
	rc = vfu_rig_open(&pages.rig, options);
	if (rc == 0)
		rc = vfu_rig_complain("client", vfu_raw_connect(&pages.raw, pages.rig.socket_path), NULL);
	if (rc == 0)
		rc = measure(&pages, -1, rows);
	if (rc == 0)
		rc = measure(&pages, fd, rows);
	vfu_raw_close(&pages.raw);
	vfu_rig_close(&pages.rig);
	return rc;
}
