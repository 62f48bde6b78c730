/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rp_vfu_msg.h"
#include "test_support.h"

/* doc/protocol/vfio-user.md says what the tables say, and its rules name tests that exist. */

#define TEXT_MAX (1024 * 1024)

static char page[TEXT_MAX];
static char sources[TEXT_MAX];

static void
append_file(char *text, const char *root, const char *path)
{
	size_t used = strlen(text);
	char full[4096];
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	file = fopen(full, "re");
	if (file == NULL)
		fail_msg("%s cannot be read", full);
	used += fread(text + used, 1, TEXT_MAX - 1 - used, file);
	text[used] = '\0';
	fclose(file);
}

static int
read_all(void **state)
{
	const char *root = getenv("RP_SOURCE_ROOT");
	char folder[4096];
	struct dirent *entry;
	DIR *dir;

	(void)state;
	if (root == NULL)
		return 0;
	append_file(page, root, "doc/protocol/vfio-user.md");
	snprintf(folder, sizeof(folder), "%s/app/test/lib/vfio_user", root);
	dir = opendir(folder);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char path[512];

		if (strncmp(entry->d_name, "test_", 5) != 0)
			continue;
		snprintf(path, sizeof(path), "app/test/lib/vfio_user/%s", entry->d_name);
		append_file(sources, root, path);
	}
	closedir(dir);
	return 0;
}

static void
need_page(void)
{
	if (page[0] == '\0') {
		print_message("RP_SOURCE_ROOT is not set: no page to look at\n");
		skip();
	}
}

static void
assert_has_line(const char *line)
{
	const char *found = strstr(page, line);

	if (found == NULL || (found != page && found[-1] != '\n'))
		fail_msg("doc/protocol/vfio-user.md lacks the line\n%s", line);
}

static const char *
range(char *room, size_t room_bytes, uint32_t min, uint32_t max)
{
	if (min == max)
		snprintf(room, room_bytes, "%u", min);
	else
		snprintf(room, room_bytes, "%u to %u", min, max);
	return room;
}

static void
test_message_reference(void **state)
{
	const struct rp_vfu_msg *row;
	unsigned int i;

	(void)state;
	need_page();
	for (i = 0; (row = rp_vfu_msg_at(i)) != NULL; i++) {
		char line[256], payload[32], fds[32], reply[32], reply_fds[32];

		snprintf(line, sizeof(line), "| %u | %s | %s | %s | %s | %s | %s%s | %s |\n", row->command, row->name,
			 row->direction == RP_VFU_TO_SERVER ? "client" : "server",
			 (row->states_mask & RP_VFU_IN_NEW_MASK) != 0 ? "first, once" : "after VERSION",
			 range(payload, sizeof(payload), row->payload_min_bytes, row->payload_max_bytes),
			 range(fds, sizeof(fds), row->fds_min, row->fds_max),
			 range(reply, sizeof(reply), row->reply_min_bytes, row->reply_max_bytes),
			 row->reply == RP_VFU_REPLY_ARGSZ ? ", cut off at argsz" : "",
			 range(reply_fds, sizeof(reply_fds), 0, row->reply_fds_max));
		assert_has_line(line);
	}
}

static void
test_errors_on_the_wire(void **state)
{
	const struct rp_vfu_errno *row;
	unsigned int i;

	(void)state;
	need_page();
	for (i = 0; (row = rp_vfu_errno_at(i)) != NULL; i++) {
		char line[256];

		snprintf(line, sizeof(line), "| %s | %u | %s |\n", strerrorname_np((int)row->wire), row->wire,
			 row->when);
		assert_has_line(line);
	}
}

/* @return whether a bullet of the page is a rule that names no test. */
static bool
is_bare_rule(const char *bullet, size_t bytes)
{
	return memmem(bullet, bytes, " must ", 6) != NULL && memmem(bullet, bytes, "`test_", 6) == NULL;
}

static void
test_every_must_names_a_test(void **state)
{
	const char *bullet = strstr(page, "\n- ");
	unsigned int rules = 0;

	(void)state;
	need_page();
	while (bullet != NULL) {
		const char *next = strstr(bullet + 1, "\n- ");
		const char *blank = strstr(bullet + 1, "\n\n");
		size_t bytes = next == NULL ? strlen(bullet) : (size_t)(next - bullet);

		if (blank != NULL && (size_t)(blank - bullet) < bytes)
			bytes = (size_t)(blank - bullet);
		if (is_bare_rule(bullet, bytes))
			fail_msg("a rule without a test:%.*s", (int)bytes, bullet);
		rules += memmem(bullet, bytes, " must ", 6) != NULL;
		bullet = next;
	}
	assert_true(rules > 10);
}

static void
test_named_tests_exist(void **state)
{
	const char *name = page;
	unsigned int names = 0;

	(void)state;
	need_page();
	while ((name = strstr(name, "`test_")) != NULL) {
		size_t bytes = strcspn(name + 1, "`");
		char wanted[160];

		snprintf(wanted, sizeof(wanted), "\n%.*s(void **state)", (int)bytes, name + 1);
		if (strstr(sources, wanted) == NULL)
			fail_msg("no test is called %.*s", (int)bytes, name + 1);
		name += bytes;
		names++;
	}
	assert_true(names > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message_reference),
		cmocka_unit_test(test_errors_on_the_wire),
		cmocka_unit_test(test_every_must_names_a_test),
		cmocka_unit_test(test_named_tests_exist),
	};

	return cmocka_run_group_tests_name("vfio-user page", tests, read_all, NULL);
}
