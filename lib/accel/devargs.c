/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_kvargs.h>

#include "devargs.h"
#include "rp_accel_iommu.h"

#define LIST_MAX 160

/* "a, b, c", cut where the room ends. */
static void
list_append(char *list, size_t size, const char *word)
{
	size_t used = strlen(list);

	snprintf(list + used, size - used, "%s%s", used > 0 ? ", " : "", word);
}

static const struct rp_accel_driver *
find_driver(const struct rp_accel_registry *registry, const char *name, size_t length, struct rp_wire_why *why)
{
	const struct rp_accel_driver *const *driver;
	char known[LIST_MAX] = "";

	for (driver = registry->drivers; *driver != NULL; driver++) {
		if (strlen((*driver)->name) == length && memcmp((*driver)->name, name, length) == 0)
			return *driver;
		list_append(known, sizeof(known), (*driver)->name);
	}
	rp_wire_why_set(why, -EBADMSG, "driver '%.*s': unknown, expected one of: %s", length > 32 ? 32 : (int)length,
			name, known);
	return NULL;
}

static int
check_key(const struct rp_accel_devargs *args, unsigned int index, struct rp_wire_why *why)
{
	const struct rp_accel_driver *driver = args->driver;
	const struct rte_kvargs_pair *pair = &args->kvargs->pairs[index];
	const char *const *key;
	char known[LIST_MAX] = "";

	for (key = driver->keys; *key != NULL; key++) {
		if (strcmp(*key, pair->key) == 0)
			break;
		list_append(known, sizeof(known), *key);
	}
	if (*key == NULL)
		return rp_wire_why_set(why, -EBADMSG, "%s: key '%.32s': unknown, expected one of: %s", driver->name,
				       pair->key, known[0] == '\0' ? "(none)" : known);
	if (pair->value == NULL || pair->value[0] == '\0')
		return rp_wire_why_set(why, -EBADMSG, "%s: key '%s': has no value, expected %s", driver->name, *key,
				       driver->usage);
	if (rte_kvargs_count(args->kvargs, *key) > 1)
		return rp_wire_why_set(why, -EBADMSG, "%s: key '%s': given %u times, expected once", driver->name, *key,
				       rte_kvargs_count(args->kvargs, *key));
	return 0;
}

int
accel_devargs_parse(const struct rp_accel_registry *registry, const char *text, struct rp_accel_devargs *ret_args,
		    struct rp_wire_why *why)
{
	size_t name_length = strcspn(text, ",");
	struct rp_accel_devargs args = {0};
	unsigned int i;
	int rc = 0;

	if (name_length == 0)
		return rp_wire_why_set(why, -EBADMSG, "device arguments: no driver, expected DRIVER[,KEY=VALUE...]");
	args.driver = find_driver(registry, text, name_length, why);
	if (args.driver == NULL)
		return -EBADMSG;
	/* Keys are checked here and not by librte_kvargs: it does not say which one is wrong. */
	args.kvargs = rte_kvargs_parse(text[name_length] == ',' ? text + name_length + 1 : "", NULL);
	if (args.kvargs == NULL)
		return rp_wire_why_set(why, -EBADMSG,
				       "%s: device arguments: cannot be parsed, expected at most %d KEY=VALUE",
				       args.driver->name, RTE_KVARGS_MAX);
	for (i = 0; i < args.kvargs->count && rc == 0; i++)
		rc = check_key(&args, i, why);
	if (rc < 0) {
		accel_devargs_release(&args);
		return rc;
	}
	*ret_args = args;
	return 0;
}

void
accel_devargs_release(struct rp_accel_devargs *args)
{
	rte_kvargs_free(args->kvargs);
	args->kvargs = NULL;
}

const char *
rp_accel_devargs_get(const struct rp_accel_devargs *args, const char *key)
{
	return rte_kvargs_get(args->kvargs, key);
}

int
rp_accel_devargs_get_u32(const struct rp_accel_devargs *args, const char *key, uint32_t min, uint32_t max,
			 uint32_t *ret, struct rp_wire_why *why)
{
	const char *text = rp_accel_devargs_get(args, key);
	unsigned long long number;
	char *end;

	if (text == NULL)
		return 0;
	errno = 0;
	number = strtoull(text, &end, 10);
	/* strtoull skips blanks and takes signs. */
	if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || number < min || number > max)
		return rp_wire_why_set(why, -EBADMSG, "key '%s': '%.32s': expected a number from %u to %u", key, text,
				       min, max);
	*ret = (uint32_t)number;
	return 0;
}

const struct rp_accel_iommu *
rp_accel_devargs_iommu(const struct rp_accel_devargs *args)
{
	return args->iommu;
}
