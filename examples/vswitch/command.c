/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "command.h"

#define LINE_MAX_BYTES 1024u
#define BLANKS " \t\r"

enum takes {
	TAKES_NOTHING,
	TAKES_A_PORT, /* or nothing: all of them */
	TAKES_QUEUES, /* a port, then queues; none: all of them */
};

/* clang-format off */
static const struct {
	const char *word;
	enum vs_command_verb verb;
	enum takes takes;
} words[] = {
	{ "help",      VS_COMMAND_HELP,      TAKES_NOTHING },
	{ "ports",     VS_COMMAND_PORTS,     TAKES_NOTHING },
	{ "show",      VS_COMMAND_SHOW,      TAKES_A_PORT },
	{ "stats",     VS_COMMAND_STATS,     TAKES_A_PORT },
	{ "offload",   VS_COMMAND_OFFLOAD,   TAKES_QUEUES },
	{ "take-back", VS_COMMAND_TAKE_BACK, TAKES_QUEUES },
	{ "auto",      VS_COMMAND_AUTO,      TAKES_QUEUES },
	{ "quit",      VS_COMMAND_QUIT,      TAKES_NOTHING },
};
/* clang-format on */

const char vs_command_help[] = "ports                       what the switch has, a line each\n"
			       "show [PORT]                 who serves the queues of guests, and how\n"
			       "stats [PORT]                frames by path, drops by reason\n"
			       "offload PORT [QUEUE...]     to the accelerator; no queue: all\n"
			       "take-back PORT [QUEUE...]   to librte_vhost, in this process\n"
			       "auto PORT [QUEUE...]        the accelerator while it can\n"
			       "quit                        end the switch\n";

static int
take_queue(struct vs_command *command, const char *word, struct rp_wire_why *why)
{
	unsigned long queue;
	char *end;

	errno = 0;
	queue = strtoul(word, &end, 10);
	if (word[0] < '0' || word[0] > '9' || *end != '\0' || errno != 0 || queue >= VS_COMMAND_QUEUES_MAX)
		return rp_wire_why_set(why, -EINVAL, "queue: '%s', expected a number from 0 to %u", word,
				       VS_COMMAND_QUEUES_MAX - 1);
	command->queues_count += !command->queues[queue];
	command->queues[queue] = true;
	return 0;
}

static int
take_port(struct vs_command *command, const char *word, struct rp_wire_why *why)
{
	if (strlen(word) >= sizeof(command->port))
		return rp_wire_why_set(why, -EINVAL, "port: '%s', expected a name of at most %u characters", word,
				       RP_PORT_NAME_MAX - 1);
	strcpy(command->port, word);
	return 0;
}

static int
take_words(struct vs_command *command, enum takes takes, char *rest, struct rp_wire_why *why)
{
	char *word, *more = NULL;
	int rc = 0;

	word = strtok_r(rest, BLANKS, &more);
	if (word == NULL && takes == TAKES_QUEUES)
		return rp_wire_why_set(why, -EINVAL, "port: missing, expected its name");
	if (word != NULL && takes != TAKES_NOTHING) {
		rc = take_port(command, word, why);
		word = strtok_r(NULL, BLANKS, &more);
	}
	for (; rc == 0 && word != NULL && takes == TAKES_QUEUES; word = strtok_r(NULL, BLANKS, &more))
		rc = take_queue(command, word, why);
	if (rc == 0 && word != NULL)
		return rp_wire_why_set(why, -EINVAL, "'%s', expected nothing more", word);
	return rc;
}

int
vs_command_parse(const char *line, struct vs_command *ret_command, struct rp_wire_why *why)
{
	struct vs_command command = {.verb = VS_COMMAND_NONE};
	char text[LINE_MAX_BYTES], *word, *more = NULL;
	unsigned int i;
	int rc;

	if (strlen(line) >= sizeof(text))
		return rp_wire_why_set(why, -EINVAL, "a line of %zu bytes, expected at most %zu", strlen(line),
				       sizeof(text) - 1);
	strcpy(text, line);
	word = strtok_r(text, BLANKS, &more);
	if (word == NULL || word[0] == '#') {
		*ret_command = command;
		return 0;
	}
	for (i = 0; i < RTE_DIM(words) && strcmp(word, words[i].word) != 0; i++)
		;
	if (i == RTE_DIM(words))
		return rp_wire_why_set(why, -EINVAL, "command: '%s', expected one that 'help' names", word);
	command.verb = words[i].verb;
	rc = take_words(&command, words[i].takes, more, why);
	if (rc == 0)
		*ret_command = command;
	return rc;
}

unsigned int
vs_command_run(const struct vs_command *command, unsigned int *from)
{
	unsigned int first = *from, end;

	while (first < VS_COMMAND_QUEUES_MAX && !command->queues[first])
		first++;
	for (end = first; end < VS_COMMAND_QUEUES_MAX && command->queues[end]; end++)
		;
	*from = first;
	return end - first;
}
