/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <string.h>

#include "fake_device.h"

#define NO_VECTOR 0xffffu
#define ANSWER_ERROR 1u
#define DESC_BYTES 16u

unsigned int
fake_ctrl_index(const struct fake_device *fake)
{
	unsigned int pairs = fake->net_config[8] | (unsigned int)fake->net_config[9] << 8;

	/* virtio 1.2, 5.1.2 */
	return (fake->driver_features & FAKE_MQ) != 0 ? 2 * pairs : 2;
}

void
fake_ctrl_init(struct fake_device *fake)
{
	assert_int_equal(rp_dma_space_create(NULL, &fake->ctrl.space), 0);
	assert_int_equal(rp_dma_reader_create(fake->ctrl.space, &fake->ctrl.reader), 0);
	rp_dma_reader_offline(fake->ctrl.reader);
}

void
fake_ctrl_fini(struct fake_device *fake)
{
	fake->ctrl.reader = rp_dma_reader_destroy(fake->ctrl.reader);
	fake->ctrl.space = rp_dma_space_destroy(fake->ctrl.space);
}

void
fake_ctrl_reset(struct fake_device *fake)
{
	struct fake_ctrl *ctrl = &fake->ctrl;

	ctrl->running = false;
	ctrl->kicked = false;
	ctrl->pairs = 1;
	memcpy(ctrl->mac, fake->net_config, sizeof(ctrl->mac));
	ctrl->promiscuous = 1;
	ctrl->all_multicast = 0;
}

void
fake_ctrl_start(struct fake_device *fake)
{
	const struct fake_queue *queue = &fake->queues[fake_ctrl_index(fake)];
	struct fake_ctrl *ctrl = &fake->ctrl;
	const struct rp_vring_layout layout = {
		.num = queue->size,
		.desc_iova = queue->desc,
		.avail_iova = queue->driver,
		.used_iova = queue->device,
		.features = fake->driver_features,
		.notes = ctrl->notes,
	};

	/* Who waits for each answer wants no interrupt. */
	assert_int_equal(queue->vector, NO_VECTOR);
	assert_true(queue->size <= FAKE_CTRL_SIZE);
	assert_false(ctrl->running);
	rp_dma_reader_online(ctrl->reader);
	assert_int_equal(
		rp_vring_dev_init(&ctrl->ring, &layout, rp_vring_position_fresh(layout.features), ctrl->reader, NULL),
		0);
	rp_dma_reader_offline(ctrl->reader);
	ctrl->running = true;
	ctrl->starts_count++;
}

static void
read_command(const struct rp_vring_chain *chain, struct fake_command *ret_command)
{
	uint8_t bytes[32];
	uint32_t at = 0;
	unsigned int i;

	assert_true(chain->out_bytes >= 2 && chain->out_bytes <= 2 + sizeof(ret_command->data));
	assert_int_equal(chain->in_bytes, 1);
	for (i = 0; i < chain->out_count; i++) {
		memcpy(bytes + at, chain->iov[i].iov_base, chain->iov[i].iov_len);
		at += (uint32_t)chain->iov[i].iov_len;
	}
	ret_command->class = bytes[0];
	ret_command->number = bytes[1];
	ret_command->size_bytes = at - 2;
	memcpy(ret_command->data, bytes + 2, at - 2);
}

static void
assert_negotiated(const struct fake_device *fake, uint64_t feature, uint32_t size_bytes, uint32_t expected_bytes)
{
	assert_true((fake->driver_features & feature) != 0);
	assert_int_equal(size_bytes, expected_bytes);
}

/* virtio 1.2, 5.1.6.5 */
static void
obey(struct fake_device *fake, const struct fake_command *command)
{
	struct fake_ctrl *ctrl = &fake->ctrl;

	switch (command->class << 8 | command->number) {
	case 0x0000:
		assert_negotiated(fake, FAKE_CTRL_RX, command->size_bytes, 1);
		ctrl->promiscuous = command->data[0];
		break;
	case 0x0001:
		assert_negotiated(fake, FAKE_CTRL_RX, command->size_bytes, 1);
		ctrl->all_multicast = command->data[0];
		break;
	case 0x0101:
		assert_negotiated(fake, FAKE_CTRL_MAC_ADDR, command->size_bytes, 6);
		memcpy(ctrl->mac, command->data, 6);
		break;
	case 0x0400:
		assert_negotiated(fake, FAKE_MQ, command->size_bytes, 2);
		ctrl->pairs = (uint16_t)(command->data[0] | command->data[1] << 8);
		break;
	default:
		fail_msg("control command %u %u", command->class, command->number);
	}
}

static uint8_t
answer(struct fake_device *fake, const struct fake_command *command)
{
	struct fake_ctrl *ctrl = &fake->ctrl;

	if (ctrl->commands_count < FAKE_COMMANDS_MAX)
		ctrl->commands[ctrl->commands_count] = *command;
	ctrl->commands_count++;
	if (fake->lies.ctrl_refused_after != 0 && ctrl->commands_count > fake->lies.ctrl_refused_after)
		return ANSWER_ERROR;
	if (fake->lies.ctrl_refuses_ones && command->data[0] == 1 &&
	    fake->lies.ctrl_refused == ((unsigned int)command->class << 8 | command->number))
		return ANSWER_ERROR;
	obey(fake, command);
	return fake->lies.ctrl_answer;
}

static void
add16(uint8_t *at, uint16_t value)
{
	uint16_t number;

	memcpy(&number, at, sizeof(number));
	number = htole16((uint16_t)(le16toh(number) + value));
	memcpy(at, &number, sizeof(number));
}

static void
add32(uint8_t *at, uint32_t value, uint32_t xor_mask)
{
	uint32_t number;

	memcpy(&number, at, sizeof(number));
	number = htole32((le32toh(number) + value) ^ xor_mask);
	memcpy(at, &number, sizeof(number));
}

/* 2.7.8: idx at 2, entries of id and length from 4 on */
static void
spoil_split(struct fake_device *fake)
{
	struct rp_vring_dev *ring = &fake->ctrl.ring;
	uint8_t *entry = ring->used + 4 + (uint16_t)(ring->next_used - 1) % ring->layout.num * 8;

	add32(entry, 0, fake->lies.ctrl_id_xor);
	add32(entry + 4, fake->lies.ctrl_written_add, 0);
	add16(ring->used + 2, fake->lies.ctrl_index_add);
	if (fake->lies.ctrl_answers_twice)
		add16(ring->used + 2, 1);
}

/* 2.8: length at 8, id at 12, flags at 14 of a descriptor; the answer is in the chain's first one */
static void
spoil_packed(struct fake_device *fake)
{
	const struct rp_vring_dev *ring = &fake->ctrl.ring;
	uint8_t *next = ring->desc + (size_t)ring->next_used * DESC_BYTES;
	uint8_t *entry =
		ring->desc + (size_t)((ring->next_used + ring->layout.num - 3) % ring->layout.num) * DESC_BYTES;

	add16(entry + 12, (uint16_t)fake->lies.ctrl_id_xor);
	add32(entry + 8, fake->lies.ctrl_written_add, 0);
	if (fake->lies.ctrl_answers_twice)
		memcpy(next, entry, DESC_BYTES);
}

static void
serve(struct fake_device *fake)
{
	struct rp_vring_dev *ring = &fake->ctrl.ring;
	struct rp_vring_chain chain;

	while (rp_vring_dev_pop(ring, &chain) == 1) {
		struct fake_command command = {0};
		uint8_t said;

		read_command(&chain, &command);
		said = answer(fake, &command);
		if (!fake->lies.ctrl_answer_kept)
			*(uint8_t *)chain.iov[chain.out_count].iov_base = said;
		assert_int_equal(rp_vring_dev_push(ring, chain.head, 1), 0);
		/* With an event index the first one is always signalled. */
		if (!ring->event_idx)
			assert_int_equal(rp_vring_dev_needs_interrupt(ring), 0);
		if (ring->packed)
			spoil_packed(fake);
		else
			spoil_split(fake);
	}
	assert_null(rp_vring_dev_why(ring));
}

void
fake_ctrl_answer_again(struct fake_device *fake)
{
	bool before = fake->lies.ctrl_answers_twice;

	fake->lies.ctrl_answers_twice = true;
	rp_dma_reader_online(fake->ctrl.reader);
	if (fake->ctrl.ring.packed)
		spoil_packed(fake);
	else
		spoil_split(fake);
	rp_dma_reader_offline(fake->ctrl.reader);
	fake->lies.ctrl_answers_twice = before;
}

static void
look(struct fake_device *fake)
{
	if (!fake->ctrl.kicked || fake->ctrl.pending_processes > 0)
		return;
	fake->ctrl.kicked = false;
	rp_dma_reader_online(fake->ctrl.reader);
	serve(fake);
	rp_dma_reader_offline(fake->ctrl.reader);
}

void
fake_ctrl_kick(struct fake_device *fake)
{
	assert_true(fake->ctrl.running);
	if (fake->lies.ctrl_silent)
		return;
	fake->ctrl.kicked = true;
	look(fake);
}

void
fake_ctrl_process(struct fake_device *fake)
{
	if (fake->ctrl.pending_processes > 0)
		fake->ctrl.pending_processes--;
	look(fake);
}
