/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "ports.h"
#include "rpc.h"
#include "test_support.h"

/* The daemon's thread on a machine of nodes that need not be there. */

struct fixture {
	struct event_base *base;
	struct rpd_node node;
	struct rpd_ports *ports;
	char log[512];
};

static unsigned int nodes_count;
static int sent_to; /* RP_DMA_NODE_ANY: nowhere */
static int run_error;

unsigned int __wrap_rp_dma_nodes_count(void);
int __wrap_rp_dma_node_run(int node);

unsigned int
__wrap_rp_dma_nodes_count(void)
{
	return nodes_count;
}

int
__wrap_rp_dma_node_run(int node)
{
	sent_to = node;
	return run_error;
}

static void
remember(void *ctx, const struct rp_port_event *event)
{
	struct fixture *f = ctx;
	size_t used = strlen(f->log);

	if (strncmp(event->name, "thread-", 7) == 0)
		snprintf(f->log + used, sizeof(f->log) - used, "%s: %s\n", event->name, event->text);
}

static int
set_up(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	nodes_count = 2;
	sent_to = RP_DMA_NODE_ANY;
	run_error = 0;
	fake_ports_reset();
	return *state == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	rpd_ports_destroy(f->ports);
	if (f->base != NULL)
		event_base_free(f->base);
	free(f);
	return 0;
}

/* A daemon with one port. */
static struct rp_port *
begin(struct fixture *f, const struct rpd_node_wish *wish)
{
	struct rpd_ports_config config = {.registry = &fake_registry, .node = &f->node, .event = remember, .ctx = f};
	static char arguments[] = "fake,socket=/f", *accelerators[] = {arguments};
	struct rpd_port_spec spec = {.name = "vm0", .socket_path = "/tmp/vm0", .accelerators_count = 1};
	struct rp_wire_why why = {0};

	spec.accelerators = accelerators;
	config.base = f->base = event_base_new();
	assert_int_equal(rpd_node_begin(&f->node, wish, remember, f, &why), 0);
	assert_int_equal(rpd_ports_create(&config, &f->ports), 0);
	assert_int_equal(rpd_ports_add(f->ports, &spec, &why), 0);
	return rpd_ports_find(f->ports, "vm0")->port;
}

static void
assert_shown(const struct fixture *f, const char *part)
{
	struct json_object *object = json_object_new_object();

	rpd_show_port(object, rpd_ports_find(f->ports, "vm0"));
	assert_non_null(strstr(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN), part));
	json_object_put(object);
}

static void
rings_draw_the_thread(void **state)
{
	const struct rpd_node_wish follow = {.policy = RPD_NODE_FOLLOW};
	struct fixture *f = *state;
	struct rp_port *port = begin(f, &follow);

	assert_shown(f, "\"thread_node\":null");
	assert_true(fake_port_ring_node(port, 1, 1));
	assert_int_equal(sent_to, 1);
	assert_shown(f, "\"thread_node\":1");
	assert_string_equal(f->log, "thread-moved: to node 1, where most rings are\n");
	/* Once there, it is not sent again. */
	sent_to = RP_DMA_NODE_ANY;
	assert_true(fake_port_ring_node(port, 1, 1));
	assert_int_equal(sent_to, RP_DMA_NODE_ANY);
}

/* taskset(1), a cpuset: it goes on where it is, and says so. */
static void
it_may_not(void **state)
{
	const struct rpd_node_wish follow = {.policy = RPD_NODE_FOLLOW};
	struct fixture *f = *state;
	struct rp_port *port = begin(f, &follow);

	run_error = -ENOSPC;
	assert_true(fake_port_ring_node(port, 1, 1));
	assert_int_equal(sent_to, 1);
	assert_shown(f, "\"thread_node\":null");
	assert_string_equal(f->log, "thread-not-moved: node: found 1, on whose CPUs ringpassd may not run\n");
}

static void
nobody_is_asked(void **state)
{
	static const struct {
		struct rpd_node_wish wish;
		unsigned int nodes_count;
	} cases[] = {
		{{.policy = RPD_NODE_FOLLOW}, 1},
		{{.policy = RPD_NODE_ANY}, 2},
		{{.policy = RPD_NODE_FIXED, .number = 0}, 2},
	};
	struct fixture *f = *state;
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		nodes_count = cases[i].nodes_count;
		assert_false(fake_port_ring_node(begin(f, &cases[i].wish), 1, 1));
		f->ports = rpd_ports_destroy(f->ports);
		event_base_free(f->base);
		f->base = NULL;
	}
	assert_int_equal(sent_to, 0);
}

static void
where_the_user_wants_it(void **state)
{
	const struct rpd_node_wish fixed = {.policy = RPD_NODE_FIXED, .number = 7};
	struct fixture *f = *state;
	struct rp_wire_why why = {0};

	begin(f, &fixed);
	assert_int_equal(sent_to, 7);
	assert_shown(f, "\"thread_node\":7");
	run_error = -EINVAL;
	assert_int_equal(rpd_node_begin(&f->node, &fixed, remember, f, &why), -EINVAL);
	assert_string_equal(why.text, "node: found 7, which this machine has not");
	run_error = -ENOSPC;
	assert_int_equal(rpd_node_begin(&f->node, &fixed, remember, f, &why), -ENOSPC);
	assert_string_equal(why.text, "node: found 7, on whose CPUs ringpassd may not run");
	assert_string_equal(f->log, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rings_draw_the_thread),
		TEST(it_may_not),
		TEST(nobody_is_asked),
		TEST(where_the_user_wants_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
