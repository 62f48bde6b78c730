/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_vhu_profile.h"

#define BIT(n) (1ull << (n))

/* Below it the specification may still grow. */
#define VFIO_BIT_MIN 32u
#define VFIO_BIT_MAX 63u
#define REQUEST_MIN 256u

static const char *const names[] = {
	[RP_VHU_PROFILE_STANDARD] = "standard",
	[RP_VHU_PROFILE_EXTENDED] = "extended",
	[RP_VHU_PROFILE_VFIO2018] = "vfio2018",
};

#define NAMES_COUNT (sizeof(names) / sizeof(names[0]))

static int
init_extended(struct rp_vhu_dialect *dialect, const struct rp_vhu_numbers *numbers, struct rp_wire_why *why)
{
	unsigned int bit = numbers->vfio_bit != 0 ? numbers->vfio_bit : (unsigned int)RP_VHU_PF_VFIO_BIT;

	dialect->vfio_file = rp_vhu_msg_vfio_rows[RP_VHU_MSG_VFIO_FILE];
	dialect->notify_area = rp_vhu_msg_vfio_rows[RP_VHU_MSG_NOTIFY_AREA];
	if (numbers->vfio_file_request != 0)
		dialect->vfio_file.id = numbers->vfio_file_request;
	if (numbers->notify_area_request != 0)
		dialect->notify_area.id = numbers->notify_area_request;
	if (bit < VFIO_BIT_MIN || bit > VFIO_BIT_MAX)
		return rp_wire_why_set(why, -EINVAL, "vfio_bit: %u, expected %u to %u", bit, VFIO_BIT_MIN,
				       VFIO_BIT_MAX);
	if (dialect->vfio_file.id < REQUEST_MIN || dialect->notify_area.id < REQUEST_MIN ||
	    dialect->vfio_file.id == dialect->notify_area.id)
		return rp_wire_why_set(
			why, -EINVAL,
			"vfio_file_request and notify_area_request: %u and %u, expected two numbers from %u",
			dialect->vfio_file.id, dialect->notify_area.id, REQUEST_MIN);
	dialect->vfio_file.protocol_feature_bit = dialect->notify_area.protocol_feature_bit = (int)bit;
	dialect->vfio_mask = BIT(bit);
	dialect->protocol_features |= dialect->vfio_mask;
	return 0;
}

static void
init_vfio2018(struct rp_vhu_dialect *dialect)
{
	dialect->vfio_file = rp_vhu_msg_vfio_rows[RP_VHU_MSG_2018_VFIO_GROUP];
	dialect->notify_area = rp_vhu_msg_vfio_rows[RP_VHU_MSG_2018_NOTIFY_AREA];
	dialect->vfio_mask = BIT(RP_VHU_PF_VFIO2018_BIT);
	dialect->protocol_features &=
		~(BIT(RP_VHU_PF_HOST_NOTIFIER_BIT) | BIT(RP_VHU_PF_BACKEND_SEND_FD_BIT) | BIT(RP_VHU_PF_PAGEFAULT_BIT));
	dialect->protocol_features |= dialect->vfio_mask;
}

int
rp_vhu_dialect_init(struct rp_vhu_dialect *ret_dialect, enum rp_vhu_profile profile,
		    const struct rp_vhu_numbers *numbers, struct rp_wire_why *why)
{
	static const struct rp_vhu_numbers usual = {0};
	struct rp_vhu_dialect dialect = {.profile = profile, .protocol_features = rp_vhu_msg_protocol_features};
	int rc = 0;

	if ((unsigned int)profile >= NAMES_COUNT)
		return rp_wire_why_set(why, -EINVAL, "profile: %u, expected 0 to %zu", (unsigned int)profile,
				       NAMES_COUNT - 1);
	if (numbers == NULL)
		numbers = &usual;
	if (profile != RP_VHU_PROFILE_EXTENDED &&
	    (numbers->vfio_bit != 0 || numbers->vfio_file_request != 0 || numbers->notify_area_request != 0))
		return rp_wire_why_set(why, -EINVAL, "profile: '%s' has no numbers to choose", names[profile]);
	if (profile == RP_VHU_PROFILE_EXTENDED)
		rc = init_extended(&dialect, numbers, why);
	else if (profile == RP_VHU_PROFILE_VFIO2018)
		init_vfio2018(&dialect);
	if (rc == 0)
		*ret_dialect = dialect;
	return rc;
}

const struct rp_vhu_msg_row *
rp_vhu_dialect_find(const struct rp_vhu_dialect *dialect, uint32_t request)
{
	if (request != 0 && request == dialect->vfio_file.id)
		return &dialect->vfio_file;
	if (request != 0 && request == dialect->notify_area.id)
		return &dialect->notify_area;
	return rp_vhu_msg_find_backend(request);
}

bool
rp_vhu_dialect_vfio(const struct rp_vhu_dialect *dialect, uint64_t protocol_features)
{
	return (dialect->vfio_mask & protocol_features) != 0;
}

uint32_t
rp_vhu_dialect_notify_request(const struct rp_vhu_dialect *dialect, uint64_t protocol_features)
{
	if (rp_vhu_dialect_vfio(dialect, protocol_features))
		return dialect->notify_area.id;
	if (dialect->profile != RP_VHU_PROFILE_VFIO2018 && (protocol_features & BIT(RP_VHU_PF_HOST_NOTIFIER_BIT)) != 0)
		return RP_VHU_BACKEND_VRING_HOST_NOTIFIER_MSG;
	return 0;
}

const char *
rp_vhu_profile_name(enum rp_vhu_profile profile)
{
	return (unsigned int)profile < NAMES_COUNT ? names[profile] : "unknown";
}

int
rp_vhu_profile_parse(const char *name, enum rp_vhu_profile *ret_profile)
{
	unsigned int i;

	for (i = 0; i < NAMES_COUNT; i++)
		if (strcmp(name, names[i]) == 0) {
			*ret_profile = (enum rp_vhu_profile)i;
			return 0;
		}
	return -EINVAL;
}
