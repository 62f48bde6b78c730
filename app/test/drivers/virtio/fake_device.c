/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "fake_device.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"

#define STATUS_FEATURES_OK 0x08u
#define STATUS_DRIVER_OK 0x04u
#define NO_VECTOR 0xffffu

static struct fake_queue *
selected(struct fake_device *fake)
{
	assert_true(fake->queue_select < FAKE_QUEUES_MAX);
	return &fake->queues[fake->queue_select];
}

static void
reset(struct fake_device *fake)
{
	unsigned int i;

	fake->status = 0;
	fake->driver_features = 0;
	fake->has_mq = false;
	fake_ctrl_reset(fake);
	fake->config_vector = NO_VECTOR;
	for (i = 0; i < FAKE_QUEUES_MAX; i++) {
		struct fake_queue *queue = &fake->queues[i];

		queue->size = queue->size_max;
		queue->vector = NO_VECTOR;
		queue->enable = 0;
		queue->position = 0;
		queue->control = RP_ACCEL_VENDOR_STOPPED;
		queue->doorbell = RP_ACCEL_VENDOR_DOORBELL_ANY;
	}
	memset(fake->wishes, 0xff, sizeof(fake->wishes));
}

static uint16_t
shown_queues(const struct fake_device *fake)
{
	return fake->num_queues_without_mq == 0 || fake->has_mq ? fake->num_queues : fake->num_queues_without_mq;
}

static uint64_t
read_status(const struct fake_device *fake)
{
	return (fake->status & STATUS_DRIVER_OK) != 0 ? fake->status | fake->lies.status_or : fake->status;
}

/* virtio 1.2, 4.1.4.3; *ret_width says how wide the register is. */
static uint64_t
read_common(struct fake_device *fake, uint64_t at, unsigned int *ret_width)
{
	const struct fake_queue *queue = selected(fake);

	*ret_width = 2;
	switch (at) {
	case 4:
		*ret_width = 4;
		return fake->device_select < 2 ? fake->features >> 32 * fake->device_select & 0xffffffffu : 0;
	case 16:
		return fake->config_vector;
	case 18:
		return shown_queues(fake);
	case 20:
		*ret_width = 1;
		return read_status(fake);
	case 21:
		*ret_width = 1;
		return fake->lies.generation_runs ? fake->generation++ : fake->generation;
	case 24:
		return fake->queue_select < shown_queues(fake) ? queue->size : 0;
	case 26:
		return queue->vector;
	case 28:
		return queue->enable;
	case 30:
		return queue->notify_off;
	case 58:
		return fake->queue_reset_busy;
	default:
		fail_msg("read of common register %u", (unsigned int)at);
		return 0;
	}
}

static void
write_status(struct fake_device *fake, uint8_t status)
{
	if (status == 0) {
		if (!fake->lies.reset_ignored)
			reset(fake);
		return;
	}
	if ((status & STATUS_FEATURES_OK) != 0 && (fake->driver_features & FAKE_MQ) != 0)
		fake->has_mq = true;
	if (fake->lies.features_refused)
		status &= (uint8_t)~STATUS_FEATURES_OK;
	fake->status = status;
}

static void
write_half(uint64_t *value, bool high, uint64_t half)
{
	*value = high ? (*value & 0xffffffffu) | half << 32 : (*value & ~0xffffffffull) | half;
}

static void
write_enable(struct fake_device *fake, uint64_t value)
{
	assert_int_equal(value, 1);
	if (fake->lies.enable_refused)
		return;
	selected(fake)->enable = 1;
	if ((fake->driver_features & FAKE_CTRL_VQ) != 0 && fake->queue_select == fake_ctrl_index(fake))
		fake_ctrl_start(fake);
	selected(fake)->control = RP_ACCEL_VENDOR_RUNNING;
}

static void
write_queue_reset(struct fake_device *fake, uint64_t value)
{
	assert_int_equal(value, 1);
	fake->queue_reset_busy = fake->lies.queue_reset_stuck;
	if (fake->lies.enable_kept)
		return;
	selected(fake)->enable = 0;
	if (fake->queue_select != fake_ctrl_index(fake))
		return;
	fake->ctrl.running = false;
	fake->ctrl.resets_count++;
}

static unsigned int
write_common(struct fake_device *fake, uint64_t at, uint64_t value)
{
	struct fake_queue *queue = selected(fake);

	switch (at) {
	case 0:
		fake->device_select = (uint32_t)value;
		return 4;
	case 8:
		fake->driver_select = (uint32_t)value;
		return 4;
	case 12:
		write_half(&fake->driver_features, fake->driver_select == 1, value);
		return 4;
	case 16:
		fake->config_vector = (uint16_t)value;
		return 2;
	case 20:
		write_status(fake, (uint8_t)value);
		return 1;
	case 22:
		fake->queue_select = (uint16_t)value;
		return 2;
	case 24:
		if (!fake->lies.size_refused)
			queue->size = (uint16_t)value;
		return 2;
	case 26:
		queue->vector = fake->lies.vector_refused ? NO_VECTOR : (uint16_t)value;
		return 2;
	case 28:
		write_enable(fake, value);
		return 2;
	case 32:
	case 36:
		write_half(&queue->desc, at == 36, value);
		return 4;
	case 40:
	case 44:
		write_half(&queue->driver, at == 44, value);
		return 4;
	case 48:
	case 52:
		write_half(&queue->device, at == 52, value);
		return 4;
	case 58:
		write_queue_reset(fake, value);
		return 2;
	default:
		fail_msg("write of common register %u", (unsigned int)at);
		return 0;
	}
}

static uint64_t
fake_wishes_at(const struct fake_device *fake)
{
	return sizeof(fake->vendor) + (uint64_t)fake->vendor.stride_bytes * fake->vendor.queues_count;
}

static uint64_t
read_vendor(struct fake_device *fake, uint64_t at, unsigned int *ret_width)
{
	static const unsigned int header_widths[16] = {[0] = 4, [4] = 2, [6] = 2, [8] = 4, [12] = 4};
	struct fake_queue *queue;
	uint64_t value = 0, field;

	if (at < sizeof(fake->vendor)) {
		*ret_width = header_widths[at];
		memcpy(&value, (uint8_t *)&fake->vendor + at, *ret_width);
		return value;
	}
	if (at >= fake_wishes_at(fake)) {
		*ret_width = 4;
		return fake->wishes[(at - fake_wishes_at(fake)) / 4];
	}
	queue = &fake->queues[(at - sizeof(fake->vendor)) / fake->vendor.stride_bytes];
	field = (at - sizeof(fake->vendor)) % fake->vendor.stride_bytes;
	*ret_width = field < 8 ? 4 : 8;
	if (field == 0)
		return queue->position ^ fake->lies.position_xor;
	if (field == 4) {
		if (queue->control == RP_ACCEL_VENDOR_STOPPING && fake->lies.stopping_reads-- == 0)
			queue->control = RP_ACCEL_VENDOR_STOPPED;
		return queue->control;
	}
	return queue->counters[(field - 8) / 8];
}

static void
write_vendor(struct fake_device *fake, uint64_t at, uint64_t value)
{
	struct fake_queue *queue = &fake->queues[(at - sizeof(fake->vendor)) / fake->vendor.stride_bytes];

	if ((at - sizeof(fake->vendor)) % fake->vendor.stride_bytes == 0) {
		assert_int_equal(queue->control, RP_ACCEL_VENDOR_STOPPED);
		queue->position = (uint32_t)value;
		return;
	}
	if ((at - sizeof(fake->vendor)) % fake->vendor.stride_bytes == 56) {
		assert_true((fake->vendor.flags & RP_ACCEL_VENDOR_DOORBELL_MASK) != 0);
		queue->doorbell = (uint32_t)value;
		queue->doorbells_told++;
		return;
	}
	assert_int_equal((at - sizeof(fake->vendor)) % fake->vendor.stride_bytes, 4);
	assert_int_equal(value, RP_ACCEL_VENDOR_STOP);
	if (fake->lies.stop_ignored)
		return;
	queue->control = fake->lies.stopping_reads > 0 ? RP_ACCEL_VENDOR_STOPPING : RP_ACCEL_VENDOR_STOPPED;
	if (!fake->lies.enable_kept)
		queue->enable = 0;
}

/* Whether the connection still works. */
static int
access_device(struct fake_device *fake, struct rp_wire_why *why)
{
	fake->accesses_count++;
	if (fake->lies.fail_after != 0 && fake->accesses_count > fake->lies.fail_after)
		return rp_wire_why_set(why, fake->lies.fail_error, "the fake fails");
	return 0;
}

static int
region_read(void *priv, uint32_t region, uint64_t at, uint32_t count, void *ret_bytes, struct rp_wire_why *why)
{
	struct fake_device *fake = priv;
	unsigned int width = 0;
	uint64_t value = 0;
	uint8_t *bytes = ret_bytes;
	unsigned int i;
	int rc = access_device(fake, why);

	if (rc < 0)
		return rc;
	assert_true(at + count <= fake->region_sizes[region]);
	if (region == RP_ACCEL_TRANSPORT_CONFIG_REGION) {
		memcpy(ret_bytes, fake->config_space + at, count);
		return 0;
	}
	assert_int_equal(region, FAKE_BAR_REGISTERS);
	if (fake->lies.all_ones) {
		memset(ret_bytes, 0xff, count);
		return 0;
	}
	if (at >= FAKE_CONFIG && at < FAKE_VENDOR) {
		memcpy(ret_bytes, fake->net_config + (at - FAKE_CONFIG), count);
		return 0;
	}
	value = at < FAKE_ISR ? read_common(fake, at, &width) : read_vendor(fake, at - FAKE_VENDOR, &width);
	assert_int_equal(count, width);
	for (i = 0; i < count; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
	return 0;
}

static int
region_write(void *priv, uint32_t region, uint64_t at, uint32_t count, const void *bytes, struct rp_wire_why *why)
{
	struct fake_device *fake = priv;
	const uint8_t *from = bytes;
	uint64_t value = 0;
	unsigned int i;
	int rc = access_device(fake, why);

	if (rc < 0)
		return rc;
	assert_true(at + count <= fake->region_sizes[region]);
	for (i = 0; i < count; i++)
		value |= (uint64_t)from[i] << 8 * i;
	if (region == RP_ACCEL_TRANSPORT_CONFIG_REGION) {
		memcpy(fake->config_space + at, bytes, count);
	} else if (region == FAKE_BAR_NOTIFY) {
		assert_int_equal(count, 2);
		fake->doorbell_messages_count++;
		fake->doorbell_value = (uint16_t)value;
		fake->doorbell_offset = at;
		if (at == (uint64_t)fake->queues[fake_ctrl_index(fake)].notify_off * FAKE_PAGE && fake->ctrl.running) {
			assert_int_equal(value, fake_ctrl_index(fake));
			fake_ctrl_kick(fake);
		}
	} else if (at < FAKE_ISR) {
		assert_int_equal(count, write_common(fake, at, value));
	} else {
		assert_int_equal(count, 4);
		write_vendor(fake, at - FAKE_VENDOR, value);
	}
	return 0;
}

static int
region_size(void *priv, uint32_t region, uint64_t *ret_size_bytes, struct rp_wire_why *why)
{
	struct fake_device *fake = priv;

	*ret_size_bytes = region < 9 ? fake->region_sizes[region] : 0;
	return access_device(fake, why);
}

static int
region_window(void *priv, uint32_t region, uint64_t at, uint64_t size_bytes,
	      struct rp_accel_transport_window *ret_window, struct rp_wire_why *why)
{
	struct fake_device *fake = priv;

	if (fake->lies.window_error != 0)
		return rp_wire_why_set(why, fake->lies.window_error, "region %u is not mmap-able", region);
	assert_int_equal(region, FAKE_BAR_NOTIFY);
	ret_window->fd = fake->notify_fd;
	ret_window->offset_bytes = at + fake->lies.window_skew_bytes;
	ret_window->size_bytes = size_bytes;
	return 0;
}

static int
region_io_fd(void *priv, uint32_t region, uint64_t at, uint64_t size_bytes, uint64_t value, int *ret_fd,
	     struct rp_wire_why *why)
{
	struct fake_device *fake = priv;

	assert_in_range(value, 0, FAKE_QUEUES_MAX - 1);
	fake->io_fds_at[value] = at;
	assert_int_equal(region, FAKE_BAR_NOTIFY);
	assert_int_equal(size_bytes, 2);
	if (!fake->has_io_fds)
		return rp_wire_why_set(why, -ENOENT, "no eventfd");
	*ret_fd = rp_wire_fd_dup(fake->io_fd);
	return 0;
}

static int
irq_set(void *priv, uint32_t vector, int eventfd, struct rp_wire_why *why)
{
	struct fake_device *fake = priv;

	if (fake->lies.irq_error != 0)
		return rp_wire_why_set(why, fake->lies.irq_error, "vector %u refused", vector);
	assert_true(vector < fake->info.msix_count);
	fake->irq_fds[vector] = eventfd;
	fake->irq_sets_count++;
	return access_device(fake, why);
}

static int
bus_reset(void *priv, struct rp_wire_why *why)
{
	struct fake_device *fake = priv;
	int rc = access_device(fake, why);

	fake->bus_resets_count++;
	if (rc == 0 && fake->lies.bus_reset_heals) {
		fake->lies.reset_ignored = false;
		fake->config_space[4] = 0;
		reset(fake);
	}
	return rc;
}

static void
get_info(void *priv, struct rp_accel_transport_info *ret_info)
{
	const struct fake_device *fake = priv;

	*ret_info = fake->info;
}

static int
get_fd(void *priv)
{
	(void)priv;
	return -1;
}

static int
process(void *priv, struct rp_wire_why *why)
{
	struct fake_device *fake = priv;

	fake_ctrl_process(fake);
	return fake->process_error == 0 ? 0 : rp_wire_why_set(why, fake->process_error, "the fake left");
}

static bool
is_quiet(void *priv)
{
	const struct fake_device *fake = priv;

	return fake->quiet;
}

static void
close_fake(void *priv)
{
	struct fake_device *fake = priv;

	fake->closes_count++;
	if (fake->is_elsewhere)
		return;
	memset(fake->maps, 0, sizeof(fake->maps));
	rp_dma_space_clear(fake->ctrl.space);
}

static int
give(void *priv, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	const struct fake_device *fake = priv;

	if (fake->lies.give_error != 0)
		return rp_wire_why_set(why, fake->lies.give_error, "the fake cannot be given away");
	rp_wire_parcel_put_number(parcel, "fake", 1);
	return 0;
}

static void
leave(void *priv)
{
	(void)priv;
}

static const struct rp_accel_transport_ops fake_ops = {
	.get_info = get_info,
	.region_size = region_size,
	.region_read = region_read,
	.region_write = region_write,
	.region_window = region_window,
	.region_io_fd = region_io_fd,
	.irq_set = irq_set,
	.dma_map = fake_dma_map,
	.dma_unmap = fake_dma_unmap,
	.reset = bus_reset,
	.get_fd = get_fd,
	.process = process,
	.is_quiet = is_quiet,
	.close = close_fake,
	.give = give,
	.leave = leave,
};

struct rp_accel_transport
fake_transport(struct fake_device *fake)
{
	struct rp_accel_transport transport = {.ops = &fake_ops, .priv = fake};

	return fake->takes_many ? fake_many(&transport) : transport;
}

void
fake_put_u32(struct fake_device *fake, unsigned int at, uint32_t value)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		fake->config_space[at + i] = (uint8_t)(value >> 8 * i);
}

static void
put_cap(struct fake_device *fake, unsigned int at, unsigned int next, uint8_t length, uint8_t type, uint8_t bar,
	uint32_t offset_bytes, uint32_t length_bytes)
{
	uint8_t *cap = &fake->config_space[at];

	cap[0] = 0x09;
	cap[1] = (uint8_t)next;
	cap[2] = length;
	cap[3] = type;
	cap[4] = bar;
	fake_put_u32(fake, at + 8, offset_bytes);
	fake_put_u32(fake, at + 12, length_bytes);
}

static void
init_config_space(struct fake_device *fake)
{
	fake_put_u32(fake, 0x00, 0x10411af4);
	fake_put_u32(fake, 0x04, 0x00100000);
	fake->config_space[0x34] = FAKE_CAP_COMMON;
	put_cap(fake, FAKE_CAP_COMMON, FAKE_CAP_NOTIFY, 16, 1, FAKE_BAR_REGISTERS, FAKE_COMMON, 64);
	put_cap(fake, FAKE_CAP_NOTIFY, FAKE_CAP_ISR, 20, 2, FAKE_BAR_NOTIFY, 0, 4 * FAKE_PAGE);
	fake_put_u32(fake, FAKE_CAP_NOTIFY + 16, FAKE_PAGE);
	put_cap(fake, FAKE_CAP_ISR, FAKE_CAP_CONFIG, 16, 3, FAKE_BAR_REGISTERS, FAKE_ISR, 4);
	put_cap(fake, FAKE_CAP_CONFIG, FAKE_CAP_VENDOR, 16, 4, FAKE_BAR_REGISTERS, FAKE_CONFIG, 64);
	put_cap(fake, FAKE_CAP_VENDOR, FAKE_CAP_MSIX, 16, 9, 0x50, FAKE_VENDOR, 0x1000);
	fake->config_space[FAKE_CAP_VENDOR + 5] = 0x52;
	fake->config_space[FAKE_CAP_VENDOR + 6] = FAKE_BAR_REGISTERS;
	fake->config_space[FAKE_CAP_MSIX] = 0x11;
	fake->config_space[FAKE_CAP_MSIX + 2] = 4;
	fake_put_u32(fake, FAKE_CAP_MSIX + 4, FAKE_BAR_MSIX);
	fake_put_u32(fake, FAKE_CAP_MSIX + 8, 0x800 | FAKE_BAR_MSIX);
}

void
fake_init(struct fake_device *fake)
{
	static const uint8_t mac[6] = {0x02, 1, 2, 3, 4, 5};
	unsigned int i;

	memset(fake, 0, sizeof(*fake));
	init_config_space(fake);
	fake->region_sizes[FAKE_BAR_MSIX] = 0x1000;
	fake->region_sizes[FAKE_BAR_REGISTERS] = 0x8000;
	fake->region_sizes[FAKE_BAR_NOTIFY] = 4 * FAKE_PAGE;
	fake->region_sizes[RP_ACCEL_TRANSPORT_CONFIG_REGION] = 256;
	fake->features = FAKE_VERSION_1 | FAKE_MAC | FAKE_ACCESS_PLATFORM | FAKE_ORDER_PLATFORM;
	fake->num_queues = 4;
	for (i = 0; i < FAKE_QUEUES_MAX; i++) {
		fake->queues[i].size_max = 256;
		fake->queues[i].notify_off = (uint16_t)i;
	}
	for (i = 0; i < FAKE_VECTORS_MAX; i++)
		fake->irq_fds[i] = -1;
	memcpy(fake->net_config, mac, sizeof(mac));
	fake->vendor = (struct rp_accel_vendor_header){
		.magic = RP_ACCEL_VENDOR_MAGIC,
		.version = RP_ACCEL_VENDOR_VERSION,
		.stride_bytes = 64,
		.queues_count = 4,
		.flags = RP_ACCEL_VENDOR_RING_STATE_MASK | RP_ACCEL_VENDOR_NOTIFY_ADDRESS_MASK |
			 RP_ACCEL_VENDOR_COUNTERS_MASK,
	};
	strcpy(fake->info.name, "fake");
	strcpy(fake->info.device, "memory");
	fake->info.msix_count = 5;
	fake->info.vfio_file_fd = -1;
	fake_ctrl_init(fake);
	fake->notify_fd = test_memfd(4 * FAKE_PAGE, true);
	fake->io_fd = eventfd(0, EFD_CLOEXEC);
	reset(fake);
}

void
fake_fini(struct fake_device *fake)
{
	rp_wire_fd_close(&fake->notify_fd);
	rp_wire_fd_close(&fake->io_fd);
	fake_ctrl_fini(fake);
}

void
fake_add_control(struct fake_device *fake)
{
	fake->features |= FAKE_CONTROL;
	fake->num_queues = 5;
	fake->queues[4].size_max = fake->queues[4].size = FAKE_CTRL_SIZE;
	fake->net_config[8] = 2;
	/* A page for its doorbell, a vector for the configuration. */
	fake_put_u32(fake, FAKE_CAP_NOTIFY + 12, 5 * FAKE_PAGE);
	fake->region_sizes[FAKE_BAR_NOTIFY] = 5 * FAKE_PAGE;
	fake->info.msix_count = 5;
}

void
fake_remove_vendor(struct fake_device *fake)
{
	/* vendor_id: another's */
	fake->config_space[FAKE_CAP_VENDOR + 4] = 0x34;
	fake->config_space[FAKE_CAP_VENDOR + 5] = 0x12;
	fake->features |= FAKE_RING_RESET;
}
