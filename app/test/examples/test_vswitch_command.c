/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "command.h"
#include "test_support.h"

static struct vs_command
parsed(const char *line)
{
	struct rp_wire_why why = {0};
	struct vs_command command;

	if (vs_command_parse(line, &command, &why) != 0)
		fail_msg("'%s': %s", line, why.text);
	return command;
}

static void
refused(const char *line, const char *words)
{
	struct vs_command command = {.queues_count = 77};
	struct rp_wire_why why = {0};

	assert_int_equal(vs_command_parse(line, &command, &why), -EINVAL);
	assert_string_equal(why.text, words);
	assert_int_equal(command.queues_count, 77);
}

static void
every_word_of_the_help_is_one(void **state)
{
	char text[1024], *line, *more = NULL;
	unsigned int count = 0;

	(void)state;
	assert_true(strlen(vs_command_help) < sizeof(text));
	strcpy(text, vs_command_help);
	for (line = strtok_r(text, "\n", &more); line != NULL; line = strtok_r(NULL, "\n", &more)) {
		struct vs_command command;
		char typed[64];

		snprintf(typed, sizeof(typed), "%.*s vm0", (int)strcspn(line, " "), line);
		if (vs_command_parse(typed, &command, NULL) != 0)
			*strchr(typed, ' ') = '\0';
		assert_int_not_equal(parsed(typed).verb, VS_COMMAND_NONE);
		count++;
	}
	/* "help" does not name itself. */
	assert_int_equal(count, VS_COMMAND_QUIT - VS_COMMAND_PORTS + 1);
	assert_int_equal(parsed("help").verb, VS_COMMAND_HELP);
}

static void
ports_and_queues(void **state)
{
	struct vs_command command = parsed("offload vm0");

	(void)state;
	assert_int_equal(command.verb, VS_COMMAND_OFFLOAD);
	assert_string_equal(command.port, "vm0");
	assert_int_equal(command.queues_count, 0);
	command = parsed(" take-back\tvm1  3 2 2 255\r");
	assert_int_equal(command.verb, VS_COMMAND_TAKE_BACK);
	assert_string_equal(command.port, "vm1");
	assert_int_equal(command.queues_count, 3);
	assert_true(command.queues[2] && command.queues[3] && command.queues[255]);
	assert_int_equal(parsed("auto vm0 1").verb, VS_COMMAND_AUTO);
	assert_string_equal(parsed("show").port, "");
	assert_string_equal(parsed("stats vm0").port, "vm0");
}

static void
nothing_is_nothing(void **state)
{
	(void)state;
	assert_int_equal(parsed("").verb, VS_COMMAND_NONE);
	assert_int_equal(parsed(" \t").verb, VS_COMMAND_NONE);
	assert_int_equal(parsed("# offload vm0").verb, VS_COMMAND_NONE);
}

static void
what_is_wrong_is_named(void **state)
{
	char longest[1200];

	(void)state;
	refused("offlaod vm0", "command: 'offlaod', expected one that 'help' names");
	refused("offload", "port: missing, expected its name");
	refused("offload vm0 x", "queue: 'x', expected a number from 0 to 255");
	refused("offload vm0 1x", "queue: '1x', expected a number from 0 to 255");
	refused("offload vm0 -1", "queue: '-1', expected a number from 0 to 255");
	refused("offload vm0 256", "queue: '256', expected a number from 0 to 255");
	refused("offload vm0 99999999999999999999", "queue: '99999999999999999999', expected a number from 0 to 255");
	refused("ports vm0", "'vm0', expected nothing more");
	refused("show vm0 1", "'1', expected nothing more");
	refused("show 01234567890123456789012345678901",
		"port: '01234567890123456789012345678901', expected a name of at most 31 characters");
	memset(longest, ' ', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	refused(longest, "a line of 1199 bytes, expected at most 1023");
}

/* A pair that is named whole, in whatever order, is one move. */
static void
runs_of_neighbours(void **state)
{
	struct vs_command command = parsed("offload vm0 5 0 1 255 4");
	unsigned int first = 0;

	(void)state;
	assert_int_equal(vs_command_run(&command, &first), 2);
	assert_int_equal(first, 0);
	first += 2;
	assert_int_equal(vs_command_run(&command, &first), 2);
	assert_int_equal(first, 4);
	first += 2;
	assert_int_equal(vs_command_run(&command, &first), 1);
	assert_int_equal(first, 255);
	first += 1;
	assert_int_equal(vs_command_run(&command, &first), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_of_the_help_is_one),
		cmocka_unit_test(ports_and_queues),
		cmocka_unit_test(nothing_is_nothing),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(runs_of_neighbours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
