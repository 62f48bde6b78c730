/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_PORT_H
#define TEST_PORT_H

#include <pthread.h>

#include "rp_port_hand_over.h"
#include "test_support.h"

/*
 * A port served by a thread of its own, as a daemon would; calls from the test
 * take the thread's place under a lock.
 */
#define TEST_PORT_NODES 64

struct test_port {
	struct rp_port *port;
	pthread_t thread;
	pthread_mutex_t lock;
	bool stop; /* under lock */
	char log[16384]; /* under lock: names of events and their queues, one a line */
	size_t log_used;
	char last_words[400]; /* under lock: of the last warning or error */
	int rings_on[TEST_PORT_NODES]; /* under lock: what the port said of NUMA nodes */
};

void test_port_open(struct test_port *test, const struct rp_port_config *config,
		    const struct rp_accel_registry *registry);
void test_port_close(struct test_port *test);
/*
 * The thread rests; @return what rp_port_give() says. Without an error the port is left, and
 * test_port_adopt() goes on with it.
 */
int test_port_give(struct test_port *test, struct rp_wire_parcel *parcel, struct rp_wire_why *why);
int test_port_adopt(struct test_port *test, const struct rp_port_config *config,
		    const struct rp_accel_registry *registry, struct rp_wire_parcel *parcel, struct rp_wire_why *why);

int test_port_enable(struct test_port *test, unsigned int queue);
int test_port_disable(struct test_port *test, unsigned int queue);
void test_port_doorbell(struct test_port *test, unsigned int queue, enum rp_port_doorbell_policy policy);
int test_port_ring(struct test_port *test, unsigned int queue, enum rp_port_ring_policy policy);
int test_port_move(struct test_port *test, unsigned int first, unsigned int count, enum rp_port_wish wish,
		   struct rp_wire_why *why);
int test_port_transfer(struct test_port *test, unsigned int first, unsigned int count, unsigned int accelerator,
		       struct rp_wire_why *why);
struct rp_port_queue_info test_port_queue(struct test_port *test, unsigned int queue);
struct rp_port_info test_port_info(struct test_port *test);
struct rp_port_window_info test_port_window(struct test_port *test, unsigned int window);
struct rp_port_accelerator_info test_port_accelerator(struct test_port *test, unsigned int accelerator);
bool test_port_wait_mode(struct test_port *test, unsigned int queue, enum rp_port_queue_mode mode,
			 unsigned int limit_ms);
/* Whether the last warning or error has these words in it. */
bool test_port_warned(struct test_port *test, const char *words);
/* How many events with this name were seen. */
unsigned int test_port_events(struct test_port *test, const char *name);

#endif
