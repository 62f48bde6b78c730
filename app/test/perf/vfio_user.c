/* SPDX-License-Identifier: BSD-3-Clause */
#include "bytes.h"
#include "count.h"
#include "device.h"
#include "rp_vfu_client.h"
#include "serving.h"

/*
 * One command and its answer, at each end. What the other end does is not counted: bytes that are there
 * already, or a thread of its own.
 */

#define READ 9
#define WRITE 10
#define AT UINT64_C(0x40)
#define CONFIG_SPACE 7u

static struct {
	struct device device;
	struct peer peer;
	struct peer_msg reply;
	struct serving serving;
	struct rp_vfu_client *client;
} fixture;

static void
open_server(const struct count_scenario *scenario)
{
	(void)scenario;
	device_start(&fixture.device);
	device_connect(&fixture.device, &fixture.peer);
	device_negotiate(&fixture.peer);
}

static void
close_server(void)
{
	peer_close(&fixture.peer);
	device_close(&fixture.device);
}

static void
prepare_read(void)
{
	static const uint8_t payload[] = {U64(AT), U32(CONFIG_SPACE), U32(4)};

	assert_true(peer_command(&fixture.peer, 1, READ, COMMAND, payload, sizeof(payload), NULL, 0));
}

static void
prepare_write(void)
{
	static const uint8_t payload[] = {U64(AT), U32(CONFIG_SPACE), U32(4), U32(0)};

	assert_true(peer_command(&fixture.peer, 1, WRITE, COMMAND, payload, sizeof(payload), NULL, 0));
}

static void
serve(void)
{
	rp_vfu_server_process(fixture.device.server);
}

static void
take_reply(void)
{
	assert_true(peer_receive(&fixture.peer, &fixture.reply));
	assert_int_equal(fixture.reply.flags, REPLY);
	peer_msg_close(&fixture.reply);
}

static void
open_client(const struct count_scenario *scenario)
{
	const struct rp_vfu_client_config config = {.socket_path = test_socket_path(), .timeout_ms = 60000};

	(void)scenario;
	device_start(&fixture.device);
	serving_start(&fixture.serving, fixture.device.server);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &fixture.client, NULL), 0);
}

static void
close_client(void)
{
	fixture.client = rp_vfu_client_destroy(fixture.client);
	serving_stop(&fixture.serving);
	device_close(&fixture.device);
}

static void
client_read(void)
{
	uint32_t value;

	assert_int_equal(rp_vfu_client_region_read(fixture.client, CONFIG_SPACE, AT, sizeof(value), &value, NULL), 0);
}

/* clang-format off */
const struct count_scenario count_scenarios[] = {
	{"vfio_user_region_read", 128, 1, open_server, prepare_read, serve, take_reply, close_server},
	{"vfio_user_region_write", 128, 1, open_server, prepare_write, serve, take_reply, close_server},
	{"vfio_user_client_read", 128, 1, open_client, NULL, client_read, NULL, close_client},
	{NULL},
};
/* clang-format on */
