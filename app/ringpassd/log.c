/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "text.h"

#define CAUSES_MAX 256
#define EVENT_NAME_MAX 32
#define LINE_MAX_BYTES 600

struct cause {
	bool used;
	char port[RP_PORT_NAME_MAX]; /* empty: the daemon itself */
	int queue;
	char name[EVENT_NAME_MAX];
	enum rp_port_event_level level;
	uint64_t end_ms; /* of the interval */
	unsigned int lines_count;
	unsigned int held_back_count;
};

struct rpd_log {
	FILE *out;
	enum rp_port_event_level level;
	/* The last one is for all causes that found no place of their own. */
	struct cause causes[CAUSES_MAX + 1];
};

int
rpd_log_create(FILE *out, enum rp_port_event_level level, struct rpd_log **ret_log)
{
	struct rpd_log *log = calloc(1, sizeof(*log));

	if (log == NULL)
		return -ENOMEM;
	log->out = out;
	log->level = level;
	*ret_log = log;
	return 0;
}

struct rpd_log *
rpd_log_destroy(struct rpd_log *log)
{
	if (log != NULL)
		rpd_log_tick(log, UINT64_MAX);
	free(log);
	return NULL;
}

void
rpd_log_set_level(struct rpd_log *log, enum rp_port_event_level level)
{
	log->level = level;
}

enum rp_port_event_level
rpd_log_level(const struct rpd_log *log)
{
	return log->level;
}

int
rpd_log_level_parse(const char *name, enum rp_port_event_level *ret_level)
{
	enum rp_port_event_level level;

	for (level = RP_PORT_EVENT_ERROR; level <= RP_PORT_EVENT_DEBUG; level++) {
		if (strcmp(name, rp_port_event_level_name(level)) == 0) {
			*ret_level = level;
			return 0;
		}
	}
	return -EINVAL;
}

static void
write_line(struct rpd_log *log, enum rp_port_event_level level, const char *port, int queue, const char *name,
	   const char *text)
{
	char clean[LINE_MAX_BYTES];
	char where[RP_PORT_NAME_MAX + 32] = "";

	if (port[0] != '\0' && queue >= 0)
		snprintf(where, sizeof(where), " port=%s queue=%d", port, queue);
	else if (port[0] != '\0')
		snprintf(where, sizeof(where), " port=%s", port);
	rpd_text_clean(text, clean, sizeof(clean));
	fprintf(log->out, "%s%s event=%s %s\n", rp_port_event_level_name(level), where, name, clean);
	fflush(log->out);
}

static void
end_interval(struct rpd_log *log, struct cause *cause)
{
	char text[80];

	if (cause->held_back_count > 0) {
		snprintf(text, sizeof(text), "%u more in %u s were not written", cause->held_back_count,
			 RPD_LOG_INTERVAL_MS / 1000);
		write_line(log, cause->level, cause->port, cause->queue, cause->name, text);
	}
	cause->used = false;
}

static bool
is_cause_of(const struct cause *cause, const struct rp_port_event *event, const char *port)
{
	return cause->used && cause->queue == event->queue &&
	       strncmp(cause->port, port, sizeof(cause->port) - 1) == 0 &&
	       strncmp(cause->name, event->name, sizeof(cause->name) - 1) == 0;
}

static struct cause *
find_cause(struct rpd_log *log, const struct rp_port_event *event, uint64_t now_ms)
{
	const char *port = event->port == NULL ? "" : event->port;
	struct cause *unused = NULL;
	unsigned int i;

	for (i = 0; i < CAUSES_MAX; i++) {
		struct cause *cause = &log->causes[i];

		if (is_cause_of(cause, event, port))
			return cause;
		if (!cause->used && unused == NULL)
			unused = cause;
	}
	if (unused == NULL) {
		unused = &log->causes[CAUSES_MAX];
		if (unused->used)
			return unused;
	}
	memset(unused, 0, sizeof(*unused));
	unused->used = true;
	unused->level = event->level;
	unused->end_ms = now_ms + RPD_LOG_INTERVAL_MS;
	if (unused == &log->causes[CAUSES_MAX]) {
		unused->queue = -1;
		snprintf(unused->name, sizeof(unused->name), "other");
		return unused;
	}
	unused->queue = event->queue;
	snprintf(unused->port, sizeof(unused->port), "%s", port);
	snprintf(unused->name, sizeof(unused->name), "%s", event->name);
	return unused;
}

void
rpd_log_event(struct rpd_log *log, const struct rp_port_event *event, uint64_t now_ms)
{
	struct cause *cause;

	if (event->level > log->level)
		return;
	rpd_log_tick(log, now_ms);
	cause = find_cause(log, event, now_ms);
	if (cause->lines_count == RPD_LOG_LINES_MAX) {
		cause->held_back_count++;
		return;
	}
	cause->lines_count++;
	write_line(log, event->level, event->port == NULL ? "" : event->port, event->queue, event->name, event->text);
}

uint64_t
rpd_log_deadline(const struct rpd_log *log)
{
	uint64_t deadline_ms = 0;
	unsigned int i;

	for (i = 0; i <= CAUSES_MAX; i++) {
		const struct cause *cause = &log->causes[i];

		if (cause->used && cause->held_back_count > 0 && (deadline_ms == 0 || cause->end_ms < deadline_ms))
			deadline_ms = cause->end_ms;
	}
	return deadline_ms;
}

void
rpd_log_tick(struct rpd_log *log, uint64_t now_ms)
{
	unsigned int i;

	for (i = 0; i <= CAUSES_MAX; i++) {
		if (log->causes[i].used && log->causes[i].end_ms <= now_ms)
			end_interval(log, &log->causes[i]);
	}
}
