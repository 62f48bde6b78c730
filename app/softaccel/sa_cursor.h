/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_CURSOR_H
#define SA_CURSOR_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/**
 * @file
 * A place in scattered memory. The caller has checked that enough is left.
 *
 * Threads: no state; any thread.
 */

struct sa_cursor {
	const struct iovec *part;
	size_t used_bytes; /* of *part */
};

/** The longest run of bytes from here; at most `size_bytes`. Moves on. */
static inline uint8_t *
sa_cursor_next(struct sa_cursor *cursor, size_t size_bytes, size_t *ret_run_bytes)
{
	uint8_t *run;

	while (cursor->used_bytes == cursor->part->iov_len) {
		cursor->part++;
		cursor->used_bytes = 0;
	}
	run = (uint8_t *)cursor->part->iov_base + cursor->used_bytes;
	*ret_run_bytes = cursor->part->iov_len - cursor->used_bytes;
	if (*ret_run_bytes > size_bytes)
		*ret_run_bytes = size_bytes;
	cursor->used_bytes += *ret_run_bytes;
	return run;
}

static inline void
sa_cursor_read(struct sa_cursor *cursor, uint8_t *ret_bytes, size_t size_bytes)
{
	while (size_bytes > 0) {
		size_t run_bytes;
		const uint8_t *run = sa_cursor_next(cursor, size_bytes, &run_bytes);

		memcpy(ret_bytes, run, run_bytes);
		ret_bytes += run_bytes;
		size_bytes -= run_bytes;
	}
}

static inline void
sa_cursor_write(struct sa_cursor *cursor, const uint8_t *bytes, size_t size_bytes)
{
	while (size_bytes > 0) {
		size_t run_bytes;
		uint8_t *run = sa_cursor_next(cursor, size_bytes, &run_bytes);

		memcpy(run, bytes, run_bytes);
		bytes += run_bytes;
		size_bytes -= run_bytes;
	}
}

#endif
