/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vfio_user.h"

static bool
hear_one(int peer, struct fuzz_vfu_asked *ret_asked, int *kept_fd)
{
	struct rp_vfu_header header;
	uint8_t rest[4096];
	size_t left_bytes, got;

	if (fuzz_receive_fd(peer, &header, sizeof(header), kept_fd) != sizeof(header))
		return false;
	memset(ret_asked, 0, sizeof(*ret_asked));
	ret_asked->header = header;
	fuzz_require(header.size_bytes >= sizeof(header), "what we send has a size");
	left_bytes = header.size_bytes - sizeof(header);
	got = left_bytes < sizeof(ret_asked->payload) ? left_bytes : sizeof(ret_asked->payload);
	if (got > 0)
		left_bytes -= fuzz_receive(peer, ret_asked->payload, got);
	while (left_bytes > 0) {
		got = fuzz_receive(peer, rest, left_bytes < sizeof(rest) ? left_bytes : sizeof(rest));
		if (got == 0)
			return false;
		left_bytes -= got;
	}
	return true;
}

void
fuzz_vfu_hear(int peer, struct fuzz_vfu_queue *queue, int *kept_fd)
{
	struct fuzz_vfu_asked heard;

	while (peer >= 0 && hear_one(peer, &heard, kept_fd)) {
		if ((heard.header.flags & RP_VFU_TYPE_MASK) == RP_VFU_TYPE_COMMAND && queue->count < FUZZ_VFU_ASKED_MAX)
			queue->asked[queue->count++] = heard;
	}
}

struct fuzz_vfu_asked
fuzz_vfu_take(struct fuzz_vfu_queue *queue, struct fuzz_input *input, bool in_order)
{
	unsigned int which = in_order ? 0 : fuzz_below(input, FUZZ_VFU_ASKED_MAX), i;
	struct fuzz_vfu_asked asked;

	if (which >= queue->count)
		which = 0;
	asked = queue->asked[which];
	for (i = which + 1; i < queue->count; i++)
		queue->asked[i - 1] = queue->asked[i];
	if (queue->count > 0)
		queue->count--;
	return asked;
}
