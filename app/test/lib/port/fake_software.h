/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_SOFTWARE_H
#define FAKE_SOFTWARE_H

#include "rp_port.h"
#include "software.h"
#include "test_support.h"

/*
 * What software.h promises, kept in this process: a software backend without a socket. It
 * loops back what is sent, as the fake accelerator does, looks at a ring only when its kick
 * eventfd says so, and does what it is told to do wrong. One port at a time.
 */

#define FAKE_SOFTWARE_QUEUES 16

struct fake_software {
	/* What the test sets; come, go and prove are carried out at the port's next tick. */
	uint64_t features;
	uint64_t protocol_features;
	unsigned int queues_max;
	enum rp_port_software_kind kind;
	int features_error;
	int serve_error;
	int serve_error_queue; /* -1: all */
	int take_error;
	int take_error_queue; /* -1: all */
	bool mute; /* it interrupts nobody */
	bool dead; /* it serves nothing any more, whatever it was told */
	bool come;
	bool go;
	bool prove;
	bool known;
	bool usable;

	/* What happened. */
	bool configured;
	bool proven;
	bool has[FAKE_SOFTWARE_QUEUES];
	uint64_t features_told;
	unsigned int features_tellings;
	unsigned int memory_tellings;
	unsigned int log_tellings;
	unsigned int ring_logs, ring_calls, ring_kicks, ring_errs;
	unsigned int started, stopped; /* rings, by the frontend */
	unsigned int frontends_gone;
	unsigned int takes_together; /* calls that took several rings */
	unsigned int mtu, rarps;
	unsigned int kicks_when_parked[FAKE_SOFTWARE_QUEUES]; /* of the first accelerator, by then */
};

/* Another thread: look at a copy, change under the lock. */
struct fake_software fake_software_now(void);
struct fake_software *fake_software_get(void);
void fake_software_put(void);
#define SOFTWARE_SET(field, value)                                                                                     \
	do {                                                                                                           \
		__typeof__(value) software_value_ = (value);                                                           \
		fake_software_get()->field = software_value_;                                                          \
		fake_software_put();                                                                                   \
	} while (0)

/* Before the port is made: there, and willing. */
void fake_software_setup(void);

#endif
