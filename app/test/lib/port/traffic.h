/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include "fixture.h"
#include "rp_vring_position.h"

/*
 * A device that really serves its rings (of class B: fresh ones only). Numbered frames are
 * sent on pair 0 and come back on it: each once, in any order.
 */

#define RX 0
#define TX 1
#define FRAMES_MAX 80000u
#define FRAME_BYTES 60u

struct traffic {
	struct fixture f;
	uint32_t sent;
	uint32_t received;
	uint32_t repeated;
	uint8_t seen[FRAMES_MAX];
};

static const uint64_t formats[] = {0, TEST_VM_PACKED, TEST_VM_IN_ORDER, TEST_VM_PACKED | TEST_VM_IN_ORDER};
#define FORMATS_COUNT (sizeof(formats) / sizeof(formats[0]))

struct setting {
	uint64_t format;
	enum rp_accel_class class;
	enum rp_port_ring_policy ring;
	enum rp_port_doorbell_policy doorbell;
	bool relay_interrupts;
	bool migratable;
	bool indirect;
	int peer_pid;
	const char *software; /* path of a software backend; NULL: none */
	enum rp_port_wish wish;
	bool second; /* another accelerator, which serves nothing at first */
	bool fail_over;
};

static const char *const both_accelerators[] = {"fake", "fake"};

static inline struct rp_port_config
traffic_config(const struct setting *setting)
{
	struct rp_port_config config = fixture_config();

	config.ring = setting->ring;
	config.migratable = setting->migratable;
	config.doorbell = setting->doorbell;
	config.relay_interrupts = setting->relay_interrupts;
	config.software.socket_path = setting->software;
	config.wish = setting->wish;
	config.fail_over = setting->fail_over;
	if (setting->second) {
		config.accelerators = both_accelerators;
		config.accelerators_count = 2;
	}
	return config;
}

static inline void
open_traffic(struct traffic *t, const struct setting *setting)
{
	struct rp_port_config config = traffic_config(setting);
	struct test_vm_options options = {.ring_features = setting->format, .indirect = setting->indirect};

	memset(t, 0, sizeof(*t));
	fixture_begin(&t->f);
	FAKE_SET(class, setting->class);
	FAKE_SET(peer_pid, setting->peer_pid);
	FAKE_SET(features, fake_now().features | 1ull << 28 | TEST_VM_PACKED | TEST_VM_IN_ORDER);
	fake_accel_serve();
	fixture_open_with(&t->f, &config, &options);
}

static inline void
close_traffic(struct traffic *t)
{
	fixture_close(&t->f);
}

static inline void
receive(struct traffic *t)
{
	uint8_t frame[TEST_VM_BUFFER_BYTES];
	uint32_t number;

	while (test_vm_receive(&t->f.vm, RX, frame, sizeof(frame)) != 0) {
		memcpy(&number, frame, sizeof(number));
		assert_true(number < t->sent);
		assert_int_equal(frame[FRAME_BYTES - 1], (uint8_t)number);
		t->repeated += t->seen[number];
		t->received += !t->seen[number];
		t->seen[number] = 1;
	}
}

static inline void
send_frames(struct traffic *t, unsigned int count)
{
	uint8_t frame[FRAME_BYTES] = {0};
	unsigned int i, idle = 0;

	for (i = 0; i < count && idle < LIMIT_MS * 5;) {
		memcpy(frame, &t->sent, sizeof(t->sent));
		frame[FRAME_BYTES - 1] = (uint8_t)t->sent;
		t->sent++;
		if (test_vm_send(&t->f.vm, TX, frame, sizeof(frame))) {
			i++;
			idle = 0;
		} else {
			t->sent--;
			idle++;
			usleep(200);
		}
		receive(t);
		rp_vhu_frontend_process(t->f.vm.frontend);
	}
	assert_int_equal(i, count);
}

static inline bool
all_received(struct fixture *f)
{
	struct traffic *t = (struct traffic *)f;

	receive(t);
	test_vm_reap(&f->vm, TX);
	return t->received == t->sent && t->f.vm.queues[TX].free_count == t->f.vm.queues[TX].buffers_count;
}

static inline void
all_arrive_once(struct traffic *t)
{
	if (!fixture_becomes(&t->f, all_received))
		fail_msg("%u of %u frames were received, %u of %u tx buffers came back", t->received, t->sent,
			 t->f.vm.queues[TX].free_count, t->f.vm.queues[TX].buffers_count);
	assert_int_equal(t->repeated, 0);
}

static inline void
expect_mode(struct traffic *t, enum rp_port_queue_mode mode, const char *reason)
{
	struct rp_port_queue_info info;
	unsigned int i;

	for (i = RX; i <= TX; i++) {
		info = test_port_queue(&t->f.port, i);
		assert_int_equal(info.mode, mode);
		if (strstr(info.reason, reason) == NULL)
			fail_msg("queue %u: reason is '%s', expected '%s' in it", i, info.reason, reason);
	}
}

static inline bool
is_direct(struct fixture *f)
{
	return test_port_queue(&f->port, RX).mode == RP_PORT_QUEUE_DIRECT &&
	       test_port_queue(&f->port, TX).mode == RP_PORT_QUEUE_DIRECT;
}

static inline void
start_pair(struct traffic *t)
{
	uint32_t fresh = rp_vring_position_fresh(t->f.vm.features);

	test_vm_queue_start(&t->f.vm, RX, fresh);
	test_vm_queue_start(&t->f.vm, TX, fresh);
	test_vm_rx_fill(&t->f.vm, RX);
}

/* QEMU's stop and cont, several times, between frames that are under way. */
static inline void
stop_and_cont(struct traffic *t, unsigned int times)
{
	uint32_t base[2];
	unsigned int i;

	for (i = 0; i < times; i++) {
		send_frames(t, 37);
		base[RX] = test_vm_queue_stop(&t->f.vm, RX);
		base[TX] = test_vm_queue_stop(&t->f.vm, TX);
		test_vm_queue_start(&t->f.vm, RX, base[RX]);
		test_vm_queue_start(&t->f.vm, TX, base[TX]);
	}
}

/* So many more, and each came back once. */
static inline void
exchange_frames(struct traffic *t, unsigned int count)
{
	send_frames(t, count);
	all_arrive_once(t);
}

/* Two accelerators, of class A: pair 0 runs on the first, which has served so many frames. */
static inline void
begin_on_first(struct traffic *t, const struct setting *setting, unsigned int frames)
{
	struct setting two = *setting;

	two.class = RP_ACCEL_CLASS_A;
	two.second = true;
	open_traffic(t, &two);
	start_pair(t);
	if (frames > 0)
		exchange_frames(t, frames);
}

#endif
