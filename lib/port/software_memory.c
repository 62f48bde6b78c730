/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The memory that the software backend is told of, always as one table: the guest's, and one
 * region of ours where parked rings lie, one page for each queue. It lies at addresses that
 * collide with nothing of the guest's, and moves when the guest gets memory there. Nobody here
 * looks into it: what the backend writes there it writes to itself alone, so each connection
 * has its own, empty.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "software_parts.h"

/* Where to begin looking, downwards: above any memory that guests have, below what 48 bits hold. */
#define PARK_TOP (1ull << 46)
#define PARK_NUM 16u
#define DESC_BYTES 16u
#define PART_BYTES 1024u /* a ring of PARK_NUM, split or packed, has no part that is larger */

static uint64_t
page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

int
port_software_memory_open(struct rp_port *port, struct rp_wire_why *why)
{
	struct port_software *software = port->software;
	uint64_t size_bytes = port->queues_count * page_bytes();

	if (!port_software_parks(port) || size_bytes == 0 || software->park_bytes != 0)
		return 0;
	software->park_kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	software->park_call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	software->park_fd = memfd_create("ringpass-parked-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (software->park_kick_fd >= 0 && software->park_call_fd >= 0 && software->park_fd >= 0 &&
	    ftruncate(software->park_fd, (off_t)size_bytes) == 0 &&
	    fcntl(software->park_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
		software->park_bytes = size_bytes;
		software->park_gpa = software->park_uva = PARK_TOP - size_bytes;
		return 0;
	}
	rp_wire_why_set(why, -ENOSPC, "parked rings: %" PRIu64 " bytes of memory: %s", size_bytes, strerror(errno));
	port_software_memory_close(software);
	return -ENOSPC;
}

void
port_software_memory_close(struct port_software *software)
{
	rp_wire_fd_close(&software->park_fd);
	rp_wire_fd_close(&software->park_kick_fd);
	rp_wire_fd_close(&software->park_call_fd);
	software->park_bytes = 0;
	software->regions_count = 0;
}

static bool
collides(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a - b < b_bytes || b - a < a_bytes;
}

/* Below the lowest of what is in the way, again and again; each region is left behind once at most. */
static uint64_t
find_free(const struct rp_vhu_region *regions, unsigned int count, bool by_uva, uint64_t at, uint64_t size_bytes)
{
	unsigned int rounds, i;

	for (rounds = 0; rounds <= count; rounds++) {
		bool moved = false;

		for (i = 0; i < count; i++) {
			uint64_t other = by_uva ? regions[i].uva : regions[i].gpa;

			if (!collides(at, size_bytes, other, regions[i].size_bytes))
				continue;
			at = (other - size_bytes) & ~(page_bytes() - 1);
			moved = true;
		}
		if (!moved)
			break;
	}
	return at;
}

static bool
is_free(const struct rp_vhu_region *regions, unsigned int count, bool by_uva, uint64_t at, uint64_t size_bytes)
{
	return at <= PARK_TOP - size_bytes && find_free(regions, count, by_uva, at, size_bytes) == at;
}

/* A place for the parked rings. @return whether it is another one than before, or -ENOSPC. */
static int
place(struct port_software *software, const struct rp_vhu_region *regions, unsigned int count, struct rp_wire_why *why)
{
	uint64_t bytes = software->park_bytes, gpa, uva;
	bool moved;

	if (is_free(regions, count, false, software->park_gpa, bytes) &&
	    is_free(regions, count, true, software->park_uva, bytes))
		return 0;
	gpa = find_free(regions, count, false, PARK_TOP - bytes, bytes);
	uva = find_free(regions, count, true, PARK_TOP - bytes, bytes);
	if (!is_free(regions, count, false, gpa, bytes) || !is_free(regions, count, true, uva, bytes))
		return rp_wire_why_set(why, -ENOSPC, "parked rings: the guest's memory leaves no place for them");
	moved = gpa != software->park_gpa || uva != software->park_uva;
	software->park_gpa = gpa;
	software->park_uva = uva;
	return moved;
}

static unsigned int
regions_max(const struct port_software *software)
{
	return RP_VHU_REGIONS_MAX - (software->park_bytes != 0);
}

static bool
same(const struct rp_vhu_region *a, const struct rp_vhu_region *b)
{
	return a->gpa == b->gpa && a->uva == b->uva && a->size_bytes == b->size_bytes &&
	       a->offset_bytes == b->offset_bytes;
}

bool
port_software_memory_is_told(const struct rp_port *port)
{
	const struct port_software *software = port->software;
	unsigned int count = rp_vhu_backend_regions_count(port->backend), i, j;

	if (count != software->regions_count)
		return false;
	for (i = 0; i < count; i++) {
		struct rp_vhu_region region;

		if (rp_vhu_backend_region(port->backend, i, &region) < 0)
			return false;
		for (j = 0; j < software->regions_count && !same(&region, &software->regions[j]); j++)
			;
		if (j == software->regions_count)
			return false;
	}
	return true;
}

int
port_software_memory_tell(struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int count = rp_vhu_backend_regions_count(port->backend), i;
	struct port_software *software = port->software;
	struct rp_vhu_region regions[RP_VHU_REGIONS_MAX];
	int moved = 0, rc = port_software_memory_open(port, why);

	if (rc < 0 || count == 0)
		return rc;
	if (count > regions_max(software))
		return rp_wire_why_set(why, -ENOSPC,
				       "%u memory regions, expected at most %u: the software backend takes no more",
				       count, regions_max(software));
	for (i = 0; i < count; i++)
		if (rp_vhu_backend_region(port->backend, i, &regions[i]) < 0)
			return rp_wire_why_set(why, -EINVAL, "region %u", i);
	if (software->park_bytes != 0) {
		moved = place(software, regions, count, why);
		if (moved < 0)
			return moved;
		regions[count] = (struct rp_vhu_region){.gpa = software->park_gpa,
							.size_bytes = software->park_bytes,
							.uva = software->park_uva,
							.fd = software->park_fd};
	}
	rc = rp_vhu_frontend_set_mem_table(software->frontend, regions, count + (software->park_bytes != 0), why);
	rc = port_software_checked(port, rc);
	if (rc < 0)
		return rc;
	memcpy(software->regions, regions, count * sizeof(regions[0]));
	software->regions_count = count;
	if (moved > 0)
		port_software_park_again(port);
	return 0;
}

int
port_software_uva(const struct rp_port *port, uint64_t gpa, uint64_t size_bytes, uint64_t *ret_uva)
{
	const struct port_software *software = port->software;
	unsigned int i;

	for (i = 0; i < software->regions_count; i++) {
		const struct rp_vhu_region *region = &software->regions[i];
		uint64_t into = gpa - region->gpa;

		if (into < region->size_bytes && size_bytes <= region->size_bytes - into) {
			*ret_uva = region->uva + into;
			return 0;
		}
	}
	return -EBADMSG;
}

uint16_t
port_software_park_place(const struct rp_port *port, unsigned int queue, uint64_t *ret_desc_uva,
			 uint64_t *ret_avail_uva, uint64_t *ret_used_uva)
{
	uint64_t at = port->software->park_uva + queue * page_bytes();

	*ret_desc_uva = at;
	*ret_avail_uva = at + PART_BYTES;
	*ret_used_uva = at + 2 * PART_BYTES;
	return PARK_NUM;
}
