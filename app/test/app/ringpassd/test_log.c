/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "test_support.h"
#include "text.h"

struct fixture {
	struct rpd_log *log;
	FILE *out;
	char *text;
	size_t bytes;
};

static int
set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->out = open_memstream(&fixture->text, &fixture->bytes);
	assert_int_equal(rpd_log_create(fixture->out, RP_PORT_EVENT_NOTICE, &fixture->log), 0);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	rpd_log_destroy(fixture->log);
	fclose(fixture->out);
	free(fixture->text);
	free(fixture);
	return 0;
}

static unsigned int
lines(const struct fixture *fixture)
{
	unsigned int count = 0;
	size_t i;

	for (i = 0; i < fixture->bytes; i++)
		count += fixture->text[i] == '\n';
	return count;
}

static void
tell(struct fixture *fixture, enum rp_port_event_level level, const char *port, int queue, const char *name,
     const char *text, uint64_t now_ms)
{
	struct rp_port_event event = {level, port, queue, name, text};

	rpd_log_event(fixture->log, &event, now_ms);
}

static void
test_format(void **state)
{
	struct fixture *fixture = *state;

	tell(fixture, RP_PORT_EVENT_NOTICE, "vm0", 1, "doorbell-mapped", "the guest rings by itself", 0);
	tell(fixture, RP_PORT_EVENT_ERROR, "vm0", -1, "accelerator-lost", "peer left", 0);
	tell(fixture, RP_PORT_EVENT_WARNING, NULL, -1, "rpc-client-dropped", "too slow", 0);
	assert_string_equal(fixture->text, "notice port=vm0 queue=1 event=doorbell-mapped the guest rings by itself\n"
					   "error port=vm0 event=accelerator-lost peer left\n"
					   "warning event=rpc-client-dropped too slow\n");
}

static void
test_level(void **state)
{
	struct fixture *fixture = *state;
	enum rp_port_event_level level;

	tell(fixture, RP_PORT_EVENT_DEBUG, "vm0", 0, "message", "not now", 0);
	assert_int_equal(lines(fixture), 0);
	assert_int_equal(rpd_log_level_parse("debug", &level), 0);
	rpd_log_set_level(fixture->log, level);
	assert_int_equal(rpd_log_level(fixture->log), RP_PORT_EVENT_DEBUG);
	tell(fixture, RP_PORT_EVENT_DEBUG, "vm0", 0, "message", "now", 0);
	assert_int_equal(lines(fixture), 1);
	assert_true(rpd_log_level_parse("loud", &level) < 0);
	assert_true(rpd_log_level_parse("", &level) < 0);
}

static void
test_each_cause_has_its_limit(void **state)
{
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < 100; i++)
		tell(fixture, RP_PORT_EVENT_WARNING, "vm0", 0, "refused", "no", i);
	assert_int_equal(lines(fixture), RPD_LOG_LINES_MAX);
	/* Another port, queue or event is another cause. */
	tell(fixture, RP_PORT_EVENT_WARNING, "vm1", 0, "refused", "no", 100);
	tell(fixture, RP_PORT_EVENT_WARNING, "vm0", 1, "refused", "no", 100);
	tell(fixture, RP_PORT_EVENT_WARNING, "vm0", 0, "other", "no", 100);
	assert_int_equal(lines(fixture), RPD_LOG_LINES_MAX + 3);

	assert_int_equal(rpd_log_deadline(fixture->log), RPD_LOG_INTERVAL_MS);
	rpd_log_tick(fixture->log, RPD_LOG_INTERVAL_MS - 1);
	assert_int_equal(lines(fixture), RPD_LOG_LINES_MAX + 3);
	rpd_log_tick(fixture->log, RPD_LOG_INTERVAL_MS);
	assert_int_equal(lines(fixture), RPD_LOG_LINES_MAX + 4);
	assert_non_null(
		strstr(fixture->text, "warning port=vm0 queue=0 event=refused 95 more in 10 s were not written\n"));
	assert_int_equal(rpd_log_deadline(fixture->log), 0);

	/* A new interval, a new allowance. */
	tell(fixture, RP_PORT_EVENT_WARNING, "vm0", 0, "refused", "no", RPD_LOG_INTERVAL_MS);
	assert_int_equal(lines(fixture), RPD_LOG_LINES_MAX + 5);
}

static void
test_many_causes_share_one_allowance(void **state)
{
	struct fixture *fixture = *state;
	char name[32];
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "event-%u", i);
		tell(fixture, RP_PORT_EVENT_NOTICE, "vm0", 0, name, "x", 0);
	}
	assert_int_equal(lines(fixture), 256 + RPD_LOG_LINES_MAX);
	rpd_log_tick(fixture->log, RPD_LOG_INTERVAL_MS);
	assert_int_equal(lines(fixture), 256 + RPD_LOG_LINES_MAX + 1);
	assert_non_null(strstr(fixture->text, "event=other 739 more in 10 s were not written\n"));
}

static void
test_counts_are_written_at_the_end(void **state)
{
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < 7; i++)
		tell(fixture, RP_PORT_EVENT_NOTICE, "vm0", 0, "x", "y", 0);
	fixture->log = rpd_log_destroy(fixture->log);
	assert_int_equal(lines(fixture), RPD_LOG_LINES_MAX + 1);
}

static void
test_text_cannot_forge_a_line(void **state)
{
	struct fixture *fixture = *state;
	char longest[4000];

	tell(fixture, RP_PORT_EVENT_NOTICE, "vm0", 0, "x", "a\nerror port=vm0\x1b[2J\x7f", 0);
	assert_string_equal(fixture->text, "notice port=vm0 queue=0 event=x a?error port=vm0?[2J?\n");
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	tell(fixture, RP_PORT_EVENT_NOTICE, "vm0", 1, "x", longest, 0);
	assert_int_equal(lines(fixture), 2);
	assert_true(fixture->bytes < 800);
}

static void
test_clean_text(void **state)
{
	static const struct {
		const char *in, *out;
		size_t size;
	} cases[] = {
		{"", "", 8},
		{"plain", "plain", 8},
		{"plain", "pla", 4},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f", 16},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc", 6}, /* a character is not cut in two */
		{"\xff\xfe", "??", 8},
		{"\xc3", "?", 8},
		{"\xc0\xaf", "??", 8}, /* overlong */
		{"\xe0\x80\x80", "???", 8},
		{"\xed\xa0\x80", "???", 8}, /* a surrogate */
		{"\xf4\x90\x80\x80", "????", 8}, /* beyond U+10FFFF */
		{"\xe2\x82\xac\xf0\x9f\x98\x80", "\xe2\x82\xac\xf0\x9f\x98\x80", 8},
		{"\xc2\x85", "??", 8}, /* NEL, a control character */
		{"a\tb\r", "a?b?", 8},
	};
	char out[16];
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rpd_text_clean(cases[i].in, out, cases[i].size);
		assert_string_equal(out, cases[i].out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_format, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_level, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_each_cause_has_its_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_causes_share_one_allowance, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_counts_are_written_at_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_text_cannot_forge_a_line, set_up, tear_down),
		cmocka_unit_test(test_clean_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
