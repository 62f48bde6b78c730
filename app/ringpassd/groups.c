/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "groups.h"
#include "rp_wire_fd.h"

#define NAME_BYTES 32
#define NUMBER_DIGITS_MAX 9

/* One that came, until it is asked for. */
struct group {
	struct group *next;
	unsigned int number;
	int fd;
};

struct rpd_groups {
	struct rpd_groups_store store;
	struct group *first;
	unsigned int count;
	bool keep;
	bool leaving;
};

int
rpd_groups_create(const struct rpd_groups_store *store, bool keep, struct rpd_groups **ret_groups)
{
	struct rpd_groups *groups = calloc(1, sizeof(*groups));

	if (groups == NULL)
		return -ENOMEM;
	groups->store = *store;
	groups->keep = keep;
	*ret_groups = groups;
	return 0;
}

static void
free_group(struct rpd_groups *groups, struct group *group)
{
	struct group **link = &groups->first;

	while (*link != group)
		link = &(*link)->next;
	*link = group->next;
	groups->count--;
	rp_wire_fd_close(&group->fd);
	free(group);
}

struct rpd_groups *
rpd_groups_destroy(struct rpd_groups *groups)
{
	struct group *group;

	if (groups == NULL)
		return NULL;
	while ((group = groups->first) != NULL)
		free_group(groups, group);
	free(groups);
	return NULL;
}

static struct group *
find(const struct rpd_groups *groups, unsigned int number)
{
	struct group *group;

	for (group = groups->first; group != NULL; group = group->next) {
		if (group->number == number)
			return group;
	}
	return NULL;
}

static void
name_of(unsigned int number, char ret_name[NAME_BYTES])
{
	snprintf(ret_name, NAME_BYTES, RPD_GROUPS_PREFIX "%u", number);
}

/* Only as name_of() writes it: one group has one name. */
static int
parse(const char *name, unsigned int *ret_number, struct rp_wire_why *why)
{
	const char *digits = name + sizeof(RPD_GROUPS_PREFIX) - 1;
	char again[NAME_BYTES];

	if (strlen(digits) <= NUMBER_DIGITS_MAX) {
		*ret_number = (unsigned int)strtoul(digits, NULL, 10);
		name_of(*ret_number, again);
		if (strcmp(name, again) == 0)
			return 0;
	}
	return rp_wire_why_set(why, -EBADMSG, "found the name '%.80s', expected " RPD_GROUPS_PREFIX "NUMBER", name);
}

int
rpd_groups_inherit(struct rpd_groups *groups, const char *name, int *fd, struct rp_wire_why *why)
{
	unsigned int number = 0;
	struct group *group;
	struct stat st;
	int rc = parse(name, &number, why);

	if (rc < 0)
		return rc;
	if (fstat(*fd, &st) < 0 || !S_ISCHR(st.st_mode))
		return rp_wire_why_set(why, -EINVAL, "found no device file, expected /dev/vfio/%u", number);
	if (find(groups, number) != NULL)
		return rp_wire_why_set(why, -EEXIST, "found a second one of this name");
	if (groups->count == RPD_GROUPS_MAX)
		return rp_wire_why_set(why, -ENOSPC, "found more than %u groups", RPD_GROUPS_MAX);
	group = calloc(1, sizeof(*group));
	if (group == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	group->number = number;
	group->fd = rp_wire_fd_take(fd);
	group->next = groups->first;
	groups->first = group;
	groups->count++;
	return 0;
}

void
rpd_groups_drop_unclaimed(struct rpd_groups *groups)
{
	char name[NAME_BYTES];
	struct group *group;

	while ((group = groups->first) != NULL) {
		name_of(group->number, name);
		groups->store.event(groups->store.ctx, RP_PORT_EVENT_NOTICE, "group-dropped", name);
		groups->store.remove(groups->store.ctx, name);
		free_group(groups, group);
	}
}

void
rpd_groups_leave(struct rpd_groups *groups)
{
	groups->leaving = true;
}

static void
take(void *ctx, unsigned int number, int *ret_fd)
{
	struct rpd_groups *groups = ctx;
	struct group *group = find(groups, number);

	if (group == NULL)
		return;
	*ret_fd = rp_wire_fd_take(&group->fd);
	free_group(groups, group);
}

static void
opened(void *ctx, unsigned int number, int fd)
{
	struct rpd_groups *groups = ctx;
	char name[NAME_BYTES];
	int rc;

	if (!groups->keep)
		return;
	name_of(number, name);
	rc = groups->store.put(groups->store.ctx, name, fd);
	/* It is served all the same; only a successor has to open it anew. */
	if (rc < 0)
		groups->store.event(groups->store.ctx, RP_PORT_EVENT_WARNING, "group-not-kept", strerror(-rc));
}

static void
closed(void *ctx, unsigned int number, const struct rp_wire_why *why)
{
	struct rpd_groups *groups = ctx;
	char name[NAME_BYTES];

	if (why != NULL)
		groups->store.event(groups->store.ctx, RP_PORT_EVENT_WARNING, "group-refused", why->text);
	if (groups->leaving && why == NULL)
		return;
	name_of(number, name);
	groups->store.remove(groups->store.ctx, name);
}

const struct rp_vfio_keeper rpd_groups_keeper = {.take = take, .opened = opened, .closed = closed};
