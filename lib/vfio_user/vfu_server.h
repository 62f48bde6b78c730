/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_SERVER_H
#define VFU_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_vfu_msg.h"
#include "rp_vfu_server.h"
#include "vfu_carrier.h"
#include "vfu_later.h"

/*
 * What the parts of the server share:
 *
 *   server.c           life, the client's coming and going
 *   server_wait.c      sleeping until there is something to do
 *   server_serve.c     a turn of a connected client: what is received, held back, answered late and sent
 *   server_carrier.c   DMA by messages (vfu_carrier.h): the transfers
 *   server_carrier_send.c  and their commands and answers
 *   server_waker.c     other threads that want the server's to look (vfu_waker.h)
 *   server_flight.c    one of its commands, and what its answer may be
 *   server_twin.c      the second socket, for the server's own commands
 *   server_window.c    the payload window (vfu_server_window.h)
 *   server_config.c    judging and copying the device's description
 *   server_dispatch.c  row, checks, handler, reply
 *   server_info.c      DEVICE_GET_INFO, GET_REGION_INFO, GET_IRQ_INFO
 *   server_io_fd.c     GET_REGION_IO_FDS, in one reply or in pages
 *   server_irq.c       SET_IRQS and the vectors
 *   server_region.c    REGION_READ, REGION_WRITE, REGION_WRITE_MULTI, REGION_ACCESS_MULTI
 *   server_dma.c       DMA_MAP, DMA_UNMAP, DMA_REMAP
 *   server_session.c   VERSION
 *   server_later.c     accesses that the device answers later
 *   server_reset.c     DEVICE_RESET, and waiting until the device stands still
 *   server_feature.c   DEVICE_FEATURE: which there are, get, set and probe
 *   server_migration.c the states of migration, MIG_DATA_READ, MIG_DATA_WRITE
 *   server_dirty.c     the pages that the device wrote: the logging features, and of an unmap
 *   vfu_server_iommu.h what an IOMMU of the client's needs
 */

#define RP_VFU_REPLY_FIXED_MAX_BYTES 64

/* The eventfds of a vector, in the order of the ACTION bits of SET_IRQS. */
enum rp_vfu_irq_event {
	RP_VFU_IRQ_EVENT_MASK,
	RP_VFU_IRQ_EVENT_UNMASK,
	RP_VFU_IRQ_EVENT_TRIGGER,
	RP_VFU_IRQ_EVENTS_COUNT,
};

/*
 * While a vector is masked, whoever signals it is given `parked_fd`, which holds
 * the signal until the unmasking.
 */
struct rp_vfu_vector {
	int fds[RP_VFU_IRQ_EVENTS_COUNT]; /* owned, -1: none */
	int parked_fd; /* owned; -1 unless it was masked once */
	bool masked;
};

struct rp_vfu_irq_index {
	struct rp_vfu_irq_type type;
	struct rp_vfu_vector *vectors; /* type.count of them */
};

/* A command that was received because an answer to one of ours may stand behind it. */
struct rp_vfu_held {
	STAILQ_ENTRY(rp_vfu_held) link;
	struct rp_wire_msg msg;
	uint8_t bytes[];
};
STAILQ_HEAD(rp_vfu_held_list, rp_vfu_held);

struct rp_vfu_reply;
struct rp_vfu_iommu;
struct rp_vfu_pasid;

/*
 * The rest of a deferred command, once nothing holds it up any more. The reply is as
 * the handler left it, without data.
 *
 * @return 0 or a negative errno with its reason; the command does not wait again.
 */
typedef int (*rp_vfu_finisher)(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_wire_why *why);

/* A command that is answered when what it took away is out of use, or the device stands still, or answers. */
struct rp_vfu_deferred {
	bool active;
	bool awaits_device; /* rp_vfu_server_is_quiet() is to be true */
	bool awaits_answer; /* rp_vfu_later_is_given() is to be true */
	rp_vfu_finisher finish; /* NULL: the reply is right as it is */
	struct rp_vfu_header header; /* the command's */
	uint8_t fixed[RP_VFU_REPLY_FIXED_MAX_BYTES];
	uint32_t fixed_bytes;
	const struct rp_vfu_pasid *pasid; /* whose address space it is about; NULL: no PASID's */
	uint64_t ticket; /* of the address space */
	uint64_t first_iova;
	uint64_t last_iova;
};

struct rp_vfu_server {
	struct rp_vfu_server_ops ops;
	void *ctx;
	char *socket_path;
	int listen_fd;
	int successor_fd; /* accepted while the client that it follows was leaving; -1: none */
	int epoll_fd;
	struct rp_wire_caller *caller; /* of the client's eventfds */

	bool pci;
	bool resettable;
	bool late_writes;
	bool prompt_reads;
	uint32_t regions_count;
	struct rp_vfu_region *regions; /* with areas and io_fds of our own */
	uint32_t irqs_count;
	struct rp_vfu_irq_index *irqs;

	struct rp_wire_conn *conn; /* NULL: no client */
	uint32_t watched_events; /* what epoll looks for on conn */
	bool speaks; /* its last message was not long ago */
	bool expects_more; /* by the last command: its answer may wait for the next one, until none is there */
	unsigned int unlooked_count; /* messages since everything was looked at */
	enum rp_vfu_state state; /* of conn */
	struct rp_vfu_terms terms; /* in READY */
	struct rp_dma_space *dma;
	struct rp_vfu_iommu *iommu; /* vfu_server_iommu.h; NULL: not configured */

	struct rp_vfu_carrier *carrier; /* of dma */
	struct rp_wire_conn *twin; /* NULL: our commands go over conn */
	uint32_t twin_watched_events;
	struct rp_vfu_server_window window; /* of this connection */
	uint64_t window_bytes_max; /* what we agree to */
	int handed_fd; /* the client's end of it, until the reply is out; -1: none */
	struct rp_vfu_held_list held; /* of conn: commands whose turn has not come, in their order */
	unsigned int held_count;
	size_t held_bytes;
	struct rp_vfu_deferred deferred;
	struct rp_vfu_later later;
	int timer_fd;
	uint64_t timer_ms; /* when it is set to go off; 0: it is not */

	/* server_reset.c */
	_Atomic uint64_t quiet_token; /* the last one that the device answered */
	uint64_t asked_token; /* the last one that it was given */
	bool reset_waits; /* a reset, for the device to stand still */

	/* server_migration.c */
	struct rp_vfu_migration migration;
	enum rp_vfu_mig_state mig_state;
	enum rp_vfu_mig_state mig_target; /* mig_state but while a walk waits for the device */

	/* server_dirty.c */
	bool dma_logging; /* offered */
	bool log_is_of_all; /* a client named no ranges */
	uint64_t log_page_bytes;

	uint8_t *scratch; /* of a reply's data; grows */
	size_t scratch_bytes;
};

/* What a handler answers. The generic code sends it, or an error instead. */
struct rp_vfu_reply {
	uint8_t fixed[RP_VFU_REPLY_FIXED_MAX_BYTES];
	uint32_t fixed_bytes;
	const uint8_t *data; /* borrowed until sent, as the descriptors are */
	uint32_t data_bytes;
	int fds[RP_VFU_MSG_FDS_MAX];
	unsigned int fds_count;
	bool last; /* the connection ends behind it */
	bool kept; /* there is none now: it goes out later, out of the order of others */
	bool awaits_device; /* with -EINPROGRESS: what it waits for, as in struct rp_vfu_deferred */
	bool awaits_answer;
	rp_vfu_finisher finish;
	const struct rp_vfu_pasid *pasid;
	uint64_t ticket;
	uint64_t first_iova;
	uint64_t last_iova;
};

/*
 * A handler gives a command its meaning; sizes, descriptor counts and the row's
 * check are right already. It takes the descriptors that it keeps.
 *
 * @return 0; -EINPROGRESS: the reply is right, and goes out once its ticket has
 *         settled; or a negative errno with its reason: the reply is an error.
 */
typedef int (*rp_vfu_handler)(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			      struct rp_vfu_reply *reply, struct rp_wire_why *why);

int rp_vfu_server_on_version(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			     struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_dma_map(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			     struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_dma_unmap(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			       struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_dma_remap(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			       struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_device_info(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				 struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_region_info(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				 struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_io_fds(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			    struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_io_fds_page(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				 struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_irq_info(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			      struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_set_irqs(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			      struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_region_read(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				 struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_region_write(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				  struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_region_write_multi(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
					struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_region_access_multi(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
					 struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_feature(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			     struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_mig_data_read(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				   struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_mig_data_write(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				    struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_reset(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			   struct rp_vfu_reply *reply, struct rp_wire_why *why);

/* Judge and execute one received message, answer it. @return 0, or -ENOTCONN: the connection is to end. */
int rp_vfu_server_dispatch(struct rp_vfu_server *server, struct rp_wire_msg *msg, struct rp_wire_why *why);

/* Send what a command is answered with. @return 0, or -ENOTCONN: the connection is to end. */
int rp_vfu_server_reply(struct rp_vfu_server *server, const struct rp_vfu_header *command,
			const struct rp_vfu_reply *reply, int error, struct rp_wire_why *why);

/* One line of the device's log: a command was refused. */
void rp_vfu_server_tell_refused(struct rp_vfu_server *server, const struct rp_wire_why *refusal);

/* Do for the connected client what can be done now. @return 0, or -ENOTCONN: the connection is to end. */
int rp_vfu_server_serve(struct rp_vfu_server *server, struct rp_wire_why *why);
/* The client is gone: what it gave goes, what the device is stays. None is allowed. */
void rp_vfu_server_drop_client(struct rp_vfu_server *server, struct rp_wire_why *why);
/* A client left: an address space of its. What the device has pointers to stays until it is let go of. */
void rp_vfu_server_drop_memory(struct rp_dma_space *dma);
/* The space that a command is about. @param pasid NULL: no PASID's. */
struct rp_dma_space *rp_vfu_server_space(const struct rp_vfu_server *server, const struct rp_vfu_pasid *pasid);
/* Let rp_vfu_server_wait() sleep in the read of a new client's messages. @return 0 or a negative errno. */
int rp_vfu_server_allow_wait(struct rp_vfu_server *server);
/* Forget the commands whose turn has not come. */
void rp_vfu_server_drop_held(struct rp_vfu_server *server);
/* What to wait for next: sets the epoll and the timer. */
void rp_vfu_server_watch(struct rp_vfu_server *server);
/* Have the epoll look at one more descriptor, or (EPOLL_CTL_MOD) at other events of it. */
int rp_vfu_server_poll(const struct rp_vfu_server *server, int operation, int fd, uint32_t events);
/* Whether the other end of a connection is closed, read or not. */
bool rp_vfu_conn_hung_up(const struct rp_wire_conn *conn);

/*
 * Whether an answer may wait for the client's answers to our commands: it serves
 * them meanwhile, on a socket of their own or because it said so.
 */
bool rp_vfu_server_may_await(const struct rp_vfu_server *server);

/* Make the second socket; the client's end is in handed_fd then. @return 0 or a negative errno. */
int rp_vfu_server_twin_create(struct rp_vfu_server *server);
/* Take the answers to our commands from it. @return 0, or -ENOTCONN. */
int rp_vfu_server_twin_serve(struct rp_vfu_server *server, struct rp_wire_why *why);
void rp_vfu_server_twin_destroy(struct rp_vfu_server *server);

/* Copy the description. @return 0, -EINVAL, -ENOMEM; what was copied is freed by _config_free() either way. */
int rp_vfu_server_config_copy(struct rp_vfu_server *server, const struct rp_vfu_server_config *config,
			      struct rp_wire_why *why);
void rp_vfu_server_config_free(struct rp_vfu_server *server);

/* Forget what a client set for its interrupts, with irq_changed() for each vector that had an eventfd. */
void rp_vfu_server_irqs_drop(struct rp_vfu_server *server);

/* Have the device stand still. @return 0: it does; -EINPROGRESS: rp_vfu_server_is_quiet() will say so; or its errno. */
int rp_vfu_server_quiesce(struct rp_vfu_server *server);
bool rp_vfu_server_is_quiet(const struct rp_vfu_server *server);
/* Make a reply wait for the device; `finish` goes on from there. @return -EINPROGRESS. */
int rp_vfu_server_await_device(struct rp_vfu_reply *reply, rp_vfu_finisher finish);
/* Make a reply wait for the answer to what the device was handed (vfu_later.h). @return -EINPROGRESS. */
int rp_vfu_server_await_answer(struct rp_vfu_reply *reply);
/* Reset the device, whatever state it is in. @return 0 or its errno. */
int rp_vfu_server_reset_now(struct rp_vfu_server *server);

/* What a feature of DEVICE_FEATURE does; `data` is what followed the command's 8 bytes. */
struct rp_vfu_feature_get {
	const uint8_t *data;
	uint32_t data_bytes;
	uint32_t room_bytes; /* of the client's for the answer's data; nothing must change when that is larger */
	uint32_t ret_bytes; /* how large it is */
};

/* What is put into the reply begins behind the 8 bytes; with too little room it is the fixed part, or nothing. */
int rp_vfu_server_get_migration(struct rp_vfu_server *server, struct rp_vfu_feature_get *get,
				struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_get_mig_state(struct rp_vfu_server *server, struct rp_vfu_feature_get *get,
				struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_get_log(struct rp_vfu_server *server, struct rp_vfu_feature_get *get, struct rp_vfu_reply *reply,
			  struct rp_wire_why *why);
/* `data` is what the reply will repeat, and may be changed. */
int rp_vfu_server_set_mig_state(struct rp_vfu_server *server, uint8_t *data, uint32_t data_bytes,
				struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_set_log_start(struct rp_vfu_server *server, uint8_t *data, uint32_t data_bytes,
				struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_set_log_stop(struct rp_vfu_server *server, uint8_t *data, uint32_t data_bytes,
			       struct rp_vfu_reply *reply, struct rp_wire_why *why);

/* Whether an unmap can be answered with its dirty pages; nothing was changed. @return 0 or an errno. */
int rp_vfu_server_dirty_unmap_check(const struct rp_vfu_server *server, const struct rp_vfu_msg_view *command,
				    struct rp_wire_why *why);
/* Its finisher: the fixed part is the command's 40 bytes. */
int rp_vfu_server_dirty_unmap_finish(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_wire_why *why);

/* The reset has happened: RUNNING, whatever was before. */
void rp_vfu_server_migration_reset(struct rp_vfu_server *server);
/* The client left: what it asked for has no one to wait for it, there is no logging, and the device runs. */
void rp_vfu_server_reset_drop(struct rp_vfu_server *server);
void rp_vfu_server_dirty_drop(struct rp_vfu_server *server);
void rp_vfu_server_migration_drop(struct rp_vfu_server *server);

/* Room for a reply's data. @return NULL when there is no memory. */
uint8_t *rp_vfu_server_scratch(struct rp_vfu_server *server, size_t bytes);

#endif
