/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <event2/event.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "log.h"
#include "options.h"
#include "softaccel.h"
#include "telemetry.h"

/*
 * The data path runs on the EAL's main lcore, the control side in a thread of
 * its own that is not bound to that core.
 */

#define EXIT_ARGUMENTS 2

struct control {
	struct softaccel *accel;
	struct event_base *base;
	struct event *messages;
	struct event *signals[2];
	cpu_set_t cpus;
	pthread_t thread;
};

static void
on_messages(evutil_socket_t fd, short what, void *ctx)
{
	struct control *control = ctx;

	(void)fd;
	(void)what;
	softaccel_process(control->accel);
}

static void
on_signal(evutil_socket_t number, short what, void *ctx)
{
	struct control *control = ctx;

	(void)what;
	log_line("%s: ending", strsignal((int)number));
	event_base_loopbreak(control->base);
	softaccel_stop(control->accel);
}

static void *
control_main(void *ctx)
{
	struct control *control = ctx;

	event_base_dispatch(control->base);
	return NULL;
}

static int
control_init(struct control *control)
{
	static const int numbers[] = {SIGTERM, SIGINT};
	unsigned int i;

	control->base = event_base_new();
	if (control->base == NULL)
		return -ENOMEM;
	for (i = 0; i < RTE_DIM(numbers); i++) {
		control->signals[i] = evsignal_new(control->base, numbers[i], on_signal, control);
		if (control->signals[i] == NULL || evsignal_add(control->signals[i], NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int
control_start(struct control *control)
{
	pthread_attr_t attributes;
	int rc;

	control->messages =
		event_new(control->base, softaccel_fd(control->accel), EV_READ | EV_PERSIST, on_messages, control);
	if (control->messages == NULL || event_add(control->messages, NULL) < 0)
		return -ENOMEM;
	pthread_attr_init(&attributes);
	if (CPU_COUNT(&control->cpus) > 0)
		pthread_attr_setaffinity_np(&attributes, sizeof(control->cpus), &control->cpus);
	rc = -pthread_create(&control->thread, &attributes, control_main, control);
	pthread_attr_destroy(&attributes);
	return rc;
}

static void
control_fini(struct control *control)
{
	unsigned int i;

	if (control->messages != NULL)
		event_free(control->messages);
	for (i = 0; i < RTE_DIM(control->signals); i++) {
		if (control->signals[i] != NULL)
			event_free(control->signals[i]);
	}
	if (control->base != NULL)
		event_base_free(control->base);
}

static int
attach_uplink(struct softaccel *accel, const char *name)
{
	struct rp_wire_why why;
	uint16_t port;

	if (name == NULL)
		return 0;
	if (rte_eth_dev_get_port_by_name(name, &port) < 0) {
		log_line("--uplink: '%s', expected the name of an ethdev (--vdev=net_tap0,... makes net_tap0)", name);
		return EXIT_ARGUMENTS;
	}
	if (softaccel_uplink_attach(accel, port, &why) < 0) {
		log_line("%s", why.text);
		return EXIT_FAILURE;
	}
	log_line("uplink: %s", name);
	return 0;
}

static int
add_functions(struct softaccel *accel, const struct options *options)
{
	struct rp_wire_why why;
	unsigned int i;

	for (i = 0; i < options->functions_count; i++) {
		const struct softaccel_function_config *config = &options->functions[i];

		if (softaccel_function_add(accel, config, NULL, &why) < 0) {
			log_line("--function: %s", why.text);
			return EXIT_FAILURE;
		}
		log_line("%s: listening, %u queue pairs, group %s", config->socket_path, config->queue_pairs,
			 config->group == NULL ? "-" : config->group);
	}
	return 0;
}

static int
serve(struct control *control, const struct options *options)
{
	int rc = attach_uplink(control->accel, options->uplink);

	if (rc == 0)
		rc = add_functions(control->accel, options);
	if (rc != 0)
		return rc;
	if (control_start(control) < 0) {
		log_line("cannot start the control thread");
		return EXIT_FAILURE;
	}
	telemetry_start(control->accel);
	puts("softaccel: ready");
	fflush(stdout);
	softaccel_run(control->accel);
	pthread_join(control->thread, NULL);
	telemetry_stop();
	return EXIT_SUCCESS;
}

static int
run(const struct options *options, const cpu_set_t *cpus)
{
	static const struct softaccel_ops ops = {.event = log_event};
	struct control control = {.cpus = *cpus};
	struct rp_wire_why why;
	int rc = EXIT_FAILURE;

	if (control_init(&control) < 0)
		log_line("cannot set up the event loop");
	else if (softaccel_create(&options->config, &ops, NULL, &control.accel, &why) < 0)
		log_line("%s", why.text);
	else
		rc = serve(&control, options);
	control_fini(&control);
	softaccel_destroy(control.accel);
	return rc;
}

static void
close_ethdevs(void)
{
	uint16_t port;

	/* A TAP interface stays until its ethdev is closed. */
	for (port = rte_eth_find_next(0); port < RTE_MAX_ETHPORTS; port = rte_eth_find_next(port + 1))
		rte_eth_dev_close(port);
}

int
main(int argc, char **argv)
{
	struct options options;
	struct rp_wire_why why;
	int eal_argc, rc;
	cpu_set_t cpus;

	for (eal_argc = 1; eal_argc < argc && strcmp(argv[eal_argc], "--") != 0; eal_argc++)
		;
	/* Before the EAL, which takes its time and holds devices. */
	if (options_parse(argc - eal_argc, argv + eal_argc, &options, &why) < 0) {
		log_line("%s", why.text);
		return EXIT_ARGUMENTS;
	}
	if (options.help) {
		fputs(options_usage, stdout);
		return EXIT_SUCCESS;
	}
	/* The EAL binds this thread to its first core, and threads inherit that. */
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		CPU_ZERO(&cpus);
	if (rte_eal_init(eal_argc, argv) < 0) {
		log_line("EAL arguments: DPDK cannot start: %s", rte_strerror(rte_errno));
		options_free(&options);
		return EXIT_ARGUMENTS;
	}
	rc = run(&options, &cpus);
	options_free(&options);
	close_ethdevs();
	rte_eal_cleanup();
	return rc;
}
