/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"

struct item {
	struct rp_wire_parcel_item public; /* first: what is given out is converted back */
	TAILQ_ENTRY(item) link;
	char bytes[]; /* the path, then the text, each with its zero byte */
};

struct rp_wire_parcel {
	TAILQ_HEAD(items, item) items; /* in the order of packing */
	void *by_path; /* of tsearch(3) */
	unsigned int items_count;
	int *fds;
	unsigned int fds_count;
	char scope[RP_WIRE_PARCEL_PATH_MAX];
	size_t scope_bytes;
	size_t scope_starts[RP_WIRE_PARCEL_DEPTH_MAX];
	unsigned int depth;
	struct rp_wire_why error; /* the first; 0: none */
};

int
rp_wire_parcel_create(struct rp_wire_parcel **ret_parcel)
{
	struct rp_wire_parcel *parcel = calloc(1, sizeof(*parcel));

	if (parcel == NULL)
		return -ENOMEM;
	TAILQ_INIT(&parcel->items);
	*ret_parcel = parcel;
	return 0;
}

static void
keep_item(void *item)
{
	(void)item; /* the list frees it */
}

struct rp_wire_parcel *
rp_wire_parcel_destroy(struct rp_wire_parcel *parcel)
{
	struct item *item;

	if (parcel == NULL)
		return NULL;
	tdestroy(parcel->by_path, keep_item);
	while ((item = TAILQ_FIRST(&parcel->items)) != NULL) {
		TAILQ_REMOVE(&parcel->items, item, link);
		free(item);
	}
	rp_wire_fd_close_all(parcel->fds, parcel->fds_count);
	free(parcel->fds);
	free(parcel);
	return NULL;
}

static void
fail(struct rp_wire_parcel *parcel, int error, const char *path, const char *what)
{
	if (parcel->error.error == 0)
		rp_wire_why_set(&parcel->error, error, "%.*s: %s", (int)RP_WIRE_PARCEL_PATH_MAX, path, what);
}

int
rp_wire_parcel_result(struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	int error = parcel->error.error;

	if (error != 0 && why != NULL)
		*why = parcel->error;
	parcel->error.error = 0;
	return error;
}

static bool
is_legal_path(const char *path)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.[]";

	return path[0] != '\0' && path[strspn(path, legal)] == '\0';
}

/* With the scopes before it. @return whether it can be. */
static bool
path_of(const struct rp_wire_parcel *parcel, const char *name, char ret_path[RP_WIRE_PARCEL_PATH_MAX])
{
	size_t bytes = strlen(name);

	memcpy(ret_path, parcel->scope, parcel->scope_bytes);
	ret_path[parcel->scope_bytes] = '\0';
	if (bytes >= RP_WIRE_PARCEL_PATH_MAX - parcel->scope_bytes)
		return false;
	memcpy(ret_path + parcel->scope_bytes, name, bytes + 1);
	return is_legal_path(ret_path);
}

void
rp_wire_parcel_enter(struct rp_wire_parcel *parcel, const char *name, unsigned int index)
{
	size_t room = RP_WIRE_PARCEL_PATH_MAX - parcel->scope_bytes;
	int bytes;

	assert(parcel->depth < RP_WIRE_PARCEL_DEPTH_MAX);
	parcel->scope_starts[parcel->depth++] = parcel->scope_bytes;
	bytes = snprintf(parcel->scope + parcel->scope_bytes, room, "%s[%u].", name, index);
	if (bytes < 0 || (size_t)bytes >= room)
		fail(parcel, -EINVAL, name, "a scope that is too long");
	else
		parcel->scope_bytes += (size_t)bytes;
}

void
rp_wire_parcel_leave(struct rp_wire_parcel *parcel)
{
	assert(parcel->depth > 0);
	parcel->scope_bytes = parcel->scope_starts[--parcel->depth];
}

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->public.path, ((const struct item *)b)->public.path);
}

static const struct item *
find(const struct rp_wire_parcel *parcel, const char *path)
{
	const struct item wanted = {.public.path = path};
	void *found = tfind(&wanted, &parcel->by_path, compare);

	return found == NULL ? NULL : *(const struct item **)found;
}

static struct item *
make_item(const char *path, enum rp_wire_parcel_kind kind, const char *text)
{
	size_t path_bytes = strlen(path) + 1, text_bytes = text == NULL ? 0 : strlen(text) + 1;
	struct item *item = malloc(sizeof(*item) + path_bytes + text_bytes);

	if (item == NULL)
		return NULL;
	memcpy(item->bytes, path, path_bytes);
	if (text != NULL)
		memcpy(item->bytes + path_bytes, text, text_bytes);
	item->public = (struct rp_wire_parcel_item){
		.path = item->bytes,
		.kind = kind,
		.text = text == NULL ? NULL : item->bytes + path_bytes,
	};
	return item;
}

static void
put(struct rp_wire_parcel *parcel, const char *name, enum rp_wire_parcel_kind kind, uint64_t number, const char *text)
{
	char path[RP_WIRE_PARCEL_PATH_MAX];
	struct item *item;

	if (!path_of(parcel, name, path)) {
		fail(parcel, -EINVAL, path, "a name that cannot be");
		return;
	}
	if (parcel->items_count == RP_WIRE_PARCEL_ITEMS_MAX) {
		fail(parcel, -ENOSPC, path, "there are too many items");
		return;
	}
	if (find(parcel, path) != NULL) {
		fail(parcel, -EEXIST, path, "is there already");
		return;
	}
	item = make_item(path, kind, text);
	if (item == NULL || tsearch(item, &parcel->by_path, compare) == NULL) {
		free(item);
		fail(parcel, -ENOMEM, path, "no memory");
		return;
	}
	item->public.number = number;
	TAILQ_INSERT_TAIL(&parcel->items, item, link);
	parcel->items_count++;
}

void
rp_wire_parcel_put_number(struct rp_wire_parcel *parcel, const char *name, uint64_t number)
{
	put(parcel, name, RP_WIRE_PARCEL_NUMBER, number, NULL);
}

void
rp_wire_parcel_put_text(struct rp_wire_parcel *parcel, const char *name, const char *text)
{
	size_t i, bytes = strlen(text);
	bool legal = bytes < RP_WIRE_PARCEL_TEXT_MAX;

	for (i = 0; i < bytes && legal; i++)
		legal = (unsigned char)text[i] >= ' ' && text[i] != 0x7f;
	if (legal)
		put(parcel, name, RP_WIRE_PARCEL_TEXT, 0, text);
	else
		fail(parcel, -EINVAL, name, "a text that cannot be");
}

static bool
grow(struct rp_wire_parcel *parcel)
{
	int *grown = realloc(parcel->fds, (parcel->fds_count + 1) * sizeof(*grown));

	if (grown == NULL)
		return false;
	parcel->fds = grown;
	grown[parcel->fds_count++] = -1;
	return true;
}

/* @return the index of the open file, or a negative errno. */
static int
carry(struct rp_wire_parcel *parcel, int fd)
{
	unsigned int i;
	int copy;

	for (i = 0; i < parcel->fds_count; i++)
		if (parcel->fds[i] >= 0 && rp_wire_fd_same(parcel->fds[i], fd) == 1)
			return (int)i;
	if (parcel->fds_count == RP_WIRE_PARCEL_FDS_MAX)
		return -ENOSPC;
	copy = rp_wire_fd_dup(fd);
	if (copy < 0)
		return copy == -EBADF ? -EINVAL : copy;
	if (!grow(parcel)) {
		rp_wire_fd_close(&copy);
		return -ENOMEM;
	}
	parcel->fds[parcel->fds_count - 1] = copy;
	return (int)parcel->fds_count - 1;
}

void
rp_wire_parcel_put_fd(struct rp_wire_parcel *parcel, const char *name, int fd)
{
	int index;

	if (fd == -1)
		return;
	index = carry(parcel, fd);
	if (index < 0)
		fail(parcel, index, name, strerror(-index));
	else
		put(parcel, name, RP_WIRE_PARCEL_FD, (uint64_t)index, NULL);
}

void
rp_wire_parcel_add_fd(struct rp_wire_parcel *parcel, int *fd)
{
	if (parcel->fds_count == RP_WIRE_PARCEL_FDS_MAX)
		fail(parcel, -ENOSPC, "descriptors", "there are too many");
	else if (!grow(parcel))
		fail(parcel, -ENOMEM, "descriptors", "no memory");
	else
		parcel->fds[parcel->fds_count - 1] = rp_wire_fd_take(fd);
	rp_wire_fd_close(fd);
}

void
rp_wire_parcel_put_fd_index(struct rp_wire_parcel *parcel, const char *name, uint64_t index)
{
	if (index >= parcel->fds_count)
		fail(parcel, -EINVAL, name, "a descriptor that is not there");
	else
		put(parcel, name, RP_WIRE_PARCEL_FD, index, NULL);
}

struct rp_wire_parcel_mark
rp_wire_parcel_mark(const struct rp_wire_parcel *parcel)
{
	return (struct rp_wire_parcel_mark){parcel->items_count, parcel->fds_count, parcel->depth};
}

void
rp_wire_parcel_rewind(struct rp_wire_parcel *parcel, const struct rp_wire_parcel_mark *mark)
{
	while (parcel->items_count > mark->items_count) {
		struct item *item = TAILQ_LAST(&parcel->items, items);

		tdelete(item, &parcel->by_path, compare);
		TAILQ_REMOVE(&parcel->items, item, link);
		free(item);
		parcel->items_count--;
	}
	while (parcel->fds_count > mark->fds_count)
		rp_wire_fd_close(&parcel->fds[--parcel->fds_count]);
	while (parcel->depth > mark->depth)
		rp_wire_parcel_leave(parcel);
	parcel->error.error = 0;
}

bool
rp_wire_parcel_has(const struct rp_wire_parcel *parcel, const char *name)
{
	char path[RP_WIRE_PARCEL_PATH_MAX];

	return path_of(parcel, name, path) && find(parcel, path) != NULL;
}

/* @return NULL after an error. */
static const struct rp_wire_parcel_item *
get(struct rp_wire_parcel *parcel, const char *name, enum rp_wire_parcel_kind kind, char path[RP_WIRE_PARCEL_PATH_MAX])
{
	static const char *const expected[] = {
		[RP_WIRE_PARCEL_NUMBER] = "expected a number",
		[RP_WIRE_PARCEL_TEXT] = "expected a text",
		[RP_WIRE_PARCEL_FD] = "expected a descriptor",
	};
	const struct item *item = path_of(parcel, name, path) ? find(parcel, path) : NULL;

	if (item == NULL || item->public.kind != kind)
		fail(parcel, -EBADMSG, path, expected[kind]);
	return parcel->error.error != 0 ? NULL : &item->public;
}

uint64_t
rp_wire_parcel_get_number(struct rp_wire_parcel *parcel, const char *name, uint64_t max)
{
	char path[RP_WIRE_PARCEL_PATH_MAX], what[80];
	const struct rp_wire_parcel_item *item = get(parcel, name, RP_WIRE_PARCEL_NUMBER, path);

	if (item == NULL)
		return 0;
	if (item->number <= max)
		return item->number;
	snprintf(what, sizeof(what), "%llu, expected at most %llu", (unsigned long long)item->number,
		 (unsigned long long)max);
	fail(parcel, -EBADMSG, path, what);
	return 0;
}

bool
rp_wire_parcel_get_bool(struct rp_wire_parcel *parcel, const char *name)
{
	return rp_wire_parcel_get_number(parcel, name, 1) == 1;
}

void
rp_wire_parcel_get_text(struct rp_wire_parcel *parcel, const char *name, char *ret_text, size_t size)
{
	char path[RP_WIRE_PARCEL_PATH_MAX];
	const struct rp_wire_parcel_item *item = get(parcel, name, RP_WIRE_PARCEL_TEXT, path);

	ret_text[0] = '\0';
	if (item != NULL && strlen(item->text) < size)
		memcpy(ret_text, item->text, strlen(item->text) + 1);
	else if (item != NULL)
		fail(parcel, -EBADMSG, path, "a text that is too long");
}

int
rp_wire_parcel_get_fd(struct rp_wire_parcel *parcel, const char *name)
{
	return rp_wire_parcel_has(parcel, name) ? rp_wire_parcel_need_fd(parcel, name) : -1;
}

int
rp_wire_parcel_need_fd(struct rp_wire_parcel *parcel, const char *name)
{
	char path[RP_WIRE_PARCEL_PATH_MAX];
	const struct rp_wire_parcel_item *item = get(parcel, name, RP_WIRE_PARCEL_FD, path);
	int fd = item == NULL ? -1 : rp_wire_parcel_fd(parcel, (unsigned int)item->number);
	int copy;

	if (item == NULL)
		return -1;
	if (fd < 0) {
		fail(parcel, -EBADMSG, path, "a descriptor that did not arrive");
		return -1;
	}
	copy = rp_wire_fd_dup(fd);
	if (copy < 0)
		fail(parcel, copy, path, strerror(-copy));
	return copy < 0 ? -1 : copy;
}

const struct rp_wire_parcel_item *
rp_wire_parcel_next(const struct rp_wire_parcel *parcel, const struct rp_wire_parcel_item *after)
{
	const struct item *item =
		after == NULL ? TAILQ_FIRST(&parcel->items) : TAILQ_NEXT((const struct item *)after, link);

	return item == NULL ? NULL : &item->public;
}

unsigned int
rp_wire_parcel_fds_count(const struct rp_wire_parcel *parcel)
{
	return parcel->fds_count;
}

int
rp_wire_parcel_fd(const struct rp_wire_parcel *parcel, unsigned int index)
{
	return index < parcel->fds_count ? parcel->fds[index] : -1;
}
