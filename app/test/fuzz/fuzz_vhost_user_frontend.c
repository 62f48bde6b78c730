/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rp_vhu_frontend.h"
#include "rp_wire_fd.h"
#include "vhost_user.h"

/*
 * A hostile backend against rp_vhu_frontend: answers that lie, are late, too many or cut
 * short, and requests on the backend channel with any descriptor. The VMM calls what it
 * may call. While it waits for an answer the backend speaks: poll(2) is replaced (the
 * linker's --wrap), what it would wait for is taken from the input, and when the input
 * is over the backend hangs up, so that nothing ever waits.
 */

#define FEATURES (0x1ull << 32 | 1ull << 30 | 1ull << 29 | 1ull << 34)

struct vmm {
	struct rp_vhu_frontend *frontend;
	struct fuzz_input *input;
	struct rp_vhu_dialect dialect;
	int backend; /* the hostile end */
	int channel; /* its end of the backend channel; -1: none came */
	uint32_t asked; /* the last request that was seen */
	bool refuse; /* the next notify area */
};

/* What poll(2) speaks for; there is one at a time. */
static struct vmm *waiting;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

/* Read the VMM's requests; keep the number of the last one, and a backend channel. */
static void
listen_to(struct vmm *vmm)
{
	for (;;) {
		union {
			char bytes[CMSG_SPACE(sizeof(int) * 32)];
			struct cmsghdr align;
		} control;
		uint32_t header[3] = {0};
		struct iovec iov = {.iov_base = header, .iov_len = sizeof(header)};
		struct msghdr message = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		struct cmsghdr *rights;
		uint8_t payload[FUZZ_PAYLOAD_MAX];
		size_t i;

		if (recvmsg(vmm->backend, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof(header))
			return;
		vmm->asked = header[0];
		rights = CMSG_FIRSTHDR(&message);
		for (i = 0; rights != NULL && i < (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(rights) + i * sizeof(int), sizeof(int));
			if (vmm->asked == RP_VHU_SET_BACKEND_REQ_FD)
				rp_wire_fd_replace(&vmm->channel, &fd);
			rp_wire_fd_close(&fd);
		}
		fuzz_require(header[2] <= sizeof(payload), "a request is not larger than its row");
		if (header[2] > 0)
			fuzz_receive(vmm->backend, payload, header[2]);
	}
}

/* The answer to the last request, right or nearly so. */
static void
answer(struct vmm *vmm)
{
	const struct rp_vhu_msg_row *row = rp_vhu_msg_find(vmm->asked);
	struct fuzz_message message;
	uint8_t *payload;
	uint64_t value = 0;

	listen_to(vmm);
	row = rp_vhu_msg_find(vmm->asked);
	if (row == NULL)
		return;
	if (row->reply == RP_VHU_REPLY_PAYLOAD && row->payload_max_bytes > 0) {
		fuzz_message_request(&message, vmm->input, row, FEATURES, 0);
		message.bytes[4] ^= RP_VHU_FLAG_REPLY;
		message.bytes[4] &= (uint8_t)~RP_VHU_FLAG_NEED_REPLY;
	} else {
		if (vmm->asked == RP_VHU_GET_FEATURES)
			value = FEATURES;
		else if (vmm->asked == RP_VHU_GET_PROTOCOL_FEATURES)
			value = UINT64_MAX;
		else if (row->reply == RP_VHU_REPLY_PAYLOAD)
			value = FUZZ_QUEUES;
		if (fuzz_u8(vmm->input) >= 208)
			value = fuzz_number(vmm->input);
		payload = fuzz_message_begin(&message, vmm->asked, RP_VHU_VERSION | RP_VHU_FLAG_REPLY, sizeof(value));
		memcpy(payload, &value, sizeof(value));
		if (fuzz_u8(vmm->input) >= 240)
			message.bytes[fuzz_below(vmm->input, FUZZ_HEADER_BYTES)] ^= fuzz_u8(vmm->input);
	}
	fuzz_message_send(&message, vmm->input, vmm->backend);
}

static void
ask_on_the_channel(struct vmm *vmm)
{
	const struct rp_vhu_msg_row *rows[] = {
		&vmm->dialect.vfio_file,
		&vmm->dialect.notify_area,
		rp_vhu_msg_find_backend(RP_VHU_BACKEND_VRING_HOST_NOTIFIER_MSG),
		&rp_vhu_msg_backend_rows[fuzz_below(vmm->input, rp_vhu_msg_backend_rows_count)],
	};
	const struct rp_vhu_msg_row *row = rows[fuzz_below(vmm->input, 4)];
	struct fuzz_message message;

	listen_to(vmm);
	if (vmm->channel < 0)
		return;
	fuzz_drain(vmm->channel);
	fuzz_message_channel(&message, vmm->input, row);
	fuzz_message_send(&message, vmm->input, vmm->channel);
}

/* One thing that a backend may do. */
static void
speak(struct vmm *vmm)
{
	unsigned int kind = fuzz_u8(vmm->input);
	struct fuzz_message message;

	if (kind < 144) {
		answer(vmm);
	} else if (kind < 232) {
		ask_on_the_channel(vmm);
	} else if (kind < 240) {
		fuzz_message_raw(&message, vmm->input);
		fuzz_message_send(&message, vmm->input, vmm->backend);
	} else if (kind < 248 && vmm->channel >= 0) {
		fuzz_message_raw(&message, vmm->input);
		fuzz_message_send(&message, vmm->input, vmm->channel);
	} else if (kind < 252) {
		rp_wire_fd_close(&vmm->channel);
	} else if (kind == 255) {
		shutdown(vmm->backend, SHUT_WR);
	}
}

int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	int rc;

	while ((rc = __real_poll(fds, count, 0)) == 0 && timeout_ms != 0 && waiting != NULL) {
		if (waiting->input->left_bytes > 0)
			speak(waiting);
		else if (waiting->backend >= 0)
			rp_wire_fd_close(&waiting->backend);
		else
			break;
	}
	return rc;
}

/* What is shown to the guest can be stored to, all of it. */
static int
on_notify_area(void *ctx, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why)
{
	struct vmm *vmm = ctx;
	bool refuse = vmm->refuse && map->address != NULL;

	fuzz_require(queue < FUZZ_QUEUES, "a ring's index");
	if (map->address != NULL) {
		volatile uint8_t *bytes = map->address;

		bytes[0] = 1;
		bytes[map->size_bytes - 1] = 1;
	}
	vmm->refuse = false;
	return refuse ? rp_wire_why_set(why, -1, "the owner says no") : 0;
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	(void)ctx;
	fuzz_require(why->error < 0 && why->text[0] != '\0', "a refusal has a reason");
}

static const struct rp_vhu_frontend_ops ops = {.notify_area = on_notify_area, .refused = on_refused};

static void
start_ring(struct vmm *vmm, unsigned int queue)
{
	const struct rp_vhu_frontend_ring ring = {
		.num = 256,
		.base = fuzz_u8(vmm->input) < 128 ? 0 : 0x80008000,
		.desc_uva = FUZZ_UVA,
		.avail_uva = FUZZ_UVA + 0x4000,
		.used_uva = FUZZ_UVA + 0x8000,
		.kick_fd = fuzz_fd(FUZZ_FD_EVENT),
		.call_fd = fuzz_fd(FUZZ_FD_EVENT),
	};

	rp_vhu_frontend_ring_start(vmm->frontend, queue, &ring, NULL);
}

static void
memory(struct vmm *vmm, bool slot)
{
	const struct rp_vhu_region region = {
		.gpa = FUZZ_GPA,
		.size_bytes = FUZZ_MEMORY_BYTES,
		.uva = FUZZ_UVA,
		.fd = fuzz_fd(FUZZ_FD_SEALED),
	};
	uint32_t slots;

	if (!slot) {
		rp_vhu_frontend_set_mem_table(vmm->frontend, &region, 1, NULL);
		return;
	}
	if (rp_vhu_frontend_get_max_mem_slots(vmm->frontend, &slots, NULL) == 0)
		fuzz_require(slots > 0, "slots that are there");
	rp_vhu_frontend_add_mem_reg(vmm->frontend, &region, NULL);
	rp_vhu_frontend_rem_mem_reg(vmm->frontend, &region, NULL);
}

static void
configuration(struct vmm *vmm)
{
	uint8_t bytes[16] = {0}, status = 0;

	rp_vhu_frontend_get_config(vmm->frontend, 0, sizeof(bytes), bytes, NULL);
	rp_vhu_frontend_set_config(vmm->frontend, 0, sizeof(bytes), bytes, false, NULL);
	rp_vhu_frontend_set_status(vmm->frontend, 15, NULL);
	rp_vhu_frontend_get_status(vmm->frontend, &status, NULL);
}

/* The VMM does one thing that it may do. */
static void
step(struct vmm *vmm)
{
	const unsigned int kind = fuzz_below(vmm->input, 20), queue = fuzz_below(vmm->input, FUZZ_QUEUES);
	const struct rp_vhu_msg_row *row;
	struct fuzz_message message;
	uint32_t base;

	switch (kind) {
	case 0:
		rp_vhu_frontend_negotiate(vmm->frontend, NULL);
		break;
	case 1:
		rp_vhu_frontend_set_features(vmm->frontend, FEATURES, NULL);
		break;
	case 2:
		memory(vmm, queue % 2 != 0);
		break;
	case 3:
	case 4:
		start_ring(vmm, queue);
		break;
	case 5:
		rp_vhu_frontend_ring_stop(vmm->frontend, queue, &base, NULL);
		break;
	case 6:
		rp_vhu_frontend_ring_enable(vmm->frontend, queue, true, NULL);
		break;
	case 7:
		rp_vhu_frontend_ring_call(vmm->frontend, queue, fuzz_fd(FUZZ_FD_EVENT), NULL);
		break;
	case 8:
		configuration(vmm);
		break;
	case 9:
		rp_vhu_frontend_reset_device(vmm->frontend, NULL);
		break;
	case 10:
		rp_vhu_frontend_reset_owner(vmm->frontend, NULL);
		break;
	case 11: /* any request, not waited for */
		row = &rp_vhu_msg_rows[fuzz_below(vmm->input, rp_vhu_msg_rows_count)];
		fuzz_message_request(&message, vmm->input, row, FEATURES, 0);
		rp_vhu_frontend_submit(vmm->frontend, row->id, message.bytes + FUZZ_HEADER_BYTES,
				       message.size_bytes - FUZZ_HEADER_BYTES, message.fds, message.fds_count, true,
				       NULL, NULL, NULL);
		break;
	case 12:
		vmm->refuse = true;
		break;
	case 13:
		rp_vhu_frontend_kick(vmm->frontend, queue);
		break;
	default:
		speak(vmm);
		rp_vhu_frontend_process(vmm->frontend);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	struct fuzz_input input = {bytes, size_bytes};
	struct vmm vmm = {.input = &input, .backend = -1, .channel = -1};
	struct rp_vhu_frontend_config config = {.queues_max = FUZZ_QUEUES, .protocol_features = UINT64_MAX};
	unsigned int mode = fuzz_u8(&input);
	int theirs;

	fuzz_begin();
	config.profile = (enum rp_vhu_profile)(mode % (RP_VHU_PROFILE_VFIO2018 + 1));
	config.deaf_while_waiting = (mode & 0x40) != 0;
	config.need_reply_always = (mode & 0x80) != 0;
	fuzz_require(rp_vhu_dialect_init(&vmm.dialect, config.profile, NULL, NULL) == 0, "a dialect");
	fuzz_pair(&vmm.backend, &theirs);
	fuzz_require(rp_vhu_frontend_create(&theirs, &config, &ops, &vmm, &vmm.frontend) == 0, "a frontend");
	waiting = &vmm;
	while (input.left_bytes > 0)
		step(&vmm);
	rp_vhu_frontend_process(vmm.frontend);
	rp_vhu_frontend_destroy(vmm.frontend);
	waiting = NULL;
	if (vmm.backend >= 0)
		listen_to(&vmm);
	rp_wire_fd_close(&vmm.backend);
	rp_wire_fd_close(&vmm.channel);
	fuzz_end();
	return 0;
}
