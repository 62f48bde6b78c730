/* SPDX-License-Identifier: BSD-3-Clause */
#include "burst.h"
#include "chain.h"
#include "packed.h"

/* What a descriptor of a chain that is told in line has of its flags. */
#define SHAPE_MASK (PACKED_DESC_AVAIL | PACKED_DESC_USED | PACKED_DESC_NEXT | PACKED_DESC_INDIRECT | PACKED_DESC_WRITE)

#define TABLE_ALIGN_BYTES 8u /* so that each half of a descriptor is one load */
#define TABLES_AHEAD 4u /* fetched while the ones before them are followed */

/* Where chains are looked at; what the ring says is brought up to date once, at the end. */
struct look {
	const uint8_t *descs;
	struct rp_vring_note *notes;
	uint16_t num;
	uint16_t at;
	uint16_t room; /* descriptors that may be available */
	uint16_t place; /* in the notes */
	bool wrap;
};

static inline void
move(struct look *look, uint16_t descs_count)
{
	packed_move(look->num, &look->at, &look->wrap, descs_count);
	look->room = (uint16_t)(look->room - descs_count);
}

/* What a chain begins with; the others of a list are there when this one is. */
static inline uint64_t
load_first(const uint8_t *desc)
{
#if defined(__SANITIZE_THREAD__)
	/* It knows what is released and acquired by address: the driver's store is of the flags alone. */
	(void)vring_load16_acquire(desc + offsetof(struct packed_desc, flags));
#endif
	return vring_load64_acquire(desc + BURST_META_AT);
}

/* A list after its first descriptor. @return how many descriptors it takes, 0: it is not plain. */
static uint16_t
look_at_list(struct burst *burst, const struct look *look, uint64_t iova, uint64_t meta,
	     struct rp_vring_burst_chain *chain)
{
	uint16_t at = look->at, skip = 0, flags = burst_fourth(meta);
	bool wrap = look->wrap;

	burst_chain_start(chain);
	for (;;) {
		const uint8_t *desc;

		if ((flags & PACKED_DESC_INDIRECT) != 0 ||
		    !rp_vring_burst_add(burst, chain, iova, burst_len(meta), (flags & PACKED_DESC_WRITE) != 0))
			return 0;
		skip++;
		if ((flags & PACKED_DESC_NEXT) == 0)
			break;
		if (skip == look->room)
			return 0;
		packed_move(look->num, &at, &wrap, 1);
		desc = look->descs + (size_t)at * sizeof(struct packed_desc);
		meta = vring_load64(desc + BURST_META_AT);
		iova = vring_load64(desc);
		flags = burst_fourth(meta);
		if (!packed_is_available(flags, wrap))
			return 0;
	}
	chain->head = burst_third(meta);
	burst->pieces_count += (uint32_t)chain->out_count + chain->in_count;
	return skip;
}

/* The shape of a run: how many descriptors each chain takes, all of one kind; and where the mapping is that they are in. */
struct run {
	uint64_t first_iova; /* of the window, and what else there is of it */
	uint8_t *hva;
	uint64_t seen_bytes;
	uint32_t flags; /* of each descriptor but for PACKED_DESC_NEXT */
};

static inline struct run
begin_run(const struct burst *burst, bool writable, uint32_t flags)
{
	return (struct run){
		.first_iova = burst->window.first_iova,
		.hva = burst->window.hva,
		.seen_bytes = burst->window.seen_bytes[writable ? RP_DMA_WRITE : RP_DMA_READ],
		.flags = flags,
	};
}

static inline __attribute__((always_inline)) bool
look_at_piece(const struct run *run, const uint8_t *desc, uint64_t meta, struct iovec *ret_piece)
{
	uint64_t at_bytes = vring_load64(desc) - run->first_iova;

	if (!rp_dma_window_sees(run->seen_bytes, at_bytes, burst_len(meta)))
		return false;
	*ret_piece = (struct iovec){.iov_base = run->hva + at_bytes, .iov_len = burst_len(meta)};
	return true;
}

static inline bool
is_writable(uint64_t meta)
{
	return (burst_fourth(meta) & PACKED_DESC_WRITE) != 0;
}

/* The shapes of a data path: a table of one piece, or two of one kind. @return whether it is that, and seen. */
static inline bool
look_at_table_shape(const struct burst *burst, const uint8_t *table, uint32_t count, struct rp_vring_burst_chain *chain)
{
	uint64_t first = vring_load64(table + BURST_META_AT), second;
	bool writable = is_writable(first);
	const struct run run = begin_run(burst, writable, 0);
	uint32_t all_bytes;

	if (count > 2 || !look_at_piece(&run, table, first, &chain->iov[0]))
		return false;
	burst_say(chain, writable, 1, burst_len(first));
	if (count == 1)
		return true;
	table += sizeof(struct packed_desc);
	second = vring_load64(table + BURST_META_AT);
	if (is_writable(second) != writable || !look_at_piece(&run, table, second, &chain->iov[1]) ||
	    __builtin_add_overflow(burst_len(first), burst_len(second), &all_bytes))
		return false;
	burst_say(chain, writable, 2, all_bytes);
	return true;
}

/* All of a table is the chain, and of its flags only one counts (2.8.7). @return whether it is plain. */
static bool
follow_table(struct burst *burst, const uint8_t *table, uint32_t count, struct rp_vring_burst_chain *chain)
{
	uint32_t i;

	burst_chain_start(chain);
	for (i = 0; i < count; i++, table += sizeof(struct packed_desc)) {
		uint64_t meta = vring_load64(table + BURST_META_AT);

		if (!rp_vring_burst_add(burst, chain, vring_load64(table), burst_len(meta), is_writable(meta)))
			return false;
	}
	return true;
}

/* A table that is seen whole, and aligned. @return how many descriptors of the ring it takes, 0: it is not plain. */
static uint16_t
look_at_table(struct burst *burst, uint64_t iova, uint64_t meta, struct rp_vring_burst_chain *chain)
{
	uint32_t size_bytes = burst_len(meta), count = size_bytes / CHAIN_DESC_BYTES;
	const uint8_t *table;

	if ((burst->ring->layout.features & VRING_INDIRECT_DESC_MASK) == 0 ||
	    (burst_fourth(meta) & PACKED_DESC_NEXT) != 0 || size_bytes % CHAIN_DESC_BYTES != 0)
		return 0;
	table = burst_see(burst, iova, size_bytes, false);
	if (table == NULL || (uintptr_t)table % TABLE_ALIGN_BYTES != 0)
		return 0;
	if (!look_at_table_shape(burst, table, count, chain) && !follow_table(burst, table, count, chain))
		return 0;
	chain->head = burst_third(meta);
	burst->pieces_count += 1 + count;
	return 1;
}

/* @return how many descriptors the chain takes; 0: it is not plain, or there is none. */
static inline uint16_t
look_at_chain(struct burst *burst, const struct look *look, struct rp_vring_burst_chain *chain)
{
	const uint8_t *desc = look->descs + (size_t)look->at * sizeof(struct packed_desc);
	uint64_t meta, iova;
	uint16_t flags;

	if (look->room == 0) {
		burst->odd = false;
		return 0;
	}
	meta = load_first(desc);
	flags = burst_fourth(meta);
	if (!packed_is_available(flags, look->wrap)) {
		burst->odd = false;
		return 0;
	}
	iova = vring_load64(desc);
	if ((flags & PACKED_DESC_INDIRECT) != 0)
		return look_at_table(burst, iova, meta, chain);
	if (__builtin_expect((flags & PACKED_DESC_NEXT) != 0, 0))
		return look_at_list(burst, look, iova, meta, chain);
	chain->head = burst_third(meta);
	return burst_single(burst, chain, iova, burst_len(meta), (flags & PACKED_DESC_WRITE) != 0);
}

/* Take note of a chain; of one that was looked at before the note must say the same. @return whether it is plain. */
static inline bool
note_chain(struct look *look, const struct rp_vring_burst_chain *chain, uint16_t skip, bool again)
{
	struct rp_vring_note *note;

	if (chain->head >= look->num)
		return false;
	note = &look->notes[chain->head];
	if (__builtin_expect(again, 0)) {
		if (note->skip != skip || look->notes[look->place].order_id != chain->head)
			return false;
	} else {
		if (note->skip != 0)
			return false;
		note->skip = skip;
		look->notes[look->place].order_id = chain->head;
	}
	look->place = (uint16_t)(look->place + 1 == look->num ? 0 : look->place + 1);
	move(look, skip);
	return true;
}

static inline uint32_t
shape_of(uint64_t meta)
{
	return burst_fourth(meta) & SHAPE_MASK;
}

/* @return whether the chain that begins here is of the run; if not, it may be as good, or not be there. */
static inline __attribute__((always_inline)) bool
look_at_shape(const struct run *run, const uint8_t *desc, struct rp_vring_burst_chain *chain, const bool writable,
	      const bool pair)
{
	const uint8_t *next = desc + sizeof(struct packed_desc);
	uint64_t first = load_first(desc), second;
	uint32_t all_bytes;

	if (shape_of(first) != (pair ? run->flags | PACKED_DESC_NEXT : run->flags) ||
	    !look_at_piece(run, desc, first, &chain->iov[0]))
		return false;
	chain->head = burst_third(first);
	burst_say(chain, writable, 1, burst_len(first));
	if (!pair)
		return true;
	second = vring_load64(next + BURST_META_AT);
	if (shape_of(second) != run->flags || !look_at_piece(run, next, second, &chain->iov[1]) ||
	    __builtin_add_overflow(burst_len(first), burst_len(second), &all_bytes))
		return false;
	chain->head = burst_third(second);
	burst_say(chain, writable, 2, all_bytes);
	return true;
}

static inline uint32_t
lesser(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Chains that were not looked at before, and take note of them. @return how many are of the run, from the first on. */
static inline __attribute__((always_inline)) uint16_t
look_at_run(struct burst *burst, struct look *look, struct rp_vring_burst_chain *chains, uint32_t max_count,
	    const bool writable, const bool pair)
{
	const struct run run =
		begin_run(burst, writable, packed_available_flags(look->wrap) | (writable ? PACKED_DESC_WRITE : 0));
	struct rp_vring_note *const notes = look->notes, *place = &notes[look->place];
	const uint8_t *desc = look->descs + look->at * sizeof(struct packed_desc);
	const uint32_t num = look->num, skip = pair ? 2 : 1;
	/* Neither goes round its end. */
	uint32_t most = lesser(lesser(look->room, num - look->at) / skip, lesser(max_count, num - look->place)), i;

	for (i = 0; i < most; i++, desc += skip * sizeof(struct packed_desc)) {
		uint16_t id;

		if (!look_at_shape(&run, desc, &chains[i], writable, pair))
			break;
		id = chains[i].head;
		if (id >= num || notes[id].skip != 0)
			break;
		notes[id].skip = (uint16_t)skip;
		place[i].order_id = id;
	}
	look->place = (uint16_t)(look->place + i == num ? 0 : look->place + i);
	burst->pieces_count += i * skip;
	move(look, (uint16_t)(i * skip));
	return (uint16_t)i;
}

/* Four functions: together they would want more registers than there are. */
static __attribute__((noinline)) uint16_t
look_at_readable(struct burst *burst, struct look *look, struct rp_vring_burst_chain *chains, uint16_t max_count)
{
	return look_at_run(burst, look, chains, max_count, false, false);
}

static __attribute__((noinline)) uint16_t
look_at_readable_pairs(struct burst *burst, struct look *look, struct rp_vring_burst_chain *chains, uint16_t max_count)
{
	return look_at_run(burst, look, chains, max_count, false, true);
}

static __attribute__((noinline)) uint16_t
look_at_writable(struct burst *burst, struct look *look, struct rp_vring_burst_chain *chains, uint16_t max_count)
{
	return look_at_run(burst, look, chains, max_count, true, false);
}

static __attribute__((noinline)) uint16_t
look_at_writable_pairs(struct burst *burst, struct look *look, struct rp_vring_burst_chain *chains, uint16_t max_count)
{
	return look_at_run(burst, look, chains, max_count, true, true);
}

/* A guess: what is not available, or no table, may be another thing by the time it counts. */
static inline void
fetch_table(const struct burst *burst, const struct look *look)
{
	const uint8_t *desc = look->descs + ((size_t)look->at + TABLES_AHEAD) * sizeof(struct packed_desc);
	const void *table;

	if (look->at + TABLES_AHEAD >= look->num)
		return;
	table = rp_dma_window_translate(&burst->window, vring_load64(desc), CHAIN_DESC_BYTES, RP_DMA_READ);
	if (table != NULL)
		__builtin_prefetch(table);
}

/* @return how many chains are indirect and plain, from the first one on; they were not looked at before. */
static __attribute__((noinline)) uint16_t
look_at_tables(struct burst *burst, struct look *look, struct rp_vring_burst_chain *chains, uint16_t max_count)
{
	uint16_t i, most = look->room < max_count ? look->room : max_count;

	for (i = 0; i < most; i++) {
		const uint8_t *desc = look->descs + (size_t)look->at * sizeof(struct packed_desc);
		uint64_t meta = load_first(desc);
		uint16_t flags = burst_fourth(meta);

		if (!packed_is_available(flags, look->wrap) || (flags & PACKED_DESC_INDIRECT) == 0)
			break;
		fetch_table(burst, look);
		if (look_at_table(burst, vring_load64(desc), meta, &chains[i]) == 0 ||
		    !note_chain(look, &chains[i], 1, false))
			break;
	}
	return i;
}

/* Which way is tried is a guess from the first descriptor, that is read anew. */
static uint16_t
look_at_some(struct burst *burst, struct look *look, struct rp_vring_burst_chain *chains, uint16_t max_count)
{
	const uint8_t *desc = look->descs + (size_t)look->at * sizeof(struct packed_desc);
	uint16_t flags = vring_load16(desc + offsetof(struct packed_desc, flags));

	/* The writable flag of what refers to a table says nothing. */
	if (__builtin_expect((flags & PACKED_DESC_INDIRECT) != 0, 0))
		return look_at_tables(burst, look, chains, max_count);
	switch (flags & (PACKED_DESC_WRITE | PACKED_DESC_NEXT)) {
	case 0:
		return look_at_readable(burst, look, chains, max_count);
	case PACKED_DESC_NEXT:
		return look_at_readable_pairs(burst, look, chains, max_count);
	case PACKED_DESC_WRITE:
		return look_at_writable(burst, look, chains, max_count);
	default:
		return look_at_writable_pairs(burst, look, chains, max_count);
	}
}

/* From the first chain that was not taken. */
static void
look_from(struct look *look, const struct rp_vring_dev *ring, uint16_t ahead)
{
	*look = (struct look){
		.descs = ring->desc,
		.notes = ring->layout.notes,
		.num = ring->layout.num,
		.at = ring->next_avail,
		.room = (uint16_t)(ring->layout.num - ring->out_size),
		.place = ring->take_place,
		.wrap = ring->avail_wrap,
	};
	if (ahead == ring->peeked_count) {
		look->place = (uint16_t)((look->place + ahead) % look->num);
		look->at = ring->peek_at;
		look->wrap = ring->peek_wrap;
		look->room = (uint16_t)(look->room - ring->peeked_size);
		return;
	}
	for (; ahead > 0; ahead--) {
		move(look, look->notes[look->notes[look->place].order_id].skip);
		look->place = (uint16_t)(look->place + 1 == look->num ? 0 : look->place + 1);
	}
}

/* What is new of it. */
static void
keep(struct rp_vring_dev *ring, const struct look *look, uint16_t peeked_count)
{
	if (peeked_count <= ring->peeked_count)
		return;
	ring->peeked_count = peeked_count;
	ring->peeked_size = (uint16_t)(look->num - ring->out_size - look->room);
	ring->peek_at = look->at;
	ring->peek_wrap = look->wrap;
}

/* A chain of any plain shape, perhaps one that was looked at before. @return 1, or 0: burst->odd says why. */
static uint16_t
look_at_any(struct burst *burst, struct look *look, struct rp_vring_burst_chain *chain, bool again)
{
	uint16_t skip = look_at_chain(burst, look, chain);

	return skip != 0 && note_chain(look, chain, skip, again);
}

uint16_t
rp_vring_packed_burst(struct burst *burst, uint16_t ahead, struct rp_vring_burst_chain *ret_chains, uint16_t max_count)
{
	struct rp_vring_dev *ring = burst->ring;
	struct look look;
	uint16_t i, some;

	burst->odd = true;
	/* Those between must be looked at first. */
	if (ahead > ring->peeked_count)
		return 0;
	look_from(&look, ring, ahead);
	for (i = 0; i < max_count; i = (uint16_t)(i + some)) {
		bool again = ahead + i < ring->peeked_count;

		some = again ? 0 : look_at_some(burst, &look, ret_chains + i, (uint16_t)(max_count - i));
		if (some > 0)
			continue;
		some = look_at_any(burst, &look, &ret_chains[i], again);
		if (some == 0) {
			/* One that was there is not gone. */
			burst->odd |= again;
			break;
		}
	}
	keep(ring, &look, (uint16_t)(ahead + i));
	return i;
}
