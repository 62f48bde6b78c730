/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A VMM without a machine: what a VMM does with lib/vhost_user's frontend, in one file.
 * It has guest memory, plays the driver of a virtio device in it, and is connected to
 * a backend such as ringpassd. With --guest a guest of KVM's kicks and takes the
 * interrupts (guest.c). From the top to the bottom:
 *
 *   master_open   guest memory, the guest, VFIO files, the frontend, negotiation, rings
 *   master_round  start the rings, wait for doorbells, work (driver.c), stop the rings
 *
 *   master_leave  the end of the connection
 *
 * main.c has the options and says what was seen.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "master.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

#define BIT(n) (1ull << (n))

/*
 * What this program uses, and no more: a backend may insist on what was acked (one of
 * QEMU's ends the connection when INFLIGHT_SHMFD was and no in-flight region comes). The
 * profile brings its own bit.
 */
#define PROTOCOL_FEATURES                                                                                              \
	(BIT(RP_VHU_PF_MQ_BIT) | BIT(RP_VHU_PF_REPLY_ACK_BIT) | BIT(RP_VHU_PF_BACKEND_REQ_BIT) |                       \
	 BIT(RP_VHU_PF_CONFIG_BIT) | BIT(RP_VHU_PF_BACKEND_SEND_FD_BIT) | BIT(RP_VHU_PF_HOST_NOTIFIER_BIT))

int
master_complain(const char *what, int rc, const struct rp_wire_why *why)
{
	fprintf(stderr, "master: %s: %s\n", what, why != NULL && why->text[0] != '\0' ? why->text : strerror(-rc));
	return rc;
}

/*
 * A VMM maps `map` into its guest now, over the queue's place in the notify region, and
 * takes it out again when the address is NULL. Without a guest, rp_vhu_frontend_kick()
 * stores where the guest would: nothing is left to do but to count.
 */
static int
on_notify_area(void *ctx, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why)
{
	struct master *master = ctx;
	int rc = master->guest == NULL ? 0 : guest_doorbell(master->guest, queue, map, why);

	if (rc < 0)
		return rc;
	if (map->address != NULL)
		master->queues[queue].maps++;
	else
		master->queues[queue].unmaps++;
	return 0;
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	(void)ctx;
	fprintf(stderr, "master: refused: %s\n", why->text);
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	(void)ctx;
	fprintf(stderr, "master: the backend is gone: %s\n", why->text);
}

static const struct rp_vhu_frontend_ops frontend_ops = {
	.notify_area = on_notify_area,
	.refused = on_refused,
	.disconnected = on_disconnected,
};

static int
memory_open(struct master *master)
{
	uint64_t page_mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
	uint16_t size = (uint16_t)master->options->queue_size;
	uint64_t ring_bytes = rp_vring_drv_bytes(size, master->options->packed ? BIT(VIRTIO_F_RING_PACKED) : 0);

	master->queue_bytes = (ring_bytes + (uint64_t)size * MASTER_BUFFER_BYTES + page_mask) & ~page_mask;
	master->memory_bytes = master->queue_bytes * master->queues_count;
	master->memory_fd = memfd_create("guest memory", MFD_CLOEXEC);
	if (master->memory_fd < 0 || ftruncate(master->memory_fd, (off_t)master->memory_bytes) < 0)
		return master_complain("guest memory", -errno, NULL);
	master->memory = mmap(NULL, master->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, master->memory_fd, 0);
	if (master->memory == MAP_FAILED) {
		master->memory = NULL;
		return master_complain("guest memory", -errno, NULL);
	}
	return 0;
}

static int
add_file(void *ctx, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why)
{
	struct master *master = ctx;
	int rc = rp_vhu_kvm_add(master->kvm, fd, type, why);

	master->files_added += rc == 0;
	return rc;
}

static void
remove_file(void *ctx, int fd, enum rp_vhu_vfio_type type)
{
	struct master *master = ctx;

	master->files_removed += rp_vhu_kvm_remove(master->kvm, fd, type, NULL) == 0;
}

static const struct rp_vhu_vfio_files_ops kvm_files_ops = {.add = add_file, .remove = remove_file};

/* One set of VFIO files for the whole VMM; with a guest each of them is told to KVM's VFIO device. */
static int
vfio_files_open(struct master *master)
{
	struct rp_vhu_kvm_config config = {.vm_fd = -1, .device_fd = -1};
	struct rp_wire_why why = {0};
	int rc;

	if (master->guest == NULL)
		return rp_vhu_vfio_files_create(NULL, NULL, &master->vfio_files);
	config.vm_fd = guest_vm_fd(master->guest);
	rc = rp_vhu_kvm_create(&config, &master->kvm, &why);
	if (rc < 0)
		return master_complain("KVM", rc, &why);
	return rp_vhu_vfio_files_create(&kvm_files_ops, master, &master->vfio_files);
}

static int
guest_open_if_wanted(struct master *master)
{
	const struct guest_config config = {
		.queues_count = master->queues_count,
		.memory = master->memory,
		.memory_gpa = MASTER_GPA,
		.memory_bytes = master->memory_bytes,
	};
	struct rp_wire_why why = {0};
	int rc = master->options->guest ? guest_open(&config, &master->guest, &why) : 0;

	return rc < 0 ? master_complain("guest", rc, &why) : 0;
}

static int
socket_open(const struct master_options *options, int *ret_fd)
{
	RP_WIRE_FD_SCOPED int listener = -1;
	struct rp_wire_why why = {0};
	struct pollfd wait = {.events = POLLIN};
	int rc;

	if (!options->listen) {
		rc = rp_wire_socket_connect(options->socket_path, ret_fd, &why);
		return rc < 0 ? master_complain(options->socket_path, rc, &why) : 0;
	}
	rc = rp_wire_socket_listen(options->socket_path, &listener, &why);
	if (rc < 0)
		return master_complain(options->socket_path, rc, &why);
	wait.fd = listener;
	while (poll(&wait, 1, -1) < 0 && errno == EINTR)
		;
	rc = rp_wire_socket_accept(listener, ret_fd);
	unlink(options->socket_path);
	return rc < 0 ? master_complain(options->socket_path, rc, NULL) : 0;
}

static int
negotiate(struct master *master)
{
	const struct master_options *options = master->options;
	uint64_t wanted = BIT(VIRTIO_F_VERSION_1) | BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT);
	struct rp_vhu_region region = {
		.gpa = MASTER_GPA,
		.size_bytes = master->memory_bytes,
		.uva = (uint64_t)(uintptr_t)master->memory,
		.fd = master->memory_fd,
	};
	struct rp_wire_why why = {0};
	unsigned int offered;
	int rc = rp_vhu_frontend_negotiate(master->frontend, &why);

	if (rc < 0)
		return master_complain("negotiation", rc, &why);
	master->protocol_features = rp_vhu_frontend_protocol_features(master->frontend);
	if (options->packed)
		wanted |= BIT(VIRTIO_F_RING_PACKED);
	if (!options->blk && options->pairs > 1)
		wanted |= BIT(VIRTIO_NET_F_MQ);
	master->features = rp_vhu_frontend_features_offered(master->frontend) & wanted;
	if (options->packed && (master->features & BIT(VIRTIO_F_RING_PACKED)) == 0)
		return master_complain("--packed: not offered by the backend", -ENOTSUP, NULL);
	/* A net device counts pairs, others count rings. */
	offered = rp_vhu_frontend_queues_offered(master->frontend);
	if (offered < (options->blk ? master->queues_count : options->pairs))
		return master_complain("--queue-pairs: more than the backend has", -ENOTSUP, NULL);
	rc = rp_vhu_frontend_set_features(master->frontend, master->features, &why);
	if (rc == 0)
		rc = rp_vhu_frontend_set_mem_table(master->frontend, &region, 1, &why);
	return rc < 0 ? master_complain("start", rc, &why) : 0;
}

static int
queue_open(struct master *master, unsigned int index)
{
	struct master_queue *queue = &master->queues[index];
	uint16_t size = (uint16_t)master->options->queue_size, i;
	uint64_t offset = index * master->queue_bytes;
	struct rp_wire_why why = {0};
	int rc;

	queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	queue->free = calloc(size, sizeof(*queue->free));
	queue->buffers = master->memory + offset + rp_vring_drv_bytes(size, master->features);
	if (queue->kick_fd < 0 || queue->call_fd < 0 || queue->free == NULL)
		return master_complain("queue", -ENOMEM, NULL);
	for (i = 0; i < size; i++)
		queue->free[queue->free_count++] = i;
	queue->position = rp_vring_position_fresh(master->features);
	rc = rp_vring_drv_create(size, master->memory + offset, MASTER_GPA + offset, master->features, &queue->ring);
	if (rc < 0)
		return master_complain("ring", rc, NULL);
	if (master->guest != NULL)
		rc = guest_wire(master->guest, index, queue->kick_fd, queue->call_fd, &why);
	return rc < 0 ? master_complain("guest", rc, &why) : 0;
}

int
master_open(struct master *master)
{
	const struct master_options *options = master->options;
	struct rp_vhu_frontend_config config = {
		.profile = options->profile,
		.protocol_features = PROTOCOL_FEATURES,
	};
	RP_WIRE_FD_SCOPED int fd = -1;
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc;

	master->queues_count = options->blk ? 1 : 2 * options->pairs;
	master->queues = calloc(master->queues_count, sizeof(*master->queues));
	if (master->queues == NULL)
		return master_complain("queues", -ENOMEM, NULL);
	for (i = 0; i < master->queues_count; i++)
		master->queues[i].kick_fd = master->queues[i].call_fd = -1;
	config.queues_max = (uint16_t)master->queues_count;
	rc = memory_open(master);
	if (rc == 0)
		rc = guest_open_if_wanted(master);
	if (rc == 0)
		rc = vfio_files_open(master);
	if (rc == 0)
		rc = socket_open(options, &fd);
	if (rc < 0)
		return rc;
	config.vfio_files = master->vfio_files;
	rc = rp_vhu_frontend_create(&fd, &config, &frontend_ops, master, &master->frontend);
	if (rc < 0)
		return master_complain("frontend", rc, NULL);
	rc = negotiate(master);
	for (i = 0; rc == 0 && i < master->queues_count; i++)
		rc = queue_open(master, i);
	if (rc == 0 && master->guest != NULL && (rc = guest_run(master->guest, &why)) < 0)
		return master_complain("guest", rc, &why);
	return rc;
}

void
master_leave(struct master *master)
{
	unsigned int i;

	/* It takes its doorbells out of the guest and gives its VFIO files back. */
	master->frontend = rp_vhu_frontend_destroy(master->frontend);
	for (i = 0; master->guest != NULL && i < master->queues_count; i++) {
		struct guest_counts counts = guest_counts(master->guest, i);

		master->queues[i].guest_kicks = counts.kicks;
		master->queues[i].interrupts = counts.interrupts;
	}
}

void
master_close(struct master *master)
{
	unsigned int i;

	master_leave(master);
	master->vfio_files = rp_vhu_vfio_files_destroy(master->vfio_files);
	master->kvm = rp_vhu_kvm_destroy(master->kvm);
	master->guest = guest_close(master->guest);
	for (i = 0; i < master->queues_count; i++) {
		master->queues[i].ring = rp_vring_drv_destroy(master->queues[i].ring);
		rp_wire_fd_close(&master->queues[i].kick_fd);
		rp_wire_fd_close(&master->queues[i].call_fd);
		free(master->queues[i].free);
	}
	if (master->memory != NULL)
		munmap(master->memory, master->memory_bytes);
	rp_wire_fd_close(&master->memory_fd);
	free(master->queues);
}

static int
queue_start(struct master *master, unsigned int index)
{
	struct master_queue *queue = &master->queues[index];
	const uint64_t uva = (uint64_t)(uintptr_t)master->memory - MASTER_GPA;
	struct rp_vring_layout layout;
	struct rp_wire_why why = {0};
	struct rp_vhu_frontend_ring ring;
	int rc;

	rp_vring_drv_layout(queue->ring, &layout);
	ring = (struct rp_vhu_frontend_ring){
		.num = layout.num,
		.base = queue->position,
		.desc_uva = layout.desc_iova + uva,
		.avail_uva = layout.avail_iova + uva,
		.used_uva = layout.used_iova + uva,
		.kick_fd = queue->kick_fd,
		.call_fd = queue->call_fd,
	};
	rc = rp_vhu_frontend_ring_start(master->frontend, index, &ring, &why);
	if (rc == 0 && (master->features & BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT)) != 0)
		rc = rp_vhu_frontend_ring_enable(master->frontend, index, true, &why);
	return rc < 0 ? master_complain("ring start", rc, &why) : 0;
}

static int
queue_stop(struct master *master, unsigned int index)
{
	struct master_queue *queue = &master->queues[index];
	struct rp_wire_why why = {0};
	int rc;

	queue->doorbell = rp_vhu_frontend_notify_map(master->frontend, index).address != NULL;
	rc = rp_vhu_frontend_ring_stop(master->frontend, index, &queue->position, &why);
	if (rc < 0)
		return master_complain("ring stop", rc, &why);
	/* Nothing changes any more: what came back is all that there is. */
	rc = driver_take_used(queue);
	return rc < 0 ? rc : 0;
}

/* A backend may offer doorbells some time after the start, or never. */
static int
wait_for_doorbells(struct master *master)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + master->options->wait_ms;
	unsigned int mapped = 0, i;
	int rc = 0;

	while (rc == 0 && mapped < master->queues_count) {
		rc = driver_wait(master, &master->queues[0], deadline_ms);
		for (i = mapped = 0; i < master->queues_count; i++)
			mapped += rp_vhu_frontend_notify_map(master->frontend, i).address != NULL;
	}
	return rc == -ETIMEDOUT ? 0 : rc;
}

/* For somebody who wants to look at the other side meanwhile; the backend is served. */
static int
pause_for(struct master *master, const char *moment)
{
	struct pollfd wait[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
				 {.fd = rp_vhu_frontend_fd(master->frontend), .events = POLLIN}};
	char byte = 0;
	int rc = 0;

	if (!master->options->pause)
		return 0;
	printf("master: %s\n", moment);
	fflush(stdout);
	while (rc == 0 && byte != '\n') {
		poll(wait, 2, -1);
		if (wait[1].revents != 0)
			rc = rp_vhu_frontend_process(master->frontend);
		if (wait[0].revents != 0 && read(STDIN_FILENO, &byte, 1) == 0)
			byte = '\n'; /* nobody will say more */
		wait[0].revents = wait[1].revents = 0;
	}
	return rc;
}

static void
count_vfio_files(struct master *master)
{
	unsigned int count = rp_vhu_vfio_files_count(master->vfio_files);

	if (count > master->vfio_files_most)
		master->vfio_files_most = count;
}

int
master_round(struct master *master)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && i < master->queues_count; i++)
		rc = queue_start(master, i);
	if (rc == 0)
		rc = wait_for_doorbells(master);
	if (rc == 0)
		rc = pause_for(master, "the rings have started");
	if (rc == 0)
		rc = driver_work(master);
	if (rc == 0)
		rc = pause_for(master, "the work is done");
	count_vfio_files(master);
	for (i = 0; rc == 0 && i < master->queues_count; i++)
		rc = queue_stop(master, i);
	return rc;
}
