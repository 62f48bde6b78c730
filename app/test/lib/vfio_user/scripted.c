/* SPDX-License-Identifier: BSD-3-Clause */
#include "scripted.h"

struct scripted scripted;

int
scripted_setup(void **state)
{
	(void)state;
	script_clear();
	scripted.client = liar_client(&scripted.liar, script_record);
	return 0;
}

int
scripted_teardown(void **state)
{
	(void)state;
	scripted.client = rp_vfu_client_destroy(scripted.client);
	liar_stop(&scripted.liar);
	return 0;
}

void
scripted_assert_why(const char *words)
{
	if (strstr(scripted.why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", scripted.why.text, words);
}
