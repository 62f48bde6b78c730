/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the targets share: an input that is read front to back, descriptors to send,
 * and the count of what must not grow. A target is LLVMFuzzerTestOneInput() in a
 * file of its own, and is deterministic: no threads, no clocks, no sleeping.
 */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

struct fuzz_input {
	const uint8_t *at;
	size_t left_bytes;
};

/* The next byte, 0 when there is none. */
uint8_t fuzz_u8(struct fuzz_input *input);
uint16_t fuzz_u16(struct fuzz_input *input);

/* As fuzz_u8() below `limit`. */
unsigned int fuzz_below(struct fuzz_input *input, unsigned int limit);

/* A number: one of those at which something changes, or any. */
uint64_t fuzz_number(struct fuzz_input *input);

/* Fill with input, then with zeros. */
void fuzz_bytes(struct fuzz_input *input, void *ret_bytes, size_t size_bytes);

/* Addresses at which memory is said to be, so that messages fit each other. */
#define FUZZ_GPA 0x40000000u
#define FUZZ_UVA 0x7f0000000000u
#define FUZZ_MEMORY_BYTES 0x100000u

/* What a descriptor may be; each exists once, for all inputs. Borrowed. */
enum fuzz_fd {
	FUZZ_FD_SEALED, /* a memfd of FUZZ_MEMORY_BYTES, sealed against shrinking */
	FUZZ_FD_SEALED_TWIN, /* another */
	FUZZ_FD_UNSEALED,
	FUZZ_FD_SMALL, /* sealed, one byte */
	FUZZ_FD_EVENT,
	FUZZ_FD_SOCKET,
	FUZZ_FD_NULL, /* /dev/null: a character device */
	FUZZ_FD_ZERO, /* /dev/zero: another, which can be mapped */
	FUZZ_FDS_COUNT,
};
int fuzz_fd(enum fuzz_fd kind);

/* A socket pair, not blocking. */
void fuzz_pair(int *ret_ours, int *ret_theirs);

/* Send what the socket takes; a peer that has gone is none of our business. @return how much it took. */
size_t fuzz_send(int peer, const void *bytes, size_t size_bytes, const int *fds, unsigned int fds_count);

/* Read what is there, close the descriptors. */
void fuzz_drain(int peer);

/* As fuzz_drain(), up to `room_bytes`. @return how many there were, 0 for none. */
size_t fuzz_receive(int peer, void *ret_bytes, size_t room_bytes);

/* As fuzz_receive(), but the first descriptor replaces *kept_fd and is the caller's. */
size_t fuzz_receive_fd(int peer, void *ret_bytes, size_t room_bytes, int *kept_fd);

/* Abort with a word when it does not hold. */
void fuzz_require(bool holds, const char *what);

/* What must not grow: begin before anything is made, end when all is gone. Shared mappings: others are malloc's. */
void fuzz_begin(void);
void fuzz_end(void);

#endif
