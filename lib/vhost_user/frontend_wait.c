/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "vhu_frontend.h"

struct waiting {
	bool done;
	int error;
	uint32_t size_bytes;
	int fd; /* the only one of the answer, if somebody wants it */
	bool fd_wanted;
	uint8_t payload[VHU_ANSWER_MAX_BYTES];
};

static void
on_done(void *ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	struct waiting *waiting = ctx;

	if (waiting->fd_wanted && fds_count == 1)
		waiting->fd = rp_wire_fd_take(&fds[0]);
	waiting->done = true;
	waiting->error = error;
	waiting->size_bytes = size_bytes;
	if (size_bytes > sizeof(waiting->payload))
		waiting->error = -EBADMSG;
	else if (size_bytes > 0)
		memcpy(waiting->payload, payload, size_bytes);
}

static int
wait_for(struct rp_vhu_frontend *frontend, struct waiting *waiting, struct rp_wire_why *why)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + frontend->config.timeout_ms;

	while (!waiting->done) {
		struct pollfd wait[2] = {{.fd = -1}, {.fd = -1}};
		uint64_t now_ms = rp_wire_clock_ms();

		if (now_ms >= deadline_ms) {
			/* Whatever comes later would be taken for the answer to something else. */
			rp_wire_why_set(why, -ETIMEDOUT, "no answer within %u ms", frontend->config.timeout_ms);
			vhu_frontend_lose(frontend, why);
			return -ETIMEDOUT;
		}
		wait[0].fd = rp_wire_conn_fd(frontend->conn);
		wait[0].events = rp_wire_conn_poll_events(frontend->conn);
		if (frontend->channel != NULL && !frontend->config.deaf_while_waiting) {
			wait[1].fd = rp_wire_conn_fd(frontend->channel);
			wait[1].events = rp_wire_conn_poll_events(frontend->channel);
		}
		poll(wait, 2, (int)(deadline_ms - now_ms));
		if (wait[1].revents != 0)
			vhu_frontend_serve_channel(frontend);
		if (wait[0].revents != 0)
			vhu_frontend_serve_requests(frontend);
	}
	if (waiting->error == -ENOTCONN)
		return rp_wire_why_set(why, -ENOTCONN, "%s", frontend->lost.text);
	if (waiting->error < 0)
		return rp_wire_why_set(why, waiting->error, "refused by the backend");
	return 0;
}

int
vhu_frontend_may_wait(const struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	return frontend->in_callback ? rp_wire_why_set(why, -EBUSY, "a callback cannot wait for an answer") : 0;
}

static int
ask(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes, const int *fds,
    unsigned int fds_count, bool need_reply, struct waiting *waiting, struct rp_wire_why *why)
{
	int rc = vhu_frontend_may_wait(frontend, why);

	if (rc == 0)
		rc = rp_vhu_frontend_submit(frontend, request, payload, size_bytes, fds, fds_count, need_reply, on_done,
					    waiting, why);
	return rc;
}

int
vhu_frontend_call_fd(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
		     void *answer, uint32_t *io_bytes, int *ret_fd, struct rp_wire_why *why)
{
	struct rp_wire_why unused = {0};
	struct waiting waiting = {.fd = -1, .fd_wanted = true};
	int rc;

	if (why == NULL)
		why = &unused;
	rc = ask(frontend, request, payload, size_bytes, NULL, 0, false, &waiting, why);
	if (rc < 0)
		return rc;
	rc = wait_for(frontend, &waiting, why);
	if (rc == 0 && waiting.size_bytes > *io_bytes)
		rc = rp_wire_why_set(why, -EBADMSG, "answer: %u bytes, expected at most %u", waiting.size_bytes,
				     *io_bytes);
	if (rc < 0) {
		rp_wire_fd_close(&waiting.fd);
		rp_wire_why_prefix(why, "%s: ", rp_vhu_msg_find(request)->name);
		return rc;
	}
	memcpy(answer, waiting.payload, waiting.size_bytes);
	*io_bytes = waiting.size_bytes;
	*ret_fd = waiting.fd;
	return 0;
}

/* An answer, with payload if `answer` is given: exactly `answer_bytes` of it. */
int
vhu_frontend_call(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
		  const int *fds, unsigned int fds_count, bool need_reply, void *answer, uint32_t answer_bytes,
		  struct rp_wire_why *why)
{
	struct rp_wire_why unused = {0};
	struct waiting waiting = {0};
	int rc;

	if (why == NULL)
		why = &unused;
	rc = ask(frontend, request, payload, size_bytes, fds, fds_count, need_reply, &waiting, why);
	if (rc < 0)
		return rc;
	rc = wait_for(frontend, &waiting, why);
	if (rc == 0 && answer != NULL && waiting.size_bytes != answer_bytes)
		rc = rp_wire_why_set(why, -EBADMSG, "answer: %u bytes, expected %u", waiting.size_bytes, answer_bytes);
	if (rc == 0 && answer != NULL)
		memcpy(answer, waiting.payload, answer_bytes);
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: ", rp_vhu_msg_find(request)->name);
	return rc;
}

int
vhu_frontend_get_u64(struct rp_vhu_frontend *frontend, uint32_t request, uint64_t *ret_value, struct rp_wire_why *why)
{
	return vhu_frontend_call(frontend, request, NULL, 0, NULL, 0, false, ret_value, sizeof(*ret_value), why);
}

/* Without acknowledgements only the answer to a later request tells that this one was handled. */
int
vhu_frontend_tell(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
		  const int *fds, unsigned int fds_count, struct rp_wire_why *why)
{
	uint64_t features;
	int rc = vhu_frontend_call(frontend, request, payload, size_bytes, fds, fds_count, true, NULL, 0, why);

	if (rc < 0 || vhu_frontend_can_ack(frontend))
		return rc;
	return vhu_frontend_get_u64(frontend, RP_VHU_GET_FEATURES, &features, why);
}

/* A message that is answered only if the frontend asks for every answer. */
int
vhu_frontend_mention(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
		     const int *fds, unsigned int fds_count, struct rp_wire_why *why)
{
	return vhu_frontend_call(frontend, request, payload, size_bytes, fds, fds_count,
				 frontend->config.need_reply_always, NULL, 0, why);
}
