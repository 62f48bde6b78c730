/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVICE_H
#define SERVICE_H

#include <event2/event.h>
#include <stdbool.h>

#include "groups.h"
#include "legacy.h"

/**
 * @file
 * The service manager: what it is told, and the descriptors that it keeps: listening sockets
 * here, VFIO groups in groups.h, and what running ports are made of in legacy.h.
 *
 * Theory of operation: a listening socket comes from one of two places, told apart by
 * its name. From a *socket unit* (FileDescriptorName=) it is called `rpc`, `port-NAME`
 * or `software-NAME`; unit and file are the administrator's, and nothing here ends
 * them. From the manager's *descriptor store* it is called `kept-rpc` and so on: a
 * predecessor put it there, so that it never stopped listening, and the file is ours.
 * With `keep`, every listening socket is put there as soon as it is made, so that
 * also a daemon that is killed leaves it.
 *
 * A socket is found by its name, and its path must be the one that is asked for. One of
 * the store that nobody has asked for RPD_SERVICE_CLAIM_MS after the start is dropped: to
 * a frontend it would look like a port that is slow.
 *
 * What comes is input: a descriptor that breaks a rule is said, closed, and taken out
 * of the store.
 *
 * Specification: sd_listen_fds(3), sd_notify(3), "File Descriptor Store" of systemd.
 *
 * Threads: the event loop's. sd_notify(3) waits for a manager whose socket is full.
 */

#define RPD_SERVICE_CLAIM_MS 3000u
#define RPD_SERVICE_SOCKETS_MAX 513u /**< two a port, and the RPC's */
#define RPD_SERVICE_RPC "rpc"
#define RPD_SERVICE_NAME_MAX 64 /**< bytes, zero byte included */

struct rpd_service;

struct rpd_service_config {
	struct event_base *base;
	bool keep; /**< give descriptors to the store, and leave socket files at the end */
	uint32_t claim_ms; /**< 0: RPD_SERVICE_CLAIM_MS */
	void (*event)(void *ctx, const struct rp_port_event *event);
	void *ctx;
};

/**
 * Take what the service manager gave. Once in a process: the environment is used up.
 *
 * @param config copied.
 * @return 0, -ENOTCONN (keep, and there is no service manager), -ENOMEM.
 */
int rpd_service_create(const struct rpd_service_config *config, struct rpd_service **ret_service,
		       struct rp_wire_why *why);

/**
 * Tell the manager that it ends, and close everything. With keep the files stay, and the
 * store's sockets listen on; without, those that came from the store end here. NULL is allowed.
 *
 * @return NULL.
 */
struct rpd_service *rpd_service_destroy(struct rpd_service *service);

/**
 * Put a parcel into the store, for the successor: its descriptors, then its state, then wait
 * for the manager to have it. A store that is too small nobody hears of: the successor then
 * misses descriptors.
 *
 * @return 0, -ENOTSUP (without keep), or what rpd_state_write() and sd_notify(3) say: then
 *         nothing of it is there.
 */
int rpd_service_put_parcel(struct rpd_service *service, const struct rp_wire_parcel *parcel, struct rp_wire_why *why);

/** What a predecessor put there (legacy.h): once. NULL service is allowed. @return as rpd_legacy_take(). */
int rpd_service_take_parcel(struct rpd_service *service, struct rp_wire_parcel **ret_parcel, struct rp_wire_why *why);

/** The VFIO groups, for as long as the service lives. */
struct rpd_groups *rpd_service_groups(struct rpd_service *service);

/** Before devices are closed at the end: with keep their groups stay in the store. NULL is allowed. */
void rpd_service_leave(struct rpd_service *service);

/** The name of a port's socket: `port-NAME`, or `software-NAME`. */
void rpd_service_name(const char *port, bool software, char ret_name[RPD_SERVICE_NAME_MAX]);

/**
 * A listening socket: one that came, or with keep a new one that goes to the store. The
 * same one again when it is asked for again.
 *
 * @param name `rpc`, or of rpd_service_name().
 * @param file_mode of a new socket file; 0: as the umask leaves it.
 * @param ret_fd the caller's; its file is not. Left alone when there is none: the caller may make one.
 * @return 0, or what rp_wire_socket_listen_mode() says.
 */
int rpd_service_listen(struct rpd_service *service, const char *name, const char *path, mode_t file_mode, int *ret_fd,
		       struct rp_wire_why *why);

/** Nobody listens there any more: a socket of ours leaves the store, its file goes. NULL service is allowed. */
void rpd_service_forget(struct rpd_service *service, const char *name);

/** Tell the manager that the start is over. */
void rpd_service_ready(struct rpd_service *service);

/** Tell the manager one line for people. NULL service is allowed. */
void rpd_service_status(struct rpd_service *service, const char *text);

unsigned int rpd_service_sockets_count(const struct rpd_service *service);

#endif
