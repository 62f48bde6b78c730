/* SPDX-License-Identifier: BSD-3-Clause */
#include "parcel.h"
#include "rp_wire_fd.h"

#define LIES_MAX 3u

enum lie {
	ABSENT,
	OTHER_KIND,
	ONE_MORE,
	ONE_LESS,
	ANY_NUMBER,
	OTHER_FILE, /* another one of the parcel's */
	FOREIGN_FILE, /* its file is of another kind */
	NO_FILE, /* its file did not arrive */
	LIES_COUNT,
};

struct lying {
	unsigned int item;
	enum lie lie;
	uint64_t number; /* or the file's */
};

static unsigned int
count_items(const struct rp_wire_parcel *parcel)
{
	const struct rp_wire_parcel_item *item = NULL;
	unsigned int count = 0;

	while ((item = rp_wire_parcel_next(parcel, item)) != NULL)
		count++;
	return count;
}

static const struct lying *
find_lie(const struct lying *lies, unsigned int lies_count, unsigned int item)
{
	unsigned int i;

	for (i = 0; i < lies_count; i++)
		if (lies[i].item == item)
			return &lies[i];
	return NULL;
}

/* Not the pool's socket: who is served on it would leave something to the next input. */
static int
foreign_file(uint64_t number)
{
	static const enum fuzz_fd kinds[] = {FUZZ_FD_SEALED, FUZZ_FD_SEALED_TWIN, FUZZ_FD_UNSEALED, FUZZ_FD_SMALL,
					     FUZZ_FD_EVENT,  FUZZ_FD_NULL,	  FUZZ_FD_ZERO};

	return rp_wire_fd_dup(fuzz_fd(kinds[number % (sizeof(kinds) / sizeof(kinds[0]))]));
}

/* Each open file, at its number. */
static void
copy_files(struct rp_wire_parcel *copy, const struct rp_wire_parcel *parcel, const struct lying *lies,
	   unsigned int lies_count)
{
	unsigned int file;

	for (file = 0; file < rp_wire_parcel_fds_count(parcel); file++) {
		const struct rp_wire_parcel_item *item = NULL;
		const struct lying *lying = NULL;
		unsigned int i = 0;
		int fd = -1;

		while ((item = rp_wire_parcel_next(parcel, item)) != NULL) {
			if (item->kind == RP_WIRE_PARCEL_FD && item->number == file && lying == NULL)
				lying = find_lie(lies, lies_count, i);
			i++;
		}
		if (lying == NULL || (lying->lie != FOREIGN_FILE && lying->lie != NO_FILE))
			fd = rp_wire_fd_dup(rp_wire_parcel_fd(parcel, file));
		else if (lying->lie == FOREIGN_FILE)
			fd = foreign_file(lying->number);
		rp_wire_parcel_add_fd(copy, &fd);
	}
}

static void
put(struct rp_wire_parcel *copy, const struct rp_wire_parcel_item *item)
{
	if (item->kind == RP_WIRE_PARCEL_NUMBER)
		rp_wire_parcel_put_number(copy, item->path, item->number);
	else if (item->kind == RP_WIRE_PARCEL_TEXT)
		rp_wire_parcel_put_text(copy, item->path, item->text);
	else
		rp_wire_parcel_put_fd_index(copy, item->path, item->number);
}

static void
put_lie(struct rp_wire_parcel *copy, const struct rp_wire_parcel_item *item, const struct lying *lying)
{
	bool is_number = item->kind == RP_WIRE_PARCEL_NUMBER;
	unsigned int files_count = rp_wire_parcel_fds_count(copy);

	switch (lying->lie) {
	case ABSENT:
		return;
	case OTHER_KIND:
		if (is_number)
			rp_wire_parcel_put_text(copy, item->path, "seven");
		else
			rp_wire_parcel_put_number(copy, item->path, lying->number);
		return;
	case OTHER_FILE:
		if (files_count > 0) {
			rp_wire_parcel_put_fd_index(copy, item->path, lying->number % files_count);
			return;
		}
		break;
	case ONE_MORE:
	case ONE_LESS:
	case ANY_NUMBER:
		if (is_number) {
			rp_wire_parcel_put_number(copy, item->path,
						  lying->lie == ONE_MORE ? item->number + 1 :
						  lying->lie == ONE_LESS ? item->number - 1 :
									   lying->number);
			return;
		}
		break;
	default:
		break;
	}
	put(copy, item);
}

struct rp_wire_parcel *
fuzz_parcel_bent(struct fuzz_input *input, const struct rp_wire_parcel *parcel)
{
	const struct rp_wire_parcel_item *item = NULL;
	unsigned int items_count = count_items(parcel), lies_count = fuzz_below(input, LIES_MAX + 1), i;
	struct lying lies[LIES_MAX];
	struct rp_wire_parcel *copy;

	for (i = 0; i < lies_count; i++) {
		lies[i].item = fuzz_u16(input) % items_count;
		lies[i].lie = (enum lie)fuzz_below(input, LIES_COUNT);
		lies[i].number = lies[i].lie < OTHER_FILE && lies[i].lie != ANY_NUMBER ? 7 : fuzz_number(input);
	}
	fuzz_require(rp_wire_parcel_create(&copy) == 0, "a parcel");
	copy_files(copy, parcel, lies, lies_count);
	for (i = 0; (item = rp_wire_parcel_next(parcel, item)) != NULL; i++) {
		const struct lying *lying = find_lie(lies, lies_count, i);

		if (lying == NULL)
			put(copy, item);
		else
			put_lie(copy, item, lying);
	}
	fuzz_require(rp_wire_parcel_result(copy, NULL) == 0, "a parcel travels");
	return copy;
}
