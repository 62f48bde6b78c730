/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COUNT_H
#define COUNT_H

#include <stdint.h>

/*
 * Fixed work for callgrind to count: the same in every run, in one thread, with nothing
 * that depends on time or chance. devtools/count-instructions runs one scenario a process.
 */
struct count_scenario {
	const char *name;
	unsigned int rounds; /* that are counted, after some that warm up */
	unsigned int operations; /* of a round: the count is divided by all of them */
	void (*open)(const struct count_scenario *scenario);
	void (*prepare)(void); /* before each round, not counted */
	void (*run)(void); /* counted */
	void (*settle)(void); /* after each round, not counted: what was done is right and complete */
	void (*close)(void);
	uint64_t features; /* the scenario's own, as what follows */
	uint32_t size;
	unsigned int variant;
};

/* The program of a room: its scenarios; the last one's name is NULL. */
extern const struct count_scenario count_scenarios[];

#endif
