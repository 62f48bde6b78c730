/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <linux/virtio_net.h>

#include <rte_branch_prediction.h>
#include <rte_ether.h>
#include <rte_prefetch.h>

#include "rp_vring_burst.h"
#include "sa_cursor.h"
#include "sa_flow.h"
#include "sa_packet.h"
#include "sa_pass.h"
#include "sa_route.h"

#define LINE_BYTES 64u
/* Packets whose lines are all asked for before they are copied. */
#define REST_AHEAD 2u
#define FLAGS_AT 0u
#define GSO_TYPE_AT 1u
#define NUM_BUFFERS_AT 10u
#define DESTINATION_AT SA_NET_HEADER_BYTES
#define FRAME_HEAD_BYTES (SA_PASS_HEAD_BYTES - SA_NET_HEADER_BYTES)
#define SOURCE_AT (DESTINATION_AT + RTE_ETHER_ADDR_LEN)

static_assert(SA_PASS_FLOW_BYTES >= SA_NET_HEADER_BYTES + SA_FLOW_BYTES_MAX, "flows are told from the copy");

/* A packet that may be passed: its virtio-net header and its frame are one run of bytes. */
struct packet {
	uint32_t size_bytes;
	uint32_t head_bytes; /* of the copy */
	struct sa_cursor rest; /* what the copy does not have, in the sender's memory */
	uint8_t head[SA_PASS_FLOW_BYTES];
};

/* A burst. Its chains are passed in runs that go to the same ring, each when its end is known. */
struct pass {
	struct sa_switch *sw;
	struct sa_ring *from;
	struct sa_ring *to; /* of the run */
	struct sa_route route; /* of the packet that was judged before */
	unsigned int passed_count; /* chains before the run */
	unsigned int judged_count; /* chains up to the run's end */
	unsigned int left_count; /* chains behind it that are for the path through packet buffers */
	struct sa_ring *looked_at; /* whose chains are in `room`, from its next on; NULL: nobody's */
	unsigned int wanted_count; /* chains of it ... */
	int room_count; /* ... and how many there were, or a negative errno */
	struct rp_vring_burst_chain sent[SA_BURST];
	struct packet packets[SA_BURST];
	struct rp_vring_burst_chain room[RP_VRING_BURST_MAX];
	struct rp_vring_done done[RP_VRING_BURST_MAX];
};

static void
prefetch_sent(const struct rp_vring_burst_chain *chain)
{
	const struct iovec *iov = chain->iov;

	rte_prefetch0(iov[0].iov_base);
	if (chain->out_count > 1)
		rte_prefetch0(iov[1].iov_base);
	else if (iov[0].iov_len > LINE_BYTES)
		rte_prefetch0((const uint8_t *)iov[0].iov_base + LINE_BYTES);
}

/* The header is there already more often than not, and is then only read. */
static void
prefetch_room(const struct rp_vring_burst_chain *chain)
{
	const struct iovec *iov = &chain->iov[chain->out_count];

	if (chain->in_count == 0)
		return;
	rte_prefetch0(iov->iov_base);
	if (iov->iov_len > SA_NET_HEADER_BYTES)
		sa_prefetch_write((const uint8_t *)iov->iov_base + SA_NET_HEADER_BYTES);
}

/* All lines of a long frame at both ends, behind those that were asked for at first. */
static void
prefetch_rest(const struct packet *packet, const struct rp_vring_burst_chain *room)
{
	const struct iovec *to = &room->iov[room->out_count], *from = packet->rest.part;
	const uint8_t *source = from->iov_base, *target;
	size_t at, end = RTE_MIN((size_t)packet->size_bytes, from->iov_len);

	if (packet->head_bytes < SA_PASS_HEAD_BYTES)
		return;
	for (at = packet->rest.used_bytes + LINE_BYTES; at < end; at += LINE_BYTES)
		rte_prefetch0(source + at);
	/* The driver's chain may have as many pieces as there is room for, all of them to be read. */
	if (room->in_count == 0)
		return;
	target = to->iov_base;
	end = RTE_MIN((size_t)packet->size_bytes, to->iov_len);
	for (at = SA_NET_HEADER_BYTES + LINE_BYTES; at < end; at += LINE_BYTES)
		sa_prefetch_write(target + at);
}

static void
copy_head(struct packet *packet, uint32_t up_to_bytes)
{
	uint32_t wanted_bytes = RTE_MIN(up_to_bytes, packet->size_bytes);

	sa_cursor_read(&packet->rest, packet->head + packet->head_bytes, wanted_bytes - packet->head_bytes);
	packet->head_bytes = wanted_bytes;
}

/*
 * The begin of a frame, in pieces as it is judged: a load that takes from two stores waits until both,
 * and all before them, have reached the cache.
 */
static inline void
copy_frame_head(uint8_t *to, const uint8_t *from)
{
	struct sa_mac_pair pair = sa_mac_pair_of(from);

	memcpy(to, &pair.first, sizeof(pair.first));
	memcpy(to + sizeof(pair.first), &pair.rest, sizeof(pair.rest));
	memcpy(to + 2 * RTE_ETHER_ADDR_LEN, from + 2 * RTE_ETHER_ADDR_LEN, FRAME_HEAD_BYTES - 2 * RTE_ETHER_ADDR_LEN);
}

/* Drivers lay a packet out in two ways: in one piece, or the header by itself. These are copies of known sizes. */
static inline void
start_packet(struct packet *packet, const struct rp_vring_burst_chain *chain)
{
	const struct iovec *iov = chain->iov;

	packet->size_bytes = chain->out_bytes;
	packet->head_bytes = SA_PASS_HEAD_BYTES;
	if (iov[0].iov_len >= SA_PASS_HEAD_BYTES) {
		memcpy(packet->head, iov[0].iov_base, SA_NET_HEADER_BYTES);
		copy_frame_head(packet->head + SA_NET_HEADER_BYTES,
				(const uint8_t *)iov[0].iov_base + SA_NET_HEADER_BYTES);
		packet->rest = (struct sa_cursor){.part = iov, .used_bytes = SA_PASS_HEAD_BYTES};
	} else if (chain->out_count > 1 && iov[0].iov_len == SA_NET_HEADER_BYTES &&
		   iov[1].iov_len >= FRAME_HEAD_BYTES) {
		memcpy(packet->head, iov[0].iov_base, SA_NET_HEADER_BYTES);
		copy_frame_head(packet->head + SA_NET_HEADER_BYTES, iov[1].iov_base);
		packet->rest = (struct sa_cursor){.part = iov + 1, .used_bytes = FRAME_HEAD_BYTES};
	} else {
		packet->head_bytes = 0;
		packet->rest = (struct sa_cursor){.part = iov};
		copy_head(packet, SA_PASS_HEAD_BYTES);
	}
}

static struct sa_port *
destination_of(const struct pass *pass, const struct packet *packet)
{
	struct sa_switch *sw = pass->sw;
	struct sa_port *from = pass->from->port, *to;
	sa_mac destination = sa_mac_from_bytes(packet->head + DESTINATION_AT);

	if (sa_mac_is_group(destination) ||
	    !sa_mac_refresh(sw->macs, sa_mac_from_bytes(packet->head + SOURCE_AT), &from->macs, sw->now_s))
		return NULL;
	to = (struct sa_port *)sa_mac_find(sw->macs, destination, sw->now_s);
	return to == NULL || to == from || to->receive_count == 0 ? NULL : to;
}

/* More of the frame than most flows are told by. */
static void
copy_flow(struct packet *packet)
{
	if (packet->head_bytes < RTE_MIN(SA_PASS_FLOW_BYTES, packet->size_bytes))
		copy_head(packet, SA_PASS_FLOW_BYTES);
}

/* @return where the first packet of its flow on the route goes. */
static struct sa_ring *
find_ring(struct pass *pass, struct packet *packet)
{
	const uint8_t *frame = packet->head + SA_NET_HEADER_BYTES;
	struct sa_flow_sample sample;
	struct sa_ring *to = sa_route_choose(&pass->route, frame, packet->head_bytes - SA_NET_HEADER_BYTES, &sample);

	if (sample.frame_bytes == SA_FLOW_NEVER) {
		copy_flow(packet);
		to = sa_route_choose(&pass->route, frame, packet->size_bytes - SA_NET_HEADER_BYTES, &sample);
	}
	if (!to->awake || to->held.changing || to->carried)
		return NULL;
	sa_route_add(&pass->route, &sample, to);
	return to;
}

/* @return where the packet goes if its addresses do not say that. */
static struct sa_ring *
judge_flow(struct pass *pass, struct packet *packet, const struct sa_mac_pair *addresses)
{
	struct sa_route *route = &pass->route;
	struct sa_ring *to;

	if (!sa_route_is_for(route, addresses))
		sa_route_begin(route, addresses, destination_of(pass, packet));
	if (route->port == NULL)
		return NULL;
	if (route->frame_bytes > FRAME_HEAD_BYTES)
		copy_flow(packet);
	to = sa_route_find(route, packet->head + SA_NET_HEADER_BYTES, packet->head_bytes - SA_NET_HEADER_BYTES);
	return to != NULL ? to : find_ring(pass, packet);
}

/* @return where the packet goes if it is one to be passed, else NULL. */
static struct sa_ring *
judge(struct pass *pass, const struct rp_vring_burst_chain *chain, struct packet *packet)
{
	struct sa_mac_pair addresses;
	struct sa_ring *only;

	if (chain->out_bytes < SA_NET_HEADER_BYTES + RTE_ETHER_HDR_LEN || chain->out_bytes > pass->sw->packet_bytes_max)
		return NULL;
	start_packet(packet, chain);
	if ((packet->head[FLAGS_AT] & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0 ||
	    packet->head[GSO_TYPE_AT] != VIRTIO_NET_HDR_GSO_NONE)
		return NULL;
	addresses = sa_mac_pair_of(packet->head + DESTINATION_AT);
	only = sa_route_only(&pass->route, &addresses);
	return only != NULL ? only : judge_flow(pass, packet, &addresses);
}

/* How many chains of the receiver a packet takes. @return 0: there are not enough, or they are of no use. */
static unsigned int
count_room(const struct sa_ring *to, const struct rp_vring_burst_chain *room, unsigned int room_count,
	   uint32_t size_bytes)
{
	uint64_t room_bytes = 0;
	unsigned int count;

	if (room_count == 0 || room[0].in_bytes <= SA_NET_HEADER_BYTES)
		return 0;
	if (likely(room[0].in_bytes >= size_bytes))
		return 1;
	if (!to->mergeable)
		return 0;
	for (count = 0; room_bytes < size_bytes; count++) {
		if (count == room_count || count == SA_RING_FRAME_CHAINS || room[count].in_bytes == 0)
			return 0;
		room_bytes += room[count].in_bytes;
	}
	return count;
}

static void
copy_rest(const struct pass *pass, struct sa_cursor *to, struct sa_cursor *from, size_t size_bytes)
{
	while (size_bytes > 0) {
		size_t run_bytes, piece_bytes;
		uint8_t *target = sa_cursor_next(to, size_bytes, &run_bytes);

		for (size_bytes -= run_bytes; run_bytes > 0; run_bytes -= piece_bytes, target += piece_bytes) {
			const uint8_t *source = sa_cursor_next(from, run_bytes, &piece_bytes);

			pass->sw->scratch->copy(target, source, piece_bytes);
		}
	}
}

/* Fill one chain with as much of the packet as it takes. @return how much. */
static uint32_t
fill_chain(const struct pass *pass, const struct rp_vring_burst_chain *room, struct packet *packet,
	   uint32_t offset_bytes)
{
	struct sa_cursor to = {.part = &room->iov[room->out_count]};
	uint32_t size_bytes = RTE_MIN(packet->size_bytes - offset_bytes, room->in_bytes), head_bytes = 0;

	if (offset_bytes < packet->head_bytes) {
		head_bytes = RTE_MIN(packet->head_bytes - offset_bytes, size_bytes);
		sa_cursor_write(&to, packet->head + offset_bytes, head_bytes);
	}
	copy_rest(pass, &to, &packet->rest, size_bytes - head_bytes);
	return size_bytes;
}

static void
fill_packet(struct pass *pass, struct packet *packet, const struct rp_vring_burst_chain *room, unsigned int room_count,
	    struct rp_vring_done *ret_done)
{
	uint32_t offset_bytes = 0;
	unsigned int i;

	memset(packet->head, 0, SA_NET_HEADER_BYTES);
	packet->head[NUM_BUFFERS_AT] = (uint8_t)room_count;
	for (i = 0; i < room_count; i++) {
		ret_done[i].head = room[i].head;
		ret_done[i].written_bytes = fill_chain(pass, &room[i], packet, offset_bytes);
		offset_bytes += ret_done[i].written_bytes;
	}
}

/* Whether a packet fits into one piece, its head is a full one of that size, and its rest lies together. */
static inline bool
is_plain(const struct packet *packet, const struct rp_vring_burst_chain *room, uint32_t head_bytes)
{
	return room->in_count > 0 && room->iov[room->out_count].iov_len >= packet->size_bytes &&
	       packet->head_bytes == head_bytes && head_bytes >= SA_PASS_HEAD_BYTES &&
	       packet->rest.part->iov_len - packet->rest.used_bytes >= packet->size_bytes - head_bytes;
}

/* Less than a call, for the end of a short frame. */
static inline void
copy_end(sa_copy_fn copy, uint8_t *to, const uint8_t *from, uint32_t size_bytes)
{
	uint64_t first, last;

	if (size_bytes < sizeof(first) || size_bytes > 2 * sizeof(first)) {
		copy(to, from, size_bytes);
		return;
	}
	memcpy(&first, from, sizeof(first));
	memcpy(&last, from + size_bytes - sizeof(last), sizeof(last));
	memcpy(to, &first, sizeof(first));
	memcpy(to + size_bytes - sizeof(last), &last, sizeof(last));
}

/* As fill_packet(), for a plain one. */
static inline void
fill_plain(sa_copy_fn copy, const struct packet *packet, const struct rp_vring_burst_chain *room, uint32_t head_bytes)
{
	static const uint8_t header[SA_NET_HEADER_BYTES] = {[NUM_BUFFERS_AT] = 1};
	uint8_t *target = room->iov[room->out_count].iov_base;
	const uint8_t *rest = (const uint8_t *)packet->rest.part->iov_base + packet->rest.used_bytes;

	sa_packet_header_once(target, header);
	memcpy(target + sizeof(header), packet->head + sizeof(header), SA_PASS_HEAD_BYTES - sizeof(header));
	if (head_bytes > SA_PASS_HEAD_BYTES)
		memcpy(target + SA_PASS_HEAD_BYTES, packet->head + SA_PASS_HEAD_BYTES, head_bytes - SA_PASS_HEAD_BYTES);
	copy_end(copy, target + head_bytes, rest, packet->size_bytes - head_bytes);
}

static void
count_passed(struct pass *pass, unsigned int count, uint64_t bytes)
{
	struct sa_ring *from = pass->from, *to = pass->to;

	sa_count(&from->port->counters.in_packets, count);
	sa_count(&from->counters.packets, count);
	sa_count(&from->counters.bytes, bytes);
	sa_count(&to->port->counters.out_packets, count);
	sa_count(&to->counters.packets, count);
	sa_count(&to->counters.bytes, bytes);
	pass->passed_count += count;
}

/* Look at the receiver's next chains: their lines come while packets are judged. */
static void
look_at_room(struct pass *pass, struct sa_ring *to, unsigned int wanted_count)
{
	int i;

	pass->looked_at = to;
	pass->wanted_count = wanted_count;
	pass->room_count = to->awake ? rp_vring_dev_peek_burst(&to->vring, 0, pass->room, (uint16_t)wanted_count) : 0;
	for (i = 0; i < pass->room_count; i++)
		prefetch_room(&pass->room[i]);
}

/* What was filled is the guest's. @return whether it is. */
static bool
give(struct pass *pass, unsigned int chains_count)
{
	struct sa_ring *to = pass->to;

	if (rp_vring_dev_fill_burst(&to->vring, to->unpublished_count, pass->done, (uint16_t)chains_count) < 0) {
		sa_ring_break(to);
		return false;
	}
	rp_vring_dev_advance(&to->vring, (uint16_t)chains_count);
	to->unpublished_count = (uint16_t)(to->unpublished_count + chains_count);
	sa_switch_mark_dirty(pass->sw, to);
	return true;
}

/* One that is not as nearly all are. @return as count_room(). */
static __rte_noinline unsigned int
pass_other(struct pass *pass, struct packet *packet, const struct rp_vring_burst_chain *room, unsigned int room_count,
	   struct rp_vring_done *ret_done)
{
	unsigned int chains;

	if (room_count > 0 && is_plain(packet, room, packet->head_bytes)) {
		fill_plain(pass->sw->scratch->copy, packet, room, packet->head_bytes);
		*ret_done = (struct rp_vring_done){.head = room->head, .written_bytes = packet->size_bytes};
		return 1;
	}
	chains = count_room(pass->to, room, room_count, packet->size_bytes);
	if (chains > 0)
		fill_packet(pass, packet, room, chains, ret_done);
	return chains;
}

/* Pass packets as long as there is room for them. @return how many; negative: they went nowhere, the ring broke. */
static int
pass_into(struct pass *pass, unsigned int room_count)
{
	struct packet *packets = &pass->packets[pass->passed_count];
	unsigned int waiting = pass->judged_count - pass->passed_count, count, used = 0;
	sa_copy_fn copy = pass->sw->scratch->copy;
	uint64_t bytes = 0;

	for (count = 0; count < waiting; count++) {
		const struct rp_vring_burst_chain *room = &pass->room[used];
		unsigned int chains = 1;

		if (count + REST_AHEAD < waiting && used + REST_AHEAD < room_count)
			prefetch_rest(&packets[count + REST_AHEAD], room + REST_AHEAD);
		if (likely(used < room_count && is_plain(&packets[count], room, SA_PASS_HEAD_BYTES))) {
			fill_plain(copy, &packets[count], room, SA_PASS_HEAD_BYTES);
			pass->done[used].head = room->head;
			pass->done[used].written_bytes = packets[count].size_bytes;
		} else {
			chains = pass_other(pass, &packets[count], room, room_count - used, &pass->done[used]);
			if (chains == 0)
				break;
		}
		bytes += packets[count].size_bytes - SA_NET_HEADER_BYTES;
		used += chains;
	}
	if (count == 0)
		return 0;
	/* Their cursors have moved: nobody may fill them again. */
	if (!give(pass, used))
		return -EBADMSG;
	count_passed(pass, count, bytes);
	return (int)count;
}

/* Pass the run. @return whether all of it was; if not, what is left of it is for the other path. */
static bool
pass_run(struct pass *pass)
{
	unsigned int wanted = pass->judged_count - pass->passed_count;

	while (pass->passed_count < pass->judged_count) {
		int passed = -ENOSPC;

		if (pass->looked_at != pass->to)
			look_at_room(pass, pass->to, wanted);
		pass->looked_at = NULL;
		if (pass->room_count > 0)
			passed = pass_into(pass, (unsigned int)pass->room_count);
		/* A packet may need several buffers: ask for more before giving up. */
		if (passed < 0 || (passed == 0 && (pass->room_count != (int)pass->wanted_count ||
						   pass->wanted_count == RP_VRING_BURST_MAX))) {
			pass->left_count = pass->judged_count - pass->passed_count;
			return false;
		}
		wanted = RP_VRING_BURST_MAX;
	}
	return true;
}

static unsigned int
count_left(struct pass *pass, unsigned int sent_count)
{
	unsigned int count = 1;

	while (pass->judged_count + count < sent_count &&
	       judge(pass, &pass->sent[pass->judged_count + count], &pass->packets[0]) == NULL)
		count++;
	return count;
}

static void
pass_burst(struct pass *pass, unsigned int sent_count)
{
	pass->to = NULL;
	sa_route_forget(&pass->route);
	pass->passed_count = 0;
	pass->judged_count = 0;
	pass->left_count = 0;
	pass->looked_at = NULL;
	while (pass->judged_count < sent_count) {
		unsigned int at = pass->judged_count;
		struct sa_ring *to = judge(pass, &pass->sent[at], &pass->packets[at]);

		if (to != pass->to && !pass_run(pass))
			return;
		if (to == NULL) {
			pass->left_count = count_left(pass, sent_count);
			return;
		}
		pass->to = to;
		/* The rest of a burst goes there as well more often than not. */
		if (pass->judged_count++ == 0)
			look_at_room(pass, to, sent_count);
	}
	pass_run(pass);
}

/* What was passed is the sender's again. */
static void
take_back(struct pass *pass)
{
	struct sa_ring *from = pass->from;
	unsigned int i;

	for (i = 0; i < pass->passed_count; i++)
		pass->done[i] = (struct rp_vring_done){.head = pass->sent[i].head};
	if (rp_vring_dev_fill_burst(&from->vring, from->unpublished_count, pass->done, (uint16_t)i) < 0) {
		sa_ring_break(from);
		return;
	}
	rp_vring_dev_advance(&from->vring, (uint16_t)i);
	from->unpublished_count = (uint16_t)(from->unpublished_count + i);
}

static unsigned int
forward_left(struct pass *pass)
{
	struct rte_mbuf *mbufs[SA_BURST];
	unsigned int count = sa_ring_transmit(pass->from, pass->sw->scratch, mbufs, pass->left_count);

	sa_switch_forward(pass->sw, pass->from->port, mbufs, count);
	sa_packet_give(pass->sw->scratch->pool, mbufs, count);
	return count;
}

/* @return how many chains there were, or a negative number: there is nothing more to be done. */
static int
look(struct pass *pass, unsigned int max_count)
{
	int i, count = rp_vring_dev_peek_burst(&pass->from->vring, 0, pass->sent, (uint16_t)max_count);

	for (i = 0; i < count; i++)
		prefetch_sent(&pass->sent[i]);
	/* Too many pieces for this path. */
	if (count == -EMSGSIZE)
		return 0;
	if (count < 0)
		sa_ring_break(pass->from);
	return count == 0 ? -EAGAIN : count;
}

unsigned int
sa_pass_serve(struct sa_switch *sw, struct sa_ring *ring)
{
	unsigned int left = SA_BURST, packets = 0;
	struct pass pass;

	pass.sw = sw;
	pass.from = ring;
	while (left > 0 && ring->awake) {
		int sent_count = look(&pass, left);

		if (sent_count < 0)
			break;
		pass.left_count = 1;
		pass.passed_count = 0;
		if (sent_count > 0)
			pass_burst(&pass, (unsigned int)sent_count);
		take_back(&pass);
		packets += pass.passed_count;
		left -= pass.passed_count + pass.left_count;
		/* It may have broken as what was passed was given back. */
		if (pass.left_count == 0 || !ring->awake)
			break;
		packets += forward_left(&pass);
	}
	if (left < SA_BURST)
		ring->empty_looks = 0;
	else if (ring->awake)
		sa_ring_found_empty(ring);
	sa_port_show_macs(ring->port);
	sa_ring_flush(ring);
	return packets;
}
