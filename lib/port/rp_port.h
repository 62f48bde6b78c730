/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_PORT_H
#define RP_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_accel.h"
#include "rp_port_files.h"
#include "rp_vhu_backend.h"
#include "rp_wire_why.h"

/**
 * @file
 * The control plane: one port is one vhost-user socket, its queues and the
 * accelerators that serve them.
 *
 * Theory of operation: the port owns one descriptor to poll and one process
 * call. When the frontend starts a ring and the queue is enabled by the user, the
 * port starts the accelerator's queue on it, with the guest's own call eventfd;
 * until the doorbell is mapped by the frontend, kicks are relayed. The doorbell is
 * offered from a timer, never inside a request; it is revoked without waiting.
 *
 * A queue is enabled by the user (rp_port_queue_enable) and by the frontend; it
 * runs when both say so and the frontend has started its ring.
 *
 * With a software backend (rp_port_software_config) a queue is served by that or by its
 * accelerator, as wished (rp_port_move) and as far as they can. It moves while the guest
 * runs; who has its ring lets go of it, with proof, before the other is given it. Until
 * the software backend was seen once, no frontend is served: what the port may offer is
 * not known before.
 *
 * Threads: one thread. Callbacks run inside rp_port_process() and the calls below.
 */

#define RP_PORT_NAME_MAX 32
#define RP_PORT_REASON_MAX 160
#define RP_PORT_BLACKOUTS_KEPT 255
#define RP_PORT_ACCELERATORS_MAX (RP_VHU_QUEUES_MAX / 2) /**< each serves a pair at least */
#define RP_PORT_WINDOWS_MAX 32
#define RP_PORT_WINDOW_BARS 6 /**< of a PCI function */

struct rp_port;

enum rp_port_socket_mode {
	RP_PORT_SERVER, /**< listen on the path */
	RP_PORT_CLIENT, /**< connect to it, again and again */
};

/** Who serves a queue, and how. */
enum rp_port_queue_mode {
	RP_PORT_QUEUE_STOPPED, /**< nobody touches the ring; reason says why */
	RP_PORT_QUEUE_DIRECT, /**< hardware ring, doorbell mapped, interrupt wired */
	RP_PORT_QUEUE_RELAYED, /**< hardware ring, kicks go through us */
	RP_PORT_QUEUE_SHADOW, /**< the hardware has a private ring; entries, kicks and interrupts go through us */
	RP_PORT_QUEUE_SOFTWARE, /**< the software backend serves the guest's ring */
};

/** Who touches the rings of a queue. */
enum rp_port_owner {
	RP_PORT_OWNER_NONE,
	RP_PORT_OWNER_HARDWARE,
	RP_PORT_OWNER_SOFTWARE,
};

/** Who should. */
enum rp_port_wish {
	RP_PORT_WISH_AUTO, /**< the accelerator while it can, else the software backend */
	/** The accelerator; a queue that cannot stays where it is, and says why. One whose accelerator is gone is served by
	 * the software backend until it is back. */
	RP_PORT_WISH_HARDWARE,
	RP_PORT_WISH_SOFTWARE, /**< the software backend; a queue stays where it is, or waits, while that is not there */
};

/** What a software backend does beside, or instead of, what the specification says (doc/prog_guide/port.md). */
enum rp_port_software_kind {
	RP_PORT_SOFTWARE_AUTO, /**< found out when it connects */
	RP_PORT_SOFTWARE_SPECIFICATION, /**< GET_VRING_BASE stops one ring and says where it stands */
	RP_PORT_SOFTWARE_LIBRTE_VHOST, /**< GET_VRING_BASE stops the device; a disabled ring is left alone */
};

/** What kind of device the guest sees. */
enum rp_port_device {
	RP_PORT_DEVICE_NET,
	RP_PORT_DEVICE_OTHER, /**< any other virtio device, a disk: served by the software backend alone */
};

/** What the user wants of a queue's doorbell. */
enum rp_port_doorbell_policy {
	RP_PORT_DOORBELL_AUTO, /**< direct when possible */
	RP_PORT_DOORBELL_RELAY, /**< always relay */
};

/** Which ring the hardware is given. */
enum rp_port_ring_policy {
	/**
	 * The guest's where that is possible, else a private one: for a device that starts
	 * fresh rings only (class B) and a ring in mid-life; for a packed ring of such a device
	 * on a port that is migratable; while a migration logs what is written; and where the
	 * guest's IOMMU translates.
	 */
	RP_PORT_RING_AUTO,
	RP_PORT_RING_DIRECT, /**< the guest's, or the queue stays stopped and says why */
	RP_PORT_RING_SHADOW, /**< a private one */
};

/** Life of a queue's notify area in the frontend. */
enum rp_port_doorbell_state {
	RP_PORT_DOORBELL_UNMAPPED,
	RP_PORT_DOORBELL_PENDING, /**< offered, no answer yet */
	RP_PORT_DOORBELL_MAPPED,
	RP_PORT_DOORBELL_REVOKING, /**< taken back, no answer yet */
};

/** Life of the VFIO file of a queue's device in the frontend (profiles extended and vfio2018). */
enum rp_port_vfio_file_state {
	RP_PORT_VFIO_FILE_NONE,
	RP_PORT_VFIO_FILE_OFFERED, /**< handed over, no answer yet */
	RP_PORT_VFIO_FILE_HELD,
	RP_PORT_VFIO_FILE_REVOKING, /**< taken back, no answer yet */
};

/** Whether the hardware receives frames whatever their address. */
enum rp_port_promiscuous {
	RP_PORT_PROMISCUOUS_AUTO, /**< where no MAC is given: the guest's is known to the VMM only */
	RP_PORT_PROMISCUOUS_ON,
	RP_PORT_PROMISCUOUS_OFF,
};

/** Which groups the hardware receives. */
enum rp_port_multicast {
	RP_PORT_MULTICAST_ALL,
	RP_PORT_MULTICAST_DEVICE, /**< what the device does by itself: virtio has a filter list, which stays empty */
};

/** What the device says of its link. */
enum rp_port_link {
	RP_PORT_LINK_UNKNOWN, /**< it has no VIRTIO_NET_F_STATUS */
	RP_PORT_LINK_UP,
	RP_PORT_LINK_DOWN,
};

/** What a network device is told beside its rings. */
struct rp_port_net {
	bool has_mac; /**< false: the device's own stays */
	uint8_t mac[6]; /**< set in every accelerator of the port: the guest's */
	enum rp_port_promiscuous promiscuous;
	enum rp_port_multicast multicast;
};

/** How the frontend may tell of guest memory. */
enum rp_port_memory {
	RP_PORT_MEMORY_SLOTS, /**< region by region, where it can (CONFIGURE_MEM_SLOTS) */
	RP_PORT_MEMORY_TABLE, /**< always the whole table */
};

/** An unmodified vhost-user backend behind the port, which serves what no accelerator does. */
struct rp_port_software_config {
	const char *socket_path; /**< NULL: there is none */
	enum rp_port_socket_mode socket_mode; /**< CLIENT: the backend listens; SERVER: it connects to us */
	enum rp_port_software_kind kind;
	/** How long one request may take it, 0: 2000. One that takes longer is hung: it is disconnected, and refused
	 * until it answers again. The port's thread waits so long at most, once. */
	uint32_t timeout_ms;
	uint32_t reconnect_ms; /**< 0: 1000 */
	/** Between taking a pair's transmit and its receive ring: what was taken from the one may still come back
	 * into the other; 0: 2. */
	uint32_t drain_ms;
};

/**
 * Device memory of one accelerator at an address of another's: a peer-to-peer window. What of it the
 * other's IOMMU does not take is reported (event "section-left-out") and left out (rp_dma_section.h);
 * guest memory that comes to lie there goes first. Of two devices of the kernel's VFIO, or with a device
 * process's BAR; the other way round a process would be given the whole PCI function.
 */
struct rp_port_window {
	unsigned int of; /**< whose memory: index in the port's list of accelerators */
	uint32_t region; /**< BAR, 0 to 5 */
	uint64_t offset_bytes; /**< in the BAR */
	uint64_t size_bytes; /**< 0: to its end */
	unsigned int to; /**< whose address: index in the same list */
	uint64_t iova; /**< where the other device finds it */
};

struct rp_port_config {
	const char *name; /**< 1 to RP_PORT_NAME_MAX - 1 of [A-Za-z0-9_.-] */
	const char *socket_path;
	enum rp_port_socket_mode socket_mode;
	enum rp_vhu_profile profile;
	struct rp_vhu_numbers numbers; /**< of profile extended; zero: the usual */
	uint16_t queue_pairs; /**< offered to the guest; 0: as many as the accelerators have */
	/** Device argument strings; queue i of the port is served by the next free queue pair in this order. */
	const char *const *accelerators;
	unsigned int accelerators_count;
	const struct rp_port_window *windows; /**< between these accelerators */
	unsigned int windows_count; /**< at most RP_PORT_WINDOWS_MAX */
	enum rp_port_doorbell_policy doorbell;
	bool relay_interrupts; /**< interrupts through us instead of the guest's own eventfd: to compare, or to debug */
	uint32_t doorbell_delay_ms; /**< after a start or removal before an offer; 0: 250 */
	/** What that delay may grow to, per queue, when a guest keeps dropping doorbells as soon as it has them; 0: 10000.
	 * Less than doorbell_delay_ms: it does not grow. */
	uint32_t doorbell_delay_max_ms;
	enum rp_port_memory memory;
	struct rp_port_net net;
	enum rp_port_ring_policy ring;
	/**
	 * Offer live migration (LOG_ALL, LOG_SHMFD): what is written is logged, by serving every
	 * queue with a private ring meanwhile. Not with ring DIRECT.
	 */
	bool migratable;
	/**
	 * Offer VIRTIO_F_ACCESS_PLATFORM: the guest may have an IOMMU in front of the device, whose
	 * translations the frontend tells (IOTLB messages). Where it translates, the queue has a
	 * private ring, and each buffer is translated here. Not with migratable. A software backend
	 * is told on; it must offer the feature, else it is not offered, and be of the kind
	 * SPECIFICATION.
	 */
	bool access_platform;
	uint32_t reconnect_ms; /**< client mode and lost accelerators; 0: 1000 */
	struct rp_port_software_config software;
	enum rp_port_wish wish; /**< of every queue, to begin with */
	/**
	 * Queues of an accelerator that failed, with proof that it let go of them, go to another of the port that has
	 * queue pairs free for them and can start a ring anywhere (class A), the first of the list; they stay there, as
	 * after rp_port_transfer(). For that let queue_pairs be less than the accelerators have.
	 */
	bool fail_over;
	enum rp_port_device device; /**< OTHER: with a software backend, and without accelerators */
	/**
	 * Shared by the ports of one process, and outlives them: no doorbell file goes to two
	 * guests. NULL: this port is the only one, or every device's doorbells have their own file.
	 */
	struct rp_port_files *files;
};

enum rp_port_event_level {
	RP_PORT_EVENT_ERROR,
	RP_PORT_EVENT_WARNING,
	RP_PORT_EVENT_NOTICE,
	RP_PORT_EVENT_DEBUG,
};

/** One line for the log and for watchers. */
struct rp_port_event {
	enum rp_port_event_level level;
	const char *port;
	int queue; /**< -1: the whole port */
	const char *name; /**< a short fixed word: "queue-start", "doorbell-mapped", ... */
	const char *text;
};

struct rp_port_ops {
	void (*event)(void *ctx, const struct rp_port_event *event);
	/**
	 * Optional: asked before the port listens on its socket_path or the software backend's, each time
	 * it does. Set *ret_fd to a socket that listens there, which the port takes, and whose file it never
	 * removes; leave it -1 and the port makes one of its own.
	 * @return 0, or a negative errno with why, which is what listening ends with.
	 */
	int (*listen)(void *ctx, const char *path, int *ret_fd, struct rp_wire_why *why);
	/**
	 * Optional, for a machine of several NUMA nodes: a ring of the frontend's is there, or is gone, whose memory is on
	 * that node (rp_dma_node.h). Each that came goes before rp_port_destroy() returns. Rings whose node nobody knows
	 * are not told of, as those whose addresses the guest's IOMMU translates. May not call the port.
	 * @param by 1 or -1, to be cast as a vote (rp_dma_vote.h).
	 */
	void (*ring_node)(void *ctx, int node, int by);
};

struct rp_port_queue_info {
	unsigned int queue;
	enum rp_port_queue_mode mode;
	enum rp_port_doorbell_state doorbell;
	enum rp_port_doorbell_policy doorbell_policy;
	enum rp_port_vfio_file_state vfio_file;
	enum rp_port_ring_policy ring_policy;
	bool user_enabled;
	bool frontend_enabled;
	bool frontend_started;
	int node; /**< NUMA node of the ring's memory; -1: nobody asks (rp_port_ops.ring_node), or nobody knows */
	char reason[RP_PORT_REASON_MAX]; /**< why stopped, relayed or shadow; empty when direct */
	int accelerator; /**< index in the port's list; -1: none */
	unsigned int accelerator_queue;
	uint64_t relayed_kicks; /**< kick eventfd reads that we passed on; cumulative */
	uint64_t relayed_kicks_after_map; /**< of these, after the reply that confirmed a mapping plus one drain */
	uint64_t relayed_interrupts; /**< interrupts that passed through us; the direct path makes none */
	enum rp_port_owner owner;
	enum rp_port_wish wish;
	/** Why it is not served as wished: by the software backend (or nobody) and not by hardware, or the other way
	 * round; empty when it is. */
	char wish_reason[RP_PORT_REASON_MAX];
	uint64_t since_ms; /**< how long the mode has been what it is */
	uint64_t moves; /**< changes of who serves the queue, by user or failure; to the other side counts once */
	uint64_t moves_to_hardware; /**< of these, from the software backend to an accelerator */
	uint64_t moves_to_software; /**< and back */
	uint64_t moves_between_accelerators; /**< also of `moves`: from one accelerator to another */
	/** How long nobody served the ring in such a move, of the last RP_PORT_BLACKOUTS_KEPT; count 0: none. */
	unsigned int blackouts_count;
	uint64_t blackout_min_us;
	uint64_t blackout_median_us;
	uint64_t blackout_max_us;
	uint64_t doorbell_maps;
	bool doorbell_wanted; /**< false: the device would rather be woken, because the queue is idle */
	uint64_t doorbell_idles; /**< how often the doorbell was taken back for that */
	uint64_t redone; /**< chains that were taken but not used when the ring was taken away, and were done again */
	uint64_t accesses_refused; /**< chains given back undone: the guest's IOMMU does not permit what they name */
	uint64_t lost; /**< of these given back with nothing done, because they could not be */
	bool counters_valid;
	struct rp_accel_queue_counters counters; /**< by the device, of this port's use of it */
};

/** What a frontend with an IOMMU said and was asked (access_platform). Counters are cumulative. */
struct rp_port_iommu_info {
	uint64_t translations; /**< known now; neighbours that belong together are one */
	uint64_t updates;
	uint64_t invalidations;
	uint64_t misses; /**< asked for */
	uint64_t misses_refused; /**< to which the frontend said that there is nothing, or not with that permission */
	uint64_t rings_stopped; /**< because the device had what was taken back in use */
	/* Devices that translate by themselves (rp_accel_iommu.h). */
	uint64_t device_translations; /**< that they asked for */
	uint64_t device_page_requests; /**< pages that they requested */
	uint64_t device_pages; /**< pages of the guest's memory that were mapped for them, upon a request */
	uint64_t device_invalidations; /**< that they were told of, and completed */
};

struct rp_port_info {
	char name[RP_PORT_NAME_MAX];
	char socket_path[108];
	enum rp_port_socket_mode socket_mode;
	enum rp_vhu_profile profile;
	bool connected;
	int frontend_pid; /**< 0: none */
	uint64_t features_offered;
	uint64_t features_acked;
	uint64_t protocol_features;
	unsigned int queues_count;
	unsigned int accelerators_count;
	unsigned int windows_count;
	unsigned int regions_count;
	uint64_t memory_bytes;
	bool access_platform; /**< as configured; whether the guest negotiated it features_acked say */
	struct rp_port_iommu_info iommu;
};

struct rp_port_accelerator_info {
	char arguments[256];
	bool open;
	char reason[RP_PORT_REASON_MAX]; /**< why not open */
	struct rp_accel_info info; /**< when open */
	enum rp_port_link link;
	struct rp_accel_net net; /**< as wanted last; queue_pairs 0: nothing yet */
	char net_reason[RP_PORT_REASON_MAX]; /**< what of it the device refused; empty: nothing */
	struct rp_dma_sections_counters sections; /**< of windows at its addresses, since it was opened first */
};

struct rp_port_window_info {
	struct rp_port_window window;
	/** Its pieces; 0: one of the devices is not there. */
	unsigned int sections_count;
	struct rp_dma_section_state sections[RP_DMA_SECTION_PIECES_MAX];
};

struct rp_port_software_info {
	bool configured;
	bool connected;
	bool usable; /**< connected, and told everything that the frontend said */
	char socket_path[108];
	enum rp_port_socket_mode socket_mode;
	enum rp_port_software_kind kind; /**< as found out; AUTO: not yet */
	int pid; /**< 0: none, or unknown */
	char reason[RP_PORT_REASON_MAX]; /**< why not usable */
	uint64_t features; /**< that it offers */
	uint64_t protocol_features; /**< that were agreed to with it */
	unsigned int queues_count; /**< rings that it serves now */
	uint64_t connections; /**< cumulative */
	uint64_t timeouts; /**< requests that it did not answer in time; cumulative */
};

/**
 * Make a port: opens the accelerators, fixes the port's features, listens.
 *
 * @param config copied.
 * @param registry must outlive the port.
 * @return 0, -EBADMSG or -EINVAL (why names the field), what opening an
 *         accelerator or the socket says.
 */
int rp_port_create(const struct rp_port_config *config, const struct rp_accel_registry *registry,
		   const struct rp_port_ops *ops, void *ctx, struct rp_port **ret_port, struct rp_wire_why *why);

/** Revoke doorbells (bounded wait), stop queues, close. NULL is allowed. @return NULL. */
struct rp_port *rp_port_destroy(struct rp_port *port);

/** @return one descriptor (an epoll, timers included) to poll for POLLIN, borrowed; never fails. */
int rp_port_fd(const struct rp_port *port);

/** Do what can be done without waiting for the frontend. @return 0. */
int rp_port_process(struct rp_port *port);

/**
 * Let a queue be served. Idempotent.
 *
 * @return 0 (done, or will be once the frontend starts the ring), -EINVAL (no such
 *         queue), -ENOTCONN (the accelerator is gone, and there is no software backend), -ENOTSUP (where its packed ring
 *         stopped is unknown: only the guest's driver can start it anew), or what the
 *         accelerator's queue_start says.
 */
int rp_port_queue_enable(struct rp_port *port, unsigned int queue, struct rp_wire_why *why);

/**
 * Stop a queue, until rp_port_queue_enable(). Idempotent.
 *
 * @return 0, -EINVAL (no such queue), -ENOTSUP (the device cannot stop one queue
 *         while others run, or cannot tell where in a packed ring it stopped: this one
 *         goes on), -ENOTCONN (the accelerator is gone),
 *         -ETIMEDOUT or -EIO (no proof that it let go: the queue stays with it).
 */
int rp_port_queue_disable(struct rp_port *port, unsigned int queue, struct rp_wire_why *why);

/** Direct when possible, or always relayed. Takes effect at once. @return 0 or -EINVAL. */
int rp_port_queue_doorbell(struct rp_port *port, unsigned int queue, enum rp_port_doorbell_policy policy,
			   struct rp_wire_why *why);

/**
 * Which ring the hardware is given. Takes effect at the next start of the ring; with a
 * device that can start anywhere (class A) at once.
 *
 * @return 0, -EINVAL (no such queue), -ENOTSUP (DIRECT on a port that is migratable), or what
 *         moving the queue says, as rp_port_queue_disable() and rp_port_queue_enable().
 */
int rp_port_queue_ring(struct rp_port *port, unsigned int queue, enum rp_port_ring_policy policy,
		       struct rp_wire_why *why);

/**
 * Move queues between hardware and the software backend, while the guest runs. Both rings
 * of a pair move in the order that loses nothing: transmit first, then receive. Idempotent.
 * The wish stays: what cannot be done now is done when it can (the accelerator comes back,
 * the guest starts the ring), unless another wish takes its place.
 *
 * @param queue the first of them.
 * @param queues_count how many, from that one on; 0: all of the port from there.
 * @return 0 (done, or will be once the frontend starts the ring), -EINVAL (no such queues),
 *         -ENOTCONN (the side that is wished for is gone), -ENOTSUP (there is no software
 *         backend; or the ring's position would be lost, as rp_port_queue_disable(); or a
 *         migration logs what is written, which the hardware cannot: the wish stays, see
 *         wish_reason), -ETIMEDOUT or -EIO (no proof that the side that has a ring let go of
 *         it: the ring stays with it), or what the other side says to the start. After a
 *         failure each queue is served by the side that served it before.
 */
int rp_port_move(struct rp_port *port, unsigned int queue, unsigned int queues_count, enum rp_port_wish wish,
		 struct rp_wire_why *why);

/**
 * Move queue pairs from their accelerator to another of the port, while the guest runs. Each gets the first pair that
 * is free there (the one of the same number, if the device decodes doorbells by value). A ring that runs goes on exactly
 * where it was; its doorbell is taken back, and the other device's offered, as after each start. What does not run, or is
 * served by the software backend, will be served there. It stays so until another call, or the port's end. Idempotent.
 *
 * @param queue the first of them: the receive ring of a pair.
 * @param queues_count how many, from that one on: whole pairs; 0: all of the port from there.
 * @param accelerator index in the port's list.
 * @return 0 (done, or will be once the frontend starts the ring), -EINVAL (no such queues, half a pair, or no such
 *         accelerator), -ENOTCONN (it is gone), -ENOSPC (it has fewer pairs free), -ENOTSUP (a ring runs, and
 *         one of the two devices is not of class A), -EBUSY (nothing proves that a device that failed let go of a ring),
 *         -ETIMEDOUT or -EIO (the accelerator that has a ring does not let go of it: the ring stays with it), or what
 *         the other says to the start. After a failure the queues are again the accelerator's that had them; but a ring
 *         that the other may have begun, and does not let go of, stays with that, stopped, until there is proof.
 */
int rp_port_transfer(struct rp_port *port, unsigned int queue, unsigned int queues_count, unsigned int accelerator,
		     struct rp_wire_why *why);

/** Only who serves a queue; asks nobody. @return 0 or -EINVAL. */
int rp_port_get_queue_mode(const struct rp_port *port, unsigned int queue, enum rp_port_queue_mode *ret_mode);

/** The port as it is now; asks nobody. */
void rp_port_get_info(const struct rp_port *port, struct rp_port_info *ret_info);
/** @return 0 or -EINVAL. Asks the device for its counters (bounded wait). */
int rp_port_get_queue_info(struct rp_port *port, unsigned int queue, struct rp_port_queue_info *ret_info);
/** The software backend as it is now; asks nobody. */
void rp_port_get_software_info(const struct rp_port *port, struct rp_port_software_info *ret_info);
/** @return 0 or -EINVAL. */
int rp_port_get_accelerator_info(const struct rp_port *port, unsigned int index,
				 struct rp_port_accelerator_info *ret_info);
/** @return 0 or -EINVAL. */
int rp_port_get_window_info(const struct rp_port *port, unsigned int index, struct rp_port_window_info *ret_info);

/** A word for people and JSON: "stopped", "direct", "relayed", "shadow", "software". */
const char *rp_port_queue_mode_name(enum rp_port_queue_mode mode);
/** As above: "unmapped", "pending", "mapped", "revoking". */
const char *rp_port_doorbell_state_name(enum rp_port_doorbell_state state);
/** As above: "auto", "direct", "shadow". */
const char *rp_port_ring_policy_name(enum rp_port_ring_policy policy);
/** As above: "none", "hardware", "software". */
const char *rp_port_owner_name(enum rp_port_owner owner);
/** As above: "auto", "hardware", "software". */
const char *rp_port_wish_name(enum rp_port_wish wish);
/** As above: "auto", "specification", "librte_vhost". */
const char *rp_port_software_kind_name(enum rp_port_software_kind kind);
/** As above: "none", "offered", "held", "revoking". */
const char *rp_port_vfio_file_state_name(enum rp_port_vfio_file_state state);
/** As above: "unknown", "up", "down". */
const char *rp_port_link_name(enum rp_port_link link);
/** As above: "error", "warning", "notice", "debug". */
const char *rp_port_event_level_name(enum rp_port_event_level level);

#endif
