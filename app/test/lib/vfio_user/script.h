/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCRIPT_H
#define SCRIPT_H

#include "bytes.h"
#include "liar.h"

/*
 * What a server made of bytes says, and what the client has to answer: the tests of
 * commands in the other direction. A script is played instead of the reply to the
 * DEVICE_RESET (13) that a test sends, and ends with it.
 */

struct script_step {
	const uint8_t *say; /* NULL: nothing is sent */
	size_t say_bytes;
	const uint8_t *hear; /* NULL: no answer is waited for */
	size_t hear_bytes;
	unsigned int fds_count; /* with what is said */
};

struct script {
	const struct script_step *steps;
	unsigned int count;
	int wrong; /* the step whose answer was another one; -1: none */
	uint8_t heard[64]; /* what that answer began with */
};

#define SAY(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define HEAR(...) SAY(__VA_ARGS__)
#define NOTHING NULL, 0

/* For liar_start(); the script is liar->ctx. */
bool script_answer(struct liar *liar, const struct peer_msg *command);

/* Play it against a client while it waits for the reply of a reset, and fail the test where it is wrong. */
void script_play(struct liar *liar, struct rp_vfu_client *client, const struct script_step *steps, unsigned int count);

/* Answer VERSION with these capabilities, the inside of a JSON object, and descriptors. */
void script_version(struct liar *liar, const struct peer_msg *command, const char *capabilities, const int *fds,
		    unsigned int fds_count);

#define PLAY(liar, client, ...)                                                                                        \
	do {                                                                                                           \
		const struct script_step steps_[] = {__VA_ARGS__};                                                     \
		script_play(liar, client, steps_, sizeof(steps_) / sizeof(steps_[0]));                                 \
	} while (0)

/*
 * Or: what the client sent. With script_record() as the answer an honest server's
 * reply follows, unless a test has said what comes instead, to every command but
 * VERSION and reset.
 */
bool script_record(struct liar *liar, const struct peer_msg *command);

/* Forget everything: honest replies, no command so far. */
void script_clear(void);

/* What is said from now on. */
void script_reply_with(const uint8_t *payload, size_t payload_bytes, unsigned int fds_count);
void script_refuse_with(uint32_t error);
void script_reply_honestly(void);

/* The last command was this one, with so many descriptors. */
void script_assert_sent(const uint8_t *vector, size_t vector_bytes, unsigned int fds_count);

/* Commands so far, without VERSION. */
unsigned int script_sent_count(void);

#define SENT(fds_count, ...)                                                                                           \
	do {                                                                                                           \
		const uint8_t bytes_[] = {__VA_ARGS__};                                                                \
		script_assert_sent(bytes_, sizeof(bytes_), fds_count);                                                 \
	} while (0)

#define REPLY_WITH(fds_count, ...)                                                                                     \
	do {                                                                                                           \
		const uint8_t bytes_[] = {__VA_ARGS__};                                                                \
		script_reply_with(bytes_, sizeof(bytes_), fds_count);                                                  \
	} while (0)

/* DMA commands of a server, written down from the specification. */
#define DMA_READ(id, iova, count) HEADER(id, 11, 32, COMMAND, 0), U64(iova), U64(count)
#define DMA_WRITE(id, iova, count) HEADER(id, 12, 32 + (count), COMMAND, 0), U64(iova), U64(count)
#define DMA_READ_REPLY(id, iova, count) HEADER(id, 11, 32 + (count), REPLY, 0), U64(iova), U64(count)
#define DMA_WRITE_REPLY(id, iova, count) HEADER(id, 12, 32, REPLY, 0), U64(iova), U64(count)
/* Ours: the data is in the window. */
#define WINDOW_READ(id, iova, count, at) HEADER(id, 0x5202, 40, COMMAND, 0), U64(iova), U64(count), U64(at)
#define WINDOW_WRITE(id, iova, count, at) HEADER(id, 0x5203, 40, COMMAND, 0), U64(iova), U64(count), U64(at)
#define WINDOW_REPLY(id, command, iova, count) HEADER(id, command, 32, REPLY, 0), U64(iova), U64(count)
#define REFUSAL(id, command, error) HEADER(id, command, 16, ERROR_REPLY, error)

#endif
