/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <json-c/json.h>

#include "vfu_version.h"

#define JSON_DEPTH_MAX 8
#define DEFAULT_MSG_FDS 1
#define DEFAULT_DATA_XFER_BYTES 1048576
#define DEFAULT_DMA_MAPS 65535
#define DEFAULT_PAGE_SIZES 4096

/* How two values become the one that both can keep. */
enum meeting {
	SMALLER,
	COMMON_BITS,
	BOTH_TRUE,
};

struct term {
	const char *name;
	enum meeting meeting;
	uint64_t fallback; /* when a text does not name it */
	uint64_t floor; /* less, once met, serves nobody */
};

/* clang-format off */
static const struct term rows[RP_VFU_TERMS_COUNT] = {
	[RP_VFU_TERM_MSG_FDS] = { "max_msg_fds", SMALLER, DEFAULT_MSG_FDS, 0 },
	[RP_VFU_TERM_DATA_XFER] = { "max_data_xfer_size", SMALLER, DEFAULT_DATA_XFER_BYTES,
				    RP_VFU_DATA_XFER_FLOOR_BYTES },
	[RP_VFU_TERM_DMA_MAPS] = { "max_dma_maps", SMALLER, DEFAULT_DMA_MAPS, 1 },
	[RP_VFU_TERM_PAGE_SIZES] = { "pgsizes", COMMON_BITS, DEFAULT_PAGE_SIZES, 1 },
	[RP_VFU_TERM_WRITE_MULTI] = { "write_multiple", BOTH_TRUE, 0, 0 },
};
/* clang-format on */

static void
defaults(struct rp_vfu_terms *terms)
{
	unsigned int i;

	memset(terms, 0, sizeof(*terms));
	for (i = 0; i < RP_VFU_TERMS_COUNT; i++)
		terms->value[i] = rows[i].fallback;
}

void
rp_vfu_terms_ours(struct rp_vfu_terms *ret_terms)
{
	defaults(ret_terms);
	ret_terms->has_object = true;
	ret_terms->named_mask = (1u << RP_VFU_TERM_MSG_FDS) | (1u << RP_VFU_TERM_DATA_XFER) |
				(1u << RP_VFU_TERM_DMA_MAPS) | (1u << RP_VFU_TERM_PAGE_SIZES);
	ret_terms->value[RP_VFU_TERM_MSG_FDS] = RP_VFU_MSG_FDS_MAX;
	ret_terms->value[RP_VFU_TERM_DATA_XFER] = RP_VFU_DATA_XFER_MAX_BYTES;
	ret_terms->value[RP_VFU_TERM_DMA_MAPS] = RP_VFU_DMA_MAPS_MAX;
	/* Any power of two from 4096 on. JSON readers differ about numbers above 2^63. */
	ret_terms->value[RP_VFU_TERM_PAGE_SIZES] = (uint64_t)INT64_MAX & ~(uint64_t)(DEFAULT_PAGE_SIZES - 1);
}

static int
read_value(const struct term *row, struct json_object *value, uint64_t *ret_value, struct rp_wire_why *why)
{
	if (row->meeting == BOTH_TRUE) {
		if (!json_object_is_type(value, json_type_boolean))
			return rp_wire_why_set(why, -EBADMSG, "%s: not a boolean", row->name);
		*ret_value = json_object_get_boolean(value) ? 1 : 0;
		return 0;
	}
	if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
		return rp_wire_why_set(why, -EBADMSG, "%s: not a whole number", row->name);
	*ret_value = json_object_get_uint64(value);
	return 0;
}

static int
read_capabilities(struct json_object *root, struct rp_vfu_terms *terms, struct rp_wire_why *why)
{
	struct json_object *capabilities;
	unsigned int i;
	int rc;

	if (!json_object_is_type(root, json_type_object))
		return rp_wire_why_set(why, -EBADMSG, "version data: not a JSON object");
	if (!json_object_object_get_ex(root, "capabilities", &capabilities))
		return 0;
	if (!json_object_is_type(capabilities, json_type_object))
		return rp_wire_why_set(why, -EBADMSG, "capabilities: not an object");
	terms->has_object = true;
	for (i = 0; i < RP_VFU_TERMS_COUNT; i++) {
		struct json_object *value;

		if (!json_object_object_get_ex(capabilities, rows[i].name, &value))
			continue;
		rc = read_value(&rows[i], value, &terms->value[i], why);
		if (rc < 0)
			return rc;
		terms->named_mask |= 1u << i;
	}
	return 0;
}

static int
parse_text(const char *text, size_t text_bytes, struct json_object **ret_root, struct rp_wire_why *why)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
	enum json_tokener_error error;

	if (tokener == NULL)
		return rp_wire_why_set(why, -ENOSPC, "version data: no memory");
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* With its NUL, so that a number at the very end is known to be whole. */
	*ret_root = json_tokener_parse_ex(tokener, text, (int)text_bytes);
	error = json_tokener_get_error(tokener);
	json_tokener_free(tokener);
	if (error == json_tokener_success)
		return 0;
	json_object_put(*ret_root);
	return rp_wire_why_set(why, -EBADMSG, "version data: not JSON: %s", json_tokener_error_desc(error));
}

int
rp_vfu_terms_parse(const uint8_t *text, size_t text_bytes, struct rp_vfu_terms *ret_terms, struct rp_wire_why *why)
{
	struct rp_vfu_terms terms;
	struct json_object *root = NULL;
	int rc;

	defaults(&terms);
	if (text_bytes > 0) {
		if (memchr(text, '\0', text_bytes) != text + text_bytes - 1)
			return rp_wire_why_set(why, -EBADMSG, "version data: expected one NUL, at its end");
		rc = parse_text((const char *)text, text_bytes, &root, why);
		if (rc < 0)
			return rc;
		rc = read_capabilities(root, &terms, why);
		json_object_put(root);
		if (rc < 0)
			return rc;
	}
	*ret_terms = terms;
	return 0;
}

static uint64_t
meet(enum meeting meeting, uint64_t ours, uint64_t theirs)
{
	if (meeting == SMALLER)
		return ours < theirs ? ours : theirs;
	return ours & theirs;
}

int
rp_vfu_terms_agree(const struct rp_vfu_terms *ours, const struct rp_vfu_terms *theirs, struct rp_vfu_terms *ret_agreed,
		   struct rp_wire_why *why)
{
	struct rp_vfu_terms agreed = {
		.named_mask = ours->named_mask & theirs->named_mask,
		.has_object = theirs->has_object,
	};
	unsigned int i;

	for (i = 0; i < RP_VFU_TERMS_COUNT; i++) {
		agreed.value[i] = meet(rows[i].meeting, ours->value[i], theirs->value[i]);
		if (agreed.value[i] < rows[i].floor)
			return rp_wire_why_set(why, -EBADMSG,
					       "%s: %" PRIu64 " leaves %" PRIu64 ", expected at least %" PRIu64,
					       rows[i].name, theirs->value[i], agreed.value[i], rows[i].floor);
		/* "true" is what a name stands for; a capability that is off is left out. */
		if (rows[i].meeting == BOTH_TRUE && agreed.value[i] == 0)
			agreed.named_mask &= ~(1u << i);
	}
	*ret_agreed = agreed;
	return 0;
}

static struct json_object *
write_value(const struct term *row, uint64_t value)
{
	if (row->meeting == BOTH_TRUE)
		return json_object_new_boolean(value != 0);
	return json_object_new_uint64(value);
}

static int
add_capabilities(const struct rp_vfu_terms *terms, struct json_object *root)
{
	struct json_object *capabilities;
	unsigned int i;

	if (!terms->has_object)
		return 0;
	capabilities = json_object_new_object();
	if (capabilities == NULL || json_object_object_add(root, "capabilities", capabilities) < 0) {
		json_object_put(capabilities);
		return -ENOSPC;
	}
	for (i = 0; i < RP_VFU_TERMS_COUNT; i++) {
		struct json_object *value;

		if ((terms->named_mask & (1u << i)) == 0)
			continue;
		value = write_value(&rows[i], terms->value[i]);
		if (value == NULL || json_object_object_add(capabilities, rows[i].name, value) < 0) {
			json_object_put(value);
			return -ENOSPC;
		}
	}
	return 0;
}

int
rp_vfu_terms_format(const struct rp_vfu_terms *terms, char *ret_text, size_t room_bytes, size_t *ret_bytes)
{
	struct json_object *root = json_object_new_object();
	size_t length = 0;
	const char *text;
	int rc = -ENOSPC;

	if (root == NULL)
		return -ENOSPC;
	if (add_capabilities(terms, root) == 0) {
		text = json_object_to_json_string_length(root, JSON_C_TO_STRING_PLAIN, &length);
		if (text != NULL && length < room_bytes) {
			memcpy(ret_text, text, length + 1);
			*ret_bytes = length + 1;
			rc = 0;
		}
	}
	json_object_put(root);
	return rc;
}
