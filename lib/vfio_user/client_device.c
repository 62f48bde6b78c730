/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "vfu_client.h"

/* Room for the capabilities of nearly every region; a reply that needs more says so, and is asked for again. */
#define FIRST_ARGSZ_BYTES 1024
#define PCI_REGIONS_MIN (RP_VFU_PCI_CONFIG_REGION + 1)
#define PCI_IRQS_MIN (RP_VFU_PCI_MSIX_IRQ + 1)

static int
check_device(const struct rp_vfu_wire_device_info *info, struct rp_wire_why *why)
{
	bool pci = (info->flags & RP_VFU_DEVICE_FLAG_PCI_MASK) != 0;

	if (info->regions_count > RP_VFU_REGIONS_MAX || (pci && info->regions_count < PCI_REGIONS_MIN))
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_GET_INFO: reply: %u regions, expected %u to %u",
				       info->regions_count, pci ? PCI_REGIONS_MIN : 0, RP_VFU_REGIONS_MAX);
	if (info->irqs_count > RP_VFU_IRQ_INDICES_MAX || (pci && info->irqs_count < PCI_IRQS_MIN))
		return rp_wire_why_set(why, -EBADMSG, "DEVICE_GET_INFO: reply: %u interrupts, expected %u to %u",
				       info->irqs_count, pci ? PCI_IRQS_MIN : 0, RP_VFU_IRQ_INDICES_MAX);
	return 0;
}

int
rp_vfu_client_learn_device(struct rp_vfu_client *client, struct rp_wire_why *why)
{
	struct rp_vfu_wire_device_info info = {.argsz = sizeof(info)};
	struct rp_vfu_call call = {
		.command = RP_VFU_DEVICE_GET_INFO,
		.payload = &info,
		.payload_bytes = sizeof(info),
	};
	uint32_t i;
	int rc;

	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	if (client->device_known)
		return 0;
	rc = rp_vfu_client_call(client, &call, why);
	if (rc < 0)
		return rc;
	memcpy(&info, call.reply.payload, sizeof(info));
	rc = check_device(&info, why);
	if (rc < 0)
		return rc;
	client->regions = calloc(info.regions_count + 1, sizeof(*client->regions));
	if (client->regions == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for %u regions", info.regions_count);
	for (i = 0; i < info.regions_count; i++)
		client->regions[i].fd = -1;
	client->device = (struct rp_vfu_client_device){
		.regions_count = info.regions_count,
		.irqs_count = info.irqs_count,
		.pci = (info.flags & RP_VFU_DEVICE_FLAG_PCI_MASK) != 0,
		.resettable = (info.flags & RP_VFU_DEVICE_FLAG_RESET_MASK) != 0,
	};
	client->device_known = true;
	return 0;
}

int
rp_vfu_client_device_info(struct rp_vfu_client *client, struct rp_vfu_client_device *ret_device,
			  struct rp_wire_why *why)
{
	int rc = rp_vfu_client_learn_device(client, why);

	if (rc == 0)
		*ret_device = client->device;
	return rc;
}

/* What a region looks like to our caller; takes the reply's areas and the descriptor. */
static int
remember(struct rp_vfu_region_cache *cache, struct rp_vfu_region_reply *reply, int *fd, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_region_info *info = &reply->info;
	bool mappable = (info->flags & RP_VFU_REGION_FLAG_MMAP_MASK) != 0;

	if (mappable && reply->areas == NULL) {
		reply->areas = calloc(1, sizeof(*reply->areas));
		if (reply->areas == NULL)
			return rp_wire_why_set(why, -ENOMEM, "no memory for an area");
		reply->areas[0].size_bytes = info->size_bytes;
		reply->areas_count = 1;
	}
	cache->areas = reply->areas;
	cache->fd = rp_wire_fd_take(fd);
	cache->region = (struct rp_vfu_client_region){
		.size_bytes = info->size_bytes,
		.readable = (info->flags & RP_VFU_REGION_FLAG_READ_MASK) != 0,
		.writable = (info->flags & RP_VFU_REGION_FLAG_WRITE_MASK) != 0,
		.fd = cache->fd,
		.fd_offset_bytes = mappable ? info->offset_bytes : 0,
		.areas_count = mappable ? reply->areas_count : 0,
		.areas = mappable ? cache->areas : NULL,
	};
	cache->known = true;
	return 0;
}

static int
judge(struct rp_vfu_client *client, uint32_t region, const struct rp_vfu_call *call, struct rp_wire_why *why)
{
	bool bar = client->device.pci && region < RP_VFU_PCI_BARS_COUNT;
	unsigned int fds_wanted;
	struct rp_vfu_region_reply reply;
	int rc = rp_vfu_region_reply_parse(call->reply.payload, call->reply.payload_bytes, region, bar, &reply, why);

	if (rc < 0)
		return rc;
	fds_wanted = (reply.info.flags & RP_VFU_REGION_FLAG_MMAP_MASK) != 0 ? 1 : 0;
	if (call->reply.fds_count != fds_wanted)
		rc = rp_wire_why_set(why, -EBADMSG, "descriptors: %u, expected %u", call->reply.fds_count, fds_wanted);
	if (rc == 0 && fds_wanted > 0)
		rc = rp_vfu_region_reply_check_file(&reply, call->msg->fds[0], why);
	if (rc == 0) {
		int none = -1;

		rc = remember(&client->regions[region], &reply, fds_wanted > 0 ? &call->msg->fds[0] : &none, why);
	}
	if (rc < 0)
		free(reply.areas);
	return rc;
}

static int
ask_region(struct rp_vfu_client *client, uint32_t region, uint32_t argsz, struct rp_vfu_call *ret_call,
	   uint32_t *ret_needed_bytes, struct rp_wire_why *why)
{
	struct rp_vfu_wire_region_info info = {.argsz = argsz, .index = region};
	struct rp_vfu_call call = {
		.command = RP_VFU_DEVICE_GET_REGION_INFO,
		.payload = &info,
		.payload_bytes = sizeof(info),
	};
	int rc = rp_vfu_client_call(client, &call, why);

	if (rc < 0)
		return rc;
	call.payload = NULL;
	memcpy(ret_needed_bytes, call.reply.payload, sizeof(*ret_needed_bytes));
	*ret_call = call;
	return 0;
}

static int
learn_region(struct rp_vfu_client *client, uint32_t region, struct rp_wire_why *why)
{
	const struct rp_vfu_msg *row = rp_vfu_msg_find(RP_VFU_DEVICE_GET_REGION_INFO);
	struct rp_vfu_call call;
	uint32_t needed_bytes;
	int rc = ask_region(client, region, FIRST_ARGSZ_BYTES, &call, &needed_bytes, why);

	if (rc == 0 && needed_bytes > call.reply.payload_bytes && needed_bytes <= row->reply_max_bytes) {
		rp_wire_msg_drop(call.msg);
		rc = ask_region(client, region, needed_bytes, &call, &needed_bytes, why);
	}
	if (rc < 0)
		return rc;
	if (needed_bytes != call.reply.payload_bytes)
		rc = rp_wire_why_set(why, -EBADMSG, "argsz: %u, in a reply of %u bytes", needed_bytes,
				     call.reply.payload_bytes);
	if (rc == 0)
		rc = judge(client, region, &call, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "DEVICE_GET_REGION_INFO: reply: region %u: ", region);
	rp_wire_msg_drop(call.msg);
	return rc;
}

int
rp_vfu_client_region_info(struct rp_vfu_client *client, uint32_t region, struct rp_vfu_client_region *ret_region,
			  struct rp_wire_why *why)
{
	int rc = rp_vfu_client_learn_device(client, why);

	if (rc < 0)
		return rc;
	if (region >= client->device.regions_count)
		return rp_wire_why_set(why, -EINVAL, "region %u, the device has %u", region,
				       client->device.regions_count);
	if (!client->regions[region].known) {
		rc = learn_region(client, region, why);
		if (rc < 0)
			return rc;
	}
	*ret_region = client->regions[region].region;
	return 0;
}

int
rp_vfu_client_irq_info(struct rp_vfu_client *client, uint32_t irq_index, uint32_t *ret_count, uint32_t *ret_flags,
		       struct rp_wire_why *why)
{
	struct rp_vfu_wire_irq_info info = {.argsz = sizeof(info), .index = irq_index};
	struct rp_vfu_call call = {
		.command = RP_VFU_DEVICE_GET_IRQ_INFO,
		.payload = &info,
		.payload_bytes = sizeof(info),
	};
	int rc = rp_vfu_client_learn_device(client, why);

	if (rc < 0)
		return rc;
	if (irq_index >= client->device.irqs_count)
		return rp_wire_why_set(why, -EINVAL, "interrupt index %u, the device has %u", irq_index,
				       client->device.irqs_count);
	rc = rp_vfu_client_call(client, &call, why);
	if (rc < 0)
		return rc;
	memcpy(&info, call.reply.payload, sizeof(info));
	if (info.index != irq_index || info.count > RP_VFU_IRQ_VECTORS_MAX)
		return rp_wire_why_set(why, -EBADMSG,
				       "DEVICE_GET_IRQ_INFO: reply: %u vectors of index %u, expected at most %u of %u",
				       info.count, info.index, RP_VFU_IRQ_VECTORS_MAX, irq_index);
	*ret_count = info.count;
	*ret_flags = info.flags;
	return 0;
}

int
rp_vfu_client_reset(struct rp_vfu_client *client, struct rp_wire_why *why)
{
	struct rp_vfu_call call = {.command = RP_VFU_DEVICE_RESET};

	return rp_vfu_client_call(client, &call, why);
}
