/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <string.h>

#include "allocations.h"
#include "count.h"

#define WARM_UP_ROUNDS 4u

/* callgrind's --toggle-collect knows it by its name: what is inside is counted, of its thread. */
void count_measured(const struct count_scenario *scenario);

__attribute__((noipa)) void
count_measured(const struct count_scenario *scenario)
{
	allocations_count(true);
	scenario->run();
	allocations_count(false);
}

static void
do_round(const struct count_scenario *scenario, bool measured)
{
	if (scenario->prepare != NULL)
		scenario->prepare();
	if (measured)
		count_measured(scenario);
	else
		scenario->run();
	if (scenario->settle != NULL)
		scenario->settle();
}

static void
count(const struct count_scenario *scenario)
{
	unsigned int i;

	scenario->open(scenario);
	for (i = 0; i < WARM_UP_ROUNDS; i++)
		do_round(scenario, false);
	for (i = 0; i < scenario->rounds; i++)
		do_round(scenario, true);
	scenario->close();
}

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* What there is, how many operations a run of it counts, and what the counts depend on. */
static int
list(void)
{
	const struct count_scenario *scenario;

	printf("fact compiler %s\nfact libc glibc %s\n", COMPILER, gnu_get_libc_version());
	for (scenario = count_scenarios; scenario->name != NULL; scenario++)
		printf("scenario %s %u\n", scenario->name, scenario->rounds * scenario->operations);
	return 0;
}

int
main(int argc, char **argv)
{
	const struct count_scenario *scenario;

	if (argc < 2)
		return list();
	for (scenario = count_scenarios; scenario->name != NULL; scenario++) {
		if (strcmp(scenario->name, argv[1]) == 0) {
			count(scenario);
			printf("allocations %u\n", allocations_counted());
			return 0;
		}
	}
	return 2;
}
