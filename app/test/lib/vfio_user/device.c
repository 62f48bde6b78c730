/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"

static int
read_bytes(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, uint8_t *ret_bytes)
{
	struct device *device = ctx;

	if (device->fail_with != 0)
		return device->fail_with;
	memcpy(ret_bytes, (region == 7 ? device->config : device->registers) + offset_bytes, count_bytes);
	return 0;
}

static int
write_bytes(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, const uint8_t *bytes)
{
	struct device *device = ctx;

	if (device->fail_with != 0)
		return device->fail_with;
	memcpy((region == 7 ? device->config : device->registers) + offset_bytes, bytes, count_bytes);
	if (device->trigger_vector >= 0)
		(void)rp_vfu_server_irq_trigger(device->server, 2, (uint32_t)device->trigger_vector);
	return 0;
}

static int
on_reset(void *ctx)
{
	struct device *device = ctx;

	device->resets++;
	return device->fail_with;
}

static void
on_irq_changed(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd)
{
	struct device *device = ctx;

	device->irq_changes++;
	device->irq_fds[irq_index][vector] = eventfd;
}

static void
on_dma_changed(void *ctx)
{
	((struct device *)ctx)->dma_changes++;
}

static void
on_connected(void *ctx)
{
	((struct device *)ctx)->connects++;
}

static void
on_leaving(void *ctx)
{
	struct device *device = ctx;

	device->leavings++;
	device->leaving_maps = rp_dma_space_count(rp_vfu_server_dma(device->server));
	if (device->leavings != device->disconnects + 1)
		fail_msg("leaving %u after %u disconnects", device->leavings, device->disconnects);
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct device *device = ctx;

	device->disconnects++;
	device->last_disconnect = *why;
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	struct device *device = ctx;

	device->refusals++;
	device->last_refusal = *why;
}

const struct rp_vfu_server_ops device_ops = {
	.reset = on_reset,
	.irq_changed = on_irq_changed,
	.dma_changed = on_dma_changed,
	.connected = on_connected,
	.leaving = on_leaving,
	.disconnected = on_disconnected,
	.refused = on_refused,
};

void
device_init(struct device *device)
{
	memset(device, 0, sizeof(*device));
	memset(device->irq_fds, 0xff, sizeof(device->irq_fds));
	device->trigger_vector = -1;
	device->sparse_fd = test_memfd(0x10000, false);
	device->memory_fd = test_memfd(0x3000, false);
	device->kick_fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	device->kick_fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void
device_describe(struct device *device, struct device_description *ret_description)
{
	struct device_description *d = ret_description;
	unsigned int i;

	memset(d, 0, sizeof(*d));
	for (i = 0; i < 9; i++)
		d->regions[i].fd = -1;
	d->io_fds[0] = (struct rp_vfu_io_fd){.offset_bytes = 0x10, .size_bytes = 4, .fd = device->kick_fds[0]};
	d->io_fds[1] = (struct rp_vfu_io_fd){.offset_bytes = 0x20, .size_bytes = 0, .fd = device->kick_fds[1]};
	d->areas[0] = (struct rp_vfu_area){.offset_bytes = 0x1000, .size_bytes = 0x1000};
	d->areas[1] = (struct rp_vfu_area){.offset_bytes = 0x4000, .size_bytes = 0x2000};
	d->regions[0] = (struct rp_vfu_region){.size_bytes = 0x1000,
					       .readable = true,
					       .writable = true,
					       .fd = -1,
					       .io_fds = d->io_fds,
					       .io_fds_count = 2,
					       .read = read_bytes,
					       .write = write_bytes};
	d->regions[2] = (struct rp_vfu_region){.size_bytes = 0x10000,
					       .readable = true,
					       .writable = true,
					       .fd = device->sparse_fd,
					       .areas = d->areas,
					       .areas_count = 2};
	d->regions[4] = (struct rp_vfu_region){
		.size_bytes = 0x2000, .readable = true, .fd = device->memory_fd, .fd_offset_bytes = 0x1000};
	d->regions[7] = (struct rp_vfu_region){.size_bytes = 256,
					       .readable = true,
					       .writable = true,
					       .fd = -1,
					       .read = read_bytes,
					       .write = write_bytes};
	d->irqs[0] = (struct rp_vfu_irq_type){.count = 1, .flags = 0x7};
	d->irqs[2] = (struct rp_vfu_irq_type){.count = DEVICE_MSIX_COUNT, .flags = 0x9};
	d->irqs[3] = (struct rp_vfu_irq_type){.count = 1, .flags = 0x1};
	d->irqs[4] = (struct rp_vfu_irq_type){.count = DEVICE_REQ_COUNT, .flags = 0x3};
	d->config = (struct rp_vfu_server_config){.socket_path = test_socket_path(),
						  .regions_count = 9,
						  .regions = d->regions,
						  .irqs_count = 5,
						  .irqs = d->irqs,
						  .pci = true,
						  .resettable = true};
}

void
device_start(struct device *device)
{
	struct device_description description;
	struct rp_wire_why why;

	device_init(device);
	device_describe(device, &description);
	assert_int_equal(rp_vfu_server_create(&description.config, &device_ops, device, &device->server, &why), 0);
	/* The server keeps a copy; nothing may point here any more. */
	memset(&description, 0x5a, sizeof(description));
}

void
device_restart(struct device *device, const struct device_description *description)
{
	struct rp_wire_why why;

	device->server = rp_vfu_server_destroy(device->server);
	assert_int_equal(rp_vfu_server_create(&description->config, &device_ops, device, &device->server, &why), 0);
}

void
device_close(struct device *device)
{
	device->server = rp_vfu_server_destroy(device->server);
	close(device->sparse_fd);
	close(device->memory_fd);
	close(device->kick_fds[0]);
	close(device->kick_fds[1]);
}

void
device_turn(void *ctx)
{
	assert_int_equal(rp_vfu_server_process(((struct device *)ctx)->server), 0);
}

void
device_connect(struct device *device, struct peer *peer)
{
	*peer = (struct peer){.turn = device_turn, .ctx = device};
	peer_connect(peer, test_socket_path());
	device_turn(device);
}

void
device_negotiate_as(struct peer *peer, const char *capabilities)
{
	struct peer_msg *reply = malloc(sizeof(*reply));
	uint8_t payload[1024] = {U16(0), U16(1)};
	int length = snprintf((char *)payload + 4, sizeof(payload) - 4, "{\"capabilities\":{%s}}", capabilities);

	assert_non_null(reply);
	assert_true(length > 0 && (size_t)length < sizeof(payload) - 4);
	assert_int_equal(device_ask(peer, 1, payload, 4 + (size_t)length + 1, NULL, 0, reply), 0);
	peer_msg_close(reply);
	free(reply);
}

void
device_negotiate(struct peer *peer)
{
	device_negotiate_as(peer, "\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"max_dma_maps\":65535,"
				  "\"pgsizes\":4096");
}

void
device_restart_as(struct device *device, const struct device_description *description, struct peer *peer,
		  const char *capabilities)
{
	peer_close(peer);
	device_restart(device, description);
	device_connect(device, peer);
	device_negotiate_as(peer, capabilities);
}

uint32_t
device_ask(struct peer *peer, uint16_t command, const void *payload, size_t payload_bytes, const int *fds,
	   unsigned int fds_count, struct peer_msg *ret_reply)
{
	static uint16_t id = 0x4000;

	id++;
	assert_true(peer_command(peer, id, command, COMMAND, payload, payload_bytes, fds, fds_count));
	assert_true(peer_receive(peer, ret_reply));
	assert_int_equal(ret_reply->id, id);
	assert_int_equal(ret_reply->command, command);
	if (ret_reply->flags == REPLY) {
		assert_int_equal(ret_reply->error, 0);
		return 0;
	}
	assert_int_equal(ret_reply->flags, ERROR_REPLY);
	assert_int_equal(ret_reply->payload_bytes, 0);
	assert_int_equal(ret_reply->fds_count, 0);
	assert_int_not_equal(ret_reply->error, 0);
	return ret_reply->error;
}

void
device_hang_up(struct device *device, struct peer *peer)
{
	peer_close(peer);
	device_turn(device);
	assert_false(rp_vfu_server_connected(device->server));
}
