/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_eal.h>

#include "rig.h"

const uint64_t rig_split = 0;
const uint64_t rig_split_in_order = RIG_IN_ORDER;
const uint64_t rig_packed = RIG_PACKED;
const uint64_t rig_packed_in_order = RIG_PACKED | RIG_IN_ORDER;

void
rig_eal_init(void)
{
	/* --in-memory does not go with --no-huge in 22.11; --no-shconf leaves no files either. */
	static char arguments[][32] = {"softaccel-test",
				       "--no-huge",
				       "--no-pci",
				       "--no-shconf",
				       "-m",
				       "64",
				       "--no-telemetry",
				       "-l",
				       "0",
				       "--log-level=lib.eal:error"};
	char *argv[RTE_DIM(arguments) + 1] = {NULL};
	unsigned int i;
	cpu_set_t cpus;

	/* The EAL binds this thread, and the rig's threads inherit that. */
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	for (i = 0; i < RTE_DIM(arguments); i++)
		argv[i] = arguments[i];
	assert_true(rte_eal_init((int)RTE_DIM(arguments), argv) >= 0);
	assert_int_equal(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
}

static void
on_event(void *ctx, const char *text)
{
	const struct rig *rig = ctx;
	void (*heard)(const char *text) = __atomic_load_n(&rig->heard, __ATOMIC_ACQUIRE);

	if (heard != NULL)
		heard(text);
	if (getenv("RIG_VERBOSE") != NULL)
		fprintf(stderr, "softaccel: %s\n", text);
}

void
rig_create(struct rig *rig)
{
	static const struct softaccel_ops ops = {.event = on_event};
	const struct softaccel_config config = {.mbufs_count = 1024};
	struct rp_wire_why why;

	memset(rig, 0, sizeof(*rig));
	pthread_mutex_init(&rig->control_turn, NULL);
	assert_int_equal(softaccel_create(&config, &ops, rig, &rig->accel, &why), 0);
}

unsigned int
rig_function(struct rig *rig, struct softaccel_function_config config)
{
	unsigned int number = rig->functions_count++;
	struct rp_wire_why why = {.text = ""};

	assert_true(number < RIG_FUNCTIONS_MAX);
	snprintf(rig->sockets[number], sizeof(rig->sockets[number]), "%.90s%u", test_socket_path(), number);
	config.socket_path = rig->sockets[number];
	if (config.queue_pairs == 0)
		config.queue_pairs = 1;
	/* So many that the test's queues have one doorbell. */
	if (getenv("RIG_QUEUE_PAIRS") != NULL)
		config.queue_pairs = (uint16_t)atoi(getenv("RIG_QUEUE_PAIRS"));
	if (config.queue_size == 0)
		config.queue_size = 256;
	if (config.mac[0] == 0)
		memcpy(config.mac, (const uint8_t[]){0x52, 0x54, 0, 0, 0, (uint8_t)number}, sizeof(config.mac));
	if (softaccel_function_add(rig->accel, &config, &rig->functions[number], &why) < 0)
		fail_msg("%s", why.text);
	return number;
}

static void *
control_main(void *ctx)
{
	struct rig *rig = ctx;
	struct pollfd messages = {.fd = softaccel_fd(rig->accel), .events = POLLIN};

	while (!__atomic_load_n(&rig->stop, __ATOMIC_ACQUIRE)) {
		if (poll(&messages, 1, 20) <= 0)
			continue;
		pthread_mutex_lock(&rig->control_turn);
		softaccel_process(rig->accel);
		pthread_mutex_unlock(&rig->control_turn);
	}
	return NULL;
}

void
rig_control_pause(struct rig *rig)
{
	pthread_mutex_lock(&rig->control_turn);
}

void
rig_control_resume(struct rig *rig)
{
	pthread_mutex_unlock(&rig->control_turn);
}

static void *
data_main(void *ctx)
{
	struct rig *rig = ctx;

	softaccel_run(rig->accel);
	return NULL;
}

void
rig_run(struct rig *rig)
{
	assert_int_equal(pthread_create(&rig->control, NULL, control_main, rig), 0);
	assert_int_equal(pthread_create(&rig->data, NULL, data_main, rig), 0);
	rig->running = true;
}

uint64_t
rig_data_cpu_us(const struct rig *rig)
{
	struct timespec used;
	clockid_t clock;

	assert_int_equal(pthread_getcpuclockid(rig->data, &clock), 0);
	clock_gettime(clock, &used);
	return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

void
rig_destroy(struct rig *rig)
{
	if (rig->running) {
		__atomic_store_n(&rig->stop, true, __ATOMIC_RELEASE);
		softaccel_stop(rig->accel);
		pthread_join(rig->data, NULL);
		pthread_join(rig->control, NULL);
	}
	rig->accel = softaccel_destroy(rig->accel);
	rig->running = false;
}

void
rig_frame(uint8_t *ret_frame, unsigned int to, unsigned int from, uint16_t flow, uint32_t sequence)
{
	uint8_t *ip = ret_frame + 14, *udp = ip + 20;

	memset(ret_frame, 0, RIG_FRAME_BYTES);
	if (to == RIG_BROADCAST)
		memset(ret_frame, 0xff, 6);
	else
		memcpy(ret_frame, (const uint8_t[]){2, 0, 0, 0, (uint8_t)(to >> 8), (uint8_t)to}, 6);
	memcpy(ret_frame + 6, (const uint8_t[]){2, 0, 0, 0, (uint8_t)(from >> 8), (uint8_t)from}, 6);
	ret_frame[12] = 0x08;
	ip[0] = 0x45;
	ip[3] = 46;
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, (const uint8_t[]){10, 0, 0, (uint8_t)from, 10, 0, 0, (uint8_t)to}, 8);
	udp[0] = (uint8_t)(flow >> 8);
	udp[1] = (uint8_t)flow;
	udp[3] = 9;
	udp[5] = 26;
	memcpy(udp + 8, &sequence, sizeof(sequence));
}

uint32_t
rig_frame_sequence(const uint8_t *frame)
{
	uint32_t sequence;

	memcpy(&sequence, frame + 42, sizeof(sequence));
	return sequence;
}

uint16_t
rig_frame_flow(const uint8_t *frame)
{
	return (uint16_t)(frame[34] << 8 | frame[35]);
}
