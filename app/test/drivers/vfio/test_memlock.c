/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "fixture.h"

#define MIB 0x100000u

static void
limit(struct fixture *fixture, const char *soft)
{
	char text[128];

	snprintf(text, sizeof(text), "Limit  Soft\nMax locked memory         %-20s unlimited            bytes     \n",
		 soft);
	fake_file(fixture->fake->proc, "self/limits", text);
}

static void
say(struct fixture *fixture, uint64_t wanted_bytes, const char *words)
{
	assert_int_equal(kvfio_memlock_explain(&fixture->fake->kernel, wanted_bytes, &fixture->why), -ENOSPC);
	fixture_said(fixture, -ENOSPC, words);
}

static void
the_limit_is_said_with_what_is_locked(void **state)
{
	struct fixture *fixture = *state;

	say(fixture, 512 * MIB,
	    "512 MiB wanted, 2 MiB locked now, the limit is 8 MiB: raise it (ulimit -l unlimited, "
	    "LimitMEMLOCK=infinity in the unit) or grant CAP_IPC_LOCK");
	/* Only together are they too much. */
	say(fixture, 7 * MIB, "7 MiB wanted, 2 MiB locked now, the limit is 8 MiB");
	say(fixture, UINT64_MAX, "locked memory: 17592186044416 MiB wanted");
}

static void
memory_that_is_really_short(void **state)
{
	struct fixture *fixture = *state;

	say(fixture, 6 * MIB, "6 MiB cannot be pinned: out of memory");
	limit(fixture, "unlimited");
	say(fixture, 512 * MIB, "512 MiB cannot be pinned: out of memory");
}

static void
files_that_say_nothing(void **state)
{
	struct fixture *fixture = *state;

	fake_file(fixture->fake->proc, "self/status", "VmLck:\tmuch\n");
	say(fixture, 512 * MIB, "out of memory");
	fake_remove(fixture->fake->proc, "self/status");
	say(fixture, 512 * MIB, "out of memory");
	fake_remove(fixture->fake->sysfs, "module/vfio_iommu_type1/parameters/dma_entry_limit");
	assert_int_equal(kvfio_entries_explain(&fixture->fake->kernel, 12, &fixture->why), -ENOSPC);
	fixture_said(fixture, -ENOSPC,
		     "12 mappings are all that the kernel allows (dma_entry_limit of vfio_iommu_type1: "
		     "unknown)");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(the_limit_is_said_with_what_is_locked),
		FIXTURE_TEST(memory_that_is_really_short),
		FIXTURE_TEST(files_that_say_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
