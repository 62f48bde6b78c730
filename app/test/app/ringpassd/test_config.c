/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "fake_port.h"
#include "test_support.h"

/* The file's name is left out of what is compared. */
struct reported {
	char lines[8192];
	unsigned int count;
};

static char path[] = "/tmp/ringpass-test-config.XXXXXX";

static void
report(void *ctx, const char *line)
{
	struct reported *reported = ctx;
	size_t used = strlen(reported->lines);

	assert_memory_equal(line, path, strlen(path));
	snprintf(reported->lines + used, sizeof(reported->lines) - used, "%s\n", line + strlen(path));
	reported->count++;
}

static int
read_text(const char *text, struct rpd_config *config, struct reported *reported)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	memset(config, 0, sizeof(*config));
	memset(reported, 0, sizeof(*reported));
	return rpd_config_read(path, &fake_registry, report, reported, config);
}

#define PORT(rest) "ports = ( { name = \"vm0\"; socket = \"/s\"; accelerators = ( \"fake,socket=/f\" );\n" rest "} );\n"

static void
test_whole_file(void **state)
{
	struct reported reported;
	struct rpd_config config;
	const struct rpd_port_spec *spec;
	const char *accelerators[RP_PORT_ACCELERATORS_MAX];
	struct rp_port_config port;

	(void)state;
	assert_int_equal(
		read_text(
			"rpc = \"/run/r.sock\"; node = 63;\n"
			"# a comment\n"
			"ports = (\n"
			"  { name = \"vm0\"; socket = \"/run/vm0.sock\"; mode = \"client\"; queue_pairs = 2;\n"
			"    doorbell = \"relay\"; doorbell_delay_ms = 300; reconnect_ms = 2000L;\n"
			"    doorbell_delay_max_ms = 700; memory = \"table\";\n"
			"    profile = \"vfio2018\"; relay_interrupts = true;\n"
			"    ring = \"shadow\"; migratable = true; fail_over = true; mac = \"52:54:00:aB:cd:0f\"; "
			"promiscuous = \"on\";\n"
			"    multicast = \"device\"; software = \"/run/vm0-sw.sock\"; software_mode = \"server\";\n"
			"    software_kind = \"librte_vhost\"; software_timeout_ms = 500; software_reconnect_ms = 50;\n"
			"    drain_ms = 5; wish = \"software\"; device = \"net\";\n"
			"    accelerators = ( \"fake,socket=/run/f0.sock\", \"fake,socket=/run/f1.sock\" );\n"
			"    windows = ( \"of=1,bar=4,to=0,iova=0x1000\", \"of=0,bar=2,to=1,iova=0x2000,size=4096\" ); "
			"},\n"
			"  { name = \"vm1\"; socket = \"/run/vm1.sock\"; accelerators = [ \"fake\" ]; access_platform "
			"= \"on\"; }\n"
			");\n",
			&config, &reported),
		0);
	assert_int_equal(reported.count, 0);
	assert_string_equal(config.rpc_path, "/run/r.sock");
	assert_int_equal(config.node.policy, RPD_NODE_FIXED);
	assert_int_equal(config.node.number, 63);
	assert_int_equal(config.ports_count, 2);
	spec = &config.ports[0].spec;
	assert_string_equal(spec->name, "vm0");
	assert_string_equal(spec->socket_path, "/run/vm0.sock");
	assert_int_equal(spec->socket_mode, RP_PORT_CLIENT);
	assert_int_equal(spec->queue_pairs, 2);
	assert_int_equal(spec->doorbell, RP_PORT_DOORBELL_RELAY);
	assert_int_equal(spec->doorbell_delay_ms, 300);
	assert_int_equal(spec->doorbell_delay_max_ms, 700);
	assert_int_equal(spec->memory, RP_PORT_MEMORY_TABLE);
	assert_int_equal(spec->reconnect_ms, 2000);
	assert_int_equal(spec->profile, RP_VHU_PROFILE_VFIO2018);
	assert_true(spec->relay_interrupts);
	rpd_spec_port_config(spec, accelerators, &port);
	assert_int_equal(port.ring, RP_PORT_RING_SHADOW);
	assert_true(port.migratable);
	assert_true(port.fail_over);
	assert_true(port.net.has_mac);
	assert_memory_equal(port.net.mac, "\x52\x54\x00\xab\xcd\x0f", 6);
	assert_int_equal(port.net.promiscuous, RP_PORT_PROMISCUOUS_ON);
	assert_int_equal(port.net.multicast, RP_PORT_MULTICAST_DEVICE);
	assert_int_equal(spec->accelerators_count, 2);
	assert_string_equal(spec->accelerators[1], "fake,socket=/run/f1.sock");
	assert_string_equal(config.ports[0].where + strlen(path), ":4: ports[0]");
	assert_string_equal(port.software.socket_path, "/run/vm0-sw.sock");
	assert_int_equal(port.software.socket_mode, RP_PORT_SERVER);
	assert_int_equal(port.software.kind, RP_PORT_SOFTWARE_LIBRTE_VHOST);
	assert_int_equal(port.software.timeout_ms, 500);
	assert_int_equal(port.software.reconnect_ms, 50);
	assert_int_equal(port.software.drain_ms, 5);
	assert_int_equal(port.wish, RP_PORT_WISH_SOFTWARE);
	assert_int_equal(port.device, RP_PORT_DEVICE_NET);
	assert_int_equal(port.windows_count, 2);
	assert_int_equal(port.windows[1].region, 2);
	assert_int_equal(port.windows[1].iova, 0x2000);

	spec = &config.ports[1].spec;
	assert_int_equal(spec->socket_mode, RP_PORT_SERVER);
	assert_int_equal(spec->profile, RP_VHU_PROFILE_STANDARD);
	assert_int_equal(spec->doorbell, RP_PORT_DOORBELL_AUTO);
	assert_int_equal(spec->memory, RP_PORT_MEMORY_SLOTS);
	assert_int_equal(spec->queue_pairs, 0);
	assert_false(spec->relay_interrupts);
	rpd_spec_port_config(spec, accelerators, &port);
	assert_int_equal(port.ring, RP_PORT_RING_AUTO);
	assert_false(port.migratable);
	assert_false(port.fail_over);
	assert_true(port.access_platform);
	assert_false(port.net.has_mac);
	assert_null(port.software.socket_path);
	assert_int_equal(port.wish, RP_PORT_WISH_AUTO);
	assert_int_equal(port.windows_count, 0);
	rpd_config_free(&config);
}

/* Each has what it says for itself. */
static void
test_copies_of_a_spec(void **state)
{
	const struct rpd_spec_key *key = rpd_spec_key_find("accelerators");
	struct rpd_value value = {.type = RPD_VALUE_TEXT, .text = "fake,socket=/a"};
	struct rpd_port_spec spec = {.name = "vm0"}, copy;

	(void)state;
	assert_int_equal(rpd_spec_set(&spec, key, &value, &fake_registry, NULL), 0);
	assert_int_equal(rpd_spec_copy(&spec, &copy), 0);
	assert_null(rpd_spec_difference(&spec, &copy));
	value.text = "fake,socket=/b";
	assert_int_equal(rpd_spec_set(&copy, key, &value, &fake_registry, NULL), 0);
	assert_int_equal(spec.accelerators_count, 1);
	assert_string_equal(rpd_spec_difference(&spec, &copy), "accelerators");
	rpd_spec_fini(&spec);
	assert_int_equal(spec.accelerators_count, 0);
	assert_string_equal(copy.name, "vm0");
	assert_string_equal(copy.accelerators[0], "fake,socket=/a");
	assert_string_equal(copy.accelerators[1], "fake,socket=/b");
	rpd_spec_fini(&copy);
	rpd_spec_fini(&copy);
}

/* A disk, and a card that no accelerator serves: the software backend listens, as most do. */
static void
test_only_a_software_backend(void **state)
{
	struct reported reported;
	struct rpd_config config;
	const char *accelerators[RP_PORT_ACCELERATORS_MAX];
	struct rp_port_config port;

	(void)state;
	assert_int_equal(
		read_text("ports = ( { name = \"disk\"; socket = \"/d\"; software = \"/b\"; device = \"other\"; },"
			  "{ name = \"card\"; socket = \"/c\"; software = \"/b\"; accelerators = (); } );\n",
			  &config, &reported),
		0);
	rpd_spec_port_config(&config.ports[0].spec, accelerators, &port);
	assert_int_equal(port.device, RP_PORT_DEVICE_OTHER);
	assert_int_equal(port.accelerators_count, 0);
	assert_string_equal(port.software.socket_path, "/b");
	assert_int_equal(port.software.socket_mode, RP_PORT_CLIENT);
	assert_int_equal(port.software.kind, RP_PORT_SOFTWARE_AUTO);
	rpd_spec_port_config(&config.ports[1].spec, accelerators, &port);
	assert_int_equal(port.device, RP_PORT_DEVICE_NET);
	rpd_config_free(&config);
}

static void
test_nothing_is_legal(void **state)
{
	struct reported reported;
	struct rpd_config config;

	(void)state;
	assert_int_equal(read_text("", &config, &reported), 0);
	assert_int_equal(config.ports_count, 0);
	assert_string_equal(config.rpc_path, "");
	rpd_config_free(&config);
	assert_int_equal(read_text("ports = ();", &config, &reported), 0);
	assert_int_equal(config.ports_count, 0);
	assert_int_equal(config.node.policy, RPD_NODE_FOLLOW);
	rpd_config_free(&config);
	assert_int_equal(read_text("node = \"any\";", &config, &reported), 0);
	assert_int_equal(config.node.policy, RPD_NODE_ANY);
	rpd_config_free(&config);
	assert_int_equal(read_text("node = \"follow\";", &config, &reported), 0);
	assert_int_equal(config.node.policy, RPD_NODE_FOLLOW);
	rpd_config_free(&config);
}

/* clang-format off */
static const struct {
	const char *text;
	const char *line;
} mistakes[] = {
	{ "colour = 3;\n", ":1: colour: found an unknown key, expected rpc, node or ports" },
	{ "node = -1;\n", ":1: node: found -1, expected \"follow\", \"any\", or a number of 0 to 63" },
	{ "node = 64;\n", ":1: node: found 64, expected \"follow\", \"any\", or a number of 0 to 63" },
	{ "node = \"1\";\n", ":1: node: found '1', expected \"follow\", \"any\", or a number of 0 to 63" },
	{ "node = true;\n", ":1: node: found true, expected \"follow\", \"any\", or a number of 0 to 63" },
	{ "\n\nrpc = 3;\n", ":3: rpc: found 3, expected a path of 1 to 107 bytes" },
	{ "rpc = \"\";\n", ":1: rpc: found '', expected a path of 1 to 107 bytes" },
	{ "ports = 3;\n", ":1: ports: found no list, expected ( { ... }, ... )" },
	{ "ports = ( 3 );\n", ":1: ports[0]: found no group, expected { name = ...; socket = ...; ... }" },
	{ "ports = (\n", ":2: syntax: found syntax error, expected key = value; as libconfig has it" },
	{ "rpc = \"/a\";\nrpc = \"/b\";\n", ":2: syntax: found duplicate setting name, expected key = value; as libconfig has it" },
	{ "rpc 7;\n", ":1: syntax: found syntax error, expected key = value; as libconfig has it" },
	{ "ports = ( { } );\n", ":1: ports[0]: name: found nothing, expected 1 to 31 characters of A-Z a-z 0-9 _ . -" },
	{ "ports = ( { name = \"a\"; } );\n", ":1: ports[0]: socket: found nothing, expected a path of 1 to 107 bytes" },
	{ "ports = ( { name = \"a\"; socket = \"/s\"; } );\n", ":1: ports[0]: accelerators: found nothing, "
	  "expected a list of 1 to 128 device argument strings of 1 to 255 bytes, or software" },
	{ "ports = ( { name = \"a\"; socket = \"/s\"; accelerators = (); } );\n", ":1: ports[0]: accelerators: found nothing, "
	  "expected a list of 1 to 128 device argument strings of 1 to 255 bytes, or software" },
	{ "ports = ( { name = \"a\"; socket = \"/s\"; software = \"/s\"; } );\n",
	  ":1: ports[0]: software: found '/s', expected a socket other than the port's own" },
	{ "ports = ( { name = \"a\"; socket = \"/s\"; software = \"/w\"; wish = \"hardware\"; } );\n",
	  ":1: ports[0]: wish: found \"hardware\", expected another without accelerators" },
	{ PORT("software = \"\";"), ":2: ports[0].software: found '', expected a path of 1 to 107 bytes" },
	{ PORT("software_mode = \"both\";"), ":2: ports[0].software_mode: found 'both', expected \"client\" or \"server\"" },
	{ PORT("software_mode = \"client\";"), ":1: ports[0]: software_mode: found a value, expected none without software" },
	{ PORT("software_kind = \"dpdk\";"),
	  ":2: ports[0].software_kind: found 'dpdk', expected \"auto\", \"specification\" or \"librte_vhost\"" },
	{ PORT("software_kind = \"auto\";"), ":1: ports[0]: software_kind: found a value, expected none without software" },
	{ PORT("software_timeout_ms = 9;"), ":2: ports[0].software_timeout_ms: found 9, expected a number from 10 to 60000" },
	{ PORT("software_timeout_ms = 60001;"),
	  ":2: ports[0].software_timeout_ms: found 60001, expected a number from 10 to 60000" },
	{ PORT("software_reconnect_ms = 9;"),
	  ":2: ports[0].software_reconnect_ms: found 9, expected a number from 10 to 600000" },
	{ PORT("drain_ms = 1001;"), ":2: ports[0].drain_ms: found 1001, expected a number from 1 to 1000" },
	{ PORT("drain_ms = 2;"), ":1: ports[0]: drain_ms: found a value, expected none without software" },
	{ PORT("wish = \"fast\";"), ":2: ports[0].wish: found 'fast', expected \"auto\", \"hardware\" or \"software\"" },
	{ PORT("wish = \"software\";"), ":1: ports[0]: wish: found \"software\", expected another without software" },
	{ PORT("device = \"disk\";"), ":2: ports[0].device: found 'disk', expected \"net\" or \"other\"" },
	{ PORT("device = \"other\"; software = \"/w\";"),
	  ":1: ports[0]: device: found \"other\", expected \"net\" with accelerators" },
	{ "rpc = \"/w\";\n" PORT("software = \"/w\";"),
	  ":3: ports[0].software: found the RPC socket '/w', expected a socket of its own" },
	{ PORT("}, { name = \"vm1\"; socket = \"/t\"; accelerators = ( \"fake\" );\n software = \"/s\";"),
	  ":3: ports[1].software: found '/s' again, expected a socket other than that of line 1" },
	{ PORT("software = \"/w\"; }, { name = \"vm1\"; accelerators = ( \"fake\" );\n socket = \"/w\";"),
	  ":3: ports[1].socket: found '/w' again, expected a socket other than that of line 1" },
	{ PORT("software = \"/w\"; }, { name = \"vm1\"; socket = \"/t\"; software_mode = \"server\";\n software = \"/w\";"),
	  ":3: ports[1].software: found '/w' again, expected a socket other than that of line 1" },
	{ PORT("color = 1;"), ":2: ports[0].color: found an unknown key, expected name, socket, mode, queue_pairs, "
	  "doorbell, doorbell_delay_ms, doorbell_delay_max_ms, memory, reconnect_ms, profile, vfio_bit, "
	  "vfio_file_request, notify_area_request, relay_interrupts, ring, migratable, fail_over, access_platform, mac, "
	  "promiscuous, multicast, software, software_mode, software_kind, software_timeout_ms, software_reconnect_ms, drain_ms, wish, device, "
	  "accelerators or windows" },
	{ PORT("windows = \"of=1\";"), ":2: ports[0].windows: found no list, expected ( \"...\", ... )" },
	{ PORT("windows = ( \"of=1\" );"), ":2: ports[0].windows[0]: found 'of=1', expected of=N,bar=N,to=N,iova=N, and "
	  "offset=N or size=N; numbers decimal or 0x..." },
	{ PORT("windows = ( 7 );"), ":2: ports[0].windows[0]: found 7, expected a list of at most 32 windows: "
	  "of=N,bar=N,to=N,iova=N, and offset=N or size=N; numbers decimal or 0x..." },
	{ PORT("windows = ( \"of=1,bar=4,to=0,iova=0\" );"),
	  ":1: ports[0]: windows[0]: found of=1 and to=0, expected two of the port's 1 accelerators" },
	{ PORT("mode = \"peer\";"), ":2: ports[0].mode: found 'peer', expected \"server\" or \"client\"" },
	{ PORT("mode = 1;"), ":2: ports[0].mode: found 1, expected \"server\" or \"client\"" },
	{ PORT("queue_pairs = \"2\";"),
	  ":2: ports[0].queue_pairs: found '2', expected a number from 0 (as many as the accelerators have) to 128" },
	{ PORT("queue_pairs = 129;"),
	  ":2: ports[0].queue_pairs: found 129, expected a number from 0 (as many as the accelerators have) to 128" },
	{ PORT("queue_pairs = -1;"),
	  ":2: ports[0].queue_pairs: found -1, expected a number from 0 (as many as the accelerators have) to 128" },
	{ PORT("queue_pairs = 4294967298L;"), ":2: ports[0].queue_pairs: found 4294967298, "
	  "expected a number from 0 (as many as the accelerators have) to 128" },
	{ PORT("queue_pairs = 1.5;"),
	  ":2: ports[0].queue_pairs: found a fraction, expected a number from 0 (as many as the accelerators have) to 128" },
	{ PORT("queue_pairs = { a = 1; };"), ":2: ports[0].queue_pairs: found a group { }, "
	  "expected a number from 0 (as many as the accelerators have) to 128" },
	{ PORT("doorbell = true;"), ":2: ports[0].doorbell: found true, expected \"auto\" or \"relay\"" },
	{ PORT("doorbell_delay_ms = 0;"), ":2: ports[0].doorbell_delay_ms: found 0, expected a number from 1 to 60000" },
	{ PORT("doorbell_delay_max_ms = 60001;"),
	  ":2: ports[0].doorbell_delay_max_ms: found 60001, expected a number from 1 to 60000" },
	{ PORT("memory = \"slot\";"), ":2: ports[0].memory: found 'slot', expected \"slots\" or \"table\"" },
	{ PORT("reconnect_ms = 9;"), ":2: ports[0].reconnect_ms: found 9, expected a number from 10 to 600000" },
	{ PORT("reconnect_ms = ( 1 );"), ":2: ports[0].reconnect_ms: found a list, expected a number from 10 to 600000" },
	{ PORT("profile = \"Standard\";"),
	  ":2: ports[0].profile: found 'Standard', expected \"standard\", \"extended\" or \"vfio2018\"" },
	{ PORT("profile = \"extended\"; vfio_bit = 31;"), ":2: ports[0].vfio_bit: found 31, expected a number from 32 to 63" },
	{ PORT("profile = \"extended\"; notify_area_request = 3;"),
	  ":2: ports[0].notify_area_request: found 3, expected a number from 256 to 4294967295" },
	{ PORT("vfio_bit = 61;"), ":1: ports[0]: vfio_bit: found 61, expected none without profile = \"extended\"" },
	{ PORT("profile = \"vfio2018\"; vfio_file_request = 300;"),
	  ":1: ports[0]: vfio_file_request: found 300, expected none without profile = \"extended\"" },
	{ PORT("ring = \"fast\";"), ":2: ports[0].ring: found 'fast', expected \"auto\", \"direct\" or \"shadow\"" },
	{ PORT("migratable = 1;"), ":2: ports[0].migratable: found 1, expected true or false" },
	{ PORT("access_platform = true;"), ":2: ports[0].access_platform: found true, expected \"off\" or \"on\"" },
	{ PORT("access_platform = \"on\"; migratable = true;"), ":1: ports[0]: access_platform: found \"on\" with "
	  "migratable = true, expected \"off\" with it" },
	{ PORT("migratable = true; ring = \"direct\";"), ":1: ports[0]: migratable: found true with ring = \"direct\", "
	  "expected \"auto\" or \"shadow\" with it" },
	{ PORT("mac = \"52:54:00:12:34\";"),
	  ":2: ports[0].mac: found '52:54:00:12:34', expected the address of one card, as 52:54:00:12:34:56" },
	{ PORT("mac = \"53:54:00:12:34:56\";"),
	  ":2: ports[0].mac: found '53:54:00:12:34:56', expected the address of one card, as 52:54:00:12:34:56" },
	{ PORT("mac = \"00:00:00:00:00:00\";"),
	  ":2: ports[0].mac: found '00:00:00:00:00:00', expected the address of one card, as 52:54:00:12:34:56" },
	{ PORT("mac = \"52:54:0:12:34:5678\";"),
	  ":2: ports[0].mac: found '52:54:0:12:34:5678', expected the address of one card, as 52:54:00:12:34:56" },
	{ PORT("mac = \"52:54:0::12:34:567\";"),
	  ":2: ports[0].mac: found '52:54:0::12:34:567', expected the address of one card, as 52:54:00:12:34:56" },
	{ PORT("promiscuous = true;"), ":2: ports[0].promiscuous: found true, expected \"auto\", \"on\" or \"off\"" },
	{ PORT("multicast = \"none\";"), ":2: ports[0].multicast: found 'none', expected \"all\" or \"device\"" },
	{ PORT("relay_interrupts = 1;"), ":2: ports[0].relay_interrupts: found 1, expected true or false" },
	{ "ports = ( {\n name = \"a b\"; socket = \"/s\"; accelerators = ( \"fake\" ); } );\n",
	  ":2: ports[0].name: found 'a b', expected 1 to 31 characters of A-Z a-z 0-9 _ . -" },
	{ "ports = ( {\n name = \"\"; socket = \"/s\"; accelerators = ( \"fake\" ); } );\n",
	  ":2: ports[0].name: found '', expected 1 to 31 characters of A-Z a-z 0-9 _ . -" },
	{ "ports = ( {\n name = \"a12345678901234567890123456789012345678901234567890123456789xyz\"; socket = \"/s\"; } );\n",
	  ":2: ports[0].name: found 'a12345678901234567890123456789012345678901234567890123456789...', "
	  "expected 1 to 31 characters of A-Z a-z 0-9 _ . -" },
	{ "ports = ( {\n name = \"a\"; socket = \"/s\"; accelerators = \"fake\"; } );\n",
	  ":2: ports[0].accelerators: found no list, expected ( \"...\", ... )" },
	{ "ports = ( {\n name = \"a\"; socket = \"/s\"; accelerators = ( \"fake\",\n 7 ); } );\n",
	  ":3: ports[0].accelerators[1]: found 7, "
	  "expected a list of 1 to 128 device argument strings of 1 to 255 bytes" },
	{ PORT("}, {\n name = \"vm0\"; socket = \"/t\"; accelerators = ( \"fake\" );"),
	  ":3: ports[1].name: found 'vm0' again, expected a name other than that of line 1" },
	{ PORT("}, {\n name = \"vm1\"; socket = \"/s\"; accelerators = ( \"fake\" );"),
	  ":3: ports[1].socket: found '/s' again, expected a socket other than that of line 1" },
	{ "rpc = \"/s\";\n" PORT(""), ":2: ports[0].socket: found the RPC socket '/s', expected a socket of its own" },
};
/* clang-format on */

static void
test_mistakes_are_named(void **state)
{
	struct reported reported;
	struct rpd_config config;
	char line[1024];
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		assert_int_equal(read_text(mistakes[i].text, &config, &reported), -EBADMSG);
		snprintf(line, sizeof(line), "%s\n", mistakes[i].line);
		assert_string_equal(reported.lines, line);
	}
}

static void
test_device_arguments_are_checked(void **state)
{
	struct reported reported;
	struct rpd_config config;

	(void)state;
	assert_int_equal(
		read_text("ports = ( { name = \"a\"; socket = \"/s\";\n accelerators = ( \"nosuch,socket=/f\" ); } );",
			  &config, &reported),
		-EBADMSG);
	assert_int_equal(reported.count, 1);
	assert_memory_equal(reported.lines, ":2: ports[0].accelerators[0]: ", 30);
	assert_non_null(strstr(reported.lines, "nosuch"));
	assert_int_equal(
		read_text("ports = ( { name = \"a\"; socket = \"/s\";\n accelerators = ( \"fake,path=/f\" ); } );",
			  &config, &reported),
		-EBADMSG);
	assert_non_null(strstr(reported.lines, "path"));
}

static void
test_every_mistake_is_reported(void **state)
{
	struct reported reported;
	struct rpd_config config;

	(void)state;
	assert_int_equal(read_text("rpc = 1;\nx = 2;\n" PORT("mode = 3;\n doorbell = 4;"), &config, &reported),
			 -EBADMSG);
	assert_int_equal(reported.count, 4);
}

static void
test_too_many_accelerators(void **state)
{
	struct reported reported;
	struct rpd_config config;
	char text[16 * (RP_PORT_ACCELERATORS_MAX + 8)] =
		"ports = ( { name = \"a\"; socket = \"/s\"; accelerators = ( \"fake\"";
	unsigned int i;

	(void)state;
	for (i = 0; i < RP_PORT_ACCELERATORS_MAX; i++)
		strcat(text, ", \"fake\"");
	strcat(text, " ); } );");
	assert_int_equal(read_text(text, &config, &reported), -EBADMSG);
	assert_non_null(strstr(reported.lines, "ports[0].accelerators[128]: found more than 128, expected "));
}

static void
test_unreadable_files(void **state)
{
	struct reported reported = {0};
	struct rpd_config config;

	(void)state;
	unlink(path);
	assert_int_equal(rpd_config_read(path, &fake_registry, report, &reported, &config), -ENOENT);
	assert_string_equal(reported.lines, ": No such file or directory, expected a configuration file\n");
	memset(&reported, 0, sizeof(reported));
	snprintf(path, sizeof(path), "/tmp");
	assert_int_equal(rpd_config_read(path, &fake_registry, report, &reported, &config), -EISDIR);
	assert_string_equal(reported.lines, ": Is a directory, expected a configuration file\n");
}

static int
make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_file),
		cmocka_unit_test(test_only_a_software_backend),
		cmocka_unit_test(test_nothing_is_legal),
		cmocka_unit_test(test_mistakes_are_named),
		cmocka_unit_test(test_device_arguments_are_checked),
		cmocka_unit_test(test_every_mistake_is_reported),
		cmocka_unit_test(test_copies_of_a_spec),
		cmocka_unit_test(test_too_many_accelerators),
		cmocka_unit_test(test_unreadable_files), /* the last: it removes the file */
	};

	return cmocka_run_group_tests(tests, make_file, NULL);
}
