/* SPDX-License-Identifier: BSD-3-Clause */

/* What a description of a port owns: as many accelerators as it names. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spec.h"

int
rpd_spec_append(struct rpd_port_spec *spec, const char *arguments)
{
	char **longer = realloc(spec->accelerators, (spec->accelerators_count + 1) * sizeof(*longer));
	char *copy = strdup(arguments);

	if (longer != NULL)
		spec->accelerators = longer;
	if (longer == NULL || copy == NULL) {
		free(copy);
		return -ENOMEM;
	}
	spec->accelerators[spec->accelerators_count++] = copy;
	return 0;
}

int
rpd_spec_copy(const struct rpd_port_spec *spec, struct rpd_port_spec *ret_copy)
{
	unsigned int i;

	*ret_copy = *spec;
	ret_copy->accelerators = NULL;
	ret_copy->accelerators_count = 0;
	for (i = 0; i < spec->accelerators_count; i++) {
		if (rpd_spec_append(ret_copy, spec->accelerators[i]) < 0) {
			rpd_spec_fini(ret_copy);
			return -ENOMEM;
		}
	}
	return 0;
}

void
rpd_spec_fini(struct rpd_port_spec *spec)
{
	while (spec->accelerators_count > 0)
		free(spec->accelerators[--spec->accelerators_count]);
	free(spec->accelerators);
	spec->accelerators = NULL;
}
