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
	const char *member; /* the value's name in the object `name`; NULL: it is no object */
	enum meeting meeting;
	bool optional; /* without it everything else works: what falls below the floor is just not agreed on */
	uint64_t fallback; /* when a text does not name it */
	uint64_t floor; /* less, once met, serves nobody */
};

/* clang-format off */
static const struct term rows[RP_VFU_TERMS_COUNT] = {
	[RP_VFU_TERM_MSG_FDS] = { "max_msg_fds", NULL, SMALLER, false, DEFAULT_MSG_FDS, 0 },
	[RP_VFU_TERM_DATA_XFER] = { "max_data_xfer_size", NULL, SMALLER, false, DEFAULT_DATA_XFER_BYTES,
				    RP_VFU_DATA_XFER_FLOOR_BYTES },
	[RP_VFU_TERM_DMA_MAPS] = { "max_dma_maps", NULL, SMALLER, false, DEFAULT_DMA_MAPS, 1 },
	[RP_VFU_TERM_PAGE_SIZES] = { "pgsizes", NULL, COMMON_BITS, false, DEFAULT_PAGE_SIZES, 1 },
	[RP_VFU_TERM_WRITE_MULTI] = { "write_multiple", NULL, BOTH_TRUE, true, 0, 1 },
	[RP_VFU_TERM_TWIN_SOCKET] = { "twin_socket", "supported", BOTH_TRUE, true, 0, 1 },
	[RP_VFU_TERM_MIG_PAGE_SIZE] = { "migration", "pgsize", SMALLER, true, DEFAULT_PAGE_SIZES, 1 },
	[RP_VFU_TERM_MIG_BITMAP_MAX] = { "migration", "max_bitmap_size", SMALLER, true, RP_VFU_BITMAP_MAX_BYTES, 1 },
	[RP_VFU_TERM_REMAP] = { "ringpass.remap", NULL, BOTH_TRUE, true, 0, 1 },
	[RP_VFU_TERM_SERVE] = { "ringpass.serve", NULL, BOTH_TRUE, true, 0, 1 },
	[RP_VFU_TERM_IO_FDS] = { "ringpass.io_fds", NULL, BOTH_TRUE, true, 0, 1 },
	[RP_VFU_TERM_WINDOW] = { "ringpass.window", "size", SMALLER, true, 0, RP_VFU_WINDOW_FLOOR_BYTES },
	[RP_VFU_TERM_ACCESS_MULTI] = { "ringpass.access_multiple", NULL, BOTH_TRUE, true, 0, 1 },
	[RP_VFU_TERM_TRANSLATIONS] = { "ringpass.iommu", "translations", SMALLER, true, 0, 1 },
	[RP_VFU_TERM_INVALIDATIONS] = { "ringpass.iommu", "invalidations", SMALLER, true, 0, 1 },
	[RP_VFU_TERM_PAGE_REQUESTS] = { "ringpass.iommu", "page_requests", SMALLER, true, 0, 1 },
	[RP_VFU_TERM_PASID_BITS] = { "ringpass.iommu", "pasid_bits", SMALLER, true, 0, 1 },
};
/* clang-format on */

static void
defaults(struct rp_vfu_terms *terms)
{
	unsigned int i;

	memset(terms, 0, sizeof(*terms));
	for (i = 0; i < RP_VFU_TERMS_COUNT; i++)
		terms->value[i] = rows[i].fallback;
	terms->twin_fd_index = -1;
	terms->window_fd_index = -1;
}

/* Where the position of a term's descriptor is kept; NULL: it has none. */
static int *
fd_index_of(struct rp_vfu_terms *terms, unsigned int term)
{
	if (term == RP_VFU_TERM_TWIN_SOCKET)
		return &terms->twin_fd_index;
	return term == RP_VFU_TERM_WINDOW ? &terms->window_fd_index : NULL;
}

void
rp_vfu_terms_ours(struct rp_vfu_terms *ret_terms)
{
	defaults(ret_terms);
	ret_terms->has_object = true;
	/* An IOMMU is there only when somebody plays it. */
	ret_terms->named_mask = ((1u << RP_VFU_TERMS_COUNT) - 1) & ~RP_VFU_TERMS_IOMMU_MASK;
	ret_terms->value[RP_VFU_TERM_MSG_FDS] = RP_VFU_MSG_FDS_MAX;
	ret_terms->value[RP_VFU_TERM_DATA_XFER] = RP_VFU_DATA_XFER_MAX_BYTES;
	ret_terms->value[RP_VFU_TERM_DMA_MAPS] = RP_VFU_DMA_MAPS_MAX;
	/* Any power of two from 4096 on. JSON readers differ about numbers above 2^63. */
	ret_terms->value[RP_VFU_TERM_PAGE_SIZES] = (uint64_t)INT64_MAX & ~(uint64_t)(DEFAULT_PAGE_SIZES - 1);
	ret_terms->value[RP_VFU_TERM_WRITE_MULTI] = 1;
	ret_terms->value[RP_VFU_TERM_TWIN_SOCKET] = 1;
	ret_terms->value[RP_VFU_TERM_REMAP] = 1;
	ret_terms->value[RP_VFU_TERM_SERVE] = 1;
	ret_terms->value[RP_VFU_TERM_IO_FDS] = 1;
	ret_terms->value[RP_VFU_TERM_WINDOW] = RP_VFU_WINDOW_MAX_BYTES;
	ret_terms->value[RP_VFU_TERM_ACCESS_MULTI] = 1;
}

void
rp_vfu_terms_drop(struct rp_vfu_terms *terms, enum rp_vfu_term term)
{
	terms->named_mask &= ~(1u << term);
	terms->value[term] = rows[term].fallback;
}

void
rp_vfu_terms_offer(struct rp_vfu_terms *terms, enum rp_vfu_term term, uint64_t value)
{
	if (value < rows[term].floor)
		return;
	terms->named_mask |= 1u << term;
	terms->value[term] = value;
}

void
rp_vfu_terms_settle_iommu(struct rp_vfu_terms *terms)
{
	const uint32_t base_mask = 1u << RP_VFU_TERM_TRANSLATIONS | 1u << RP_VFU_TERM_INVALIDATIONS;
	bool serves = terms->value[RP_VFU_TERM_SERVE] != 0 || terms->value[RP_VFU_TERM_TWIN_SOCKET] != 0;
	unsigned int i;

	if (serves && (terms->named_mask & base_mask) == base_mask)
		return;
	for (i = RP_VFU_TERM_TRANSLATIONS; i <= RP_VFU_TERM_PASID_BITS; i++)
		rp_vfu_terms_drop(terms, i);
}

static const char *
value_name(const struct term *row)
{
	return row->member != NULL ? row->member : row->name;
}

static int
read_value(const struct term *row, struct json_object *value, uint64_t *ret_value, struct rp_wire_why *why)
{
	if (row->meeting == BOTH_TRUE) {
		if (!json_object_is_type(value, json_type_boolean))
			return rp_wire_why_set(why, -EBADMSG, "%s: not a boolean", value_name(row));
		*ret_value = json_object_get_boolean(value) ? 1 : 0;
		return 0;
	}
	if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
		return rp_wire_why_set(why, -EBADMSG, "%s: not a whole number", value_name(row));
	*ret_value = json_object_get_uint64(value);
	return 0;
}

static int
read_fd_index(struct json_object *object, int *ret_fd_index, struct rp_wire_why *why)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, "fd_index", &value))
		return 0;
	if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0 ||
	    json_object_get_int64(value) >= RP_VFU_MSG_FDS_MAX)
		return rp_wire_why_set(why, -EBADMSG, "fd_index: not a whole number below %u", RP_VFU_MSG_FDS_MAX);
	*ret_fd_index = json_object_get_int(value);
	return 0;
}

/* @param holder what has the row's name: "capabilities". */
static int
read_term(struct json_object *holder, unsigned int term, struct rp_vfu_terms *terms, struct rp_wire_why *why)
{
	const struct term *row = &rows[term];
	int *fd_index = fd_index_of(terms, term);
	struct json_object *value;
	int rc;

	if (!json_object_object_get_ex(holder, row->name, &value))
		return 0;
	if (row->member != NULL) {
		struct json_object *object = value;

		if (!json_object_is_type(object, json_type_object))
			return rp_wire_why_set(why, -EBADMSG, "not an object");
		if (!json_object_object_get_ex(object, row->member, &value))
			return 0;
		rc = fd_index == NULL ? 0 : read_fd_index(object, fd_index, why);
		if (rc < 0)
			return rc;
	}
	rc = read_value(row, value, &terms->value[term], why);
	if (rc == 0)
		terms->named_mask |= 1u << term;
	return rc;
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
		rc = read_term(capabilities, i, terms, why);
		if (rc == 0)
			continue;
		if (rows[i].member != NULL)
			rp_wire_why_prefix(why, "%s: ", rows[i].name);
		return rc;
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
		.twin_fd_index = theirs->twin_fd_index,
		.window_fd_index = theirs->window_fd_index,
	};
	unsigned int i;

	for (i = 0; i < RP_VFU_TERMS_COUNT; i++) {
		agreed.value[i] = meet(rows[i].meeting, ours->value[i], theirs->value[i]);
		if (agreed.value[i] >= rows[i].floor)
			continue;
		if (!rows[i].optional)
			return rp_wire_why_set(why, -EBADMSG,
					       "%s: %" PRIu64 " leaves %" PRIu64 ", expected at least %" PRIu64,
					       rows[i].name, theirs->value[i], agreed.value[i], rows[i].floor);
		rp_vfu_terms_drop(&agreed, i);
	}
	rp_vfu_terms_settle_iommu(&agreed);
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

/* @return -ENOSPC when there is no memory; the value is gone either way. */
static int
add(struct json_object *object, const char *name, struct json_object *value)
{
	if (value != NULL && json_object_object_add(object, name, value) == 0)
		return 0;
	json_object_put(value);
	return -ENOSPC;
}

/* The object that holds a row's value; rows of one object are neighbours. */
static struct json_object *
holder_of(const struct term *row, struct json_object *capabilities)
{
	struct json_object *holder;

	if (row->member == NULL)
		return capabilities;
	if (json_object_object_get_ex(capabilities, row->name, &holder))
		return holder;
	holder = json_object_new_object();
	return add(capabilities, row->name, holder) == 0 ? holder : NULL;
}

static int
add_term(struct rp_vfu_terms *terms, unsigned int term, struct json_object *capabilities)
{
	const struct term *row = &rows[term];
	struct json_object *holder = holder_of(row, capabilities);
	const int *fd_index = fd_index_of(terms, term);
	int rc;

	if (holder == NULL)
		return -ENOSPC;
	rc = add(holder, value_name(row), write_value(row, terms->value[term]));
	if (rc == 0 && fd_index != NULL && *fd_index >= 0)
		rc = add(holder, "fd_index", json_object_new_int(*fd_index));
	return rc;
}

static int
add_capabilities(const struct rp_vfu_terms *terms, struct json_object *root)
{
	struct rp_vfu_terms named = *terms;
	struct json_object *capabilities;
	unsigned int i;
	int rc;

	if (!terms->has_object)
		return 0;
	capabilities = json_object_new_object();
	rc = add(root, "capabilities", capabilities);
	for (i = 0; i < RP_VFU_TERMS_COUNT && rc == 0; i++) {
		if ((terms->named_mask & (1u << i)) != 0)
			rc = add_term(&named, i, capabilities);
	}
	return rc;
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
