/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Peer-to-peer windows: device memory of one accelerator, in the address space of another.
 * Which pieces of it are mapped, and what is said of the others, is lib/dma's to decide
 * (rp_dma_section.h); when there is anything to offer is decided here. A window is offered
 * while both devices are there. It is withdrawn before the device that it belongs to is
 * closed, whose file our mapping of it keeps open.
 *
 * A guest's IOMMU says what its device may reach: while the guest has one, windows are
 * offered as what is behind it, and so left out.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "port.h"
#include "rp_wire_clock.h"

#define ACCESS_PLATFORM_MASK (1ull << 33) /* VIRTIO_F_ACCESS_PLATFORM */

static struct port_window *
window_of(struct rp_port *port, const struct rp_dma_section *section)
{
	return &port->windows[section->tag / RP_DMA_SECTION_PIECES_MAX];
}

static int
find_memory(struct rp_port *port, struct port_window *window, const struct rp_dma_section *section,
	    struct rp_accel_window *ret_piece, struct rp_wire_why *why)
{
	const struct rp_accel *owner = &port->accelerators[window->wanted.of].accel;
	const struct port_accelerator *user = &port->accelerators[window->wanted.to];
	void **memory = &window->memory[section->tag % RP_DMA_SECTION_PIECES_MAX];
	int rc;

	if (window->refused.error != 0)
		return rp_wire_why_set(why, -ENOTSUP, "%s", window->refused.text);
	if (user->accel.ops->peer_map == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "%.60s takes no memory of another device", user->arguments);
	/* Whatever is the matter with the owner is not this device's fault. */
	if (owner->ops->region_window(owner->priv, window->wanted.region, section->offset_bytes, section->size_bytes,
				      ret_piece, why) < 0)
		return -ENOTSUP;
	if (ret_piece->all_of_device && user->info.vfio_file_fd < 0)
		return rp_wire_why_set(
			why, -ENOTSUP,
			"a device process would be given all of the device with it: expected two devices "
			"of the kernel's VFIO");
	if (*memory != NULL)
		return 0;
	rc = rp_dma_section_memory(ret_piece->fd, ret_piece->offset_bytes, section->size_bytes,
				   user->info.iova_page_bytes, memory);
	return rc < 0 ? rp_wire_why_set(why, -ENOTSUP, "mmap: %s", strerror(-rc)) : 0;
}

static int
map_window(struct rp_port *port, const struct rp_dma_section *section, struct rp_wire_why *why)
{
	struct port_window *window = window_of(port, section);
	const struct rp_accel *user = &port->accelerators[window->wanted.to].accel;
	void **memory = &window->memory[section->tag % RP_DMA_SECTION_PIECES_MAX];
	struct rp_accel_window piece = {.fd = -1};
	int rc = find_memory(port, window, section, &piece, why);

	if (rc < 0)
		return rc;
	rc = user->ops->peer_map(user->priv, section->iova, section->size_bytes, piece.all_of_device ? -1 : piece.fd,
				 piece.offset_bytes, *memory, why);
	if (rc == 0)
		port_event(port, RP_PORT_EVENT_NOTICE, -1, "window-mapped", "%s at 0x%" PRIx64 " + 0x%" PRIx64,
			   section->name, section->iova, section->size_bytes);
	return rc;
}

static int
map_section(void *ctx, const struct rp_dma_section *section, struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = ctx;
	const struct rp_vhu_region *region = accelerator->region;

	if (section->kind == RP_DMA_SECTION_DEVICE)
		return map_window(accelerator->port, section, why);
	return accelerator->accel.ops->dma_map(
		accelerator->accel.priv, region->gpa, region->size_bytes, region->fd, region->offset_bytes,
		rp_dma_space_translate(accelerator->port->memory, region->gpa, 1, RP_DMA_READ), why);
}

static int
unmap_section(void *ctx, const struct rp_dma_section *section, struct rp_wire_why *why)
{
	const struct port_accelerator *accelerator = ctx;

	return accelerator->accel.ops->dma_unmap(accelerator->accel.priv, section->iova, section->size_bytes, why);
}

static void
report_section(void *ctx, enum rp_dma_section_cause cause, const char *text)
{
	const struct port_accelerator *accelerator = ctx;

	(void)cause;
	port_event(accelerator->port, RP_PORT_EVENT_WARNING, -1, "section-left-out", "%s", text);
}

const struct rp_dma_sections_ops port_sections_ops = {
	.map = map_section,
	.unmap = unmap_section,
	.report = report_section,
};

static bool
has_guest_iommu(const struct rp_port *port)
{
	return port->features_acked && (port->features & ACCESS_PLATFORM_MASK) != 0;
}

struct rp_dma_section_iommu
port_accelerator_iommu(const struct port_accelerator *accelerator)
{
	return (struct rp_dma_section_iommu){
		.ranges = accelerator->info.iova_ranges,
		.ranges_count = accelerator->info.iova_ranges_count,
		.page_bytes = accelerator->info.iova_page_bytes,
		.guest_iommu = has_guest_iommu(accelerator->port),
	};
}

/*
 * A file is mapped by pages of this machine, also by a device process to which one byte is as good
 * as another: what shares a page with a table of vectors is reached with it.
 */
static struct rp_dma_section_iommu
window_iommu(const struct port_accelerator *user)
{
	struct rp_dma_section_iommu iommu = port_accelerator_iommu(user);
	uint64_t own_bytes = (uint64_t)sysconf(_SC_PAGESIZE);

	if (iommu.page_bytes < own_bytes)
		iommu.page_bytes = own_bytes;
	return iommu;
}

/* What of the BAR is wanted. A BAR that cannot be had is offered as a page of it, so that it is reported like any other. */
static struct rp_dma_section
section_of(struct rp_port *port, unsigned int index, struct rp_accel_region *ret_region)
{
	struct port_window *window = &port->windows[index];
	const struct rp_port_window *wanted = &window->wanted;
	const struct port_accelerator *owner = &port->accelerators[wanted->of], *user = &port->accelerators[wanted->to];
	struct rp_dma_section section = {
		.kind = RP_DMA_SECTION_DEVICE,
		.iova = wanted->iova,
		.size_bytes = wanted->size_bytes,
		.offset_bytes = wanted->offset_bytes,
		.tag = (uint64_t)index * RP_DMA_SECTION_PIECES_MAX,
	};

	snprintf(section.name, sizeof(section.name), "BAR %u of %.60s for %.60s", wanted->region,
		 owner->info.device[0] != '\0' ? owner->info.device : owner->arguments,
		 user->info.device[0] != '\0' ? user->info.device : user->arguments);
	*ret_region = (struct rp_accel_region){0};
	window->refused = (struct rp_wire_why){0};
	if (owner->accel.ops->region_info == NULL)
		rp_wire_why_set(&window->refused, -ENOTSUP, "%.60s has no memory to show", owner->arguments);
	else if (owner->accel.ops->region_info(owner->accel.priv, wanted->region, ret_region, &window->refused) == 0 &&
		 (wanted->offset_bytes >= ret_region->size_bytes ||
		  wanted->size_bytes > ret_region->size_bytes - wanted->offset_bytes))
		rp_wire_why_set(&window->refused, -ENOTSUP, "BAR %u: 0x%" PRIx64 " + 0x%" PRIx64 ": it has 0x%" PRIx64,
				wanted->region, wanted->offset_bytes, wanted->size_bytes, ret_region->size_bytes);
	if (section.size_bytes == 0)
		section.size_bytes = window->refused.error == 0 ? ret_region->size_bytes - wanted->offset_bytes :
								  window_iommu(user).page_bytes;
	return section;
}

static void
release_memory(struct port_window *window)
{
	unsigned int i;

	for (i = 0; i < RP_DMA_SECTION_PIECES_MAX; i++) {
		if (window->memory[i] != NULL)
			munmap(window->memory[i], window->pieces[i].size_bytes);
		window->memory[i] = NULL;
	}
	window->pieces_count = 0;
}

static void
withdraw(struct rp_port *port, unsigned int index)
{
	struct port_window *window = &port->windows[index];
	struct port_accelerator *user = &port->accelerators[window->wanted.to];
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc;

	for (i = 0; i < window->pieces_count && port_accelerator_usable(port, (int)window->wanted.to); i++) {
		rc = rp_dma_sections_unmap(user->sections, &window->pieces[i], &why);
		if (rc < 0)
			port_accelerator_fail(port, window->wanted.to, rc, &why);
	}
	release_memory(window);
}

static void
offer(struct rp_port *port, unsigned int index)
{
	struct port_window *window = &port->windows[index];
	struct port_accelerator *user = &port->accelerators[window->wanted.to];
	const struct rp_dma_section_iommu iommu = window_iommu(user);
	struct rp_accel_region region;
	const struct rp_dma_section whole = section_of(port, index, &region);
	struct rp_wire_why why = {0};
	unsigned int i, count;
	int rc;

	count = rp_dma_section_cut(&whole, region.holes, region.holes_count, iommu.page_bytes, window->pieces);
	window->pieces_count = count;
	for (i = 0; i < count; i++) {
		rc = rp_dma_sections_map(user->sections, &window->pieces[i], &iommu, rp_wire_clock_ms(), &why);
		if (rc >= 0)
			continue;
		port_accelerator_fail(port, window->wanted.to, rc, &why);
		return;
	}
}

static bool
may_be_used(const struct rp_port *port, unsigned int accelerator)
{
	return port_accelerator_usable(port, (int)accelerator) && !port->accelerators[accelerator].closing;
}

void
port_windows_update(struct rp_port *port)
{
	bool guest_iommu = has_guest_iommu(port);
	unsigned int i;

	for (i = 0; i < port->windows_count; i++) {
		struct port_window *window = &port->windows[i];
		bool wanted = may_be_used(port, window->wanted.of) && may_be_used(port, window->wanted.to);

		if (window->pieces_count > 0 && (!wanted || window->guest_iommu != guest_iommu))
			withdraw(port, i);
		if (window->pieces_count > 0 || !wanted)
			continue;
		window->guest_iommu = guest_iommu;
		offer(port, i);
	}
}

void
port_windows_closing(struct rp_port *port, unsigned int accelerator)
{
	unsigned int i;

	for (i = 0; i < port->windows_count; i++)
		if (port->windows[i].wanted.of == accelerator || port->windows[i].wanted.to == accelerator)
			withdraw(port, i);
}

void
port_windows_make_way(struct rp_port *port, const struct rp_vhu_region *region)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		struct rp_wire_why why = {0};
		int rc;

		if (!port_accelerator_usable(port, (int)i))
			continue;
		rc = rp_dma_sections_make_way(port->accelerators[i].sections, region->gpa, region->size_bytes,
					      rp_wire_clock_ms(), &why);
		if (rc < 0)
			port_accelerator_fail(port, i, rc, &why);
	}
}

void
port_windows_retry(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		struct port_accelerator *accelerator = &port->accelerators[i];
		struct rp_dma_section_iommu iommu;
		struct rp_wire_why why = {0};
		int rc;

		if (!port_accelerator_usable(port, (int)i))
			continue;
		iommu = window_iommu(accelerator);
		rc = rp_dma_sections_retry(accelerator->sections, &iommu, rp_wire_clock_ms(), &why);
		if (rc < 0)
			port_accelerator_fail(port, i, rc, &why);
	}
}

static int
check(const struct rp_port_config *config, struct rp_wire_why *why)
{
	unsigned int i;

	if (config->windows_count > RP_PORT_WINDOWS_MAX)
		return rp_wire_why_set(why, -EINVAL, "windows: %u given, expected at most %d", config->windows_count,
				       RP_PORT_WINDOWS_MAX);
	for (i = 0; i < config->windows_count; i++) {
		const struct rp_port_window *window = &config->windows[i];

		if (window->of >= config->accelerators_count || window->to >= config->accelerators_count ||
		    window->of == window->to)
			return rp_wire_why_set(why, -EINVAL,
					       "windows[%u]: of %u to %u, expected two of the port's %u accelerators",
					       i, window->of, window->to, config->accelerators_count);
		if (window->region >= RP_PORT_WINDOW_BARS)
			return rp_wire_why_set(why, -EINVAL, "windows[%u]: BAR %u, expected 0 to %d", i, window->region,
					       RP_PORT_WINDOW_BARS - 1);
	}
	return 0;
}

int
port_windows_open(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_why *why)
{
	int rc = check(config, why);

	if (rc < 0 || config->windows_count == 0)
		return rc;
	port->windows = calloc(config->windows_count, sizeof(*port->windows));
	if (port->windows == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	for (; port->windows_count < config->windows_count; port->windows_count++)
		port->windows[port->windows_count].wanted = config->windows[port->windows_count];
	return 0;
}

int
rp_port_get_window_info(const struct rp_port *port, unsigned int index, struct rp_port_window_info *ret_info)
{
	const struct port_window *window;
	unsigned int i;

	if (index >= port->windows_count)
		return -EINVAL;
	window = &port->windows[index];
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->window = window->wanted;
	for (i = 0; i < window->pieces_count; i++)
		if (rp_dma_sections_state(port->accelerators[window->wanted.to].sections, window->pieces[i].tag,
					  &ret_info->sections[ret_info->sections_count]) == 0)
			ret_info->sections_count++;
	return 0;
}
