/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>

#include "devargs.h"
#include "rp_accel_iommu.h"

int
rp_accel_check(const struct rp_accel_registry *registry, const char *device_arguments, struct rp_wire_why *why)
{
	struct rp_accel_devargs args;
	int rc = accel_devargs_parse(registry, device_arguments, &args, why);

	if (rc < 0)
		return rc;
	if (args.driver->check != NULL) {
		rc = args.driver->check(&args, why);
		if (rc < 0)
			rp_wire_why_prefix(why, "%s: ", args.driver->name);
	}
	accel_devargs_release(&args);
	return rc;
}

int
rp_accel_open(const struct rp_accel_registry *registry, const char *device_arguments, struct rp_accel *ret_accel,
	      struct rp_wire_why *why)
{
	return rp_accel_open_translated(registry, device_arguments, NULL, ret_accel, why);
}

int
rp_accel_open_translated(const struct rp_accel_registry *registry, const char *device_arguments,
			 const struct rp_accel_iommu *iommu, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	struct rp_accel_devargs args;
	int rc = accel_devargs_parse(registry, device_arguments, &args, why);

	if (rc < 0)
		return rc;
	args.iommu = iommu;
	rc = args.driver->open(&args, ret_accel, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: ", args.driver->name);
	accel_devargs_release(&args);
	return rc;
}

void
rp_accel_close(struct rp_accel *accel)
{
	if (accel->ops == NULL)
		return;
	accel->ops->close(accel->priv);
	accel->ops = NULL;
	accel->priv = NULL;
}

const char *rp_accel_class_name(enum rp_accel_class class)
{
	switch (class) {
	case RP_ACCEL_CLASS_A:
		return "A";
	case RP_ACCEL_CLASS_B:
		return "B";
	case RP_ACCEL_CLASS_C:
		return "C";
	}
	return "?";
}
