/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "liar.h"

/* Connecting, what a client says of itself, and its end. */

static struct liar liar;

static void
test_what_a_client_says_of_itself(void **state)
{
	struct rp_vfu_client *client = liar_client(&liar, NULL);
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	(void)state;
	assert_true(rp_vfu_client_connected(client));
	assert_true(rp_vfu_client_fd(client) >= 0);
	assert_int_equal(rp_vfu_client_peer(client), getpid());
	assert_int_equal(getsockopt(rp_vfu_client_socket_fd(client), SOL_SOCKET, SO_PEERCRED, &peer, &bytes), 0);
	assert_int_equal(peer.pid, getpid());
	assert_null(rp_vfu_client_destroy(client));
	assert_null(rp_vfu_client_destroy(NULL));
	liar_stop(&liar);
}

static void
test_nobody_listens(void **state)
{
	const struct rp_vfu_client_config config = {.socket_path = test_socket_path()};
	struct rp_vfu_client *client = NULL;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), -ENOENT);
	assert_null(client);
}

/* What hears of the end of a command. */
static struct {
	unsigned int count;
	int error;
} heard;

static void
hear(void *ctx, int error, const struct rp_wire_why *why)
{
	(void)ctx;
	(void)why;
	heard.count++;
	heard.error = error;
}

static bool
silence(struct liar *l, const struct peer_msg *command)
{
	(void)l;
	(void)command;
	return true;
}

static void
test_what_is_under_way_ends_with_the_client(void **state)
{
	struct rp_vfu_client *client = liar_client(&liar, silence);
	const struct rp_vfu_client_done done = {.done = hear};
	const struct rp_vfu_client_memory memory = {
		.iova = 0x1000, .size_bytes = 0x1000, .fd = liar.file_fd, .access_mask = 3};

	(void)state;
	memset(&heard, 0, sizeof(heard));
	assert_int_equal(rp_vfu_client_dma_map_start(client, &memory, &done, NULL), 0);
	assert_int_equal(rp_vfu_client_dma_unmap_start(client, 0x1000, 0x800, &done, NULL), 0);
	assert_int_equal(heard.count, 0);
	rp_vfu_client_destroy(client);
	assert_int_equal(heard.count, 2);
	assert_int_equal(heard.error, -ECANCELED);
	liar_stop(&liar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_client_says_of_itself),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_what_is_under_way_ends_with_the_client),
	};

	return cmocka_run_group_tests_name("vfio-user client", tests, NULL, NULL);
}
