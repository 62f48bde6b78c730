/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "legacy.h"
#include "rp_wire_fd.h"
#include "state.h"

#define DIGITS_MAX 4

struct rpd_legacy {
	int state_fd;
	int parts[RP_WIRE_PARCEL_FDS_MAX];
};

int
rpd_legacy_create(struct rpd_legacy **ret_legacy)
{
	struct rpd_legacy *legacy = malloc(sizeof(*legacy));
	unsigned int i;

	if (legacy == NULL)
		return -ENOMEM;
	legacy->state_fd = -1;
	for (i = 0; i < RP_WIRE_PARCEL_FDS_MAX; i++)
		legacy->parts[i] = -1;
	*ret_legacy = legacy;
	return 0;
}

static void
close_all(struct rpd_legacy *legacy)
{
	rp_wire_fd_close(&legacy->state_fd);
	rp_wire_fd_close_all(legacy->parts, RP_WIRE_PARCEL_FDS_MAX);
}

struct rpd_legacy *
rpd_legacy_destroy(struct rpd_legacy *legacy)
{
	if (legacy == NULL)
		return NULL;
	close_all(legacy);
	free(legacy);
	return NULL;
}

bool
rpd_legacy_is(const char *name)
{
	return strcmp(name, RPD_LEGACY_STATE) == 0 || strncmp(name, RPD_LEGACY_PART, sizeof(RPD_LEGACY_PART) - 1) == 0;
}

void
rpd_legacy_part_name(unsigned int index, char ret_name[RPD_LEGACY_NAME_MAX])
{
	snprintf(ret_name, RPD_LEGACY_NAME_MAX, RPD_LEGACY_PART "%u", index);
}

/* Only as rpd_legacy_part_name() writes it. @return NULL: there can be no such part. */
static int *
place_of(struct rpd_legacy *legacy, const char *name)
{
	const char *digits = name + sizeof(RPD_LEGACY_PART) - 1;
	char again[RPD_LEGACY_NAME_MAX];
	unsigned long index;

	if (strcmp(name, RPD_LEGACY_STATE) == 0)
		return &legacy->state_fd;
	if (strlen(digits) > DIGITS_MAX)
		return NULL;
	index = strtoul(digits, NULL, 10);
	rpd_legacy_part_name((unsigned int)index, again);
	return index < RP_WIRE_PARCEL_FDS_MAX && strcmp(name, again) == 0 ? &legacy->parts[index] : NULL;
}

int
rpd_legacy_inherit(struct rpd_legacy *legacy, const char *name, int *fd, struct rp_wire_why *why)
{
	int *place = place_of(legacy, name);

	if (place == NULL)
		return rp_wire_why_set(why, -EBADMSG,
				       "found the name '%.80s', expected " RPD_LEGACY_PART "0 to " RPD_LEGACY_PART "%u",
				       name, RP_WIRE_PARCEL_FDS_MAX - 1);
	if (*place >= 0)
		return rp_wire_why_set(why, -EEXIST, "found a second one of this name");
	*place = rp_wire_fd_take(fd);
	return 0;
}

static int
unpack(struct rpd_legacy *legacy, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int count, i;
	int rc = rpd_state_peek(legacy->state_fd, &count, why);

	if (rc < 0)
		return rc;
	for (i = 0; i < count; i++)
		rp_wire_parcel_add_fd(parcel, &legacy->parts[i]);
	return rpd_state_read(legacy->state_fd, parcel, why);
}

int
rpd_legacy_take(struct rpd_legacy *legacy, struct rp_wire_parcel **ret_parcel, struct rp_wire_why *why)
{
	struct rp_wire_parcel *parcel = NULL;
	int rc = 0;

	*ret_parcel = NULL;
	if (legacy->state_fd >= 0) {
		rc = rp_wire_parcel_create(&parcel);
		if (rc == 0)
			rc = unpack(legacy, parcel, why);
		else
			rp_wire_why_set(why, rc, "no memory");
		if (rc == 0)
			*ret_parcel = parcel;
		else
			rp_wire_parcel_destroy(parcel);
	}
	close_all(legacy);
	return rc;
}
