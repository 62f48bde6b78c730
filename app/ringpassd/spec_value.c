/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "spec.h"

void
rpd_value_describe(const struct rpd_value *value, char *ret_text, size_t size)
{
	switch (value->type) {
	case RPD_VALUE_NUMBER:
		snprintf(ret_text, size, "%" PRId64, value->number);
		break;
	case RPD_VALUE_TEXT:
		snprintf(ret_text, size, strlen(value->text) > 60 ? "'%.60s...'" : "'%s'", value->text);
		break;
	case RPD_VALUE_BOOL:
		snprintf(ret_text, size, "%s", value->boolean ? "true" : "false");
		break;
	case RPD_VALUE_LIST:
		snprintf(ret_text, size, "a list");
		break;
	case RPD_VALUE_OTHER:
		snprintf(ret_text, size, "%s", value->text);
		break;
	}
}
