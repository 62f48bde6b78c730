/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <unistd.h>

#include "fake_accel.h"
#include "test_port.h"
#include "test_vm.h"

/* A port on the fake accelerator, and a VMM on the port. */
struct fixture {
	struct test_port port;
	struct test_vm vm;
	struct test_leaks leaks;
};

#define LIMIT_MS 10000

static const char *const fixture_accelerators[] = {"fake"};

static inline struct rp_port_config
fixture_config(void)
{
	return (struct rp_port_config){
		.name = "test",
		.socket_path = test_socket_path(),
		.socket_mode = RP_PORT_SERVER,
		.queue_pairs = 2,
		.accelerators = fixture_accelerators,
		.accelerators_count = 1,
		.doorbell_delay_ms = 1,
		.reconnect_ms = 5,
	};
}

/* First: the fake device with its defaults, for the test to change before the port opens it. */
static inline void
fixture_begin(struct fixture *f)
{
	test_socket_path();
	test_leaks_read(&f->leaks);
	fake_accel_setup();
}

static inline void
fixture_open_with(struct fixture *f, const struct rp_port_config *config, const struct test_vm_options *options)
{
	test_port_open(&f->port, config, &fake_accel_registry);
	test_vm_open(&f->vm, config->socket_path, 4, 64, options);
}

static inline void
fixture_open(struct fixture *f)
{
	struct rp_port_config config = fixture_config();

	fixture_begin(f);
	fixture_open_with(f, &config, NULL);
}

static inline void
fixture_close(struct fixture *f)
{
	test_vm_close(&f->vm);
	test_port_close(&f->port);
	fake_accel_teardown();
	test_leaks_assert_none(&f->leaks);
}

static inline bool
fixture_becomes(struct fixture *f, bool (*fact)(struct fixture *f))
{
	int i;

	for (i = 0; i < LIMIT_MS; i++) {
		if (fact(f))
			return true;
		rp_vhu_frontend_process(f->vm.frontend);
		usleep(1000);
	}
	return false;
}

#endif
