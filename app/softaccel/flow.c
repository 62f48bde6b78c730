/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <string.h>

#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_jhash.h>

#include "sa_flow.h"

#define VLAN_TAGS_MAX 2u

/* What tells flows apart, in words, which is how the hash reads it; what a frame lacks stays zero. */
enum key_word {
	KEY_ADDRESSES, /* 32 bytes */
	KEY_PORTS = KEY_ADDRESSES + 8,
	KEY_TYPE, /* Ethernet type, IP protocol */
	KEY_WORDS_COUNT,
};

static uint16_t
read_be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void
take_ports(uint32_t *key, const uint8_t *segment, uint32_t size_bytes)
{
	uint32_t protocol = key[KEY_TYPE] & 0xff;
	bool has_ports = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;

	if (has_ports && size_bytes >= sizeof(key[KEY_PORTS]))
		memcpy(&key[KEY_PORTS], segment, sizeof(key[KEY_PORTS]));
}

static bool
take_ipv4(uint32_t *key, const uint8_t *ip, uint32_t size_bytes)
{
	uint32_t header_bytes;

	if (size_bytes < 20)
		return false;
	header_bytes = (ip[0] & 0xfu) * 4u;
	if (header_bytes < 20 || header_bytes > size_bytes)
		return false;
	key[KEY_TYPE] |= ip[9];
	memcpy(&key[KEY_ADDRESSES], ip + 12, 8);
	/* More fragments follow, or this is one: 0x2000 and the 13 bits of the offset. */
	if ((read_be16(ip + 6) & 0x3fffu) == 0)
		take_ports(key, ip + header_bytes, size_bytes - header_bytes);
	return true;
}

static bool
take_ipv6(uint32_t *key, const uint8_t *ip, uint32_t size_bytes)
{
	if (size_bytes < 40)
		return false;
	key[KEY_TYPE] |= ip[6];
	memcpy(&key[KEY_ADDRESSES], ip + 8, 32);
	take_ports(key, ip + 40, size_bytes - 40);
	return true;
}

uint32_t
sa_flow_hash(const uint8_t *frame, uint32_t size_bytes)
{
	uint32_t at = 2 * RTE_ETHER_ADDR_LEN;
	uint32_t key[KEY_WORDS_COUNT] = {0};
	bool known = false;
	unsigned int tags = 0;
	uint16_t type = read_be16(frame + at);

	while ((type == RTE_ETHER_TYPE_VLAN || type == RTE_ETHER_TYPE_QINQ) && tags++ < VLAN_TAGS_MAX &&
	       size_bytes >= at + 6) {
		at += 4;
		type = read_be16(frame + at);
	}
	at += 2;
	key[KEY_TYPE] = (uint32_t)type << 16;
	if (type == RTE_ETHER_TYPE_IPV4)
		known = take_ipv4(key, frame + at, size_bytes - at);
	else if (type == RTE_ETHER_TYPE_IPV6)
		known = take_ipv6(key, frame + at, size_bytes - at);
	if (!known)
		memcpy(&key[KEY_ADDRESSES], frame, 2 * RTE_ETHER_ADDR_LEN);
	return rte_jhash_32b(key, KEY_WORDS_COUNT, 0);
}
