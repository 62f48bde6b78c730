/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A server that fronts a real device: to its client it is the device, to the device it
 * is a client. Messages are repeated; what does the work goes past this program:
 *
 *   registers   a read or write of a region is one of the device's
 *   doorbells   the file of a region is the device's own: a store in it needs nobody
 *   interrupts  the client's eventfd is given to the device, which signals it
 *   memory      the client's descriptors are given to the device, which maps them
 *
 * The device here is another vfio-user server. With kernel VFIO the same five
 * functions (region_read, region_write, on_irq_changed, on_dma_changed, on_reset) are
 * pread, pwrite and ioctls.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rp_vfu_client.h"
#include "rp_vfu_server.h"

#define BAR_REGISTERS_AT 0x10u /* PCI 3.0, 6.2.5.1 */
#define INTERRUPT_PIN_AT 0x3du
#define ALL_BARS ((1u << RP_VFU_PCI_BARS_COUNT) - 1)

struct forwarded {
	uint64_t iova;
	uint64_t size_bytes;
	uint64_t offset_bytes;
	uint32_t access_mask;
	int fd; /* of our server's address space, to tell a mapping from its successor */
};

struct proxy {
	struct rp_vfu_client *device;
	struct rp_vfu_server *server;
	uint32_t bars_mask;
	struct rp_vfu_region regions[RP_VFU_PCI_REGIONS_COUNT];
	struct rp_vfu_area areas[RP_VFU_PCI_REGIONS_COUNT][RP_VFU_SPARSE_AREAS_MAX];
	struct rp_vfu_irq_type irqs[RP_VFU_IRQ_INDICES_MAX];
	struct forwarded *maps; /* what the device was told, in address order */
	uint32_t maps_count;
};

static volatile sig_atomic_t ended;

static int
complain(const char *what, int rc, const struct rp_wire_why *why)
{
	fprintf(stderr, "proxy: %s: %s\n", what, why->text[0] != '\0' ? why->text : strerror(-rc));
	return rc;
}

/* ---- messages ---- */

static bool
is_hidden(const struct proxy *proxy, uint32_t region)
{
	return region < RP_VFU_PCI_BARS_COUNT && (proxy->bars_mask & 1u << region) == 0;
}

/* What is not passed through is not there: registers of BARs, whatever was written to them, and the pin. */
static void
hide(const struct proxy *proxy, uint64_t at, uint32_t count, uint8_t *bytes)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint64_t in_bars = at + i - BAR_REGISTERS_AT;

		/* Below the first one the difference wraps to a large number. */
		if (in_bars < 4 * RP_VFU_PCI_BARS_COUNT && is_hidden(proxy, (uint32_t)in_bars / 4))
			bytes[i] = 0;
		if (at + i == INTERRUPT_PIN_AT)
			bytes[i] = 0;
	}
}

static int
region_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct proxy *proxy = ctx;
	int rc = rp_vfu_client_region_read(proxy->device, region, at, count, ret_bytes, NULL);

	if (rc == 0 && region == RP_VFU_PCI_CONFIG_REGION)
		hide(proxy, at, count, ret_bytes);
	return rc;
}

static int
region_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct proxy *proxy = ctx;

	return rp_vfu_client_region_write(proxy->device, region, at, count, bytes, NULL);
}

static int
on_reset(void *ctx)
{
	struct proxy *proxy = ctx;

	return rp_vfu_client_reset(proxy->device, NULL);
}

/* ---- interrupts ---- */

/*
 * When this returns the device signals what it was given and nothing else. While the client
 * masks a vector that is an eventfd of our server's, so masks need no message to the device.
 */
static void
on_irq_changed(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd)
{
	struct proxy *proxy = ctx;
	struct rp_wire_why why = {0};
	int rc = rp_vfu_client_irq_set(proxy->device, irq_index, vector, eventfd, &why);

	if (rc < 0)
		complain("interrupt", rc, &why);
}

/* ---- memory ---- */

static bool
is_same(const struct forwarded *map, const struct rp_dma_mapping *mapping)
{
	return map->iova == mapping->iova && map->size_bytes == mapping->size_bytes &&
	       map->offset_bytes == mapping->offset_bytes && map->access_mask == mapping->access_mask &&
	       map->fd == mapping->fd;
}

/* What the device was told and is no more. */
static void
unmap_gone(struct proxy *proxy, const struct rp_dma_space *space)
{
	uint32_t i, kept = 0;
	struct rp_dma_mapping mapping;
	struct rp_wire_why why = {0};

	for (i = 0; i < proxy->maps_count; i++) {
		const struct forwarded *map = &proxy->maps[i];

		if (rp_dma_space_next(space, map->iova, &mapping) && is_same(map, &mapping))
			proxy->maps[kept++] = *map;
		/* Its answer says that the device has let go, as ours to the client will. */
		else if (rp_vfu_client_dma_unmap(proxy->device, map->iova, map->size_bytes, &why) < 0)
			complain("memory", why.error, &why);
	}
	proxy->maps_count = kept;
}

/* What is there and the device was not told of. Both lists are in address order. */
static void
map_new(struct proxy *proxy, const struct rp_dma_space *space)
{
	uint32_t known = 0, count = rp_dma_space_count(space), maps_count = 0;
	struct forwarded *maps = calloc(count + 1, sizeof(*maps));
	struct rp_dma_mapping mapping = {0};
	struct rp_wire_why why = {0};

	if (maps == NULL)
		return;
	/* The sum is 0 before the first, and behind one that ends at 2^64. */
	while (count-- > 0 && rp_dma_space_next(space, mapping.iova + mapping.size_bytes, &mapping)) {
		bool is_known = known < proxy->maps_count && proxy->maps[known].iova == mapping.iova;

		known += is_known;
		if (!is_known && rp_vfu_client_dma_map(proxy->device, mapping.iova, mapping.size_bytes, mapping.fd,
						       mapping.offset_bytes, mapping.access_mask, &why) < 0) {
			complain("memory", why.error, &why);
			continue;
		}
		maps[maps_count++] = (struct forwarded){mapping.iova, mapping.size_bytes, mapping.offset_bytes,
							mapping.access_mask, mapping.fd};
	}
	free(proxy->maps);
	proxy->maps = maps;
	proxy->maps_count = maps_count;
}

static void
on_dma_changed(void *ctx)
{
	struct proxy *proxy = ctx;
	const struct rp_dma_space *space = rp_vfu_server_dma(proxy->server);

	unmap_gone(proxy, space);
	map_new(proxy, space);
}

/* ---- the description ---- */

static int
copy_region(struct proxy *proxy, uint32_t index)
{
	struct rp_vfu_client_region region;
	struct rp_wire_why why = {0};
	uint32_t i;
	int rc;

	proxy->regions[index] = (struct rp_vfu_region){.fd = -1};
	if (is_hidden(proxy, index))
		return 0;
	/* As it says itself: with the file go the areas of it that may be mapped. */
	rc = rp_vfu_client_region_info(proxy->device, index, &region, &why);
	if (rc < 0)
		return complain("region", rc, &why);
	if (region.size_bytes == 0)
		return 0;
	for (i = 0; i < region.areas_count; i++)
		proxy->areas[index][i] = (struct rp_vfu_area){region.areas[i].offset_bytes, region.areas[i].size_bytes};
	proxy->regions[index] = (struct rp_vfu_region){
		.size_bytes = region.size_bytes,
		.readable = region.readable,
		.writable = region.writable,
		.fd = region.fd,
		.fd_offset_bytes = region.fd_offset_bytes,
		.areas = region.fd < 0 ? NULL : proxy->areas[index],
		.areas_count = region.fd < 0 ? 0 : region.areas_count,
		.read = region_read,
		.write = region_write,
	};
	return 0;
}

/* A 64-bit BAR has the register behind it too. */
static int
complete_bars(struct proxy *proxy, struct rp_wire_why *why)
{
	uint8_t registers[4 * RP_VFU_PCI_BARS_COUNT];
	uint32_t i;
	int rc = rp_vfu_client_region_read(proxy->device, RP_VFU_PCI_CONFIG_REGION, BAR_REGISTERS_AT, sizeof(registers),
					   registers, why);

	for (i = 0; rc == 0 && i + 1 < RP_VFU_PCI_BARS_COUNT; i++)
		if (!is_hidden(proxy, i) && (registers[4 * i] & 0x7) == 0x4)
			proxy->bars_mask |= 1u << ++i;
	return rc;
}

static int
copy_device(struct proxy *proxy, struct rp_vfu_client_device *ret_device)
{
	struct rp_wire_why why = {0};
	uint32_t i;
	int rc = rp_vfu_client_device_info(proxy->device, ret_device, &why);

	if (rc == 0 && (!ret_device->pci || ret_device->regions_count < RP_VFU_PCI_REGIONS_COUNT))
		rc = rp_wire_why_set(&why, -ENOTSUP, "is no PCI device");
	if (rc == 0)
		rc = complete_bars(proxy, &why);
	for (i = 0; rc == 0 && i < ret_device->irqs_count; i++)
		rc = rp_vfu_client_irq_info(proxy->device, i, &proxy->irqs[i].count, &proxy->irqs[i].flags, &why);
	/* The device masks the pin when it signals past us, and would have to be told to unmask it. */
	proxy->irqs[RP_VFU_PCI_INTX_IRQ].count = 0;
	if (rc < 0)
		return complain("device", rc, &why);
	for (i = 0; rc == 0 && i < RP_VFU_PCI_REGIONS_COUNT; i++)
		rc = copy_region(proxy, i);
	return rc;
}

static int
serve(struct proxy *proxy, const char *socket_path)
{
	static const struct rp_vfu_server_ops ops = {
		.reset = on_reset, .irq_changed = on_irq_changed, .dma_changed = on_dma_changed};
	struct rp_vfu_client_device device = {0};
	struct rp_vfu_server_config config = {
		.socket_path = socket_path, .regions = proxy->regions, .irqs = proxy->irqs, .pci = true};
	struct rp_wire_why why = {0};
	int rc = copy_device(proxy, &device);

	if (rc < 0)
		return rc;
	config.regions_count = RP_VFU_PCI_REGIONS_COUNT;
	config.irqs_count = device.irqs_count;
	config.resettable = device.resettable;
	rc = rp_vfu_server_create(&config, &ops, proxy, &proxy->server, &why);
	return rc < 0 ? complain(socket_path, rc, &why) : 0;
}

static void
on_signal(int number)
{
	(void)number;
	ended = 1;
}

/* Until a signal, or until the device leaves: then there is nothing left to stand for. */
static int
run(struct proxy *proxy)
{
	struct pollfd wait[2] = {{.fd = rp_vfu_server_fd(proxy->server), .events = POLLIN},
				 {.fd = rp_vfu_client_fd(proxy->device), .events = POLLIN}};

	puts("proxy: ready");
	fflush(stdout);
	while (!ended) {
		if (poll(wait, 2, -1) < 0)
			continue;
		rp_vfu_server_process(proxy->server);
		if (rp_vfu_client_process(proxy->device) < 0 || !rp_vfu_client_connected(proxy->device))
			return complain("device", -ENOTCONN, &(struct rp_wire_why){.text = "it left"});
	}
	return 0;
}

static bool
parse(int argc, char **argv, uint32_t *ret_bars_mask)
{
	int i;

	if (argc < 3 || argv[1][0] == '-' || argv[2][0] == '-')
		return false;
	*ret_bars_mask = argc == 3 ? ALL_BARS : 0;
	for (i = 3; i < argc; i++) {
		if (strlen(argv[i]) != 1 || argv[i][0] < '0' || argv[i][0] > '5')
			return false;
		*ret_bars_mask |= 1u << (argv[i][0] - '0');
	}
	return true;
}

int
main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct rp_vfu_client_config config = {.socket_path = argc > 1 ? argv[1] : NULL};
	static struct proxy proxy;
	struct rp_wire_why why = {0};
	int rc;

	if (!parse(argc, argv, &proxy.bars_mask)) {
		fprintf(stderr, "usage: proxy DEVICE-SOCKET SOCKET [BAR...]\n");
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	rc = rp_vfu_client_create(&config, NULL, NULL, &proxy.device, &why);
	if (rc < 0)
		complain(argv[1], rc, &why);
	if (rc == 0)
		rc = serve(&proxy, argv[2]);
	if (rc == 0)
		rc = run(&proxy);
	/* The client's memory and eventfds are taken from the device by the callbacks. */
	proxy.server = rp_vfu_server_destroy(proxy.server);
	rp_vfu_client_destroy(proxy.device);
	free(proxy.maps);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
