/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * An L2 learning switch of ethdevs and guests. A guest's queues are served by librte_vhost,
 * in this process, or by an accelerator; commands move them while it forwards.
 *
 * The main lcore is the control side: it sleeps in vs_loop_run() and does all that concerns
 * rp_port_*. The other lcores are the data path (forward.c). librte_vhost has a thread of its
 * own for its sockets, DPDK's telemetry has some; see doc/prog_guide/in-process.md.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "console.h"
#include "ethdev.h"
#include "forward.h"
#include "guest.h"
#include "links.h"
#include "log.h"
#include "loop.h"
#include "mailbox.h"
#include "options.h"
#include "rp_virtio.h"
#include "rp_wire_fd.h"
#include "telemetry.h"

#define EXIT_ARGUMENTS 2
#define TICK_MS 1000u

struct app {
	struct vs_switch *sw;
	struct vs_loop *loop;
	struct vs_mailbox *mailbox;
	struct vs_console *console;
	struct rp_port_files *files; /* shared: no doorbell file goes to two guests */
	struct vs_source signals;
	struct vs_guest *guests[VS_PORTS_MAX];
	struct vs_source sources[VS_PORTS_MAX]; /* of the guests */
	unsigned int guests_count;
	uint32_t aged_s;
};

static void
on_signal(void *ctx)
{
	struct app *app = ctx;
	struct signalfd_siginfo info;

	if (read(app->signals.fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	vs_log("%s: ending", strsignal((int)info.ssi_signo));
	vs_loop_end(app->loop);
}

static void
on_guest(void *ctx)
{
	vs_guest_process(ctx);
}

static void
on_tick(void *ctx)
{
	struct app *app = ctx;
	uint32_t now_s = vs_now_s();
	unsigned int i;

	for (i = 0; i < app->guests_count; i++)
		vs_guest_process(app->guests[i]);
	if (now_s == app->aged_s)
		return;
	app->aged_s = now_s;
	vs_mac_age(app->sw->mac, now_s);
	vs_links_look(app->sw);
}

/* Before any thread is made: all inherit that these are blocked, so they come by the descriptor alone. */
static int
catch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	/* A console that is gone is an error of write(). */
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
add_guest(struct app *app, const struct vs_guest_config *config, struct rp_wire_why *why)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, &rp_virtio_vfio_driver,
								NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	struct vs_source *source = &app->sources[app->guests_count];
	struct vs_guest *guest;
	int rc = vs_guest_create(app->sw, config, &registry, app->files, &guest, why);

	if (rc < 0) {
		rp_wire_why_prefix(why, "--guest: %s: ", config->name);
		return rc;
	}
	app->guests[app->guests_count++] = guest;
	*source = (struct vs_source){.fd = vs_guest_fd(guest), .ready = on_guest, .ctx = guest};
	return source->fd < 0 ? 0 : vs_loop_add(app->loop, source);
}

static int
add_ethdev(struct app *app, const char *name, struct rp_wire_why *why)
{
	struct vs_port *port = vs_switch_add(app->sw, name);
	int rc;

	if (port == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	rc = vs_ethdev_start(name, app->sw->pool, &port->ethdev, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "--ethdev: ");
	port->is_started = rc == 0;
	return rc;
}

static int
create(struct app *app, const struct vs_options *options, struct rp_wire_why *why)
{
	unsigned int i, ports_count = options->ethdevs_count + options->guests_count;
	int rc = vs_loop_create(&app->loop);

	if (rc == 0)
		rc = vs_loop_add(app->loop, &app->signals);
	if (rc == 0)
		rc = vs_mailbox_create(app->loop, &app->mailbox);
	if (rc == 0)
		rc = rp_port_files_create(&app->files);
	if (rc == 0)
		rc = vs_switch_create(ports_count, &app->sw);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "the switch: %s", strerror(-rc));
	app->sw->idle_us = options->idle_us;
	for (i = 0; rc == 0 && i < options->ethdevs_count; i++)
		rc = add_ethdev(app, options->ethdevs[i], why);
	for (i = 0; rc == 0 && i < options->guests_count; i++)
		rc = add_guest(app, &options->guests[i], why);
	if (rc == 0)
		rc = vs_console_create(app->loop, app->sw, options->control, &app->console, why);
	return rc;
}

/* Nobody asks, then nobody forwards, then the guests' rings go back, then what they were served with. */
static void
destroy(struct app *app)
{
	if (app->mailbox != NULL)
		vs_mailbox_end(app->mailbox);
	vs_telemetry_stop();
	vs_console_destroy(app->console);
	if (app->sw != NULL)
		vs_forward_stop(app->sw);
	while (app->guests_count > 0) {
		struct vs_source *source = &app->sources[--app->guests_count];

		if (source->fd >= 0)
			vs_loop_remove(app->loop, source);
		vs_guest_destroy(app->guests[app->guests_count]);
	}
	vs_ethdev_close_all();
	vs_switch_destroy(app->sw);
	rp_port_files_destroy(app->files);
	vs_mailbox_destroy(app->mailbox);
	vs_loop_destroy(app->loop);
}

static int
run(struct app *app, const struct vs_options *options)
{
	struct rp_wire_why why = {0};
	int rc = create(app, options, &why);

	if (rc == 0)
		rc = vs_forward_start(app->sw, &why);
	if (rc < 0) {
		vs_log("%s", why.text);
	} else {
		vs_telemetry_start(app->sw, app->mailbox);
		puts("vswitch: ready");
		fflush(stdout);
		vs_loop_run(app->loop, TICK_MS, on_tick, app);
	}
	destroy(app);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	static struct vs_options options;
	static struct app app;
	struct rp_wire_why why = {0};
	int eal_argc, rc;

	for (eal_argc = 1; eal_argc < argc && strcmp(argv[eal_argc], "--") != 0; eal_argc++)
		;
	/* Before the EAL, which takes its time and holds devices. */
	if (vs_options_parse(argc - eal_argc, argv + eal_argc, &options, &why) < 0) {
		vs_log("%s", why.text);
		return EXIT_ARGUMENTS;
	}
	if (options.help) {
		fputs(vs_options_usage, stdout);
		return EXIT_SUCCESS;
	}
	app.signals = (struct vs_source){.fd = catch_signals(), .ready = on_signal, .ctx = &app};
	if (app.signals.fd < 0 || rte_eal_init(eal_argc, argv) < 0) {
		vs_log("EAL arguments: DPDK cannot start: %s", rte_strerror(rte_errno));
		return EXIT_ARGUMENTS;
	}
	rc = run(&app, &options);
	rte_eal_cleanup();
	rp_wire_fd_close(&app.signals.fd);
	return rc;
}
