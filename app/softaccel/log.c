/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "log.h"
#include "rp_wire_clock.h"

static struct {
	uint64_t last_ms;
	uint64_t credit_ms; /* a line costs 1000 / LOG_LINES_PER_SECOND of it */
	unsigned int suppressed_count;
} limit = {.credit_ms = LOG_BURST_LINES * 1000 / LOG_LINES_PER_SECOND};

void
log_line(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	/* One call, so that lines of two threads do not mix. */
	fprintf(stderr, "softaccel: %s\n", line);
}

static bool
may_write(void)
{
	const uint64_t price_ms = 1000 / LOG_LINES_PER_SECOND, room_ms = LOG_BURST_LINES * price_ms;
	uint64_t now_ms = rp_wire_clock_ms();

	if (limit.last_ms != 0)
		limit.credit_ms += now_ms - limit.last_ms;
	if (limit.credit_ms > room_ms)
		limit.credit_ms = room_ms;
	limit.last_ms = now_ms;
	if (limit.credit_ms < price_ms)
		return false;
	limit.credit_ms -= price_ms;
	return true;
}

void
log_event(void *ctx, const char *text)
{
	(void)ctx;
	if (!may_write()) {
		limit.suppressed_count++;
		return;
	}
	if (limit.suppressed_count > 0)
		log_line("%u lines were not written", limit.suppressed_count);
	limit.suppressed_count = 0;
	log_line("%s", text);
}
