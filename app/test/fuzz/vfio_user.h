/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_VFIO_USER_H
#define FUZZ_VFIO_USER_H

#include "fuzz.h"
#include "rp_vfu_msg.h"

/*
 * The grammar of both vfio-user targets, as that of vhost-user is: a message is a row of
 * the table with fields that fit those of other messages, and each deviation is asked for
 * by one byte of the input.
 */

#define FUZZ_VFU_FDS_MAX 48u /* more than a receiver has room for */
#define FUZZ_VFU_PAYLOAD_MAX 5000u
#define FUZZ_VFU_HEADER_BYTES 16u
#define FUZZ_VFU_REGIONS 9u
#define FUZZ_VFU_REGION_BYTES 0x10000u /* of the first, which has memory behind it */
#define FUZZ_VFU_VECTORS 8u

struct fuzz_vfu_message {
	uint32_t size_bytes; /* header included */
	unsigned int fds_count;
	int fds[FUZZ_VFU_FDS_MAX]; /* borrowed */
	uint8_t bytes[FUZZ_VFU_HEADER_BYTES + FUZZ_VFU_PAYLOAD_MAX];
};

/* A command as its receiver saw it: what an answer is made from. */
struct fuzz_vfu_asked {
	struct rp_vfu_header header;
	uint8_t payload[128]; /* its beginning */
};

/* Begin a message; its payload is `payload_bytes` zeros that follow the header. */
uint8_t *fuzz_vfu_begin(struct fuzz_vfu_message *message, uint16_t id, uint16_t command, uint32_t flags,
			uint32_t payload_bytes);

/* Put a structure into the payload, and add as much data behind it. */
void fuzz_vfu_put(struct fuzz_vfu_message *message, const void *fields, size_t fields_bytes, size_t data_bytes);
void fuzz_vfu_add_fd(struct fuzz_vfu_message *message, enum fuzz_fd kind);

/* VERSION: one of several offers, or an answer that takes it. */
void fuzz_vfu_version(struct fuzz_vfu_message *message, struct fuzz_input *input, bool reply);

/* A command of either direction. */
void fuzz_vfu_command(struct fuzz_vfu_message *ret_message, struct fuzz_input *input, const struct rp_vfu_msg *row,
		      uint16_t id);

/* The answer to a command of either direction. */
void fuzz_vfu_reply(struct fuzz_vfu_message *ret_message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked);

/* Bytes of the input, whatever they are. */
void fuzz_vfu_raw(struct fuzz_vfu_message *ret_message, struct fuzz_input *input);

/* What is wrong with a message that was right: mostly nothing. */
void fuzz_vfu_deviate(struct fuzz_vfu_message *message, struct fuzz_input *input);

/*
 * Whether an answer is one that no client may take for success: well framed, of the command that it answers, and
 * against a rule of that command. What a caller sees of an answer (areas, places, bits) is not looked at.
 */
bool fuzz_vfu_reply_lies(const struct fuzz_vfu_message *message, const struct fuzz_vfu_asked *asked);

/* Whether the header says what the message is, so that the one behind it begins where it should. */
bool fuzz_vfu_is_framed(const struct fuzz_vfu_message *message);

/* Send it, sometimes its first byte or its first half only. @return whether all of it went. */
bool fuzz_vfu_send(const struct fuzz_vfu_message *message, struct fuzz_input *input, int peer);

/* Commands of ours that wait for an answer, the oldest first. */
#define FUZZ_VFU_ASKED_MAX 16u

struct fuzz_vfu_queue {
	struct fuzz_vfu_asked asked[FUZZ_VFU_ASKED_MAX];
	unsigned int count;
};

/*
 * Read what we say: commands into the queue, as long as there is room, and replies.
 * @param kept_fd of the descriptors that came with it the first, which replaces it; NULL: none.
 */
void fuzz_vfu_hear(int peer, struct fuzz_vfu_queue *queue, int *kept_fd);

/* Take the oldest command, or any; without one, whichever was there before. */
struct fuzz_vfu_asked fuzz_vfu_take(struct fuzz_vfu_queue *queue, struct fuzz_input *input, bool in_order);

#endif
