/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfu_server.h"

#define IRQ_FLAGS_KNOWN                                                                                                \
	(RP_VFU_IRQ_FLAG_EVENTFD_MASK | RP_VFU_IRQ_FLAG_MASKABLE_MASK | RP_VFU_IRQ_FLAG_AUTOMASKED_MASK |              \
	 RP_VFU_IRQ_FLAG_NORESIZE_MASK)
#define PCI_CONFIG_BYTES 256
#define PCIE_CONFIG_BYTES 4096
#define PCI_IRQS_MIN 3 /* INTx, MSI and MSI-X: a VMM asks for each */

static bool
is_aligned(uint64_t value)
{
	return (value & ((uint64_t)sysconf(_SC_PAGESIZE) - 1)) == 0;
}

static int
check_areas(const struct rp_vfu_region *region, struct rp_wire_why *why)
{
	uint32_t i, j;

	if (region->areas_count > RP_VFU_SPARSE_AREAS_MAX)
		return rp_wire_why_set(why, -EINVAL, "areas_count: %u, expected at most %u", region->areas_count,
				       RP_VFU_SPARSE_AREAS_MAX);
	for (i = 0; i < region->areas_count; i++) {
		const struct rp_vfu_area *area = &region->areas[i];

		if (area->size_bytes == 0 || !is_aligned(area->offset_bytes) || !is_aligned(area->size_bytes))
			return rp_wire_why_set(why, -EINVAL, "areas[%u]: empty or not of whole pages", i);
		if (area->offset_bytes > region->size_bytes ||
		    area->size_bytes > region->size_bytes - area->offset_bytes)
			return rp_wire_why_set(why, -EINVAL, "areas[%u]: leaves the region", i);
		for (j = 0; j < i; j++) {
			const struct rp_vfu_area *other = &region->areas[j];

			if (area->offset_bytes < other->offset_bytes + other->size_bytes &&
			    other->offset_bytes < area->offset_bytes + area->size_bytes)
				return rp_wire_why_set(why, -EINVAL, "areas[%u]: overlaps areas[%u]", i, j);
		}
	}
	return 0;
}

/* How much of the region lies in the file. */
static uint64_t
mapped_end(const struct rp_vfu_region *region)
{
	uint64_t end = 0;
	uint32_t i;

	if (region->areas == NULL)
		return region->size_bytes;
	for (i = 0; i < region->areas_count; i++) {
		uint64_t area_end = region->areas[i].offset_bytes + region->areas[i].size_bytes;

		end = area_end > end ? area_end : end;
	}
	return end;
}

static int
check_file(const struct rp_vfu_region *region, struct rp_wire_why *why)
{
	struct stat st;
	uint64_t end;
	int rc;

	if (region->fd < 0)
		return region->areas_count == 0 ? 0 : rp_wire_why_set(why, -EINVAL, "areas: without fd");
	rc = check_areas(region, why);
	if (rc < 0)
		return rc;
	end = mapped_end(region);
	if (fstat(region->fd, &st) < 0)
		return rp_wire_why_set(why, -EINVAL, "fd: %s", strerror(errno));
	if (!is_aligned(region->fd_offset_bytes))
		return rp_wire_why_set(why, -EINVAL, "fd_offset_bytes: 0x%" PRIx64 " is no multiple of the page size",
				       region->fd_offset_bytes);
	if (region->areas == NULL && !is_aligned(region->size_bytes))
		return rp_wire_why_set(why, -EINVAL,
				       "size_bytes: 0x%" PRIx64
				       " is not of whole pages, as a region with fd and no areas must be",
				       region->size_bytes);
	if (S_ISREG(st.st_mode) &&
	    (region->fd_offset_bytes > (uint64_t)st.st_size || end > (uint64_t)st.st_size - region->fd_offset_bytes))
		return rp_wire_why_set(why, -EINVAL, "fd: the file ends at 0x%" PRIx64 ", inside the region",
				       (uint64_t)st.st_size);
	return 0;
}

static int
check_shadow(const struct rp_vfu_io_fd *io_fd, uint32_t index, struct rp_wire_why *why)
{
	uint64_t size_bytes = io_fd->size_bytes;
	struct stat st;

	if (size_bytes != 1 && size_bytes != 2 && size_bytes != 4 && size_bytes != 8)
		return rp_wire_why_set(why, -EINVAL, "io_fds[%u]: a shadow of %" PRIu64 " bytes, expected 1, 2, 4 or 8",
				       index, size_bytes);
	if (io_fd->shadow_offset_bytes % size_bytes != 0 || io_fd->shadow_fd < 0 || fstat(io_fd->shadow_fd, &st) < 0 ||
	    !S_ISREG(st.st_mode) || io_fd->shadow_offset_bytes > (uint64_t)st.st_size ||
	    size_bytes > (uint64_t)st.st_size - io_fd->shadow_offset_bytes)
		return rp_wire_why_set(why, -EINVAL,
				       "io_fds[%u]: shadow at 0x%" PRIx64 " is not aligned, or not inside a file",
				       index, io_fd->shadow_offset_bytes);
	return 0;
}

/* <linux/kvm.h>: who looks at the value knows how wide it is. A shadow has its place in the entry. */
static int
check_datamatch(const struct rp_vfu_io_fd *io_fd, uint32_t index, struct rp_wire_why *why)
{
	uint64_t size_bytes = io_fd->size_bytes;

	if (io_fd->has_shadow)
		return rp_wire_why_set(why, -EINVAL, "io_fds[%u]: has_datamatch and has_shadow, expected one of them",
				       index);
	if (size_bytes != 1 && size_bytes != 2 && size_bytes != 4 && size_bytes != 8)
		return rp_wire_why_set(why, -EINVAL, "io_fds[%u]: a value of %" PRIu64 " bytes, expected 1, 2, 4 or 8",
				       index, size_bytes);
	if (size_bytes < 8 && io_fd->datamatch >> 8 * size_bytes != 0)
		return rp_wire_why_set(why, -EINVAL, "io_fds[%u]: datamatch: 0x%" PRIx64 ", expected %" PRIu64 " bytes",
				       index, io_fd->datamatch, size_bytes);
	return 0;
}

static int
check_io_fds(const struct rp_vfu_region *region, struct rp_wire_why *why)
{
	int rc;

	uint32_t i;

	if (region->io_fds_count > RP_VFU_IO_FDS_MAX)
		return rp_wire_why_set(why, -EINVAL, "io_fds_count: %u, expected at most %u", region->io_fds_count,
				       RP_VFU_IO_FDS_MAX);
	for (i = 0; i < region->io_fds_count; i++) {
		const struct rp_vfu_io_fd *io_fd = &region->io_fds[i];

		if (io_fd->fd < 0)
			return rp_wire_why_set(why, -EINVAL, "io_fds[%u]: no fd", i);
		if (io_fd->offset_bytes > region->size_bytes ||
		    io_fd->size_bytes > region->size_bytes - io_fd->offset_bytes)
			return rp_wire_why_set(why, -EINVAL, "io_fds[%u]: leaves the region", i);
		rc = io_fd->has_shadow ? check_shadow(io_fd, i, why) : 0;
		if (rc == 0 && io_fd->has_datamatch)
			rc = check_datamatch(io_fd, i, why);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
check_region(const struct rp_vfu_server_config *config, uint32_t index, struct rp_wire_why *why)
{
	const struct rp_vfu_region *region = &config->regions[index];
	uint64_t size_bytes = region->size_bytes;
	int rc;

	if (size_bytes == 0)
		return 0;
	/* VMMs assert this of a BAR. */
	if (config->pci && index < RP_VFU_PCI_BARS_COUNT && (size_bytes & (size_bytes - 1)) != 0)
		return rp_wire_why_set(why, -EINVAL, "size_bytes: 0x%" PRIx64 " of a BAR is not a power of two",
				       size_bytes);
	if (region->readable && region->read == NULL && region->fd < 0)
		return rp_wire_why_set(why, -EINVAL, "readable: with neither read() nor fd");
	if (region->writable && region->write == NULL && region->fd < 0)
		return rp_wire_why_set(why, -EINVAL, "writable: with neither write() nor fd");
	rc = check_file(region, why);
	return rc < 0 ? rc : check_io_fds(region, why);
}

static int
check_pci(const struct rp_vfu_server_config *config, struct rp_wire_why *why)
{
	uint64_t size_bytes;

	if (config->regions_count < RP_VFU_PCI_REGIONS_COUNT)
		return rp_wire_why_set(why, -EINVAL, "regions_count: %u, expected at least %u of a PCI device",
				       config->regions_count, RP_VFU_PCI_REGIONS_COUNT);
	if (config->irqs_count < PCI_IRQS_MIN)
		return rp_wire_why_set(why, -EINVAL, "irqs_count: %u, expected at least %u of a PCI device",
				       config->irqs_count, PCI_IRQS_MIN);
	size_bytes = config->regions[RP_VFU_PCI_CONFIG_REGION].size_bytes;
	if (size_bytes != PCI_CONFIG_BYTES && size_bytes != PCIE_CONFIG_BYTES)
		return rp_wire_why_set(why, -EINVAL,
				       "regions[%u]: configuration space of %" PRIu64 " bytes, expected %u or %u",
				       RP_VFU_PCI_CONFIG_REGION, size_bytes, PCI_CONFIG_BYTES, PCIE_CONFIG_BYTES);
	return 0;
}

static int
check_irq(const struct rp_vfu_irq_type *type, struct rp_wire_why *why)
{
	if (type->count > RP_VFU_IRQ_VECTORS_MAX)
		return rp_wire_why_set(why, -EINVAL, "count: %u, expected at most %u", type->count,
				       RP_VFU_IRQ_VECTORS_MAX);
	if ((type->flags & ~IRQ_FLAGS_KNOWN) != 0)
		return rp_wire_why_set(why, -EINVAL, "flags: 0x%x has unknown bits", type->flags);
	if ((type->flags & RP_VFU_IRQ_FLAG_AUTOMASKED_MASK) != 0 && (type->flags & RP_VFU_IRQ_FLAG_MASKABLE_MASK) == 0)
		return rp_wire_why_set(why, -EINVAL, "flags: 0x%x would mask itself and could not be unmasked",
				       type->flags);
	return 0;
}

static int
check_migration(const struct rp_vfu_server_config *config, struct rp_wire_why *why)
{
	const struct rp_vfu_migration *migration = &config->migration;
	const uint64_t known = RP_VFU_MIGRATION_STOP_COPY_MASK | RP_VFU_MIGRATION_PRE_COPY_MASK;

	if (migration->flags == 0)
		return 0;
	if ((migration->flags & ~known) != 0 || (migration->flags & RP_VFU_MIGRATION_STOP_COPY_MASK) == 0)
		return rp_wire_why_set(why, -EINVAL,
				       "migration: flags 0x%" PRIx64
				       ", expected STOP_COPY (1), with or without PRE_COPY (4)",
				       migration->flags);
	if (migration->change_state == NULL || migration->data_out == NULL || migration->data_in == NULL)
		return rp_wire_why_set(why, -EINVAL, "migration: a callback is missing");
	if (!config->resettable)
		return rp_wire_why_set(why, -EINVAL, "migration: of a device that cannot be reset");
	return 0;
}

static int
check_config(const struct rp_vfu_server_config *config, const struct rp_vfu_server_ops *ops, struct rp_wire_why *why)
{
	uint32_t i;
	int rc;

	if (config->regions_count > RP_VFU_REGIONS_MAX)
		return rp_wire_why_set(why, -EINVAL, "regions_count: %u, expected at most %u", config->regions_count,
				       RP_VFU_REGIONS_MAX);
	if (config->irqs_count > RP_VFU_IRQ_INDICES_MAX)
		return rp_wire_why_set(why, -EINVAL, "irqs_count: %u, expected at most %u", config->irqs_count,
				       RP_VFU_IRQ_INDICES_MAX);
	if (config->resettable && ops->reset == NULL)
		return rp_wire_why_set(why, -EINVAL, "resettable: without reset()");
	rc = check_migration(config, why);
	if (rc < 0)
		return rc;
	if (config->pci) {
		rc = check_pci(config, why);
		if (rc < 0)
			return rc;
	}
	for (i = 0; i < config->regions_count; i++) {
		rc = check_region(config, i, why);
		if (rc < 0) {
			rp_wire_why_prefix(why, "regions[%u]: ", i);
			return rc;
		}
	}
	for (i = 0; i < config->irqs_count; i++) {
		rc = check_irq(&config->irqs[i], why);
		if (rc < 0) {
			rp_wire_why_prefix(why, "irqs[%u]: ", i);
			return rc;
		}
	}
	return 0;
}

static void *
copy_array(const void *array, uint32_t count, size_t one_bytes)
{
	void *copy = calloc(count == 0 ? 1 : count, one_bytes);

	if (copy != NULL && count > 0)
		memcpy(copy, array, count * one_bytes);
	return copy;
}

static int
copy_regions(struct rp_vfu_server *server, const struct rp_vfu_server_config *config)
{
	uint32_t i;

	server->regions = calloc(config->regions_count + 1, sizeof(*server->regions));
	if (server->regions == NULL)
		return -ENOMEM;
	for (i = 0; i < config->regions_count; i++) {
		const struct rp_vfu_region *from = &config->regions[i];
		struct rp_vfu_region *to = &server->regions[i];

		*to = *from;
		if (to->size_bytes == 0)
			*to = (struct rp_vfu_region){.fd = -1};
		to->areas = NULL;
		to->io_fds = NULL;
		server->regions_count = i + 1;
		if (from->areas != NULL) {
			to->areas = copy_array(from->areas, to->areas_count, sizeof(*to->areas));
			if (to->areas == NULL)
				return -ENOMEM;
		}
		to->io_fds = copy_array(from->io_fds, to->io_fds_count, sizeof(*to->io_fds));
		if (to->io_fds == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int
copy_irqs(struct rp_vfu_server *server, const struct rp_vfu_server_config *config)
{
	uint32_t i, vector;

	server->irqs = calloc(config->irqs_count + 1, sizeof(*server->irqs));
	if (server->irqs == NULL)
		return -ENOMEM;
	for (i = 0; i < config->irqs_count; i++) {
		struct rp_vfu_irq_index *irq = &server->irqs[i];

		irq->vectors = calloc(config->irqs[i].count + 1, sizeof(*irq->vectors));
		if (irq->vectors == NULL)
			return -ENOMEM;
		irq->type = config->irqs[i];
		for (vector = 0; vector < irq->type.count; vector++)
			irq->vectors[vector] = (struct rp_vfu_vector){.fds = {-1, -1, -1}, .parked_fd = -1};
		server->irqs_count = i + 1;
	}
	return 0;
}

int
rp_vfu_server_config_copy(struct rp_vfu_server *server, const struct rp_vfu_server_config *config,
			  struct rp_wire_why *why)
{
	int rc = check_config(config, &server->ops, why);

	if (rc < 0)
		return rc;
	server->pci = config->pci;
	server->resettable = config->resettable;
	server->late_writes = config->late_writes;
	server->prompt_reads = config->prompt_reads;
	server->migration = config->migration;
	server->mig_state = server->mig_target = RP_VFU_MIG_RUNNING;
	server->dma_logging = config->dma_logging;
	server->socket_path = strdup(config->socket_path);
	if (server->socket_path == NULL || copy_regions(server, config) < 0 || copy_irqs(server, config) < 0)
		return rp_wire_why_set(why, -ENOMEM, "no memory for the description of the device");
	return 0;
}

void
rp_vfu_server_config_free(struct rp_vfu_server *server)
{
	uint32_t i;

	for (i = 0; i < server->regions_count; i++) {
		free((void *)server->regions[i].areas);
		free((void *)server->regions[i].io_fds);
	}
	for (i = 0; i < server->irqs_count; i++)
		free(server->irqs[i].vectors);
	free(server->regions);
	free(server->irqs);
	free(server->socket_path);
}
