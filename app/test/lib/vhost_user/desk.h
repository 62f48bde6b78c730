/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DESK_H
#define DESK_H

#include <pthread.h>

#include "peer.h"
#include "rp_vhu_frontend.h"
#include "rp_vhu_vfio_files.h"

/*
 * A frontend whose backend is a bare socket. The frontend's calls wait, so the
 * backend is a thread: it gives prepared answers to what it is asked, in order,
 * and keeps what it was asked for the test to look at. Or it says yes to everything:
 * see desk_yes().
 */

#define DESK_QUEUES 4u
#define DESK_FEATURES (1ull << 32 | 1ull << 30)
#define DESK_PROTOCOL_FEATURES 0x1ae3dull
#define DESK_TIMEOUT_MS 60000u /* of a backend that answers: its thread may wait long for a processor */
#define DESK_SHORT_TIMEOUT_MS 500u /* of one that does not */
#define DESK_SCRIPT_MAX 16
#define DESK_ASKED_MAX 128

struct desk {
	struct test_leaks before;
	struct rp_vhu_frontend *frontend;
	int peer; /* the backend's end; its thread reads it, anybody may write it */
	int channel; /* the backend's end of the backend channel, -1: none */
	uint32_t notify_request; /* its number in this profile */
	struct rp_vhu_vfio_files *vfio_files; /* of desk_open_profile(); NULL: none given */
	int area_fd; /* a sealed file of doorbell pages */
	int null_fd; /* a character device, for a VFIO file */
	int kick_fd;
	int call_fd;

	char diary[4096]; /* "map:0 unmap:0 " ... */
	size_t diary_used;
	uint64_t translate; /* what is behind every missed address; 0: nothing */
	int refuse_area; /* what the next ops->notify_area returns */
	struct rp_wire_why refused;
	unsigned int refused_count;
	struct rp_wire_why disconnected;
	unsigned int disconnected_count;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	int stop_fd; /* an eventfd */
	struct {
		uint32_t id;
		uint32_t size_bytes;
		uint8_t payload[512];
		int fds[2]; /* borrowed */
		unsigned int fds_count;
	} script[DESK_SCRIPT_MAX];
	unsigned int script_count;
	struct {
		uint32_t id;
		uint32_t flags;
		int fd;
		uint32_t size_bytes;
		uint8_t payload[512];
	} asked[DESK_ASKED_MAX];
	unsigned int asked_count;
	bool yes;
	uint64_t offered; /* protocol features */
	unsigned int seen_count; /* messages since desk_yes() */
	unsigned int vanish_after; /* so many of them, the last one unanswered; 0: never */

	uint8_t said[512]; /* the payload of what desk_expect() saw */
	uint32_t said_bytes;

	bool wait_in_callback; /* config_changed and notify_area make a waiting call */
	int wait_result;
};

#define WITH_DESK(test) cmocka_unit_test_setup_teardown(test, desk_setup, desk_teardown)

int desk_setup(void **state);
int desk_teardown(void **state);
/* A desk beside that one. */
void desk_make(struct desk *desk);
void desk_unmake(struct desk *desk);
void desk_open(struct desk *desk, const struct rp_vhu_frontend_config *config);
void desk_close(struct desk *desk);
extern const struct rp_vhu_frontend_config desk_config;

const char *desk_diary(struct desk *desk);
void desk_assert_refused(struct desk *desk, int error, const char *words);

/* The backend hangs up. */
void desk_hang_up(struct desk *desk);

/* What to answer when the backend is asked this, after what was prepared before. */
void desk_answer(struct desk *desk, uint32_t id, const void *payload, uint32_t size_bytes);
/* The same with descriptors, at most two, borrowed until the desk is closed. */
void desk_answer_fds(struct desk *desk, uint32_t id, const void *payload, uint32_t size_bytes, const int *fds,
		     unsigned int fds_count);
void desk_answer_u64(struct desk *desk, uint32_t id, uint64_t value);

/* The next request of the frontend was this one. */
void desk_expect(struct desk *desk, uint32_t id, uint32_t flags);
void desk_expect_no_more(struct desk *desk);

/*
 * Open anew with this configuration, and a backend that offers these protocol features and
 * says yes to everything; it keeps no record, but counts. Nothing is negotiated yet.
 */
void desk_yes(struct desk *desk, const struct rp_vhu_frontend_config *config, uint64_t offered);
/* Protocol features of a profile: all, the extension's bit included. */
uint64_t desk_offer(enum rp_vhu_profile profile);
/* As desk_yes() with that offer, negotiated; without acknowledgements if not `ack`. */
void desk_open_profile(struct desk *desk, enum rp_vhu_profile profile, bool ack);

/* Steps of the frontend's life, with a backend that says yes. */
void desk_negotiate(struct desk *desk);
void desk_ring_start(struct desk *desk, unsigned int queue);
uint32_t desk_ring_stop(struct desk *desk, unsigned int queue);

/* A notify area message on the channel, and what it is answered: 0 or 1. */
struct desk_area {
	uint64_t queue_flags;
	uint64_t size_bytes;
	uint64_t offset_bytes;
	int fd; /* borrowed, -1: none */
};
uint64_t desk_area(struct desk *desk, const struct desk_area *area);
/* Any message on the channel, and what it is answered; without acknowledgements, whether it was refused. */
uint64_t desk_ask(struct desk *desk, uint32_t id, const void *payload, uint32_t size_bytes, int fd);
/* A VFIO file message of the profile; fd borrowed, -1: none. */
uint64_t desk_vfio_file(struct desk *desk, uint64_t queue_flags, uint64_t type, int fd);
/* The good one for a queue. */
uint64_t desk_map(struct desk *desk, unsigned int queue);

#endif
