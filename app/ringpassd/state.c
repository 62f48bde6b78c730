/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "state.h"

#define FORMAT "ringpassd hand-over"
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)
#define DEPTH_MAX 4

static struct json_object *
value_of(const struct rp_wire_parcel_item *item)
{
	struct json_object *object;

	if (item->kind == RP_WIRE_PARCEL_NUMBER)
		return json_object_new_uint64(item->number);
	if (item->kind == RP_WIRE_PARCEL_TEXT)
		return json_object_new_string(item->text);
	object = json_object_new_object();
	json_object_object_add(object, "fd", json_object_new_uint64(item->number));
	return object;
}

static struct json_object *
describe(const struct rp_wire_parcel *parcel)
{
	const struct rp_wire_parcel_item *item = NULL;
	struct json_object *state = json_object_new_object();
	struct json_object *items = json_object_new_object();

	json_object_object_add(state, "format", json_object_new_string(FORMAT));
	json_object_object_add(state, "version", json_object_new_int(RPD_STATE_VERSION));
	json_object_object_add(state, "descriptors", json_object_new_uint64(rp_wire_parcel_fds_count(parcel)));
	while ((item = rp_wire_parcel_next(parcel, item)) != NULL)
		json_object_object_add_ex(items, item->path, value_of(item), JSON_C_OBJECT_ADD_KEY_IS_NEW);
	json_object_object_add(state, "items", items);
	return state;
}

static int
write_all(int fd, const char *bytes, size_t count)
{
	ssize_t wrote;

	while (count > 0) {
		wrote = write(fd, bytes, count);
		if (wrote < 0)
			return -errno;
		bytes += wrote;
		count -= (size_t)wrote;
	}
	return 0;
}

int
rpd_state_write(const struct rp_wire_parcel *parcel, int *ret_fd, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = memfd_create("ringpassd-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct json_object *state = describe(parcel);
	size_t bytes = 0;
	const char *text = json_object_to_json_string_length(state, JSON_C_TO_STRING_PLAIN, &bytes);
	int rc = 0;

	if (fd < 0)
		rc = -errno;
	else if (text == NULL)
		rc = -ENOMEM;
	else if (bytes > RPD_STATE_BYTES_MAX)
		rc = -ENOSPC;
	if (rc == 0)
		rc = write_all(fd, text, bytes);
	json_object_put(state);
	if (rc == 0 && fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0)
		rc = -errno;
	if (rc < 0)
		return rp_wire_why_set(why, rc, "state: %s", strerror(-rc));
	*ret_fd = rp_wire_fd_take(&fd);
	return 0;
}

static int
read_text(int fd, char **ret_text, size_t *ret_bytes, struct rp_wire_why *why)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	char *text;
	ssize_t got;

	if (seals < 0 || (seals & SEALS) != SEALS)
		return rp_wire_why_set(why, -EBADMSG, "state: found no sealed file");
	if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > RPD_STATE_BYTES_MAX)
		return rp_wire_why_set(why, -EBADMSG, "state: found a file of %lld bytes, expected 1 to %u",
				       (long long)st.st_size, RPD_STATE_BYTES_MAX);
	text = malloc((size_t)st.st_size);
	if (text == NULL)
		return rp_wire_why_set(why, -ENOMEM, "state: no memory");
	got = pread(fd, text, (size_t)st.st_size, 0);
	if (got != st.st_size) {
		free(text);
		return rp_wire_why_set(why, -EBADMSG, "state: cannot be read");
	}
	*ret_text = text;
	*ret_bytes = (size_t)got;
	return 0;
}

static int
parse(int fd, struct json_object **ret_state, struct rp_wire_why *why)
{
	struct json_tokener *tokener;
	struct json_object *state;
	char *text = NULL;
	size_t bytes = 0;
	int rc = read_text(fd, &text, &bytes, why);

	if (rc < 0)
		return rc;
	tokener = json_tokener_new_ex(DEPTH_MAX);
	if (tokener == NULL) {
		free(text);
		return rp_wire_why_set(why, -ENOMEM, "state: no memory");
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	state = json_tokener_parse_ex(tokener, text, (int)bytes);
	json_tokener_free(tokener);
	free(text);
	if (!json_object_is_type(state, json_type_object)) {
		json_object_put(state);
		return rp_wire_why_set(why, -EBADMSG, "state: found no JSON object");
	}
	*ret_state = state;
	return 0;
}

static int
check_head(struct json_object *state, struct rp_wire_why *why)
{
	struct json_object *format = json_object_object_get(state, "format");
	struct json_object *version = json_object_object_get(state, "version");

	if (!json_object_is_type(format, json_type_string) || strcmp(json_object_get_string(format), FORMAT) != 0)
		return rp_wire_why_set(why, -EBADMSG, "state: format: expected \"" FORMAT "\"");
	if (!json_object_is_type(version, json_type_int))
		return rp_wire_why_set(why, -EBADMSG, "state: version: expected a number");
	if (json_object_get_int(version) != RPD_STATE_VERSION)
		return rp_wire_why_set(why, -ENOTSUP, "state: version: found %d, expected %d",
				       json_object_get_int(version), RPD_STATE_VERSION);
	return 0;
}

static bool
number_of(struct json_object *value, uint64_t *ret_number)
{
	/* A negative number reads as 0. */
	if (!json_object_is_type(value, json_type_int) ||
	    (json_object_get_int64(value) < 0 && json_object_get_uint64(value) == 0))
		return false;
	*ret_number = json_object_get_uint64(value);
	return true;
}

static void
put(struct rp_wire_parcel *parcel, const char *path, struct json_object *value, struct rp_wire_why *why)
{
	uint64_t number;

	if (number_of(value, &number))
		rp_wire_parcel_put_number(parcel, path, number);
	else if (json_object_is_type(value, json_type_string) &&
		 strlen(json_object_get_string(value)) == (size_t)json_object_get_string_len(value))
		rp_wire_parcel_put_text(parcel, path, json_object_get_string(value));
	else if (json_object_is_type(value, json_type_object) &&
		 number_of(json_object_object_get(value, "fd"), &number))
		rp_wire_parcel_put_fd_index(parcel, path, number);
	else if (why->error == 0)
		rp_wire_why_set(why, -EBADMSG, "state: %.100s: expected a number, a text or a descriptor", path);
}

static int
read_items(struct json_object *state, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct json_object *items = json_object_object_get(state, "items");
	struct rp_wire_why wrong = {0};
	int rc;

	if (!json_object_is_type(items, json_type_object))
		return rp_wire_why_set(why, -EBADMSG, "state: items: expected an object");
	json_object_object_foreach(items, path, value)
	{
		put(parcel, path, value, &wrong);
	}
	rc = rp_wire_parcel_result(parcel, why);
	if (rc < 0)
		return rc == -ENOMEM ? rc : rp_wire_why_set(why, -EBADMSG, "state: %s", strdupa(why->text));
	return wrong.error == 0 ? 0 : rp_wire_why_set(why, wrong.error, "%s", wrong.text);
}

int
rpd_state_peek(int fd, unsigned int *ret_descriptors, struct rp_wire_why *why)
{
	struct json_object *state = NULL;
	uint64_t count = 0;
	int rc = parse(fd, &state, why);

	if (rc < 0)
		return rc;
	rc = check_head(state, why);
	if (rc == 0 &&
	    (!number_of(json_object_object_get(state, "descriptors"), &count) || count > RP_WIRE_PARCEL_FDS_MAX))
		rc = rp_wire_why_set(why, -EBADMSG, "state: descriptors: expected a number up to %u",
				     RP_WIRE_PARCEL_FDS_MAX);
	json_object_put(state);
	*ret_descriptors = (unsigned int)count;
	return rc;
}

int
rpd_state_read(int fd, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct rp_wire_why unused = {0};
	struct json_object *state = NULL;
	int rc;

	if (why == NULL)
		why = &unused;
	rc = parse(fd, &state, why);
	if (rc < 0)
		return rc;
	rc = check_head(state, why);
	if (rc == 0)
		rc = read_items(state, parcel, why);
	json_object_put(state);
	return rc;
}
