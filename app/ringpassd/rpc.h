/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RPC_H
#define RPC_H

#include <json-c/json.h>
#include <stdbool.h>

#include "log.h"
#include "ports.h"

/**
 * @file
 * JSON-RPC 2.0: one line in, one object out; no sockets here (server.h).
 *
 * Theory of operation: a method is one row: name, parameters with their types,
 * handler. Generic code checks the envelope and the parameters, so a handler only
 * acts. A refusal is an error object with the JSON-RPC code, one line of text, and
 * the errno's name.
 *
 * Threads: the event loop's.
 */

#define RPD_RPC_PARAMS_MAX 6

/* JSON-RPC 2.0, section 5.1. */
#define RPD_RPC_PARSE_ERROR (-32700)
#define RPD_RPC_INVALID_REQUEST (-32600)
#define RPD_RPC_METHOD_NOT_FOUND (-32601)
#define RPD_RPC_INVALID_PARAMS (-32602)
#define RPD_RPC_REFUSED (-32000)

/** Which events a client wants. */
struct rpd_watch {
	bool on;
	enum rp_port_event_level level; /**< and those more important */
	char port[RP_PORT_NAME_MAX]; /**< empty: all */
};

/** What methods act on. */
struct rpd_rpc {
	struct rpd_ports *ports;
	struct rpd_log *log;
	/** NULL, or gives the ports to a successor, and has the daemon end. @param result of the call. @return 0 or why not. */
	int (*hand_over)(void *ctx, struct json_object *result, struct rp_wire_why *why);
	void *ctx;
};

/** One call under way. */
struct rpd_rpc_call {
	const struct rpd_rpc *rpc;
	struct rpd_watch *watch; /**< of the calling client */
	struct json_object *params; /**< checked; NULL when there are none */
	struct json_object *result; /**< an empty object, to be filled */
	struct rp_wire_why why;
};

enum rpd_rpc_type {
	RPD_RPC_TEXT,
	RPD_RPC_QUEUE, /**< a number that can be a queue */
	RPD_RPC_COUNT, /**< how many of them */
	RPD_RPC_QUEUES, /**< a list of such numbers, not empty */
};

struct rpd_rpc_param {
	const char *name;
	enum rpd_rpc_type type;
	bool required;
};

struct rpd_rpc_method {
	const char *name;
	struct rpd_rpc_param params[RPD_RPC_PARAMS_MAX]; /**< up to the first without a name */
	bool params_unchecked; /**< the handler judges them */
	/** @return 0, or a negative errno with why: -EBADMSG blames the parameters, others refuse. */
	int (*run)(struct rpd_rpc_call *call);
};

/** Ends with a method without a name. */
extern const struct rpd_rpc_method rpd_rpc_methods[];

/** For handlers: a member that is a string, NULL when there is none. Borrowed. */
const char *rpd_rpc_text(const struct rpd_rpc_call *call, const char *name);

/** For handlers: the port that `port` names; it must be up. @return 0, -ENOENT or -ENOTCONN. */
int rpd_rpc_find_port(struct rpd_rpc_call *call, struct rp_port **ret_port);

/* move.c: queue.move */
int rpd_rpc_run_move(struct rpd_rpc_call *call);
/* And queue.transfer. */
int rpd_rpc_run_transfer(struct rpd_rpc_call *call);

/**
 * Serve one line.
 *
 * @param line NUL-terminated; bytes may be other than its strlen().
 * @return the answer, owned by the caller; NULL: a notification, which has none.
 */
struct json_object *rpd_rpc_handle(const struct rpd_rpc *rpc, struct rpd_watch *watch, const char *line, size_t bytes);

/** An error answer to no request in particular. */
struct json_object *rpd_rpc_refusal(int code, int error, const char *text);

/** Whether a watch wants an event. */
bool rpd_watch_wants(const struct rpd_watch *watch, const struct rp_port_event *event);

/** The notification of an event. */
struct json_object *rpd_rpc_event(const struct rp_port_event *event);

/** A value of JSON as the table of port keys judges it. Borrows from value. */
void rpd_rpc_value(struct json_object *value, struct rpd_value *ret_value);

/* show.c */
void rpd_json_add_text(struct json_object *object, const char *key, const char *text);
void rpd_json_add_number(struct json_object *object, const char *key, uint64_t number);
void rpd_show_port_summary(struct json_object *object, const struct rpd_port *entry);
void rpd_show_port(struct json_object *object, const struct rpd_port *entry);
void rpd_show_queue(struct json_object *object, const struct rp_port_queue_info *info);

#endif
