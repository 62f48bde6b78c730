/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"
#include "rp_dma_pasid.h"

/*
 * Theory of operation. Which PASID has which space is itself a table of the library's
 * kind, with PASIDs for addresses and members of the set for what is mapped there, in
 * a space that has nothing else: the directory. Its readers are the set's. Who enters
 * a space found it in the directory and goes online in it; a quiescent point leaves
 * the spaces first and then passes in the directory. So when the directory's readers
 * have passed, nobody is in a space that it has no more.
 */

#define SPACES_MAX_DEFAULT 1024u
#define SPACES_MAX (1u << RP_DMA_PASID_BITS)

/* One space, and a reader of it for each of the set's. */
struct member {
	_Alignas(16) struct rp_dma_space *space;
	struct rp_dma_reader *readers[RP_DMA_PASID_READERS_MAX];
};

struct rp_dma_pasid_reader {
	struct rp_dma_pasids *pasids;
	struct rp_dma_reader *directory;
	struct rp_dma_reader *entered; /* by entered_next */
	unsigned int index;
};

struct rp_dma_pasids {
	struct rp_dma_store store; /* of all spaces */
	struct rp_dma_space *directory;
	struct rp_dma_limits limits;
	uint32_t spaces_max;
	struct rp_dma_pasid_reader *readers[RP_DMA_PASID_READERS_MAX];
};

int
rp_dma_pasids_create(const struct rp_dma_pasid_limits *limits, struct rp_dma_pasids **ret_pasids)
{
	struct rp_dma_pasids *pasids = calloc(1, sizeof(*pasids));
	int rc;

	if (pasids == NULL)
		return -ENOMEM;
	rp_dma_store_init(&pasids->store);
	pasids->spaces_max = SPACES_MAX_DEFAULT;
	if (limits != NULL) {
		pasids->limits = limits->space;
		if (limits->spaces_max != 0)
			pasids->spaces_max = limits->spaces_max < SPACES_MAX ? limits->spaces_max : SPACES_MAX;
	}
	rc = rp_dma_space_create_in(NULL, &pasids->store, &pasids->directory);
	if (rc < 0) {
		free(pasids);
		return rc;
	}
	*ret_pasids = pasids;
	return 0;
}

static uint64_t
current(const struct rp_dma_pasids *pasids)
{
	return atomic_load_explicit(&pasids->directory->table, memory_order_relaxed);
}

static struct member *
find_member(uint64_t table, uint32_t pasid)
{
	struct rp_dma_entry entry;

	return rp_dma_table_find(table, pasid, &entry) ? (struct member *)(void *)entry.hva : NULL;
}

static struct member *
member_destroy(struct member *member)
{
	unsigned int i;

	for (i = 0; i < RP_DMA_PASID_READERS_MAX; i++)
		rp_dma_reader_destroy(member->readers[i]);
	rp_dma_space_destroy(member->space);
	free(member);
	return NULL;
}

static struct member *
member_create(struct rp_dma_pasids *pasids)
{
	struct member *member = aligned_alloc(_Alignof(struct member), sizeof(*member));
	unsigned int i;
	int rc;

	if (member == NULL)
		return NULL;
	memset(member, 0, sizeof(*member));
	rc = rp_dma_space_create_in(&pasids->limits, &pasids->store, &member->space);
	for (i = 0; rc == 0 && i < RP_DMA_PASID_READERS_MAX; i++) {
		if (pasids->readers[i] != NULL)
			rc = rp_dma_reader_create(member->space, &member->readers[i]);
	}
	return rc < 0 ? member_destroy(member) : member;
}

/* The edit did not fail. What it replaced is disposed of when nobody sees it. */
static void
publish(struct rp_dma_pasids *pasids, struct rp_dma_edit *edit)
{
	struct rp_dma_gone gone = rp_dma_edit_commit(edit);

	pthread_mutex_lock(&pasids->directory->lock);
	rp_dma_space_publish(pasids->directory, edit->table);
	pthread_mutex_unlock(&pasids->directory->lock);
	rp_dma_space_retire(pasids->directory, &gone);
}

static int
enter_into_directory(struct rp_dma_pasids *pasids, uint32_t pasid, struct member *member)
{
	const struct rp_dma_entry entry = {pasid, pasid, (uint8_t *)member, RP_DMA_READ};
	struct rp_dma_edit edit;

	rp_dma_edit_begin(&edit, &pasids->store.pool, current(pasids));
	rp_dma_edit_insert(&edit, &entry);
	if (edit.failed) {
		rp_dma_edit_abort(&edit);
		return -ENOSPC;
	}
	publish(pasids, &edit);
	return 0;
}

int
rp_dma_pasids_open(struct rp_dma_pasids *pasids, uint32_t pasid, struct rp_dma_space **ret_space,
		   struct rp_wire_why *why)
{
	struct member *member;

	if (pasid >> RP_DMA_PASID_BITS != 0)
		return rp_wire_why_set(why, -EBADMSG, "PASID: is 0x%" PRIx32 ", expected one of %u bits", pasid,
				       RP_DMA_PASID_BITS);
	member = find_member(current(pasids), pasid);
	if (member != NULL) {
		*ret_space = member->space;
		return 0;
	}
	if (rp_dma_pasids_count(pasids) >= pasids->spaces_max)
		return rp_wire_why_set(why, -ENOSPC, "PASID: %" PRIu32 " have a space already, the most allowed",
				       rp_dma_pasids_count(pasids));
	member = member_create(pasids);
	if (member == NULL)
		return rp_wire_why_set(why, -ENOSPC, "PASID: no memory");
	if (enter_into_directory(pasids, pasid, member) < 0) {
		member_destroy(member);
		return rp_wire_why_set(why, -ENOSPC, "PASID: no memory");
	}
	*ret_space = member->space;
	return 1;
}

struct rp_dma_space *
rp_dma_pasids_find(const struct rp_dma_pasids *pasids, uint32_t pasid)
{
	const struct member *member = find_member(current(pasids), pasid);

	return member == NULL ? NULL : member->space;
}

bool
rp_dma_pasids_next(const struct rp_dma_pasids *pasids, uint32_t from_pasid, uint32_t *ret_pasid,
		   struct rp_dma_space **ret_space)
{
	struct rp_dma_entry entry;

	if (!rp_dma_table_next(current(pasids), from_pasid, &entry))
		return false;
	*ret_pasid = (uint32_t)entry.first_iova;
	*ret_space = ((struct member *)(void *)entry.hva)->space;
	return true;
}

int
rp_dma_pasids_close(struct rp_dma_pasids *pasids, uint32_t pasid)
{
	struct member *member = find_member(current(pasids), pasid);
	struct rp_dma_edit edit;

	if (member == NULL)
		return 0;
	rp_dma_edit_begin(&edit, &pasids->store.pool, current(pasids));
	rp_dma_edit_erase(&edit, pasid, pasid);
	if (edit.failed) {
		rp_dma_edit_abort(&edit);
		return -ENOSPC;
	}
	publish(pasids, &edit);
	rp_dma_space_synchronize(pasids->directory);
	member_destroy(member);
	return 0;
}

uint32_t
rp_dma_pasids_count(const struct rp_dma_pasids *pasids)
{
	return rp_dma_table_count(current(pasids));
}

struct rp_dma_pasids *
rp_dma_pasids_destroy(struct rp_dma_pasids *pasids)
{
	struct rp_dma_entry entry;
	struct rp_dma_edit edit;
	uint32_t pasid;

	if (pasids == NULL)
		return NULL;
	for (pasid = 0; rp_dma_table_next(current(pasids), pasid, &entry); pasid = (uint32_t)entry.first_iova + 1)
		member_destroy((struct member *)(void *)entry.hva);
	/* All of it, so that nothing is copied and nothing fails; its entries point at nothing of the store. */
	rp_dma_edit_begin(&edit, &pasids->store.pool, current(pasids));
	rp_dma_edit_erase(&edit, 0, UINT64_MAX);
	publish(pasids, &edit);
	rp_dma_space_destroy(pasids->directory);
	rp_dma_store_end(&pasids->store);
	free(pasids);
	return NULL;
}

static unsigned int
free_index(const struct rp_dma_pasids *pasids)
{
	unsigned int i = 0;

	while (i < RP_DMA_PASID_READERS_MAX && pasids->readers[i] != NULL)
		i++;
	return i;
}

/* Its readers in all spaces. */
static void
leave_members(struct rp_dma_pasid_reader *reader)
{
	struct rp_dma_entry entry;
	uint32_t pasid;

	for (pasid = 0; rp_dma_table_next(current(reader->pasids), pasid, &entry);
	     pasid = (uint32_t)entry.first_iova + 1) {
		struct member *member = (struct member *)(void *)entry.hva;

		member->readers[reader->index] = rp_dma_reader_destroy(member->readers[reader->index]);
	}
}

static int
join_members(struct rp_dma_pasid_reader *reader)
{
	struct rp_dma_entry entry;
	uint32_t pasid;
	int rc = 0;

	for (pasid = 0; rc == 0 && rp_dma_table_next(current(reader->pasids), pasid, &entry);
	     pasid = (uint32_t)entry.first_iova + 1) {
		struct member *member = (struct member *)(void *)entry.hva;

		rc = rp_dma_reader_create(member->space, &member->readers[reader->index]);
	}
	return rc;
}

int
rp_dma_pasid_reader_create(struct rp_dma_pasids *pasids, struct rp_dma_pasid_reader **ret_reader)
{
	struct rp_dma_pasid_reader *reader;
	unsigned int index = free_index(pasids);
	int rc;

	if (index == RP_DMA_PASID_READERS_MAX)
		return -ENOSPC;
	reader = calloc(1, sizeof(*reader));
	if (reader == NULL)
		return -ENOMEM;
	reader->pasids = pasids;
	reader->index = index;
	rc = rp_dma_reader_create(pasids->directory, &reader->directory);
	if (rc == 0)
		rc = join_members(reader);
	if (rc < 0) {
		leave_members(reader);
		rp_dma_reader_destroy(reader->directory);
		free(reader);
		return rc;
	}
	pasids->readers[index] = reader;
	*ret_reader = reader;
	return 0;
}

struct rp_dma_pasid_reader *
rp_dma_pasid_reader_destroy(struct rp_dma_pasid_reader *reader)
{
	if (reader == NULL)
		return NULL;
	assert(reader->entered == NULL);
	leave_members(reader);
	rp_dma_reader_destroy(reader->directory);
	reader->pasids->readers[reader->index] = NULL;
	free(reader);
	return NULL;
}

void
rp_dma_pasid_reader_online(struct rp_dma_pasid_reader *reader)
{
	rp_dma_reader_online(reader->directory);
}

static void
leave_entered(struct rp_dma_pasid_reader *reader)
{
	struct rp_dma_reader *entered = reader->entered, *next;

	reader->entered = NULL;
	for (; entered != NULL; entered = next) {
		/* Once offline it may go with its space as soon as the directory's reader passes, not before. */
		next = entered->entered_next;
		rp_dma_reader_offline(entered);
	}
}

void
rp_dma_pasid_reader_offline(struct rp_dma_pasid_reader *reader)
{
	leave_entered(reader);
	rp_dma_reader_offline(reader->directory);
}

void
rp_dma_pasid_reader_quiescent(struct rp_dma_pasid_reader *reader)
{
	leave_entered(reader);
	rp_dma_reader_quiescent(reader->directory);
}

struct rp_dma_reader *
rp_dma_pasid_reader_enter(struct rp_dma_pasid_reader *reader, uint32_t pasid)
{
	uint64_t table = atomic_load_explicit(&reader->pasids->directory->table, memory_order_seq_cst);
	struct member *member = find_member(table, pasid);
	struct rp_dma_reader *entered;

	if (member == NULL)
		return NULL;
	entered = member->readers[reader->index];
	/* Only this thread writes its epoch. */
	if (atomic_load_explicit(&entered->epoch, memory_order_relaxed) == 0) {
		rp_dma_reader_online(entered);
		entered->entered_next = reader->entered;
		reader->entered = entered;
	}
	return entered;
}
