/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pair.h"
#include "rp_vring_drv.h"
#include "rp_wire_fd.h"

#define SLOT_BYTES 64u /* a message, then its indirect table */
#define TABLE_IN_SLOT 16u
#define PATIENCE_MS 20000

struct pair {
	struct guest *guest;
	struct rp_vring_drv *drv;
	uint8_t *buffers;
	bool indirect;
	uint32_t messages;
	int kick;
	int call;
	atomic_bool failed;
	uint32_t device_sleeps;
};

struct message {
	uint64_t number;
	uint64_t answer;
};

static void
signal_eventfd(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* False: nobody came. That is the failure this test is about. */
static bool
sleep_on(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint64_t count;

	return poll(&poll_fd, 1, PATIENCE_MS) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

/* Answer up to `limit` messages and publish the answers together. Returns how many, or -1. */
static int
device_answer(struct pair *pair, uint64_t *expected, uint16_t limit)
{
	struct rp_vring_dev *ring = &pair->guest->ring;
	struct rp_vring_chain *chain = &pair->guest->chain;
	uint16_t count;
	int rc = 0;

	for (count = 0; count < limit && (rc = rp_vring_dev_pop(ring, chain)) == 1; count++) {
		const struct message *in = chain->iov[0].iov_base;
		uint64_t *answer = chain->iov[1].iov_base;

		if (chain->out_count != 1 || chain->in_count != 1 || in->number != *expected)
			return -1;
		*answer = ~in->number;
		(*expected)++;
		if (rp_vring_dev_fill(ring, count, chain->head, sizeof(*answer)) != 0)
			return -1;
	}
	return rc < 0 || rp_vring_dev_publish(ring, count) != 0 ? -1 : count;
}

/* Serve until the ring is empty. Returns false when the ring is broken or the order is. */
static bool
device_batch(struct pair *pair, uint64_t *expected)
{
	int count;

	do {
		count = device_answer(pair, expected, (uint16_t)(1 + *expected % 5));
	} while (count > 0);
	if (rp_vring_dev_needs_interrupt(&pair->guest->ring) == 1)
		signal_eventfd(pair->call);
	return count == 0;
}

static void *
device_main(void *ctx)
{
	struct pair *pair = ctx;
	struct rp_vring_dev *ring = &pair->guest->ring;
	uint64_t expected = 0;

	rp_dma_reader_online(pair->guest->reader);
	while (expected < pair->messages) {
		rp_dma_reader_quiescent(pair->guest->reader);
		rp_vring_dev_set_notify(ring, false);
		if (!device_batch(pair, &expected))
			break;
		if (expected == pair->messages)
			break;
		rp_vring_dev_set_notify(ring, true);
		if (rp_vring_dev_available(ring) != 0)
			continue;
		pair->device_sleeps++;
		rp_dma_reader_offline(pair->guest->reader);
		if (!sleep_on(pair->kick))
			break;
		rp_dma_reader_online(pair->guest->reader);
	}
	rp_dma_reader_offline(pair->guest->reader);
	if (expected < pair->messages) {
		atomic_store(&pair->failed, true);
		signal_eventfd(pair->call);
	}
	return NULL;
}

static void
driver_collect(struct pair *pair, uint64_t *collected)
{
	uint32_t written_bytes;
	void *cookie;
	int rc;

	while ((rc = rp_vring_drv_get(pair->drv, &cookie, &written_bytes)) == 1) {
		struct message *message = cookie;

		assert_int_equal(message->number, *collected);
		assert_int_equal(message->answer, ~*collected);
		assert_int_equal(written_bytes, 8);
		(*collected)++;
	}
	assert_int_equal(rc, 0);
}

static uint16_t
descriptors_of_a_message(const struct pair *pair)
{
	return pair->indirect ? 1 : 2;
}

static void
driver_send(struct pair *pair, uint64_t number)
{
	size_t at = (size_t)(number % pair->guest->layout.num) * SLOT_BYTES;
	struct message *message = (struct message *)(void *)(pair->buffers + at);
	const struct rp_vring_part parts[] = {
		{.iova = GUEST_BUFFERS + at, .size_bytes = 8},
		{.iova = GUEST_BUFFERS + at + 8, .size_bytes = 8, .device_writes = true},
	};

	message->number = number;
	message->answer = 0;
	if (pair->indirect)
		assert_int_equal(rp_vring_drv_add_indirect(pair->drv, parts, 2, pair->buffers + at + TABLE_IN_SLOT,
							   GUEST_BUFFERS + at + TABLE_IN_SLOT, message),
				 0);
	else
		assert_int_equal(rp_vring_drv_add(pair->drv, parts, 2, message), 0);
}

static void
driver_main(struct pair *pair)
{
	uint16_t needed = descriptors_of_a_message(pair);
	uint64_t sent = 0, collected = 0;
	unsigned int seed = 6;

	while (collected < pair->messages && !atomic_load(&pair->failed)) {
		unsigned int batch = 1 + (unsigned int)rand_r(&seed) % 8;

		while (batch-- > 0 && sent < pair->messages && rp_vring_drv_free_count(pair->drv) >= needed)
			driver_send(pair, sent++);
		if (rp_vring_drv_needs_kick(pair->drv))
			signal_eventfd(pair->kick);
		driver_collect(pair, &collected);
		if (sent < pair->messages && rp_vring_drv_free_count(pair->drv) >= needed)
			continue;
		rp_vring_drv_set_interrupt(pair->drv, true);
		driver_collect(pair, &collected);
		if (collected < sent && (sent == pair->messages || rp_vring_drv_free_count(pair->drv) < needed))
			assert_true(sleep_on(pair->call));
		rp_vring_drv_set_interrupt(pair->drv, false);
	}
	assert_int_equal(collected, pair->messages);
}

static void
pair_open(struct pair *pair, uint16_t num, uint64_t features)
{
	struct guest *guest = pair->guest;

	assert_true((uint64_t)num * SLOT_BYTES <= GUEST_BYTES - GUEST_BUFFERS_AT);
	pair->buffers = guest_hva(guest, GUEST_BUFFERS);
	pair->indirect = (features & F_INDIRECT_DESC) != 0;
	assert_int_equal(rp_vring_drv_create(num, guest_hva(guest, GUEST_IOVA), GUEST_IOVA, features, &pair->drv), 0);
	rp_vring_drv_layout(pair->drv, &guest->layout);
	guest->layout.notes = guest->notes;
	assert_int_equal(
		rp_vring_dev_init(&guest->ring, &guest->layout, rp_vring_position_fresh(features), guest->reader, NULL),
		0);
}

void
pair_run(struct guest *guest, uint16_t num, uint64_t features, uint32_t messages)
{
	struct pair pair = {.guest = guest, .messages = messages};
	pthread_t thread;

	pair.kick = eventfd(0, EFD_CLOEXEC);
	pair.call = eventfd(0, EFD_CLOEXEC);
	pair_open(&pair, num, features);
	rp_dma_reader_offline(guest->reader);
	assert_int_equal(pthread_create(&thread, NULL, device_main, &pair), 0);
	driver_main(&pair);
	pthread_join(thread, NULL);
	rp_dma_reader_online(guest->reader);
	assert_false(atomic_load(&pair.failed));
	print_message("num %u: the device slept %u times in %u messages\n", num, pair.device_sleeps, messages);
	rp_vring_drv_destroy(pair.drv);
	rp_wire_fd_close(&pair.kick);
	rp_wire_fd_close(&pair.call);
}

#define PARTS_MAX 5u
#define PART_BYTES 8u
#define ROOM_BYTES 256u /* of a chain in flight: its buffers, then its table */
#define TABLE_IN_ROOM 128u

/* A chain as the driver remembers it; its room is its place in the array. */
struct shuffled {
	bool out;
	uint16_t out_parts;
	uint16_t in_parts;
	uint32_t number;
};

struct shuffle {
	struct pair pair;
	struct shuffled *chains; /* one for each descriptor of the ring */
	uint16_t *taken_heads; /* by the device, and not given back */
	uint32_t *taken_bytes; /* that may be written to each */
	uint32_t taken_count;
	uint32_t sent, back;
	unsigned int seed;
};

static uint32_t
below(struct shuffle *shuffle, uint32_t limit)
{
	return (uint32_t)rand_r(&shuffle->seed) % limit;
}

static struct shuffled *
free_room(struct shuffle *shuffle, uint32_t *ret_at)
{
	uint32_t i;

	for (i = 0; i < shuffle->pair.guest->layout.num; i++) {
		if (!shuffle->chains[i].out) {
			*ret_at = i * ROOM_BYTES;
			return &shuffle->chains[i];
		}
	}
	return NULL;
}

/* @return false when there is no room. */
static bool
shuffle_send(struct shuffle *shuffle)
{
	uint16_t parts_count = (uint16_t)(1 + below(shuffle, PARTS_MAX)), i;
	bool indirect = shuffle->pair.indirect && below(shuffle, 2) == 0;
	struct rp_vring_part parts[PARTS_MAX];
	uint32_t at;
	struct shuffled *chain = free_room(shuffle, &at);
	uint8_t *room = shuffle->pair.buffers + at;
	int rc;

	if (chain == NULL || rp_vring_drv_free_count(shuffle->pair.drv) == 0)
		return false;
	chain->out_parts = (uint16_t)(below(shuffle, parts_count + 1u));
	chain->in_parts = (uint16_t)(parts_count - chain->out_parts);
	chain->number = shuffle->sent;
	for (i = 0; i < parts_count; i++) {
		parts[i] = (struct rp_vring_part){
			.iova = GUEST_BUFFERS + at + i * PART_BYTES,
			.size_bytes = PART_BYTES,
			.device_writes = i >= chain->out_parts,
		};
		memset(room + i * PART_BYTES, 0, PART_BYTES);
		if (!parts[i].device_writes)
			memcpy(room + i * PART_BYTES, &chain->number, sizeof(chain->number));
	}
	if (indirect)
		rc = rp_vring_drv_add_indirect(shuffle->pair.drv, parts, parts_count, room + TABLE_IN_ROOM,
					       GUEST_BUFFERS + at + TABLE_IN_ROOM, chain);
	else
		rc = rp_vring_drv_add(shuffle->pair.drv, parts, parts_count, chain);
	if (rc == -ENOSPC)
		return false;
	assert_int_equal(rc, 0);
	chain->out = true;
	shuffle->sent++;
	return true;
}

/* Look at several, in any order, and take some of them. */
static void
shuffle_take(struct shuffle *shuffle)
{
	struct rp_vring_dev *ring = &shuffle->pair.guest->ring;
	struct rp_vring_chain *chain = &shuffle->pair.guest->chain;
	uint16_t wanted = (uint16_t)(1 + below(shuffle, 4)), i, part;

	if (below(shuffle, 2) == 0)
		assert_true(rp_vring_dev_peek(ring, (uint16_t)below(shuffle, 4), chain) >= 0);
	for (i = 0; i < wanted; i++) {
		int rc = rp_vring_dev_peek(ring, i, chain);

		assert_true(rc >= 0);
		if (rc == 0)
			break;
		for (part = 1; part < chain->out_count; part++)
			assert_memory_equal(chain->iov[part].iov_base, chain->iov[0].iov_base, PART_BYTES);
		for (part = chain->out_count; part < chain->out_count + chain->in_count; part++)
			memset(chain->iov[part].iov_base, 0x5a, chain->iov[part].iov_len);
		shuffle->taken_heads[shuffle->taken_count + i] = chain->head;
		shuffle->taken_bytes[shuffle->taken_count + i] = chain->in_bytes;
	}
	assert_true(rp_vring_dev_available(ring) >= (i < RP_VRING_PACKED_COUNT_MAX ? i : RP_VRING_PACKED_COUNT_MAX));
	rp_vring_dev_advance(ring, i);
	shuffle->taken_count += i;
}

static void
shuffle_give(struct shuffle *shuffle)
{
	struct rp_vring_dev *ring = &shuffle->pair.guest->ring;
	uint16_t count = (uint16_t)below(shuffle, shuffle->taken_count + 1), i;

	for (i = 0; i < count; i++) {
		uint32_t pick = ring->in_order ? 0 : below(shuffle, shuffle->taken_count);
		uint32_t in_bytes = shuffle->taken_bytes[pick];

		assert_int_equal(rp_vring_dev_fill(ring, i, shuffle->taken_heads[pick],
						   in_bytes == 0 ? 0 : 1 + below(shuffle, in_bytes)),
				 0);
		shuffle->taken_count--;
		memmove(&shuffle->taken_heads[pick], &shuffle->taken_heads[pick + 1],
			(shuffle->taken_count - pick) * sizeof(shuffle->taken_heads[0]));
		memmove(&shuffle->taken_bytes[pick], &shuffle->taken_bytes[pick + 1],
			(shuffle->taken_count - pick) * sizeof(shuffle->taken_bytes[0]));
	}
	assert_int_equal(rp_vring_dev_publish(ring, count), 0);
}

static void
shuffle_collect(struct shuffle *shuffle)
{
	uint32_t written_bytes;
	void *cookie;
	int rc;

	while ((rc = rp_vring_drv_get(shuffle->pair.drv, &cookie, &written_bytes)) == 1) {
		struct shuffled *chain = cookie;
		uint32_t at = (uint32_t)(chain - shuffle->chains) * ROOM_BYTES, i, number;

		assert_true(chain->out);
		chain->out = false;
		for (i = 0; i < chain->out_parts; i++) {
			memcpy(&number, shuffle->pair.buffers + at + i * PART_BYTES, sizeof(number));
			assert_int_equal(number, chain->number);
		}
		for (; i < (uint32_t)(chain->out_parts + chain->in_parts); i++)
			assert_int_equal(shuffle->pair.buffers[at + i * PART_BYTES], 0x5a);
		assert_true(written_bytes <= chain->in_parts * PART_BYTES);
		assert_int_equal(written_bytes > 0, chain->in_parts > 0);
		if (shuffle->pair.guest->ring.in_order)
			assert_int_equal(chain->number, shuffle->back);
		shuffle->back++;
	}
	assert_int_equal(rc, 0);
}

void
pair_shuffle(struct guest *guest, uint16_t num, uint64_t features, uint32_t chains, unsigned int seed)
{
	struct shuffle shuffle = {.pair.guest = guest, .seed = seed};
	uint32_t position;

	assert_true((uint64_t)num * ROOM_BYTES <= GUEST_BYTES - GUEST_BUFFERS_AT);
	pair_open(&shuffle.pair, num, features);
	shuffle.chains = calloc(num, sizeof(*shuffle.chains));
	shuffle.taken_heads = calloc(num + 4u, sizeof(*shuffle.taken_heads));
	shuffle.taken_bytes = calloc(num + 4u, sizeof(*shuffle.taken_bytes));
	while (shuffle.back < chains) {
		uint32_t burst = below(&shuffle, 8);

		while (burst-- > 0 && shuffle.sent < chains && shuffle_send(&shuffle))
			;
		rp_vring_drv_needs_kick(shuffle.pair.drv);
		shuffle_take(&shuffle);
		shuffle_give(&shuffle);
		assert_true(rp_vring_dev_needs_interrupt(&guest->ring) >= 0);
		if (below(&shuffle, 2) == 0)
			shuffle_collect(&shuffle);
	}
	assert_int_equal(shuffle.sent, chains);
	assert_int_equal(shuffle.taken_count, 0);
	assert_int_equal(rp_vring_drv_free_count(shuffle.pair.drv), num);
	position = rp_vring_dev_position(&guest->ring);
	assert_int_equal(rp_vring_position_check(features, num, position, NULL), 0);
	assert_int_equal(position, rp_vring_dev_position_used(&guest->ring));
	rp_vring_drv_destroy(shuffle.pair.drv);
	free(shuffle.chains);
	free(shuffle.taken_heads);
	free(shuffle.taken_bytes);
}
