/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SOFTWARE_FIXTURE_H
#define SOFTWARE_FIXTURE_H

#include <stdio.h>
#include <unistd.h>

#include "fake_backend.h"
#include "rp_wire_clock.h"
#include "small_port.h"

/* A software backend, the smallest port before it, and a VMM before that. */
struct software_fixture {
	struct small_port small;
	struct test_vm vm;
	struct test_leaks leaks;
	char backend_path[108];
	uint32_t sent, received;
	pid_t pid; /* of the backend, when it has a process of its own */
};

#define LIMIT_MS 20000
#define QUIET_MS 50
#ifndef RINGS
#define RINGS 4
#endif

/* First: the backend with its defaults, for the test to change before it runs. */
static inline void
software_begin(struct software_fixture *f, enum fake_backend_kind kind)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->backend_path, sizeof(f->backend_path), "%.90s.backend", test_socket_path());
	fake_backend_setup(kind, f->backend_path);
	test_leaks_read(&f->leaks);
}

static inline struct rp_port_software_config
software_config(const struct software_fixture *f)
{
	return (struct rp_port_software_config){
		.socket_path = f->backend_path,
		.socket_mode = RP_PORT_CLIENT,
		.timeout_ms = 5000,
		.reconnect_ms = 5,
	};
}

static inline void
software_open_port(struct software_fixture *f, const struct rp_port_software_config *config)
{
	small_port_open(&f->small, config);
	small_port_listen(&f->small, test_socket_path(), RINGS);
}

static inline void
software_open_vm(struct software_fixture *f, uint64_t ring_features)
{
	const struct test_vm_options options = {.ring_features = ring_features};

	test_vm_open(&f->vm, test_socket_path(), RINGS, 64, &options);
}

/* All of it: a thread, the port, the VMM; rings are not started. */
static inline void
software_open(struct software_fixture *f, enum fake_backend_kind kind, uint64_t ring_features)
{
	struct rp_port_software_config config;

	software_begin(f, kind);
	fake_backend_start();
	config = software_config(f);
	software_open_port(f, &config);
	software_open_vm(f, ring_features);
}

/* As above, with a backend that can be killed. */
static inline void
software_open_process(struct software_fixture *f, enum fake_backend_kind kind, uint64_t ring_features,
		      uint32_t timeout_ms)
{
	struct rp_port_software_config config;

	software_begin(f, kind);
	f->pid = fake_backend_fork();
	config = software_config(f);
	config.timeout_ms = timeout_ms;
	software_open_port(f, &config);
	software_open_vm(f, ring_features);
}

static inline void
software_close_vm(struct software_fixture *f)
{
	test_vm_close(&f->vm);
}

static inline void
software_close_port(struct software_fixture *f)
{
	small_port_close(&f->small);
	fake_backend_stop();
	test_leaks_assert_none(&f->leaks);
	fake_backend_teardown();
}

static inline void
software_close(struct software_fixture *f)
{
	software_close_vm(f);
	software_close_port(f);
}

/* Rings of the first pairs, started and enabled by the guest; receive rings with buffers. */
static inline void
software_start(struct software_fixture *f, unsigned int rings_count)
{
	unsigned int i;

	for (i = 0; i < rings_count; i++)
		test_vm_queue_start(&f->vm, i, rp_vring_position_fresh(f->vm.features));
	for (i = 0; i < rings_count; i += 2)
		test_vm_rx_fill(&f->vm, i);
}

static inline void
software_set_serves(struct software_fixture *f, bool serves)
{
	pthread_mutex_lock(&f->small.lock);
	f->small.serves = serves;
	pthread_mutex_unlock(&f->small.lock);
}

static inline void
software_receive(struct software_fixture *f, unsigned int rx)
{
	uint8_t frame[256];

	while (test_vm_receive(&f->vm, rx, frame, sizeof(frame)) > 0) {
		uint32_t number;

		memcpy(&number, frame + 14, sizeof(number));
		assert_int_equal(number, f->received);
		f->received++;
	}
}

static inline void
software_send(struct software_fixture *f, unsigned int rx, unsigned int count)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + LIMIT_MS;
	uint8_t frame[64] = {0};

	while (count > 0) {
		memcpy(frame + 14, &f->sent, sizeof(f->sent));
		if (test_vm_send(&f->vm, rx + 1, frame, sizeof(frame))) {
			f->sent++;
			count--;
		} else {
			usleep(200);
		}
		software_receive(f, rx);
		assert_true(rp_wire_clock_ms() < deadline_ms);
	}
}

/* Everything that was sent has come back, once, in order. */
static inline bool
software_all_back(struct software_fixture *f, unsigned int rx)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + LIMIT_MS;

	while (f->received < f->sent) {
		software_receive(f, rx);
		if (rp_wire_clock_ms() >= deadline_ms)
			return false;
		usleep(100);
	}
	return true;
}

static inline bool
software_traffic(struct software_fixture *f, unsigned int rx, unsigned int count)
{
	software_send(f, rx, count);
	return software_all_back(f, rx);
}

/* Wait for something to be true of the backend. */
static inline bool
software_wait(bool (*is_true)(const struct fake_backend *fake))
{
	uint64_t deadline_ms = rp_wire_clock_ms() + LIMIT_MS;

	for (;;) {
		bool true_now = is_true(fake_backend_take());

		fake_backend_give();
		if (true_now)
			return true;
		if (rp_wire_clock_ms() >= deadline_ms)
			return false;
		usleep(500);
	}
}

#endif
