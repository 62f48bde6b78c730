/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PORT_H
#define PORT_H

/*
 * Inside of lib/port. One file, one idea:
 *
 *   port.c          life of a port, its poll descriptor, what it tells
 *   endpoint.c      the frontend's connections: served, turned away, lost
 *   timer.c         one timerfd for all deadlines
 *   starts.c        rings that start together
 *   vhost.c         what the frontend says (callbacks of the vhost-user backend)
 *   accelerators.c  open, lose and regain accelerators; accelerators_memory.c: their memory
 *   queue.c         who serves a queue: start and stop
 *   position.c      where a ring goes on
 *   place.h         which queue of which accelerator it has, and another
 *   net.c           addresses, filters and pairs of a network device, and its link
 *   doorbell.c      the notify area's states
 *   doorbell_wish.c how the device wants to be kicked, and what it is told
 *   vfio_file.c     the VFIO group behind a queue, in the frontend's hands
 *   windows.c       device memory of one accelerator for another
 *   files.c         which doorbell files went to which guest
 *   relay.c         kicks and interrupts that pass through us
 *   shadow.c        a private ring for the device, and when it has one
 *   private.c       where private rings lie
 *   event.c         one line per event
 *   wish.c          who should serve a queue
 *   move.c          how it gets there: pairs, proof, and back where it was
 *   move_give.c     and is given
 *   survive.c       the software backend comes, goes, and lets go
 *   move_order.c    which ring of a pair first
 *   move_wish.c     a user's wish, and what came of it
 *   hand_over*.c    to a successor, and from a predecessor (hand_over.h)
 *   blackout.c      how long nobody served a ring that moved
 *   log.c           a migration begins or ends
 *   ring_part.c     where a part of a ring is for us; ring_node.c: on which NUMA node
 *   iommu.h         a guest whose addresses are translated
 *   asks.h          a device that translates them itself
 *   offer.c         what the frontend is offered, once that is known
 *   vhost_device.c  what of the frontend's words is the software backend's alone
 *   software.h      the software backend behind the port
 */

#include "asks.h"
#include "blackout.h"
#include "doorbells.h"
#include "files.h"
#include "iommu.h"
#include "place.h"
#include "rp_dma.h"
#include "rp_dma_node.h"
#include "rp_dma_section.h"
#include "rp_port.h"
#include "rp_vhu_endpoint.h"
#include "software.h"

/* Why a queue whose position is lost stays stopped. */
#define PORT_POSITION_LOST "where the packed ring stopped is not known: the guest's driver must start it anew"
#define PORT_POSITION_TEXT_MAX 48
/* What a frontend is told of such a ring: position.c. */
#define PORT_POSITION_LOST_TO_FRONTEND 0x80000000u

struct port_source;

typedef void (*port_ready)(struct rp_port *port, struct port_source *source);

/* A descriptor in the port's epoll set. */
struct port_source {
	port_ready ready;
	int fd; /* borrowed; -1: not in the set */
	unsigned int index; /* of the queue or accelerator */
};

/* What the device was told of a doorbell since its queue started. */
enum port_doorbell_told {
	PORT_DOORBELL_TOLD_NOTHING,
	PORT_DOORBELL_TOLD_EVENTFD,
	PORT_DOORBELL_TOLD_PAGE,
};

struct port_doorbell {
	enum rp_port_doorbell_state state;
	struct port_place place; /* whose it is, but while UNMAPPED without may_be_out */
	enum rp_port_doorbell_policy policy;
	bool refused; /* the frontend or the device said no; until the next start */
	bool stale; /* PENDING, but the ring was stopped meanwhile: its answer says nothing */
	bool take_back_due; /* PENDING and stale, and the answer is here: to be taken back when that can be sent */
	bool may_be_out; /* whatever the state: nobody said what became of it */
	bool unwanted; /* the device would rather be woken: the queue is idle */
	enum port_doorbell_told told;
	bool held; /* to be taken back when port->doorbells_held ends */
	bool drain_due; /* MAPPED, and kicks sent before it took effect may still be in the eventfd */
	uint64_t not_before_ms; /* no offer before */
	uint64_t drain_at_ms;
	uint64_t mapped_at_ms;
	unsigned int churn_count; /* how often the delay has doubled */
	char reason[RP_PORT_REASON_MAX];
};

/* What of the backend channel a token means; a notify area's is the queue's index alone. */
#define PORT_TOKEN_VFIO_FILE (1ull << 32)
#define PORT_TOKEN_CONFIG (2ull << 32)
#define PORT_TOKEN_IOTLB (4ull << 32)
#define PORT_TOKEN_INDEX_MASK UINT32_MAX

struct port_vfio_file {
	enum rp_port_vfio_file_state state;
	int accelerator; /* whose it is, but in NONE */
	bool started; /* the queue ran since the frontend came, or reset the device */
	bool refused; /* the frontend said no; until there is another channel or device */
	bool stale; /* OFFERED, but nobody can say what the frontend holds */
	bool stuck; /* HELD, and there is no channel to take it back by */
	uint64_t not_before_ms; /* the channel was full */
};

struct rp_vring_shadow;

struct port_shadow {
	struct rp_vring_shadow *ring; /* NULL: the device has the guest's own, or none */
	struct rp_port *port; /* valid with ring */
	bool marked; /* something was logged, and the frontend was not told yet */
	char reason[RP_PORT_REASON_MAX];
};

/* An interrupt that the new owner may have swallowed is made good for once it got on. */
struct port_call_again {
	uint64_t at_ms; /* 0: nothing is due */
	uint32_t delay_ms;
	uint16_t used; /* the used index then */
};

struct port_queue {
	unsigned int index;
	int accelerator; /* -1: none */
	unsigned int accelerator_queue;
	bool leaving; /* this accelerator for another: it receives nothing here any more */
	bool comes_back; /* while unproven: to `back`, which is kept for it */
	struct port_place back;

	bool user_enabled;
	bool frontend_enabled;
	bool frontend_started;
	struct rp_vhu_vring vring; /* valid while frontend_started; its descriptors are not used */
	int node; /* that ops.ring_node was told for it; RP_DMA_NODE_ANY: none */
	int kick_fd; /* duplicates: ours to poll and to hand on, whatever the frontend swaps */
	int call_fd;
	bool kick_failed; /* to be signalled, and the user was told */
	bool call_failed;

	bool start_due; /* what began it was put off (starts.c) */
	bool running; /* the accelerator serves the ring */
	enum port_software_ring software; /* what the software backend has of it; written by software*.c alone */
	bool software_served; /* it was given the ring, and has not said where it stands since */
	enum rp_port_wish wish;
	/* Said at the last try; empty: nothing. Until the ring begins anew, the side came back, or the user speaks. */
	char hardware_refused[RP_PORT_REASON_MAX];
	char software_refused[RP_PORT_REASON_MAX];
	enum rp_port_owner had; /* who served it until left_us, if not the frontend took it away */
	int had_accelerator;
	uint64_t left_us;
	struct port_call_again call_again;
	bool unproven; /* the accelerator failed or hangs and may still touch the ring */
	bool start_lost; /* while unproven: it stood at position before, and the device may not have begun */
	bool handed_back; /* while unproven: what the frontend starts now is another ring */
	bool served_before; /* since the frontend's start: a later start is a move back */
	uint32_t position; /* where to go on, while not running (rp_vring_position.h) */
	bool broken; /* the guest's driver broke a rule: not served until the next start */
	bool fresh_told; /* it stopped where a fresh ring begins, and the frontend was told */
	bool position_lost; /* a packed ring's owner went without saying it: nobody may go on */
	char reason[RP_PORT_REASON_MAX]; /* of the last failure to start or stop */

	struct port_doorbell doorbell;
	struct port_vfio_file vfio_file;
	enum rp_port_ring_policy ring_policy;
	struct port_shadow shadow;
	struct port_iommu_ring iommu;
	struct port_source kick_source;
	struct port_source interrupt_source; /* with relay_interrupts, or a private ring */
	int interrupt_fd;

	uint64_t relayed_kicks;
	uint64_t relayed_kicks_after_map;
	uint64_t relayed_interrupts;
	uint64_t moves;
	uint64_t moves_to_hardware;
	uint64_t moves_to_software;
	uint64_t moves_between_accelerators;
	struct port_blackouts blackouts;
	enum rp_port_queue_mode mode_seen;
	uint64_t mode_since_ms;
	uint64_t redone;
	uint64_t lost;
	unsigned int redo_due; /* chains that the next owner does again, if the ring goes on */
	uint64_t doorbell_maps;
	uint64_t doorbell_idles; /* given back because the device wished so */
	struct rp_accel_queue_counters counters_base; /* of the device when it was opened */
	struct rp_accel_queue_counters counters_kept; /* of devices that were closed */
	struct rp_accel_queue_counters counters_last;
};

/* Memory of our own that the device reaches. */
struct port_private {
	int fd;
	uint8_t *hva; /* NULL: there is none yet */
	uint64_t iova; /* valid while mapped */
	uint64_t size_bytes;
	uint64_t slot_bytes; /* for one queue */
	bool mapped; /* in the device */
};

struct port_accelerator {
	struct rp_port *port;
	char *arguments;
	struct rp_accel accel; /* ops NULL: not open */
	struct rp_accel_info info;
	struct rp_dma_sections *sections; /* what is mapped for it, and what was left out */
	const struct rp_vhu_region *region; /* while that is mapped */
	struct port_source source;
	struct port_private private;
	struct port_asks *asks; /* NULL: it is not offered to ask */
	bool moving; /* its private rings: none is served */
	bool closing; /* no window is offered any more */
	bool stops_whole; /* it was seen not to stop one queue while others run */
	bool failed; /* open, but it left; waiting for proof and for doorbells to be taken back */
	bool waiting_logged;
	bool features_set;
	bool has_ahead; /* no frontend is there, and it is as one that acknowledges these would have it */
	uint64_t features_ahead;
	uint64_t retry_at_ms; /* 0: no */
	char reason[RP_PORT_REASON_MAX];
	struct rp_accel_net net; /* as asked for last */
	bool net_valid;
	char net_reason[RP_PORT_REASON_MAX]; /* what of it was refused */
	enum rp_port_link link;
};

struct port_window {
	struct rp_port_window wanted;
	bool guest_iommu; /* when it was offered */
	struct rp_wire_why refused; /* error 0: the BAR can be had */
	struct rp_dma_section pieces[RP_DMA_SECTION_PIECES_MAX];
	unsigned int pieces_count; /* 0: it is not offered */
	void *memory[RP_DMA_SECTION_PIECES_MAX]; /* of each piece, NULL: not mapped by us */
};

struct rp_port {
	char name[RP_PORT_NAME_MAX];
	char socket_path[108];
	enum rp_port_socket_mode socket_mode;
	enum rp_vhu_profile profile;
	struct rp_vhu_numbers numbers;
	struct rp_port_files *files;
	bool relay_interrupts;
	uint32_t doorbell_delay_ms;
	uint32_t doorbell_delay_max_ms;
	enum rp_port_memory memory_kind;
	struct rp_port_net net;
	bool migratable;
	uint16_t vring_num_max;
	uint32_t reconnect_ms;
	const struct rp_port_ops *ops;
	void *ctx;
	const struct rp_accel_registry *registry;

	int epoll_fd;
	struct rp_wire_caller *caller; /* of eventfds that others hold too */
	bool log_fd_failed; /* this frontend's; the user was told */
	int timer_fd;
	uint64_t timer_at_ms; /* when it fires, 0: never */
	struct rp_vhu_endpoint *endpoint;
	bool connect_logged;
	uint64_t config_at_ms; /* the channel was full when the configuration changed; 0: nothing is due */
	bool link_down_told; /* of the guest's link, the frontend was told last, or read, that it is down */
	uint64_t last_offer_ms; /* notify areas are offered one at a time */
	bool closing;
	bool doorbells_left; /* the connection ends, and doorbells were neither dropped nor given back */
	struct port_source timer_source;
	struct port_source listen_source;
	struct port_source backend_source;

	struct port_software *software; /* NULL: none is configured */
	enum rp_port_device device;
	uint16_t queue_pairs; /* as configured */
	enum rp_port_doorbell_policy doorbell; /* of a queue, to begin with; and so are these two */
	enum rp_port_ring_policy ring;
	enum rp_port_wish wish;
	uint32_t drain_ms;
	bool fail_over;
	bool serving; /* the offer is fixed, and frontends are served */
	uint64_t serve_at_ms; /* the next try to; 0: none is due */
	bool memory_stale; /* the software backend was not told of the last change yet */
	bool software_refused_log; /* the file, and the feature */
	bool software_refused_logging;
	bool starts_due; /* of a queue */
	bool in_moves; /* port_moves_run() is at work */
	bool doorbells_held;
	bool access_platform;
	struct port_iommu *iommu; /* NULL: addresses are always the guest's own */
	struct rp_vhu_backend *backend;
	struct rp_dma_space *memory; /* the guest's, at guest-physical addresses */
	struct rp_dma_reader *reader; /* of it, for rings; online only while one is served */
	const struct rp_vhu_region *coming; /* is being added, and not in the backend's list yet; or NULL */
	bool channel_up;
	bool features_acked;
	uint64_t features_common; /* of all accelerators */
	uint64_t features_offered;
	uint64_t features; /* acked by the frontend */
	char refused[RP_PORT_REASON_MAX]; /* of this frontend's messages the first; empty: none */

	struct port_accelerator *accelerators; /* room for as many as are configured */
	unsigned int accelerators_count;
	struct port_window *windows;
	unsigned int windows_count;
	struct port_queue *queues;
	unsigned int queues_count;
};

/* port.c */
/* With nobody connected to, and no accelerator. As rp_port_create(). */
int port_make(const struct rp_port_config *config, const struct rp_accel_registry *registry,
	      const struct rp_port_ops *ops, void *ctx, struct rp_port **ret_port, struct rp_wire_why *why);
int port_source_add(struct rp_port *port, struct port_source *source, int fd, port_ready ready, unsigned int index);
void port_source_remove(struct rp_port *port, struct port_source *source);

/* endpoint.c */
/* With a listening socket of the user's, when he has one. As rp_vhu_endpoint_create(), and what ops.listen says. */
int port_endpoint_make(struct rp_port *port, const char *path, enum rp_port_socket_mode mode, uint32_t retry_ms,
		       struct rp_vhu_endpoint **ret_endpoint, struct rp_wire_why *why);
int port_endpoint_open(struct rp_port *port, struct rp_wire_why *why);
void port_endpoint_close(struct rp_port *port);
void port_endpoint_lost(struct rp_port *port);
uint64_t port_endpoint_deadline(const struct rp_port *port); /* 0: none */
void port_endpoint_tick(struct rp_port *port, uint64_t now_ms);

/* timer.c */
int port_timer_open(struct rp_port *port);
void port_timer_close(struct rp_port *port);
/* Arm for the earliest of all deadlines. */
void port_timer_update(struct rp_port *port);
/* The same, but what is due already is done at once: a timer that has to fire for it costs more than that does. */
void port_timer_run(struct rp_port *port);

/* vhost.c */
int port_vhost_open(struct rp_port *port, struct rp_wire_why *why);
/* Hold a duplicate of the frontend's eventfd, in the place of the one before; -1: none. */
int port_vhost_adopt_kick(struct port_queue *queue, int fd);
int port_vhost_adopt_call(struct port_queue *queue, int fd);
/* A region of the frontend's, in port->memory. */
int port_vhost_map(struct rp_port *port, const struct rp_vhu_region *region, struct rp_wire_why *why);
uint16_t port_vhost_largest_ring(const struct rp_port *port); /* that all accelerators can have */
void port_vhost_close(struct rp_port *port);

/* vhost_device.c: callbacks of the vhost-user backend */
int port_vhost_memory(void *ctx, struct rp_wire_why *why);
int port_vhost_vring_err(void *ctx, unsigned int index, struct rp_wire_why *why);
void port_vhost_log(void *ctx, struct rp_vhu_log *log);
int port_vhost_inflight_get(void *ctx, uint16_t queues_count, uint16_t queue_num, int *ret_fd, uint64_t *ret_size_bytes,
			    uint64_t *ret_offset_bytes, struct rp_wire_why *why);
void port_vhost_inflight(void *ctx, struct rp_vhu_inflight *inflight);
int port_vhost_config_get(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
			  struct rp_wire_why *why);
int port_vhost_config_set(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes, uint32_t flags,
			  struct rp_wire_why *why);
int port_vhost_mtu(void *ctx, uint16_t mtu_bytes, struct rp_wire_why *why);
int port_vhost_rarp(void *ctx, const uint8_t mac[6], struct rp_wire_why *why);
/* What a request that was passed on is answered: a backend that is not there costs the frontend nothing. */
int port_vhost_answer(struct rp_port *port, const char *what, int rc, struct rp_wire_why *why);

/* offer.c */
/* Fix the offer and serve frontends; 0 also when that must wait for the software backend. */
int port_offer_open(struct rp_port *port, struct rp_wire_why *why);
void port_offer_tick(struct rp_port *port, uint64_t now_ms);
/* What is offered to the frontend, from what all others can. */
uint64_t port_offer_features(const struct rp_port *port);
/* The bits that are ours to add to what others offer, never theirs to see. */
uint64_t port_offer_own_features(const struct rp_port *port);
uint64_t port_offer_protocol_features(const struct rp_port *port, uint64_t profile_mask);

/* wish.c */
/* Whether anybody may serve it. */
bool port_wish_anybody(const struct rp_port *port, const struct port_queue *queue);
/* Nobody may have it: there is no proof that who had it let go. */
bool port_wish_is_unproven(const struct port_queue *queue);
/* The one place that says who should serve a ring, now. */
enum rp_port_owner port_wish_target(const struct rp_port *port, const struct port_queue *queue);
/* Why this side does not. */
const char *port_wish_why_not(const struct rp_port *port, const struct port_queue *queue, enum rp_port_owner side);
void port_wish_reason(const struct rp_port *port, const struct port_queue *queue, char *ret_text, size_t size);
void port_wish_begin(struct port_queue *queue); /* what was refused may be tried again */

/* starts.c */
/* As port_queue_update(), but later: port_starts_run(). */
void port_starts_add(struct rp_port *port, struct port_queue *queue);
void port_starts_run(struct rp_port *port);
/* These, which nobody has, now and in this order. 0, or what the first one that was not started was refused with. */
int port_starts_give(struct rp_port *port, struct port_queue *const *queues, unsigned int count,
		     struct rp_wire_why *why);

/*
 * What is known of rings before anybody lets go of them is told to the accelerators that get them, so that less is to
 * be said while nobody has them. 0, or one failed now.
 */
int port_starts_prepare(struct rp_port *port, struct port_queue *const *queues, const struct port_place *places,
			unsigned int count, struct rp_wire_why *why);
/* Whatever of it was not started will not be. */
void port_starts_forget(struct rp_port *port, const struct port_place *places, unsigned int count);

/* drain.c */
/* Wait drain_ms: what was taken from a transmit ring may still come back into a receive ring. */
void port_drain(const struct rp_port *port);
/* The same, for who has something else to do meanwhile: when it will be over (CLOCK_MONOTONIC), and wait for that. */
uint64_t port_drain_end(const struct rp_port *port);
void port_drain_until(uint64_t end_ns);

/* move_give.c */
/* Nobody has it: give it to this side, or say why not. */
int port_move_give_only(struct rp_port *port, struct port_queue *queue, enum rp_port_owner to, struct rp_wire_why *why);
/* Several that nobody has, in this order. 0, or why the first one that was not given was not. */
int port_move_give_together(struct rp_port *port, struct port_queue *const *queues, unsigned int count,
			    enum rp_port_owner to, struct rp_wire_why *why);
/*
 * `by` did not do its part, so the ring does not get to `side`. One that is gone, or hangs,
 * refused nothing; any other would only say the same again.
 */
void port_move_note_refusal(struct rp_port *port, struct port_queue *queue, enum rp_port_owner side,
			    enum rp_port_owner by, int error, const struct rp_wire_why *why);
/* Nobody has it: give it to this side, or to the one that may stand in. */
int port_move_give(struct rp_port *port, struct port_queue *queue, enum rp_port_owner to, struct rp_wire_why *why);
/* What a side said to its being given: noted, and the side that may stand in has it. 0, or why nobody has. */
int port_move_not_given(struct rp_port *port, struct port_queue *queue, enum rp_port_owner to, int error,
			struct rp_wire_why *why);
/* Take it from whoever has it. 0, or why it cannot be, or there is no proof. */
int port_move_release(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
void port_move_left(struct port_queue *queue, enum rp_port_owner owner); /* not by the frontend's wish */
void port_move_reached(struct port_queue *queue, enum rp_port_owner owner);
/* Have every queue served by who should. Not inside a request, but for a migration that begins. */
void port_moves_run(struct rp_port *port);
/* Of these queues. 0, or the first thing that went wrong. */
int port_moves_run_of(struct rp_port *port, unsigned int first, unsigned int count, struct rp_wire_why *why);
/*
 * Stop all rings that need this process: those of the software backend, and private ones. Nobody
 * has them then, until port_queue_update(). After a failure they are where they were.
 */
int port_move_pause(struct rp_port *port, struct rp_wire_why *why);
/* All that the software backend serves is taken from it, for good. */
void port_move_release_all(struct rp_port *port);

/* survive.c */
void port_move_call_again(const struct rp_port *port, struct port_queue *queue); /* when the ring got on */
void port_move_tick(struct rp_port *port, uint64_t now_ms);
uint64_t port_move_deadline(const struct rp_port *port); /* 0: none */

/* log.c */
/* SET_FEATURES that differ by LOG_ALL alone, under running rings. */
int port_log_set(struct rp_port *port, uint64_t features, struct rp_wire_why *why);
/* The software backend can log what it writes; and does, or would. */
bool port_log_is_offered(const struct rp_port *port);
bool port_log_by_software(const struct rp_port *port);

/* accelerators.c */
int port_accelerators_open(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_why *why);
void port_accelerators_close(struct rp_port *port);
/* The next one, not open yet. */
int port_accelerator_prepare(struct rp_port *port, const char *arguments, struct rp_wire_why *why);
/* It is open: what it says of itself, and its descriptor. */
int port_accelerator_opened(struct rp_port *port, unsigned int index, struct rp_wire_why *why);
/* All are: who has which queue. */
int port_accelerators_queues(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_why *why);
/* A frontend that had acknowledged features is gone, and with it all rings and the memory. */
void port_accelerators_ahead(struct rp_port *port);
int port_accelerators_features(struct rp_port *port, uint64_t features, struct rp_wire_why *why);
int port_accelerators_region_add(struct rp_port *port, const struct rp_vhu_region *region, struct rp_wire_why *why);
void port_accelerators_region_remove(struct rp_port *port, const struct rp_vhu_region *region);
/* 0; -EINVAL, -ENOSPC: nothing that its IOMMU can have; what its dma_map says. */
int port_accelerator_map(struct port_accelerator *accelerator, const struct rp_vhu_region *region,
			 struct rp_wire_why *why);
void port_accelerators_tick(struct rp_port *port, uint64_t now_ms);
uint64_t port_accelerators_deadline(const struct rp_port *port);
/* The accelerator does not answer any more. */
void port_accelerator_fail(struct rp_port *port, unsigned int index, int error, const struct rp_wire_why *why);
/* Reset the device: every queue of it stops. 0, or why there is no proof of it. */
int port_accelerator_stop_all(struct rp_port *port, unsigned int index, struct rp_wire_why *why);
/* The same, and none is started again. */
int port_accelerator_quiesce(struct rp_port *port, unsigned int index, struct rp_wire_why *why);
bool port_accelerator_usable(const struct rp_port *port, int index);

/* net.c */
/* Tell the device what it should receive, if that is not what it was told. */
void port_net_update(struct rp_port *port, unsigned int accelerator);
void port_net_forgotten(struct port_accelerator *accelerator); /* another device */
void port_net_opened(struct rp_port *port, unsigned int accelerator);
void port_net_changed(struct rp_port *port, unsigned int accelerator); /* its configuration */
void port_net_tick(struct rp_port *port, uint64_t now_ms);
uint64_t port_net_deadline(const struct rp_port *port); /* 0: none */
void port_net_tell(struct rp_port *port); /* the frontend: configuration space changed */
/* Queues are in another place, or their device is back: the frontend is told, if the link is not the one that it knows. */
void port_net_moved(struct rp_port *port);
/* Configuration space as the guest should see it. */
void port_net_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes);

/* queue.c */
int port_queues_create(struct rp_port *port, unsigned int queues_count);
void port_queues_destroy(struct rp_port *port);
/* Make what is true of the queue what should be; 0, or why it could not be started or stopped. */
int port_queue_update(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
static inline bool
port_queue_is_on(const struct port_queue *queue, unsigned int accelerator)
{
	return queue->accelerator == (int)accelerator;
}

/* The guest's own, without a call eventfd. */
struct rp_accel_queue_config port_queue_ring(const struct port_queue *queue);
enum rp_port_owner port_queue_owner(const struct port_queue *queue);
/* The accelerator is to serve a ring that nobody has. */
int port_queue_start(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
/* Several of one accelerator's, which has queues_start. @param ret_starts of each: error, why. */
void port_queues_start(struct rp_port *port, unsigned int accelerator, struct port_queue *const *queues,
		       struct rp_accel_queue_start *ret_starts, unsigned int count);
int port_queue_stop(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
/* A later start goes on there: chains that are done again are counted. */
void port_queue_resumed(const struct rp_port *port, struct port_queue *queue);
void port_queue_note_mode(struct port_queue *queue, uint64_t now_ms);
/* The accelerator let go of a ring that failed with it. */
void port_queue_released(struct rp_port *port, struct port_queue *queue);
/* Stop, and start with the ring that it should have now. */
int port_queue_renew(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
/* The accelerator let go of the ring, at `position` if it knows one exactly. */
void port_queue_stopped(struct rp_port *port, struct port_queue *queue, bool exact, uint32_t position);
enum rp_port_queue_mode port_queue_mode(const struct port_queue *queue);
void port_queue_reason(const struct rp_port *port, const struct port_queue *queue, char *ret_text, size_t size);
bool port_queue_counters(struct rp_port *port, struct port_queue *queue, struct rp_accel_queue_counters *ret);
void port_queue_counters_begin(struct rp_port *port, struct port_queue *queue);
void port_queue_counters_end(struct port_queue *queue);

/* position.c */
bool port_position_is_packed(const struct rp_port *port);
/* SET_VRING_BASE of a ring that starts. 0, or -EBADMSG: it cannot go on there. */
int port_position_from_frontend(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
/* The accelerator is gone and cannot be asked: the position is in the used ring, or nowhere. */
void port_position_from_ring(struct rp_port *port, struct port_queue *queue);
/* Of a packed ring that nobody works on any more: whether nothing was given back since it stood at position. */
bool port_position_is_untouched(const struct rp_port *port, const struct port_queue *queue);
/* What GET_VRING_BASE is answered. */
uint32_t port_position_to_frontend(const struct port_queue *queue);
/* How many chains of a split ring were available and not used; 0 of a packed one. */
/* The used index of a split ring. */
bool port_position_used(const struct rp_port *port, const struct port_queue *queue, uint16_t *ret_used);
unsigned int port_position_pending(const struct rp_port *port, const struct port_queue *queue);
/* Stopping the queue would lose its position. 0, or -ENOTSUP. */
int port_position_keep(const struct rp_port *port, const struct port_queue *queue, struct rp_wire_why *why);
/* "index 7", "descriptor 3, wrap 1" */
void port_position_text(const struct rp_port *port, uint32_t position, char *ret_text, size_t size);

/* ring_node.c */
/* Of the ring's memory; RP_DMA_NODE_ANY: it is not there, or nobody knows. */
int port_ring_node(const struct rp_port *port, const struct port_queue *queue);
/* The ring came or went: whoever asks for it hears where it is, or was. */
void port_ring_node_tell(struct rp_port *port, struct port_queue *queue);

/* relay.c */
int port_relay_start(struct rp_port *port, struct port_queue *queue);
void port_relay_stop(struct rp_port *port, struct port_queue *queue);
/* The eventfd to give to the accelerator: the guest's own, or ours with relay_interrupts. */
int port_relay_interrupt_fd(struct rp_port *port, struct port_queue *queue);
/* Interrupts of the device come by this eventfd already. @param fd taken on success. */
int port_relay_interrupts_from(struct rp_port *port, struct port_queue *queue, int *fd);
void port_relay_drain(struct rp_port *port, struct port_queue *queue);
/* Ring the owner once, and call once: for what fell between two owners. */
void port_relay_nudge(struct rp_port *port, struct port_queue *queue, bool call);

/* Interrupt the guest. */
void port_relay_call(struct rp_port *port, struct port_queue *queue);
void port_relay_kick_device(struct rp_port *port, const struct port_queue *queue);

/* event.c */
void port_event(const struct rp_port *port, enum rp_port_event_level level, int queue, const char *name,
		const char *format, ...) __attribute__((format(printf, 5, 6)));

#include "shadow.h"
#include "windows.h"

#endif
