/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIO_H
#define VIRTIO_H

/*
 * Inside of drivers/virtio. One file, one idea:
 *
 *   capabilities.c  who the device is, and where it says that its structures are
 *   layout.c        whether they can be there
 *   regs.c          registers: width, byte order, bounded waits
 *   features.c      which feature bits go to the guest, which are ours
 *   handshake.c     reset, negotiation, DRIVER_OK
 *   mapped.c        which addresses are taken
 *   dma.c           the guest's memory
 *   ctrlq_memory.c  memory of our own, beside it
 *   ctrlq.c         the control queue: one command and its answer
 *   vendor.c        the ring state capability
 *   wish.c          how the device wants to be kicked
 *   queue_open.c    which queues there are
 *   queue.c         start, stop, call
 *   doorbell.c      how we ring
 *   notify_area.c   whether a doorbell's page may be handed out
 *   config.c        the device configuration
 *   net.c           what the device is to receive
 *   device.c        open, close, failure
 *   hand_over.c     going on in another process
 *   iommu.c         a device that asks for translations
 *   accel.c         the operations table
 *   vfio.c          the driver over kernel VFIO
 *   vfio_user.c     the driver over vfio-user
 */

#include <stddef.h>

#include "rp_accel_hand_over.h"
#include "rp_virtio.h"
#include "rp_vring_position.h"

enum virtio_structure {
	VIRTIO_COMMON,
	VIRTIO_NOTIFY,
	VIRTIO_ISR,
	VIRTIO_CONFIG,
	VIRTIO_VENDOR,
	VIRTIO_MSIX_TABLE,
	VIRTIO_MSIX_PBA,
	VIRTIO_STRUCTURES_COUNT,
};

/* A structure's place; present ones were checked against their BAR. */
struct virtio_place {
	bool present;
	uint32_t bar;
	uint64_t offset_bytes;
	uint64_t length_bytes;
};

struct virtio_layout {
	uint16_t pci_vendor;
	uint16_t pci_device;
	struct virtio_place places[VIRTIO_STRUCTURES_COUNT];
	uint32_t notify_multiplier;
};

/* Vendor registers; flags 0: the device has none. */
struct virtio_vendor {
	uint32_t flags;
	uint16_t stride_bytes;
	uint32_t queues_count;
};

enum virtio_kick_path {
	VIRTIO_KICK_MESSAGE,
	VIRTIO_KICK_EVENTFD,
	VIRTIO_KICK_STORE,
};

struct virtio_queue {
	uint16_t size_max;
	uint16_t size; /* of the ring that runs */
	bool running;
	bool prepared; /* programmed and wired as `config` says, but for its position, and not enabled */
	struct rp_accel_queue_config config; /* with prepared */
	enum virtio_kick_path kick_path;
	int kick_fd; /* owned; with VIRTIO_KICK_EVENTFD */
	void *page; /* our mapping of the doorbell's page; with VIRTIO_KICK_STORE */
	uint16_t *doorbell; /* inside of page */
};

/* Ranges that neither overlap nor touch, in ascending order. */
struct virtio_mapped {
	struct rp_dma_iova_range *ranges;
	unsigned int count;
	unsigned int room;
};

/* Memory as an accelerator is given it. */
struct virtio_memory {
	uint64_t iova;
	uint64_t size_bytes;
	int fd;
	uint64_t offset_bytes;
	void *hva;
	bool is_peers; /* device memory: it can do without */
};

struct rp_vring_drv;
struct rp_vring_drv_state;

#define VIRTIO_CTRLQ_BYTES_MAX (1u << 20) /* of its memory, as a predecessor may have it */

struct virtio_ctrlq {
	bool present; /* and then it is ours */
	unsigned int index;
	uint16_t size; /* entries that we use */
	uint64_t doorbell; /* offset in the notify BAR */
	struct rp_vring_drv *ring; /* NULL: not running */
	int memory_fd; /* owned, as the mapping is */
	uint8_t *memory; /* NULL: not needed yet */
	uint64_t memory_bytes;
	bool mapped; /* for the device, at iova */
	uint64_t iova;
};

/* For the control queue. */
struct virtio_command {
	const char *name;
	uint8_t class;
	uint8_t number;
	const void *data;
	uint32_t size_bytes;
};

/* One more than we use: the control queue comes after the data queues. */
#define VIRTIO_DOORBELLS_MAX (RP_ACCEL_QUEUES_MAX + 1u)

struct virtio_device {
	struct rp_accel_transport transport;
	struct rp_accel_transport_info transport_info;
	uint32_t wait_ms;
	struct virtio_layout layout;
	struct virtio_vendor vendor;

	uint64_t device_features;
	uint64_t own_features; /* set by us, whatever the guest acked */
	uint64_t guest_features; /* acked by the guest; valid while negotiated */
	bool negotiated;
	bool driver_ok;
	bool is_reset; /* its status reads 0, and it was told nothing since */

	bool vectors_short; /* fewer than data queues */
	unsigned int all_queues_count; /* as the device says, control queue included */
	unsigned int queues_count; /* data queues that we serve */
	uint16_t queue_size_max; /* of the smallest */
	struct virtio_queue queues[RP_ACCEL_QUEUES_MAX];
	unsigned int doorbells_count; /* of all queues, the first VIRTIO_DOORBELLS_MAX */
	uint64_t doorbells[VIRTIO_DOORBELLS_MAX]; /* offsets in the notify BAR */

	bool has_mac;
	uint8_t mac[6]; /* its own */

	struct virtio_mapped mapped; /* by the caller; kept when there is a control queue */
	struct virtio_ctrlq ctrlq;
	bool has_net;
	struct rp_accel_net net; /* what it is to receive */
	bool net_told; /* ... and it knows, since its last reset */
	bool mac_was_set; /* since then */

	int epoll_fd; /* transport, config_event_fd and notice_fd */
	int config_event_fd; /* the device holds the same open file: neither its flags nor its count are ours */
	int notice_fd; /* nobody else's: readable for good once the device failed */
	struct rp_wire_caller *caller; /* of doorbells that are eventfds; NULL: none is */
	bool has_config_vector; /* the vector after those of the queues */
	bool config_wired; /* ... and it has its eventfd */
	bool config_armed; /* ... and the device took it */
	bool generation_known;
	uint64_t generation; /* of its configuration, when we last heard of a change */
	uint32_t page_wishes[RP_ACCEL_QUEUES_MAX / 32]; /* a bit for each queue */

	struct rp_wire_why failed; /* error 0: the device works */
	bool quiet; /* failed, and a reset was read back since */
};

/* capabilities.c: also who it is */
int vdrv_capabilities_read(const struct rp_accel_transport *transport, struct virtio_layout *ret_layout,
			   struct rp_wire_why *why);

/* layout.c */
const char *vdrv_structure_name(enum virtio_structure structure);
int vdrv_layout_check(const struct rp_accel_transport *transport, const struct virtio_layout *layout,
		      struct rp_wire_why *why);
/* The present structure, other than notify, that has bytes in a range of a BAR; VIRTIO_STRUCTURES_COUNT: none. */
enum virtio_structure vdrv_layout_find(const struct virtio_layout *layout, uint32_t bar, uint64_t offset_bytes,
				       uint64_t size_bytes);

/* One of many. */
struct virtio_access {
	enum virtio_structure structure;
	unsigned int width_bytes; /* 1, 2, 4 or 8 */
	uint64_t offset_bytes;
	bool write;
	uint64_t value; /* to be written, or as it was read */
};

static inline struct virtio_access
virtio_common_get(uint64_t offset_bytes, unsigned int width_bytes)
{
	return (struct virtio_access){VIRTIO_COMMON, width_bytes, offset_bytes, false, 0};
}

static inline struct virtio_access
virtio_common_set(uint64_t offset_bytes, unsigned int width_bytes, uint64_t value)
{
	return (struct virtio_access){VIRTIO_COMMON, width_bytes, offset_bytes, true, value};
}

/* regs.c: width_bytes is 1, 2, 4 or 8. Errors are -ENOTCONN, -ETIMEDOUT, or -EIO for whatever else the transport says. */
int vdrv_read(const struct virtio_device *device, enum virtio_structure structure, uint64_t offset_bytes,
	      unsigned int width_bytes, uint64_t *ret_value, struct rp_wire_why *why);
int vdrv_write(const struct virtio_device *device, enum virtio_structure structure, uint64_t offset_bytes,
	       unsigned int width_bytes, uint64_t value, struct rp_wire_why *why);
/* In their order, and for fewer round trips than one by one; after an error the others may have been done, or not. */
int vdrv_access_many(const struct virtio_device *device, struct virtio_access *accesses, unsigned int count,
		     struct rp_wire_why *why);
/* MSI-X vectors in a row. */
struct virtio_vectors {
	unsigned int first;
	unsigned int count;
	const int *eventfds; /* borrowed */
	int error; /* set: what the transport's irq_set_many says */
};
/* As vdrv_access_many, behind the wiring of vectors. Needs the transport's irq_access_many. */
int vdrv_access_wired(const struct virtio_device *device, struct virtio_vectors *vectors,
		      struct virtio_access *accesses, unsigned int count, struct rp_wire_why *why);
int vdrv_common_read(const struct virtio_device *device, uint64_t offset_bytes, unsigned int width_bytes,
		     uint64_t *ret_value, struct rp_wire_why *why);
int vdrv_common_write(const struct virtio_device *device, uint64_t offset_bytes, unsigned int width_bytes,
		      uint64_t value, struct rp_wire_why *why);
int vdrv_queue_select(const struct virtio_device *device, unsigned int queue, struct rp_wire_why *why);
/* Read a common register until it has a value, at most wait_ms. */
int vdrv_wait(const struct virtio_device *device, uint64_t offset_bytes, unsigned int width_bytes, uint64_t expected,
	      const char *name, struct rp_wire_why *why);
/* Read a register of the ring state capability while it has a value, at most wait_ms. @return 0 also then. */
int vdrv_wait_while(const struct virtio_device *device, uint64_t offset_bytes, uint64_t passing, uint64_t *ret_value,
		    struct rp_wire_why *why);
static inline bool
virtio_is_power_of_two(uint64_t number)
{
	return number != 0 && (number & (number - 1)) == 0;
}

/* -ENOTCONN, -ETIMEDOUT or -EIO: the device is not to be trusted any more. */
bool vdrv_error_is_loss(int error);
/* What an error of the transport is to us; why gets it too. */
int vdrv_error_from_transport(int error, struct rp_wire_why *why);

/* features.c */
uint64_t vdrv_features_offered(uint64_t device_features);
uint64_t vdrv_features_own(uint64_t device_features, bool has_ring_state);
/* "VERSION_1, bit 45" */
void vdrv_features_names(uint64_t features, char *ret_text, size_t size);
int vdrv_features_check(uint64_t device_features, uint64_t guest_features, struct rp_wire_why *why);
bool vdrv_feature(uint64_t features, unsigned int bit);
/* Whether rings are packed, as negotiated. */
bool vdrv_is_packed(const struct virtio_device *device);

/* handshake.c */
/* Bus master and memory decoding, which a reset of the bus takes away. */
int vdrv_enable_bus(const struct virtio_device *device, struct rp_wire_why *why);
/* Best effort; whether it worked is for the transport to say (is_quiet). Doorbell pages live on. */
void vdrv_disable_master(const struct virtio_device *device);
int vdrv_device_features(const struct virtio_device *device, uint64_t *ret_features, struct rp_wire_why *why);
/* Every queue stops; proven on success. Doorbell pages live on. */
int vdrv_reset(struct virtio_device *device, struct rp_wire_why *why);
/* As that, and by the bus if nothing else helps: only at open, when nobody has mapped a doorbell. */
int vdrv_reset_hard(struct virtio_device *device, struct rp_wire_why *why);
int vdrv_negotiate(struct virtio_device *device, uint64_t guest_features, struct rp_wire_why *why);
int vdrv_set_driver_ok(struct virtio_device *device, struct rp_wire_why *why);
/* How it is told that its driver is ready. */
struct virtio_access vdrv_driver_ok(void);
/* What the status of a negotiated device says. @return as vdrv_status_check(). */
int vdrv_status_judge(const struct virtio_device *device, uint64_t status, struct rp_wire_why *why);
/* 0, or -EIO: the device wants a reset, or was reset by somebody else. */
int vdrv_status_check(const struct virtio_device *device, struct rp_wire_why *why);

/* mapped.c: room for one more, so that one call of add or remove cannot fail. @return 0 or -ENOMEM. */
int vdrv_mapped_reserve(struct virtio_mapped *mapped);
void vdrv_mapped_add(struct virtio_mapped *mapped, uint64_t iova, uint64_t size_bytes);
void vdrv_mapped_remove(struct virtio_mapped *mapped, uint64_t iova, uint64_t size_bytes);
int vdrv_mapped_copy(const struct virtio_mapped *mapped, struct virtio_mapped *ret_copy);
void vdrv_mapped_release(struct virtio_mapped *mapped);

/* dma.c */
int vdrv_dma_map(struct virtio_device *device, const struct virtio_memory *memory, struct rp_wire_why *why);
int vdrv_dma_unmap(struct virtio_device *device, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);

/* iommu.c */
/* As rp_accel_ops. -ENOTSUP: it asks for none. */
int vdrv_translated(const struct virtio_device *device, uint64_t token, const struct rp_accel_translation *translation);
int vdrv_page_respond(const struct virtio_device *device, uint32_t group, bool present);
int vdrv_invalidate(const struct virtio_device *device, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);
/* Whether its questions can be left to whoever opened it. @return 0 or -ENOTSUP. */
int vdrv_iommu_check(const struct virtio_device *device, struct rp_wire_why *why);

/* window.c */
/* As rp_accel_ops. */
int vdrv_region_info(const struct virtio_device *device, uint32_t region, struct rp_accel_region *ret_region,
		     struct rp_wire_why *why);
int vdrv_region_window(const struct virtio_device *device, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
		       struct rp_accel_window *ret_window, struct rp_wire_why *why);

/* ctrlq_memory.c */
/* Mapped for the device, somewhere. @return 0, -ENOTSUP (there is no place or no memory), or a loss. */
int vdrv_ctrlq_memory_take(struct virtio_device *device, struct rp_wire_why *why);
/* Of a control queue that does not run. */
int vdrv_ctrlq_memory_give(struct virtio_device *device, struct rp_wire_why *why);
bool vdrv_ctrlq_memory_is_at(const struct virtio_device *device, uint64_t iova, uint64_t size_bytes);
void vdrv_ctrlq_memory_release(struct virtio_device *device);

/* That of a predecessor: of a size and in a file that can be. @param fd taken on success. @return 0, -EBADMSG, -ENOMEM. */
int vdrv_ctrlq_memory_adopt(struct virtio_ctrlq *ctrlq, int *fd, uint64_t memory_bytes, struct rp_wire_why *why);

/* ctrlq.c */
size_t vdrv_ctrlq_bytes(const struct virtio_ctrlq *ctrlq);
int vdrv_ctrlq_open(struct virtio_device *device, uint64_t size, struct rp_wire_why *why);
/* @return 0, -ENOTSUP (it answers that it does not), -EIO (it answers what cannot be), -ETIMEDOUT, -ENOTCONN. */
int vdrv_ctrlq_command(struct virtio_device *device, const struct virtio_command *command, struct rp_wire_why *why);
/* One that is described, and whose memory is there. @param state NULL: it does not run. @return 0, -EBADMSG, -ENOMEM. */
int vdrv_ctrlq_adopt(struct virtio_device *device, const struct rp_vring_drv_state *state, struct rp_wire_why *why);
/* Stop, and unmap its memory. @return 0, -EEXIST (it cannot be stopped now), or a loss. */
int vdrv_ctrlq_make_way(struct virtio_device *device, struct rp_wire_why *why);
/* The device was reset: it does not run. */
void vdrv_ctrlq_forget(struct virtio_device *device);

/* vendor.c */
int vdrv_vendor_open(struct virtio_device *device, struct rp_wire_why *why);
bool vdrv_vendor_has(const struct virtio_device *device, uint32_t flag_mask);
/* Where a queue starts: how it is written, and read back. */
void vdrv_vendor_position(const struct virtio_device *device, unsigned int queue, uint32_t position,
			  struct virtio_access *ret_write, struct virtio_access *ret_back);
int vdrv_vendor_check_position(unsigned int queue, const struct virtio_access *written,
			       const struct virtio_access *back, struct rp_wire_why *why);
int vdrv_vendor_stop(const struct virtio_device *device, unsigned int queue, uint32_t *ret_position,
		     struct rp_wire_why *why);
int vdrv_vendor_counters(const struct virtio_device *device, unsigned int queue,
			 struct rp_accel_queue_counters *ret_counters, struct rp_wire_why *why);

/* The register of a queue's entry. */
uint64_t vdrv_vendor_register(const struct virtio_device *device, unsigned int queue, size_t field_bytes);

/* wish.c */
/* It was reset, and has this vector for changes of its configuration. */
void vdrv_wishes_begin(struct virtio_device *device, uint64_t config_vector);
/* It goes on from a predecessor. @return 0, or a loss. */
int vdrv_wishes_adopt(struct virtio_device *device, struct rp_wire_why *why);
/* As queue_doorbell. */
int vdrv_wishes_tell(const struct virtio_device *device, unsigned int queue, bool page, struct rp_wire_why *why);
bool vdrv_wishes_page(const struct virtio_device *device, unsigned int queue);
/* The interrupt for configuration changes came. @return RP_ACCEL_CHANGED_*, or a loss. */
int vdrv_wishes_changed(struct virtio_device *device, struct rp_wire_why *why);

/* queue_open.c */
int vdrv_queues_open(struct virtio_device *device, struct rp_wire_why *why);
/* Of the queue that is selected. @param is_ours it must be where we can ring it. */
int vdrv_queue_doorbell(const struct virtio_device *device, unsigned int queue, bool is_ours, uint64_t *ret_doorbell,
			struct rp_wire_why *why);
/* To follow a number of queues: why there are no more, if that can be mended; else "". */
const char *vdrv_queues_limit(const struct virtio_device *device);

/* queue_check.c */
/* Whether a queue that does not run may be started so. @return 0, -EINVAL, -EBUSY, -ENOTSUP. */
int vdrv_queue_check(const struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
		     struct rp_wire_why *why);

/* queue.c */
int vdrv_queue_program(const struct virtio_device *device, unsigned int queue,
		       const struct rp_accel_queue_config *config, uint16_t vector, struct rp_wire_why *why);
/* @param call_fd -1 detaches. @return 0, or the transport's error. */
int vdrv_vector_set(const struct virtio_device *device, unsigned int queue, int call_fd, struct rp_wire_why *why);
int vdrv_queue_start(struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
		     struct rp_wire_why *why);
/* As rp_accel_ops.queues_start. */
int vdrv_queues_start(struct virtio_device *device, struct rp_accel_queue_start *starts, unsigned int count,
		      struct rp_wire_why *why);
/* As rp_accel_ops.queues_prepare. */
int vdrv_queues_prepare(struct virtio_device *device, const struct rp_accel_queue_start *starts, unsigned int count,
			struct rp_wire_why *why);
void vdrv_queue_forget(struct virtio_device *device, unsigned int queue);
int vdrv_queue_call(struct virtio_device *device, unsigned int queue, int call_fd, struct rp_wire_why *why);

/* queue_stop.c */
int vdrv_queue_reset(const struct virtio_device *device, unsigned int queue, struct rp_wire_why *why);
/* A data queue that runs, beside `except`; queues_count: none does. */
unsigned int vdrv_queue_running(const struct virtio_device *device, unsigned int except);
int vdrv_queue_stop(struct virtio_device *device, unsigned int queue, uint32_t *ret_position, struct rp_wire_why *why);

/* doorbell.c */
int vdrv_doorbells_open(struct virtio_device *device, struct rp_wire_why *why);
void vdrv_doorbells_close(struct virtio_device *device);
int vdrv_doorbell_ring(struct virtio_device *device, unsigned int queue, struct rp_wire_why *why);
uint64_t vdrv_doorbell_page(const struct virtio_device *device, unsigned int queue);
/* -ENOTSUP: the file behind a window may change under its mapping. */
int vdrv_window_check(const struct rp_accel_transport_window *window, struct rp_wire_why *why);

/* notify_area.c */
int vdrv_notify_area(const struct virtio_device *device, unsigned int queue, struct rp_accel_notify_area *ret_area,
		     struct rp_wire_why *why);

/* config.c */
int vdrv_config_get(const struct virtio_device *device, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
		    struct rp_wire_why *why);
int vdrv_config_open(struct virtio_device *device, struct rp_wire_why *why);

/* net.c */
int vdrv_net_set(struct virtio_device *device, const struct rp_accel_net *net, struct rp_wire_why *why);
/* Whether the device has what a wish needs. @return 0, -EINVAL, -ENOTSUP. */
int vdrv_net_check(const struct virtio_device *device, const struct rp_accel_net *net, struct rp_wire_why *why);
/* What was set, to a device that has forgotten it. */
int vdrv_net_tell(struct virtio_device *device, struct rp_wire_why *why);

/* device.c */
int vdrv_usable(const struct virtio_device *device, struct rp_wire_why *why);
/* The one place where a device becomes a failed one. Returns rc. */
int vdrv_judge(struct virtio_device *device, int rc, const struct rp_wire_why *why);
/* RP_ACCEL_CHANGED_*, or a loss. */
int vdrv_process(struct virtio_device *device, struct rp_wire_why *why);
/* 0, or a loss; what it signalled stays to be processed. */
int vdrv_alive(const struct virtio_device *device, struct rp_wire_why *why);
/* Also of a half-opened one. */
void vdrv_close(struct virtio_device *device);
/* One without a transport and without descriptors. @return NULL: no memory. */
struct virtio_device *vdrv_allocate(const struct rp_virtio_config *config);
/* All but the transport, also of one that is half open; the device goes. */
void vdrv_release(struct virtio_device *device);
/* What our caller polls: the transport, config_event_fd, and notice_fd, which is made here. */
int vdrv_watch_all(struct virtio_device *device, struct rp_wire_why *why);
/* Where things are, before any register is touched. */
int vdrv_inspect(struct virtio_device *device, struct rp_wire_why *why);

/* hand_over.c */
struct virtio_adoption {
	struct rp_wire_parcel *parcel;
	const struct rp_accel_memory *memories;
	unsigned int memories_count;
	int (*adopt_transport)(void *ctx, struct rp_wire_parcel *parcel, const struct rp_accel_memory *memories,
			       unsigned int memories_count, struct rp_accel_transport *ret_transport,
			       struct rp_wire_why *why);
	void *ctx;
};
/* As rp_accel_give(), _leave(), _adopt(). */
int vdrv_give(const struct virtio_device *device, struct rp_wire_parcel *parcel, struct rp_wire_why *why);
void vdrv_leave(struct virtio_device *device);
int vdrv_adopt(const struct virtio_adoption *adoption, const struct rp_virtio_config *config,
	       struct rp_accel *ret_accel, struct rp_wire_why *why);

/* accel.c */
extern const struct rp_accel_ops vdrv_accel_ops;

#endif
