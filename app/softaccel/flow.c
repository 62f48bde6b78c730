/* SPDX-License-Identifier: BSD-3-Clause */
#include <netinet/in.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_ether.h>
#include <rte_jhash.h>

#include "sa_flow.h"

#define VLAN_TAGS_MAX 2u

static_assert(SA_FLOW_SAMPLE_AT == 2 * RTE_ETHER_ADDR_LEN, "both addresses are the same");

/* What tells flows apart, in words, which is how the hash reads it; what a frame lacks stays zero. */
enum key_word {
	KEY_ADDRESSES, /* 32 bytes */
	KEY_PORTS = KEY_ADDRESSES + 8,
	KEY_TYPE, /* Ethernet type, IP protocol */
	KEY_WORDS_COUNT,
};

/* The bits of a frame that were looked at; NULL: nobody asks. */
struct marks {
	uint8_t masks[SA_FLOW_SAMPLE_END - SA_FLOW_SAMPLE_AT];
	uint32_t end; /* of what was looked at */
	bool vague; /* a longer frame may be of another flow, or there is too much to be compared */
};

static inline void
look_up_to(struct marks *marks, uint32_t end)
{
	if (marks == NULL)
		return;
	marks->end = RTE_MAX(marks->end, end);
	marks->vague |= end > SA_FLOW_SAMPLE_END;
}

static inline void
mark(struct marks *marks, uint32_t at, uint32_t size_bytes, uint8_t mask)
{
	look_up_to(marks, at + size_bytes);
	if (marks != NULL && !marks->vague)
		memset(marks->masks + at - SA_FLOW_SAMPLE_AT, mask, size_bytes);
}

/* @return false: the frame is cut short. */
static inline bool
has(struct marks *marks, uint32_t end, uint32_t size_bytes)
{
	if (size_bytes >= end)
		return true;
	if (marks != NULL)
		marks->vague = true;
	return false;
}

static inline uint16_t
read_be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void
take_ports(uint32_t *key, const uint8_t *frame, uint32_t at, uint32_t size_bytes, struct marks *marks)
{
	uint32_t protocol = key[KEY_TYPE] & 0xff;
	bool has_ports = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;

	if (!has_ports || !has(marks, at + (uint32_t)sizeof(key[KEY_PORTS]), size_bytes))
		return;
	memcpy(&key[KEY_PORTS], frame + at, sizeof(key[KEY_PORTS]));
	mark(marks, at, sizeof(key[KEY_PORTS]), 0xff);
}

static inline bool
take_ipv4(uint32_t *key, const uint8_t *frame, uint32_t at, uint32_t size_bytes, struct marks *marks)
{
	const uint8_t *ip = frame + at;
	uint32_t header_bytes;

	if (!has(marks, at + 20, size_bytes))
		return false;
	header_bytes = (ip[0] & 0xfu) * 4u;
	mark(marks, at, 1, 0x0f);
	if (header_bytes < 20 || !has(marks, at + header_bytes, size_bytes))
		return false;
	look_up_to(marks, at + header_bytes);
	key[KEY_TYPE] |= ip[9];
	mark(marks, at + 9, 1, 0xff);
	memcpy(&key[KEY_ADDRESSES], ip + 12, 8);
	mark(marks, at + 12, 8, 0xff);
	/* More fragments follow, or this is one: 0x2000 and the 13 bits of the offset. */
	mark(marks, at + 6, 1, 0x3f);
	mark(marks, at + 7, 1, 0xff);
	if ((read_be16(ip + 6) & 0x3fffu) == 0)
		take_ports(key, frame, at + header_bytes, size_bytes, marks);
	return true;
}

static inline bool
take_ipv6(uint32_t *key, const uint8_t *frame, uint32_t at, uint32_t size_bytes, struct marks *marks)
{
	if (!has(marks, at + 40, size_bytes))
		return false;
	key[KEY_TYPE] |= frame[at + 6];
	mark(marks, at + 6, 1, 0xff);
	memcpy(&key[KEY_ADDRESSES], frame + at + 8, 32);
	mark(marks, at + 8, 32, 0xff);
	take_ports(key, frame, at + 40, size_bytes, marks);
	return true;
}

static inline uint32_t
hash(const uint8_t *frame, uint32_t size_bytes, struct marks *marks)
{
	uint32_t at = 2 * RTE_ETHER_ADDR_LEN;
	uint32_t key[KEY_WORDS_COUNT] = {0};
	bool known = false;
	unsigned int tags = 0;
	uint16_t type = read_be16(frame + at);

	mark(marks, at, sizeof(type), 0xff);
	while ((type == RTE_ETHER_TYPE_VLAN || type == RTE_ETHER_TYPE_QINQ) && tags++ < VLAN_TAGS_MAX &&
	       has(marks, at + 6, size_bytes)) {
		at += 4;
		type = read_be16(frame + at);
		mark(marks, at, sizeof(type), 0xff);
	}
	at += 2;
	key[KEY_TYPE] = (uint32_t)type << 16;
	if (type == RTE_ETHER_TYPE_IPV4)
		known = take_ipv4(key, frame, at, size_bytes, marks);
	else if (type == RTE_ETHER_TYPE_IPV6)
		known = take_ipv6(key, frame, at, size_bytes, marks);
	if (!known)
		memcpy(&key[KEY_ADDRESSES], frame, 2 * RTE_ETHER_ADDR_LEN);
	return rte_jhash_32b(key, KEY_WORDS_COUNT, 0);
}

uint32_t
sa_flow_hash(const uint8_t *frame, uint32_t size_bytes)
{
	return hash(frame, size_bytes, NULL);
}

uint32_t
sa_flow_sample(const uint8_t *frame, uint32_t size_bytes, struct sa_flow_sample *ret_sample)
{
	struct marks marks = {.end = 0};
	uint32_t flow = hash(frame, size_bytes, &marks);
	unsigned int i;

	ret_sample->words_count = (marks.end - SA_FLOW_SAMPLE_AT + 7) / (unsigned int)sizeof(uint64_t);
	ret_sample->frame_bytes = SA_FLOW_SAMPLE_AT + ret_sample->words_count * (uint32_t)sizeof(uint64_t);
	if (marks.vague || size_bytes < ret_sample->frame_bytes) {
		ret_sample->frame_bytes = SA_FLOW_NEVER;
		return flow;
	}
	memcpy(ret_sample->masks, marks.masks, sizeof(marks.masks));
	memcpy(ret_sample->words, frame + SA_FLOW_SAMPLE_AT, ret_sample->words_count * sizeof(uint64_t));
	for (i = 0; i < ret_sample->words_count; i++)
		ret_sample->words[i] &= ret_sample->masks[i];
	return flow;
}
