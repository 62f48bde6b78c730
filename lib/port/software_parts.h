/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SOFTWARE_PARTS_H
#define SOFTWARE_PARTS_H

/*
 * Inside of software*.c. The connection is in one of three states:
 *
 *   AWAY     there is none; the endpoint makes one
 *   ASKED    there is one, and its first question is not answered: who hangs stays here, and
 *            costs nobody any time. Leaves at the answer, or at the end of the connection
 *   THERE    what it offers is known and agreed to, and what the frontend said is told. Who
 *            refuses any of that does not get here: the connection is ended, and tried again
 *
 * Callbacks of lib/vhost_user only note what happened (`lost`, `answered`, `due`): they
 * cannot wait, and who called may be in the middle of something. The rest is done when the
 * call returns (port_software_checked), or at the next tick.
 */

#include "port.h"
#include "rp_vhu_frontend.h"

/* A quirk table: what differs between kinds of backends. */
struct port_software_kind {
	enum rp_port_software_kind kind;
	/* It serves nothing before rings 0 and 1 are started and enabled, so it is told of rings that it does not serve. */
	bool pair_first;
	/* GET_VRING_BASE of one ring stops them all. */
	bool stops_all;
	/* Of a split ring that is disabled it touches nothing any more: no need to stop it. */
	bool disabled_is_let_go;
	/* Of a packed ring's position it says, and takes, the lower half alone. */
	bool half_position;
};

/* Who may still touch rings: a process whose connection ended before it let go of them. */
struct port_software_suspect {
	struct port_software_suspect *next;
	struct rp_port *port;
	pid_t pid; /* 0: unknown */
	int pid_fd; /* -1: unknown, or dead when it was looked for */
	int fd; /* our end of the old connection, half closed; -1: the other end is closed, too */
	bool asked; /* over a newer connection of the same process, after the old one ended */
	bool proven;
	uint64_t ended_ms; /* valid with fd -1 */
	struct port_source pid_source;
	struct port_source source;
};

/* What is known to it of a ring that it is about to be given. */
enum port_software_announced {
	PORT_SOFTWARE_ANNOUNCED_NOTHING,
	PORT_SOFTWARE_ANNOUNCED_PLACE, /* all but where it stands, and its kicks */
	PORT_SOFTWARE_ANNOUNCED_ALL,
};

struct port_software_told {
	struct port_software_suspect *suspect; /* with UNPROVEN */
	bool mentioned; /* the backend has heard of the ring since the device was stopped last */
	bool enabled;
	enum port_software_announced announced;
	bool flags_kept; /* of the used ring, as the backend left them */
	uint16_t flags;
};

enum port_software_state {
	PORT_SOFTWARE_AWAY,
	PORT_SOFTWARE_ASKED,
	PORT_SOFTWARE_THERE,
};

/* A translation that it asked for, and that was not known. */
struct port_software_miss {
	uint64_t page;
	uint8_t perm;
};

#define PORT_SOFTWARE_MISSES_MAX 32u

struct port_software {
	char socket_path[108];
	enum rp_port_socket_mode socket_mode;
	enum rp_port_software_kind kind_wanted;
	uint32_t timeout_ms;
	uint32_t reconnect_ms;

	struct rp_vhu_endpoint *endpoint;
	struct port_source listen_source;
	struct rp_vhu_frontend *frontend; /* NULL: AWAY */
	struct port_source source;
	enum port_software_state state;
	bool connect_logged;
	bool answered; /* ASKED no more, as soon as somebody has time */
	uint64_t asked_features; /* what it answered */
	uint64_t asked_protocol_features;
	bool lost; /* the frontend object has no connection any more */
	struct rp_wire_why lost_why;
	char reason[RP_PORT_REASON_MAX]; /* why not usable; valid while it is not */
	char refused[RP_PORT_REASON_MAX]; /* what is wrong with the one that comes back: said once */

	pid_t pid;
	int pid_fd;
	int proof_fd; /* a duplicate of the connection, which outlives the library's */
	struct port_software_suspect *suspects;

	const struct port_software_kind *kind; /* NULL: not known yet */
	bool known; /* the three below hold for ever */
	uint64_t features;
	uint64_t protocol_features;
	unsigned int queues_max;

	uint64_t features_told;
	bool features_known; /* to this connection */
	uint16_t mtu_bytes; /* 0: the frontend said nothing */
	struct rp_vhu_region regions[RP_VHU_REGIONS_MAX]; /* as told last; descriptors are not used */
	unsigned int regions_count;

	/* Memory of ours, for parked rings. */
	int park_fd;
	uint64_t park_gpa;
	uint64_t park_uva;
	uint64_t park_bytes; /* 0: there is none */
	int park_kick_fd;
	int park_call_fd;
	bool pair_ready; /* rings 0 and 1 were enabled together since the device was stopped last */

	struct port_software_told rings[RP_VHU_QUEUES_MAX];
	struct port_software_miss misses[PORT_SOFTWARE_MISSES_MAX];
	unsigned int misses_count;
	/* For the next tick. */
	bool gone_due;
	bool usable_due;
	bool proven_due;
	bool config_due;
	bool rings_due; /* a ring was started, and the backend has not heard of it */
	bool parks_later; /* rings that are taken are not parked at once, but at port_software_park_due() */

	uint64_t there_ms; /* since when it was there last */
	uint64_t not_before_ms; /* no connection before: it hangs again and again */
	unsigned int hangs_count;

	uint64_t connections;
	uint64_t timeouts;
};

/* software.c */
bool port_software_there(const struct rp_port *port);
/*
 * After every call of the frontend library that may end the connection: does what is to be
 * done then. @return rc.
 */
int port_software_checked(struct rp_port *port, int rc);
/* End the connection, because of what it did. */
void port_software_drop(struct rp_port *port, const struct rp_wire_why *why);
int port_software_not_there(const struct rp_port *port, struct rp_wire_why *why);

/* software_terms.c */
/* Protocol features to ask for, if it has them. */
uint64_t port_software_wanted(const struct rp_port *port);
/* Note what it offers, or compare it with what it offered first. 0 or -ENOTSUP. */
int port_software_compare(struct rp_port *port, struct rp_wire_why *why);

/* software_device.c */
/* Everything that the frontend said, and the rings not. */
int port_software_replay(struct rp_port *port, struct rp_wire_why *why);

/* software_kind.c */
const struct port_software_kind *port_software_kind_find(const struct rp_port *port);
/* It is told of rings that it does not serve. */
bool port_software_parks(const struct rp_port *port);

/* software_memory.c */
int port_software_memory_open(struct rp_port *port, struct rp_wire_why *why);
void port_software_memory_close(struct port_software *software);
/* What was told is what there is. */
bool port_software_memory_is_told(const struct rp_port *port);
int port_software_memory_tell(struct rp_port *port, struct rp_wire_why *why);
/* Where that is in the frontend's addresses. 0 or -EBADMSG. */
int port_software_uva(const struct rp_port *port, uint64_t gpa, uint64_t size_bytes, uint64_t *ret_uva);
/* A parked ring's place, entries. */
uint16_t port_software_park_place(const struct rp_port *port, unsigned int queue, uint64_t *ret_desc_uva,
				  uint64_t *ret_avail_uva, uint64_t *ret_used_uva);

/* software_iommu.c: a callback of the frontend library. */
int port_software_on_miss(void *ctx, uint64_t iova, uint8_t perm, bool access_fail, struct rp_wire_why *why);

/* software_park.c */
/* Put an empty ring of ours in the guest's place, of a ring that the backend leaves alone. Unwaited. */
int port_software_park(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
/* The parked rings once more: their memory has moved. */
void port_software_park_again(struct rp_port *port);
/* It counts rings when it becomes ready: those that the frontend has mentioned, whoever serves them. */
void port_software_mention_all(struct rp_port *port);
/* Have it serve what it was given, if it waits for the other ring of the first pair. */
int port_software_make_ready(struct rp_port *port, struct rp_wire_why *why);
/* Stop the whole device, of a kind that cannot stop less. Positions of rings that it served are noted. */
int port_software_stop_device(struct rp_port *port, struct rp_wire_why *why);

/* software_ring.c */
/* One request; what fails first of those that point to it is in *first_error, which lives until all are answered. */
int port_software_say(struct rp_port *port, uint32_t request, const void *payload, uint32_t size_bytes, const int *fd,
		      bool wait, int *first_error, struct rp_wire_why *why);
/* What the used ring's flags were when it was taken last: the backend's wish again. */
void port_software_restore_flags(struct rp_port *port, struct port_queue *queue);

/* software_give.c */
struct port_software_setup {
	uint16_t num;
	uint32_t base;
	uint64_t desc_uva;
	uint64_t avail_uva;
	uint64_t used_uva;
	uint32_t flags;
	uint64_t log_gpa;
	int kick_fd;
	int call_fd;
};
/* NUM, BASE, ADDR, KICK, CALL. Waited for, each of them, or none. */
int port_software_describe(struct rp_port *port, unsigned int queue, const struct port_software_setup *setup, bool wait,
			   struct rp_wire_why *why);
int port_software_enable(struct rp_port *port, unsigned int queue, bool enabled, bool wait, struct rp_wire_why *why);
/* Judge what GET_VRING_BASE answered, and note it. */
void port_software_position(struct rp_port *port, struct port_queue *queue, uint32_t answer);
int port_software_give(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);

/* software_proof.c */
void port_software_peer_open(struct port_software *software, int fd);
void port_software_peer_close(struct port_software *software);
/* The connection has ended: rings that it had are UNPROVEN. */
void port_software_suspect(struct rp_port *port);
void port_software_proof_tick(struct rp_port *port, uint64_t now_ms);
uint64_t port_software_proof_deadline(const struct port_software *software);
void port_software_proof_close(struct rp_port *port);

#endif
