/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

/*
 * A device that answers anything: registers are a memory in which each read may be a
 * lie, and the memory that it was given is scribbled on while it is waited for. Whatever
 * it does, each call ends in time with an error of the dictionary, nothing leaks, and
 * only memory that was mapped is used.
 */

#define BAR_BYTES 0x8000u
#define ROUNDS 2000u

struct liar {
	struct fake_device fake; /* for its configuration space, and what it keeps in order */
	struct rp_accel_transport_ops ops;
	uint8_t bar[BAR_BYTES];
	unsigned int seed;
	unsigned int lies_of_1000; /* of reads */
	unsigned int answers_of_10; /* of waits: the control queue's memory changes */
	uint8_t *memory; /* of the control queue */
	uint64_t memory_bytes;
};

static struct liar *liar; /* the operations get the fake */

static unsigned int
chance(unsigned int of)
{
	return (unsigned int)rand_r(&liar->seed) % of;
}

static int
read_lies(void *priv, uint32_t region, uint64_t at, uint32_t count, void *ret_bytes, struct rp_wire_why *why)
{
	static const uint8_t favourites[] = {0, 1, 2, 4, 0x0f, 0x40, 0x7f, 0x80, 0xff};
	uint8_t *bytes = ret_bytes;
	uint32_t i;

	(void)priv, (void)why;
	if (region == RP_ACCEL_TRANSPORT_CONFIG_REGION)
		memcpy(bytes, liar->fake.config_space + at, count);
	else
		memcpy(bytes, liar->bar + at, count);
	if (chance(1000) >= liar->lies_of_1000)
		return 0;
	for (i = 0; i < count; i++)
		if (chance(2) != 0)
			bytes[i] = chance(2) != 0 ? (uint8_t)chance(256) : favourites[chance(sizeof(favourites))];
	return chance(20) == 0 ? -EINVAL : 0;
}

static int
write_bar(void *priv, uint32_t region, uint64_t at, uint32_t count, const void *bytes, struct rp_wire_why *why)
{
	(void)priv, (void)why;
	if (region != FAKE_BAR_REGISTERS)
		return 0;
	memcpy(liar->bar + at, bytes, count);
	/* A queue reset is over at once. */
	if (at == FAKE_COMMON + 58) {
		memset(liar->bar + at, 0, count);
		memset(liar->bar + FAKE_COMMON + 28, 0, 2);
	}
	/* Each queue is another: what was enabled is not seen of the next. */
	if (at == FAKE_COMMON + 22 && chance(10) != 0)
		memset(liar->bar + FAKE_COMMON + 28, 0, 2);
	return 0;
}

static int
map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva, struct rp_wire_why *why)
{
	(void)priv, (void)iova, (void)fd, (void)offset_bytes;
	if (chance(20) == 0)
		return rp_wire_why_set(why, chance(2) != 0 ? -EEXIST : -ENOSPC, "no");
	if (hva != NULL) {
		liar->memory = hva;
		liar->memory_bytes = size_bytes;
	}
	return 0;
}

static int
unmap(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	(void)priv, (void)iova, (void)why;
	if (size_bytes == liar->memory_bytes)
		liar->memory = NULL;
	return 0;
}

static int
scribble(void *priv, struct rp_wire_why *why)
{
	unsigned int i;

	(void)priv, (void)why;
	if (liar->memory == NULL || chance(10) >= liar->answers_of_10)
		return 0;
	for (i = 0; i < 40; i++)
		liar->memory[chance((unsigned int)liar->memory_bytes)] = (uint8_t)chance(chance(2) != 0 ? 3 : 256);
	/* Most often something that looks like an answer: all of the memory small numbers. */
	if (chance(3) == 0)
		memset(liar->memory, (int)chance(3), liar->memory_bytes);
	return 0;
}

/* As it is when nobody lies. */
static void
prepare(unsigned int round)
{
	const uint64_t features = chance(2) != 0 ? UINT64_MAX : (uint64_t)FAKE_VERSION_1 | FAKE_CONTROL;
	struct rp_accel_transport transport = fake_transport(&liar->fake);

	fake_init(&liar->fake);
	fake_add_control(&liar->fake);
	if (chance(4) != 0)
		fake_remove_vendor(&liar->fake);
	liar->ops = *transport.ops;
	liar->ops.region_read = read_lies;
	liar->ops.region_write = write_bar;
	liar->ops.dma_map = map;
	liar->ops.dma_unmap = unmap;
	liar->ops.process = scribble;
	liar->lies_of_1000 = round % 4 == 0 ? 300 : round % 4 * 5;
	liar->answers_of_10 = chance(11);
	liar->memory = NULL;
	memset(liar->bar, 0, sizeof(liar->bar));
	/* Half of the features' register is read for both halves: what it says is not one set. */
	memcpy(liar->bar + FAKE_COMMON + 4, &features, 4);
	liar->bar[FAKE_COMMON + 4] |= 1; /* VERSION_1, as bit 32 */
	liar->bar[FAKE_COMMON + 18] = 5;
	liar->bar[FAKE_COMMON + 24] = 64;
	memcpy(liar->bar + FAKE_CONFIG, liar->fake.net_config, sizeof(liar->fake.net_config));
	memcpy(liar->bar + FAKE_VENDOR, &liar->fake.vendor, sizeof(liar->fake.vendor));
}

static void
assert_in_dictionary(int rc)
{
	static const int dictionary[] = {0,	  1,	    -ENOTSUP,  -EINVAL, -EBUSY,	   -EEXIST,
					 -ENOSPC, -EBADMSG, -ENOTCONN, -EIO,	-ETIMEDOUT};
	unsigned int i;

	for (i = 0; i < sizeof(dictionary) / sizeof(dictionary[0]); i++)
		if (rc == dictionary[i])
			return;
	fail_msg("%d", rc);
}

static void
act(const struct rp_accel *accel)
{
	struct rp_accel_net net = {
		.queue_pairs = (uint16_t)(1 + chance(2)),
		.has_mac = chance(2) != 0,
		.mac = {2, 1, 1, 1, 1, 1},
		.promiscuous = chance(2) != 0,
	};
	struct rp_accel_queue_config config = {.num = 64, .call_fd = -1};
	unsigned int queue = chance(5);
	struct rp_accel_notify_area area;
	struct rp_wire_why why = {0};
	uint32_t position;
	uint8_t bytes[12];

	switch (chance(10)) {
	case 0:
		assert_in_dictionary(accel->ops->set_features(accel->priv, FAKE_VERSION_1, &why));
		break;
	case 1:
		assert_in_dictionary(accel->ops->reset(accel->priv, &why));
		break;
	case 2:
		assert_in_dictionary(accel->ops->queue_stop(accel->priv, queue, &position, &why));
		break;
	case 3:
		assert_in_dictionary(accel->ops->process(accel->priv, &why));
		break;
	case 4:
		assert_in_dictionary(accel->ops->config_get(accel->priv, 0, sizeof(bytes), bytes));
		break;
	case 5:
		assert_in_dictionary(accel->ops->queue_notify_area(accel->priv, queue, &area, &why));
		break;
	case 6:
		/* Most often where the control queue's memory is. */
		assert_in_dictionary(
			accel->ops->dma_map(accel->priv, UINT64_MAX - (2ull << 30), 1ull << 30, 5, 0, NULL, &why));
		break;
	case 7:
		assert_in_dictionary(accel->ops->queue_start(accel->priv, queue, &config, &why));
		assert_in_dictionary(accel->ops->queue_kick(accel->priv, queue));
		break;
	default:
		assert_in_dictionary(accel->ops->net_set(accel->priv, &net, &why));
	}
}

static void
live(unsigned int *opened_count, unsigned int *failed_count)
{
	struct rp_accel_transport transport = {.ops = &liar->ops, .priv = &liar->fake};
	const struct rp_virtio_config config = {.wait_ms = 1};
	struct rp_wire_why why = {0};
	struct rp_accel accel = {0};
	unsigned int i;
	int rc = rp_virtio_open(&transport, &config, &accel, &why);

	assert_in_dictionary(rc);
	if (rc < 0)
		return;
	(*opened_count)++;
	assert_in_dictionary(accel.ops->set_features(accel.priv, FAKE_VERSION_1, &why));
	for (i = 0; i < 20; i++)
		act(&accel);
	*failed_count += accel.ops->process(accel.priv, &why) < 0;
	rp_accel_close(&accel);
}

static void
a_device_that_says_anything(void **state)
{
	unsigned int round, opened_count = 0, failed_count = 0;

	(void)state;
	liar = calloc(1, sizeof(*liar));
	assert_non_null(liar);
	for (round = 0; round < ROUNDS; round++) {
		struct test_leaks leaks;

		liar->seed = round;
		test_leaks_read(&leaks);
		prepare(round);
		live(&opened_count, &failed_count);
		fake_fini(&liar->fake);
		test_leaks_assert_none(&leaks);
	}
	free(liar);
	/* Both sides of the door were seen. */
	print_message("opened %u of %u, failed later %u\n", opened_count, ROUNDS, failed_count);
	assert_true(opened_count > ROUNDS / 20 && opened_count < ROUNDS && failed_count > ROUNDS / 50);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_device_that_says_anything)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
