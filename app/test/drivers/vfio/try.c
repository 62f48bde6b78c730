/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One device on the kernel's own VFIO, for app/test/e2e/test_vfio_kernel.py and by hand.
 *
 *   test_vfio_try open ADDRESS
 *       one attempt; prints the errno and the words
 *   test_vfio_try measure ADDRESS TOTAL_MIB PIECE_KIB
 *       how long it takes to map so much memory in pieces, and to unmap it
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "rp_vfio.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define MIB 0x100000u
/* Above the addresses of any MSI window; pieces have a gap after them, so that nothing merges. */
#define FIRST_IOVA (UINT64_C(1) << 32)
#define GAP_BYTES 0x200000u

static int
open_device(const char *address, struct rp_accel_transport *ret_transport)
{
	const struct rp_vfio_config config = {.device = address, .container_fd = -1, .group_fd = -1};
	struct rp_wire_why why = {0};
	int rc = rp_vfio_open(&config, ret_transport, &why);

	printf("%d %s\n", rc, why.text);
	return rc;
}

static uint64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The same pages again and again: what is pinned, accounted and mapped is as much as if they were others. */
static bool
map_all(const struct rp_accel_transport *transport, uint64_t count, uint64_t piece_bytes, uint64_t *ret_longest_us)
{
	RP_WIRE_FD_SCOPED int fd = test_memfd(piece_bytes, true);
	void *hva = mmap(NULL, piece_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	uint64_t i, start_us = now_us(), before_us = start_us, longest_us = 0;
	struct rp_wire_why why;

	for (i = 0; hva != MAP_FAILED && i < count; i++) {
		if (transport->ops->dma_map(transport->priv, FIRST_IOVA + i * (piece_bytes + GAP_BYTES), piece_bytes,
					    fd, 0, hva, &why) < 0) {
			printf("piece %" PRIu64 ": %s\n", i, why.text);
			break;
		}
		if (now_us() - before_us > longest_us)
			longest_us = now_us() - before_us;
		before_us = now_us();
	}
	printf("%" PRIu64 " MiB in %" PRIu64 " pieces of %" PRIu64 " KiB: mapped in %" PRIu64 " ms",
	       i * piece_bytes / MIB, i, piece_bytes / 1024, (now_us() - start_us) / 1000);
	*ret_longest_us = longest_us;
	if (hva != MAP_FAILED)
		munmap(hva, piece_bytes);
	return i == count;
}

static int
measure(const struct rp_accel_transport *transport, uint64_t total_bytes, uint64_t piece_bytes)
{
	uint64_t longest_us, start_us;
	bool whole = map_all(transport, total_bytes / piece_bytes, piece_bytes, &longest_us);

	start_us = now_us();
	transport->ops->close(transport->priv);
	printf(", longest %" PRIu64 " us, unmapped in %" PRIu64 " ms\n", longest_us, (now_us() - start_us) / 1000);
	return whole ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
	struct rp_accel_transport transport = {0};

	if (!(argc == 3 && strcmp(argv[1], "open") == 0) && !(argc == 5 && strcmp(argv[1], "measure") == 0))
		return EXIT_FAILURE;
	if (open_device(argv[2], &transport) < 0)
		return argc == 3 ? EXIT_SUCCESS : EXIT_FAILURE;
	if (argc == 5)
		return measure(&transport, strtoull(argv[3], NULL, 10) * MIB, strtoull(argv[4], NULL, 10) * 1024);
	transport.ops->close(transport.priv);
	return EXIT_SUCCESS;
}
