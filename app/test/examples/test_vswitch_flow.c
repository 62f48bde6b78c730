/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "flow.h"
#include "test_support.h"

#define FRAME_BYTES 60u
#define TYPE_AT 12u
#define IP_AT 14u

/* UDP over IPv4, of one flow or the next. */
static void
make_ipv4(uint8_t *frame, uint8_t host, uint8_t port)
{
	memset(frame, 0, FRAME_BYTES);
	frame[TYPE_AT] = 0x08;
	frame[IP_AT] = 0x45;
	frame[IP_AT + 9] = 17;
	frame[IP_AT + 15] = host;
	frame[IP_AT + 23] = port;
}

static uint32_t
hash_of_copy(const uint8_t *frame, uint32_t size_bytes)
{
	/* Of that size exactly: a sanitizer sees what is read beyond. */
	uint8_t *copy = malloc(size_bytes == 0 ? 1 : size_bytes);
	uint32_t hash;

	assert_non_null(copy);
	memcpy(copy, frame, size_bytes);
	hash = vs_flow_hash(copy, size_bytes);
	free(copy);
	return hash;
}

static void
a_flow_is_its_addresses_and_ports(void **state)
{
	uint8_t one[FRAME_BYTES], other[FRAME_BYTES];

	(void)state;
	make_ipv4(one, 1, 1);
	make_ipv4(other, 1, 1);
	other[FRAME_BYTES - 1] = 9; /* payload */
	other[IP_AT + 5] = 7; /* identification */
	assert_int_equal(hash_of_copy(one, FRAME_BYTES), hash_of_copy(other, FRAME_BYTES));
	make_ipv4(other, 1, 2);
	assert_int_not_equal(hash_of_copy(one, FRAME_BYTES), hash_of_copy(other, FRAME_BYTES));
	make_ipv4(other, 2, 1);
	assert_int_not_equal(hash_of_copy(one, FRAME_BYTES), hash_of_copy(other, FRAME_BYTES));
}

/* The later ones have no ports, and must not overtake the first. */
static void
fragments_keep_together(void **state)
{
	uint8_t first[FRAME_BYTES], next[FRAME_BYTES];

	(void)state;
	make_ipv4(first, 1, 1);
	first[IP_AT + 6] = 0x20;
	make_ipv4(next, 1, 2);
	next[IP_AT + 7] = 100;
	assert_int_equal(hash_of_copy(first, FRAME_BYTES), hash_of_copy(next, FRAME_BYTES));
}

static void
ipv6_and_others(void **state)
{
	uint8_t one[FRAME_BYTES] = {0}, other[FRAME_BYTES] = {0};

	(void)state;
	one[TYPE_AT] = other[TYPE_AT] = 0x86;
	one[TYPE_AT + 1] = other[TYPE_AT + 1] = 0xdd;
	one[IP_AT + 6] = other[IP_AT + 6] = 17;
	other[IP_AT + 43] = 1;
	assert_int_not_equal(hash_of_copy(one, FRAME_BYTES), hash_of_copy(other, FRAME_BYTES));
	one[TYPE_AT] = other[TYPE_AT] = 0x99;
	assert_int_equal(hash_of_copy(one, FRAME_BYTES), hash_of_copy(other, FRAME_BYTES));
	other[5] = 1;
	assert_int_not_equal(hash_of_copy(one, FRAME_BYTES), hash_of_copy(other, FRAME_BYTES));
}

static void
short_frames_are_read_to_their_end(void **state)
{
	uint8_t frame[FRAME_BYTES];
	uint32_t size_bytes;
	uint8_t words;

	(void)state;
	for (words = 0; words < 16; words++) {
		make_ipv4(frame, 1, 1);
		frame[IP_AT] = 0x40 | words;
		for (size_bytes = 0; size_bytes <= FRAME_BYTES; size_bytes++)
			hash_of_copy(frame, size_bytes);
	}
	frame[TYPE_AT] = 0x86;
	frame[TYPE_AT + 1] = 0xdd;
	for (size_bytes = 0; size_bytes <= FRAME_BYTES; size_bytes++)
		hash_of_copy(frame, size_bytes);
	assert_int_equal(hash_of_copy(frame, 13), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flow_is_its_addresses_and_ports),
		cmocka_unit_test(fragments_keep_together),
		cmocka_unit_test(ipv6_and_others),
		cmocka_unit_test(short_frames_are_read_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
