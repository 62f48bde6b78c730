/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include <netinet/in.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_jhash.h>

#include "flow.h"

#define FRAGMENT_MASK 0x3fffu /* more follow, or this is not the first */

/* What a frame lacks stays zero. In words, which is how the hash reads it. */
struct key {
	uint32_t addresses[8];
	uint32_t ports;
	uint32_t protocol;
};

static void
take_ports(struct key *key, const uint8_t *segment, const uint8_t *end)
{
	if ((key->protocol == IPPROTO_TCP || key->protocol == IPPROTO_UDP) && end - segment >= (long)sizeof(key->ports))
		memcpy(&key->ports, segment, sizeof(key->ports));
}

static void
take_ipv4(struct key *key, const uint8_t *packet, const uint8_t *end)
{
	struct rte_ipv4_hdr ip;

	if (end - packet < (long)sizeof(ip))
		return;
	memcpy(&ip, packet, sizeof(ip));
	key->protocol = ip.next_proto_id;
	memcpy(key->addresses, &ip.src_addr, 4);
	memcpy(key->addresses + 1, &ip.dst_addr, 4);
	packet += (ip.version_ihl & 0xfu) * 4u;
	if ((rte_be_to_cpu_16(ip.fragment_offset) & FRAGMENT_MASK) == 0 && packet < end)
		take_ports(key, packet, end);
}

static void
take_ipv6(struct key *key, const uint8_t *packet, const uint8_t *end)
{
	/* RFC 8200, 3: 40 bytes; next header at 6, addresses from 8. What has extension headers goes by its addresses. */
	if (end - packet < 40)
		return;
	key->protocol = packet[6];
	memcpy(key->addresses, packet + 8, sizeof(key->addresses));
	take_ports(key, packet + 40, end);
}

uint32_t
vs_flow_hash(const uint8_t *frame, uint32_t size_bytes)
{
	struct key key = {.ports = 0};
	struct rte_ether_hdr ether;

	if (size_bytes < sizeof(ether))
		return 0;
	memcpy(&ether, frame, sizeof(ether));
	if (ether.ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
		take_ipv4(&key, frame + sizeof(ether), frame + size_bytes);
	else if (ether.ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6))
		take_ipv6(&key, frame + sizeof(ether), frame + size_bytes);
	else
		memcpy(key.addresses, frame, 2 * RTE_ETHER_ADDR_LEN);
	return rte_jhash_32b((const uint32_t *)&key, sizeof(key) / 4, 0);
}
