/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "sa_flow.h"
#include "test_support.h"

static const uint8_t udp4[42] = {
	2, 0,  0,  0, 0, 1,  2, 0, 0, 0,  0, 2, 0x08, 0x00, 0x45, 0,	0,    28, 0, 1, 0,
	0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,    0x10, 0x00, 0x20, 0x00, 0,  8, 0, 0,
};

static uint32_t
hash_changed(unsigned int at, uint8_t value)
{
	uint8_t frame[sizeof(udp4)];

	memcpy(frame, udp4, sizeof(frame));
	frame[at] = value;
	return sa_flow_hash(frame, sizeof(frame));
}

static void
what_tells_flows_apart(void **state)
{
	uint32_t hash = sa_flow_hash(udp4, sizeof(udp4));

	(void)state;
	assert_int_not_equal(hash_changed(29, 9), hash); /* source address */
	assert_int_not_equal(hash_changed(33, 9), hash); /* destination address */
	assert_int_not_equal(hash_changed(35, 9), hash); /* source port */
	assert_int_not_equal(hash_changed(37, 9), hash); /* destination port */
	assert_int_not_equal(hash_changed(23, 6), hash); /* protocol */
	assert_int_equal(hash_changed(5, 9), hash); /* MAC address */
	assert_int_equal(hash_changed(19, 9), hash); /* identification */
	assert_int_equal(hash_changed(22, 9), hash); /* time to live */
}

static void
fragments_stay_together(void **state)
{
	uint8_t first[sizeof(udp4)], later[sizeof(udp4)];

	(void)state;
	memcpy(first, udp4, sizeof(first));
	first[20] = 0x20;
	memcpy(later, udp4, sizeof(later));
	later[21] = 185;
	later[34] = 0xde;
	assert_int_equal(sa_flow_hash(first, sizeof(first)), sa_flow_hash(later, sizeof(later)));
}

static void
tags_are_looked_behind(void **state)
{
	uint8_t tagged[sizeof(udp4) + 4];

	(void)state;
	memcpy(tagged, udp4, 12);
	memcpy(tagged + 12, ((uint8_t[]){0x81, 0x00, 0x00, 0x07}), 4);
	memcpy(tagged + 16, udp4 + 12, sizeof(udp4) - 12);
	assert_int_equal(sa_flow_hash(tagged, sizeof(tagged)), sa_flow_hash(udp4, sizeof(udp4)));
}

/* Whatever the bytes are, and wherever they end: an allocation of that size shows a read beyond. */
static void
any_bytes(void **state)
{
	static const uint16_t types[] = {0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806};
	unsigned int round;

	(void)state;
	srand(1);
	for (round = 0; round < 20000; round++) {
		uint32_t size_bytes = 14 + (uint32_t)rand() % 70, i;
		uint16_t type = types[round % 5];
		uint8_t *frame = malloc(size_bytes);

		assert_non_null(frame);
		for (i = 0; i < size_bytes; i++)
			frame[i] = (uint8_t)rand();
		frame[12] = (uint8_t)(type >> 8);
		frame[13] = (uint8_t)type;
		sa_flow_hash(frame, size_bytes);
		free(frame);
	}
}

/* What a copy of a frame's begin must have: with other bytes behind that the flow is the same. */
static void
no_more_is_looked_at(void **state)
{
	static const uint16_t types[] = {0x0800, 0x86dd, 0x0806};
	uint8_t frame[200];
	unsigned int round, tags, i;

	(void)state;
	srand(2);
	for (round = 0; round < 20000; round++) {
		uint32_t hash;

		for (i = 0; i < sizeof(frame); i++)
			frame[i] = (uint8_t)rand();
		tags = round % 3;
		for (i = 0; i < tags; i++)
			memcpy(frame + 12 + 4 * i, (const uint8_t[]){0x81, 0x00}, 2);
		frame[12 + 4 * tags] = (uint8_t)(types[round % 5 % 3] >> 8);
		frame[13 + 4 * tags] = (uint8_t)types[round % 5 % 3];
		hash = sa_flow_hash(frame, sizeof(frame));
		for (i = SA_FLOW_BYTES_MAX; i < sizeof(frame); i++)
			frame[i] = (uint8_t)rand();
		assert_int_equal(sa_flow_hash(frame, sizeof(frame)), hash);
	}
}

/* A frame that may be compared whole. */
static void
pad(uint8_t frame[60])
{
	memset(frame, 0, 60);
	memcpy(frame, udp4, sizeof(udp4));
}

static bool
is_like_changed(const struct sa_flow_sample *sample, unsigned int at, uint8_t value)
{
	uint8_t frame[60];

	pad(frame);
	frame[at] = value;
	return sa_flow_is_like(sample, frame, sizeof(frame));
}

static void
frames_of_a_flow_are_alike(void **state)
{
	struct sa_flow_sample sample;
	uint8_t frame[60];
	unsigned int at;

	(void)state;
	pad(frame);
	assert_int_equal(sa_flow_sample(frame, sizeof(frame), &sample), sa_flow_hash(frame, sizeof(frame)));
	/* What is copied of a packet in any case is enough. */
	assert_true(sample.frame_bytes <= 64 - 12);
	assert_false(sa_flow_is_like(&sample, frame, sample.frame_bytes - 1));
	assert_true(is_like_changed(&sample, 15, 9)); /* type of service */
	assert_true(is_like_changed(&sample, 17, 9)); /* length */
	assert_true(is_like_changed(&sample, 19, 9)); /* identification */
	assert_true(is_like_changed(&sample, 20, 0x40)); /* not to be fragmented */
	assert_true(is_like_changed(&sample, 22, 9)); /* time to live */
	assert_true(is_like_changed(&sample, 25, 9)); /* checksum */
	for (at = 38; at < sizeof(frame); at++)
		assert_true(is_like_changed(&sample, at, 9));
	assert_false(is_like_changed(&sample, 13, 6)); /* type */
	assert_false(is_like_changed(&sample, 14, 0x46)); /* options */
	assert_false(is_like_changed(&sample, 20, 0x20)); /* a fragment */
	assert_false(is_like_changed(&sample, 23, 6)); /* protocol */
	for (at = 26; at < 38; at++)
		assert_false(is_like_changed(&sample, at, 99)); /* addresses, ports */
}

/* Whatever a frame holds: one that is like it, or of which it is the begin, has its hash. */
static void
what_is_alike_is_of_one_flow(void **state)
{
	static const uint16_t types[] = {0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806};
	unsigned int round, i, alike = 0, samples = 0;
	uint8_t frame[200], other[200];

	(void)state;
	srand(3);
	for (round = 0; round < 200000; round++) {
		uint32_t begin_bytes = 14 + (uint32_t)rand() % 70, size_bytes = begin_bytes + (uint32_t)rand() % 40;
		unsigned int tags = (unsigned int)rand() % 4;
		struct sa_flow_sample sample;
		uint32_t hash;

		/* Few values: lengths, protocols and ports that matter are among them. */
		for (i = 0; i < sizeof(frame); i++)
			frame[i] = (const uint8_t[]){0, 6, 17, 0x45, 0x46, 0x4f, 1, 0x20}[rand() % 8];
		for (i = 0; i <= tags; i++) {
			uint16_t type = types[i < tags ? 2 + (unsigned int)rand() % 2 : (unsigned int)rand() % 5];

			frame[12 + 4 * i] = (uint8_t)(type >> 8);
			frame[13 + 4 * i] = (uint8_t)type;
		}
		hash = sa_flow_sample(frame, begin_bytes, &sample);
		assert_int_equal(hash, sa_flow_hash(frame, begin_bytes));
		if (sample.frame_bytes == SA_FLOW_NEVER)
			continue;
		samples++;
		assert_int_equal(sa_flow_hash(frame, size_bytes), hash);
		memcpy(other, frame, sizeof(other));
		for (i = (unsigned int)rand() % 4; i > 0; i--)
			other[12 + rand() % 60] ^= (uint8_t)(1 << rand() % 8);
		size_bytes = 14 + (uint32_t)rand() % 100;
		if (!sa_flow_is_like(&sample, other, size_bytes))
			continue;
		alike++;
		assert_int_equal(sa_flow_hash(other, size_bytes), hash);
	}
	assert_true(samples > 20000);
	assert_true(alike > 5000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_tells_flows_apart),	cmocka_unit_test(fragments_stay_together),
		cmocka_unit_test(tags_are_looked_behind),	cmocka_unit_test(any_bytes),
		cmocka_unit_test(no_more_is_looked_at),		cmocka_unit_test(frames_of_a_flow_are_alike),
		cmocka_unit_test(what_is_alike_is_of_one_flow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
