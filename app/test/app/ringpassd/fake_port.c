/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fake_port.h"
#include "rp_wire_fd.h"
#include "test_support.h"

struct rp_port {
	char name[RP_PORT_NAME_MAX];
	char socket_path[108];
	struct rp_port_config config;
	struct rp_port_ops ops;
	void *ctx;
	int fd;
	int listen_fd;
	int software_listen_fd;
	bool user_enabled[FAKE_QUEUES_COUNT];
	enum rp_port_doorbell_policy policies[FAKE_QUEUES_COUNT];
	enum rp_port_ring_policy rings[FAKE_QUEUES_COUNT];
	enum rp_port_wish wishes[FAKE_QUEUES_COUNT];
	unsigned int accelerators[FAKE_QUEUES_COUNT];
};

struct fake_ports fake_ports;

/* The daemon has one and hands it to every port. */
struct rp_port_files {
	int unused;
};

int
rp_port_files_create(struct rp_port_files **ret_files)
{
	*ret_files = calloc(1, sizeof(**ret_files));
	return *ret_files == NULL ? -ENOMEM : 0;
}

struct rp_port_files *
rp_port_files_destroy(struct rp_port_files *files)
{
	free(files);
	return NULL;
}

static int
driver_open(const struct rp_accel_devargs *args, struct rp_accel *ret_accel, struct rp_wire_why *why)
{
	(void)args;
	(void)ret_accel;
	return rp_wire_why_set(why, -ENOENT, "never opened");
}

static const char *const driver_keys[] = {"socket", NULL};
static const struct rp_accel_driver driver = {
	.name = "fake",
	.keys = driver_keys,
	.usage = "fake,socket=PATH",
	.open = driver_open,
};
static const struct rp_accel_driver *const drivers[] = {&driver, NULL};
const struct rp_accel_registry fake_registry = {.drivers = drivers};

void
fake_ports_reset(void)
{
	memset(&fake_ports, 0, sizeof(fake_ports));
}

void
fake_port_poke(struct rp_port *port)
{
	eventfd_write(port->fd, 1);
}

void
fake_port_tell(struct rp_port *port, enum rp_port_event_level level, int queue, const char *name, const char *text)
{
	struct rp_port_event event = {level, port->name, queue, name, text};

	port->ops.event(port->ctx, &event);
}

bool
fake_port_ring_node(struct rp_port *port, int node, int by)
{
	if (port->ops.ring_node == NULL)
		return false;
	port->ops.ring_node(port->ctx, node, by);
	return true;
}

/* It listens on what it is given, and on nothing of its own. */
static int
get_listeners(struct rp_port *port, struct rp_wire_why *why)
{
	const struct rp_port_software_config *software = &port->config.software;
	int rc = 0;

	if (port->ops.listen == NULL)
		return 0;
	if (port->config.socket_mode == RP_PORT_SERVER)
		rc = port->ops.listen(port->ctx, port->socket_path, &port->listen_fd, why);
	if (rc == 0 && software->socket_path != NULL && software->socket_mode == RP_PORT_SERVER)
		rc = port->ops.listen(port->ctx, software->socket_path, &port->software_listen_fd, why);
	return rc;
}

int
rp_port_create(const struct rp_port_config *config, const struct rp_accel_registry *registry,
	       const struct rp_port_ops *ops, void *ctx, struct rp_port **ret_port, struct rp_wire_why *why)
{
	struct rp_port *port;
	unsigned int i;
	int rc;

	(void)registry;
	fake_ports.create_count++;
	if (fake_ports.create_error < 0)
		return rp_wire_why_set(why, fake_ports.create_error, "%s", fake_ports.create_text);
	port = calloc(1, sizeof(*port));
	if (port == NULL)
		return -ENOMEM;
	port->config = *config;
	snprintf(port->name, sizeof(port->name), "%s", config->name);
	snprintf(port->socket_path, sizeof(port->socket_path), "%s", config->socket_path);
	port->ops = *ops;
	port->ctx = ctx;
	port->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	port->listen_fd = port->software_listen_fd = -1;
	rc = get_listeners(port, why);
	if (rc < 0) {
		rp_wire_fd_close(&port->listen_fd);
		rp_wire_fd_close(&port->fd);
		free(port);
		return rc;
	}
	for (i = 0; i < FAKE_QUEUES_COUNT; i++) {
		port->user_enabled[i] = true;
		port->policies[i] = config->doorbell;
		port->wishes[i] = config->wish;
	}
	fake_ports.alive_count++;
	*ret_port = port;
	return 0;
}

int
rp_port_give(struct rp_port *port, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	bool meant = fake_ports.give_error_port == NULL || strcmp(fake_ports.give_error_port, port->name) == 0;

	if (!fake_ports.connected)
		return rp_wire_why_set(why, -ENOTCONN, "no frontend is connected");
	if (fake_ports.again_count > 0 && fake_ports.again_count-- > 0)
		return rp_wire_why_set(why, -EAGAIN, "in the middle of a message");
	/* What was packed by then is not for others. */
	if (fake_ports.give_error < 0 && meant)
		return rp_wire_why_set(why, fake_ports.give_error, "the fake port stays");
	rp_wire_parcel_put_text(parcel, "name", port->name);
	rp_wire_parcel_put_fd(parcel, "fd", port->fd);
	return rp_wire_parcel_result(parcel, why);
}

void
rp_port_resume(struct rp_port *port)
{
	(void)port;
	fake_ports.resume_count++;
}

int
rp_port_adopt(const struct rp_port_config *config, const struct rp_accel_registry *registry,
	      const struct rp_port_ops *ops, void *ctx, struct rp_wire_parcel *parcel, struct rp_port **ret_port,
	      struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = rp_wire_parcel_need_fd(parcel, "fd");
	char name[RP_PORT_NAME_MAX];
	int rc;

	rp_wire_parcel_get_text(parcel, "name", name, sizeof(name));
	rc = rp_wire_parcel_result(parcel, why);
	if (rc < 0)
		return rc;
	assert_string_equal(name, config->name);
	if (fake_ports.adopt_error < 0)
		return rp_wire_why_set(why, fake_ports.adopt_error, "the device is gone");
	fake_ports.adopt_count++;
	return rp_port_create(config, registry, ops, ctx, ret_port, why);
}

static struct rp_port *
free_port(struct rp_port *port)
{
	rp_wire_fd_close(&port->listen_fd);
	rp_wire_fd_close(&port->software_listen_fd);
	rp_wire_fd_close(&port->fd);
	fake_ports.alive_count--;
	free(port);
	return NULL;
}

struct rp_port *
rp_port_leave(struct rp_port *port)
{
	fake_ports.leave_count++;
	return free_port(port);
}

struct rp_port *
rp_port_destroy(struct rp_port *port)
{
	if (port == NULL)
		return NULL;
	fake_port_tell(port, RP_PORT_EVENT_NOTICE, -1, "closing", "the fake port closes");
	return free_port(port);
}
int
rp_port_fd(const struct rp_port *port)
{
	return port->fd;
}

int
rp_port_process(struct rp_port *port)
{
	eventfd_t count;

	eventfd_read(port->fd, &count);
	fake_ports.process_count++;
	return 0;
}

static int
set_enabled(struct rp_port *port, unsigned int queue, bool enabled, struct rp_wire_why *why)
{
	if (queue >= FAKE_QUEUES_COUNT)
		return rp_wire_why_set(why, -EINVAL, "queue: %u, expected 0 to %d", queue, FAKE_QUEUES_COUNT - 1);
	port->user_enabled[queue] = enabled;
	fake_port_tell(port, RP_PORT_EVENT_NOTICE, (int)queue, enabled ? "queue-started" : "queue-stopped",
		       "by the user");
	return 0;
}

int
rp_port_queue_enable(struct rp_port *port, unsigned int queue, struct rp_wire_why *why)
{
	return set_enabled(port, queue, true, why);
}

int
rp_port_queue_disable(struct rp_port *port, unsigned int queue, struct rp_wire_why *why)
{
	return set_enabled(port, queue, false, why);
}

int
rp_port_queue_doorbell(struct rp_port *port, unsigned int queue, enum rp_port_doorbell_policy policy,
		       struct rp_wire_why *why)
{
	if (queue >= FAKE_QUEUES_COUNT)
		return rp_wire_why_set(why, -EINVAL, "queue: %u, expected 0 to %d", queue, FAKE_QUEUES_COUNT - 1);
	port->policies[queue] = policy;
	return 0;
}

int
rp_port_queue_ring(struct rp_port *port, unsigned int queue, enum rp_port_ring_policy policy, struct rp_wire_why *why)
{
	if (queue >= FAKE_QUEUES_COUNT)
		return rp_wire_why_set(why, -EINVAL, "queue: %u, expected 0 to %d", queue, FAKE_QUEUES_COUNT - 1);
	port->rings[queue] = policy;
	return 0;
}

int
rp_port_move(struct rp_port *port, unsigned int queue, unsigned int queues_count, enum rp_port_wish wish,
	     struct rp_wire_why *why)
{
	size_t used = strlen(fake_ports.moves);
	unsigned int i;

	snprintf(fake_ports.moves + used, sizeof(fake_ports.moves) - used, "%u+%u=%s ", queue, queues_count,
		 rp_port_wish_name(wish));
	assert_true(queues_count > 0 && queue + queues_count <= FAKE_QUEUES_COUNT);
	for (i = queue; i < queue + queues_count; i++)
		if (fake_ports.move_error < 0 && i >= fake_ports.move_error_queue)
			return rp_wire_why_set(why, fake_ports.move_error, "queue %u cannot move", i);
	for (i = queue; i < queue + queues_count; i++)
		port->wishes[i] = wish;
	return 0;
}

int
rp_port_transfer(struct rp_port *port, unsigned int queue, unsigned int queues_count, unsigned int accelerator,
		 struct rp_wire_why *why)
{
	size_t used = strlen(fake_ports.moves);
	unsigned int i;

	snprintf(fake_ports.moves + used, sizeof(fake_ports.moves) - used, "%u+%u->%u ", queue, queues_count,
		 accelerator);
	assert_true(queues_count > 0 && queue + queues_count <= FAKE_QUEUES_COUNT);
	for (i = queue; i < queue + queues_count; i++) {
		if (fake_ports.move_error < 0 && i >= fake_ports.move_error_queue)
			return rp_wire_why_set(why, fake_ports.move_error, "queue %u cannot move", i);
		port->accelerators[i] = accelerator;
	}
	return 0;
}

void
rp_port_get_software_info(const struct rp_port *port, struct rp_port_software_info *ret_info)
{
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->configured = port->config.software.socket_path != NULL;
	ret_info->socket_mode = port->config.software.socket_mode;
	snprintf(ret_info->reason, sizeof(ret_info->reason), "the backend is not there yet");
	if (!ret_info->configured || !fake_ports.software_known)
		return;
	ret_info->features = 0x140000000;
	ret_info->protocol_features = 0x9;
	ret_info->connections = 3;
	ret_info->timeouts = 2;
	if (!fake_ports.software_usable)
		return;
	ret_info->reason[0] = '\0';
	ret_info->connected = ret_info->usable = true;
	ret_info->kind = RP_PORT_SOFTWARE_LIBRTE_VHOST;
	ret_info->pid = 77;
	ret_info->queues_count = 2;
}

void
rp_port_get_info(const struct rp_port *port, struct rp_port_info *ret_info)
{
	memset(ret_info, 0, sizeof(*ret_info));
	snprintf(ret_info->name, sizeof(ret_info->name), "%s", port->name);
	snprintf(ret_info->socket_path, sizeof(ret_info->socket_path), "%s", port->socket_path);
	ret_info->socket_mode = port->config.socket_mode;
	ret_info->profile = port->config.profile;
	ret_info->connected = fake_ports.connected;
	ret_info->frontend_pid = fake_ports.connected ? 4242 : 0;
	ret_info->features_offered = 0x130000000;
	ret_info->queues_count = fake_ports.no_queues ? 0 : FAKE_QUEUES_COUNT;
	ret_info->accelerators_count = port->config.accelerators_count;
	ret_info->regions_count = fake_ports.connected ? 2 : 0;
	ret_info->memory_bytes = fake_ports.connected ? 1 << 30 : 0;
	ret_info->access_platform = fake_ports.access_platform;
	ret_info->iommu = (struct rp_port_iommu_info){
		.translations = 1,
		.updates = 2,
		.invalidations = 3,
		.misses = 4,
		.misses_refused = 5,
		.rings_stopped = 6,
		.device_translations = 7,
		.device_page_requests = 8,
		.device_pages = 9,
		.device_invalidations = 10,
	};
}

int
rp_port_get_queue_mode(const struct rp_port *port, unsigned int queue, enum rp_port_queue_mode *ret_mode)
{
	if (queue >= FAKE_QUEUES_COUNT)
		return -EINVAL;
	*ret_mode = RP_PORT_QUEUE_STOPPED;
	if (port->wishes[queue] == RP_PORT_WISH_SOFTWARE && fake_ports.connected)
		*ret_mode = RP_PORT_QUEUE_SOFTWARE;
	else if (port->user_enabled[queue] && fake_ports.connected)
		*ret_mode =
			port->policies[queue] == RP_PORT_DOORBELL_AUTO ? RP_PORT_QUEUE_DIRECT : RP_PORT_QUEUE_RELAYED;
	if (*ret_mode != RP_PORT_QUEUE_STOPPED && *ret_mode != RP_PORT_QUEUE_SOFTWARE &&
	    port->rings[queue] == RP_PORT_RING_SHADOW)
		*ret_mode = RP_PORT_QUEUE_SHADOW;
	return 0;
}

int
rp_port_get_queue_info(struct rp_port *port, unsigned int queue, struct rp_port_queue_info *ret_info)
{
	if (queue >= FAKE_QUEUES_COUNT)
		return -EINVAL;
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->queue = queue;
	ret_info->user_enabled = port->user_enabled[queue];
	ret_info->frontend_enabled = ret_info->frontend_started = fake_ports.connected;
	ret_info->doorbell_policy = port->policies[queue];
	ret_info->ring_policy = port->rings[queue];
	ret_info->node = fake_ports.connected ? 1 : -1;
	ret_info->redone = 7;
	ret_info->accesses_refused = 3;
	ret_info->wish = port->wishes[queue];
	ret_info->since_ms = 1500;
	if (ret_info->wish == RP_PORT_WISH_SOFTWARE) {
		ret_info->owner = RP_PORT_OWNER_SOFTWARE;
		ret_info->moves = ret_info->moves_to_software = 1;
		ret_info->blackouts_count = 1;
		ret_info->blackout_min_us = ret_info->blackout_median_us = 310;
		ret_info->blackout_max_us = 312;
	} else {
		ret_info->owner = fake_ports.connected ? RP_PORT_OWNER_HARDWARE : RP_PORT_OWNER_NONE;
		snprintf(ret_info->wish_reason, sizeof(ret_info->wish_reason), "because");
	}
	ret_info->vfio_file = RP_PORT_VFIO_FILE_HELD;
	rp_port_get_queue_mode(port, queue, &ret_info->mode);
	if (ret_info->mode == RP_PORT_QUEUE_STOPPED)
		snprintf(ret_info->reason, sizeof(ret_info->reason), "%s",
			 ret_info->user_enabled ? "no frontend is connected" : "disabled by the user");
	if (ret_info->mode == RP_PORT_QUEUE_DIRECT)
		ret_info->doorbell = RP_PORT_DOORBELL_MAPPED;
	ret_info->doorbell_wanted = true;
	ret_info->accelerator = (int)port->accelerators[queue];
	ret_info->accelerator_queue = queue;
	ret_info->counters_valid = true;
	ret_info->counters.direct_kicks = UINT64_MAX;
	return 0;
}

int
rp_port_get_accelerator_info(const struct rp_port *port, unsigned int index, struct rp_port_accelerator_info *ret_info)
{
	if (index >= port->config.accelerators_count)
		return -EINVAL;
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->open = true;
	snprintf(ret_info->info.driver, sizeof(ret_info->info.driver), "fake");
	ret_info->info.class = RP_ACCEL_CLASS_A;
	ret_info->info.queues_count = FAKE_QUEUES_COUNT;
	ret_info->info.vfio_file_fd = -1;
	ret_info->sections = (struct rp_dma_sections_counters){
		.mapped_count = 1,
		.left_out_count = 2,
		.left_out = {[RP_DMA_SECTION_INTERRUPTS] = 2, [RP_DMA_SECTION_REFUSED] = 1},
		.reports_held_back = 1,
	};
	ret_info->link = RP_PORT_LINK_UP;
	ret_info->net = (struct rp_accel_net){.queue_pairs = 1, .has_mac = true, .mac = {0x52, 0x54, 0, 1, 2, 3}};
	return 0;
}

/* The first half of a window is mapped, the other is not. */
int
rp_port_get_window_info(const struct rp_port *port, unsigned int index, struct rp_port_window_info *ret_info)
{
	unsigned int i;

	if (index >= port->config.windows_count)
		return -EINVAL;
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->window = port->config.windows[index];
	ret_info->sections_count = fake_ports.connected ? 2 : 0;
	for (i = 0; i < ret_info->sections_count; i++)
		ret_info->sections[i].section = (struct rp_dma_section){
			.kind = RP_DMA_SECTION_DEVICE,
			.iova = ret_info->window.iova + i * 0x1000,
			.size_bytes = 0x1000,
			.offset_bytes = ret_info->window.offset_bytes + i * 0x1000,
		};
	ret_info->sections[1].cause = RP_DMA_SECTION_INTERRUPTS;
	snprintf(ret_info->sections[1].reason, sizeof(ret_info->sections[1].reason), "a table");
	return 0;
}

const char *
rp_port_queue_mode_name(enum rp_port_queue_mode mode)
{
	static const char *const names[] = {"stopped", "direct", "relayed", "shadow", "software"};

	return names[mode];
}

const char *
rp_port_doorbell_state_name(enum rp_port_doorbell_state state)
{
	static const char *const names[] = {"unmapped", "pending", "mapped", "revoking"};

	return names[state];
}

const char *
rp_port_vfio_file_state_name(enum rp_port_vfio_file_state state)
{
	static const char *const names[] = {"none", "offered", "held", "revoking"};

	return names[state];
}

const char *
rp_port_ring_policy_name(enum rp_port_ring_policy policy)
{
	static const char *const names[] = {"auto", "direct", "shadow"};

	return names[policy];
}

const char *
rp_port_owner_name(enum rp_port_owner owner)
{
	static const char *const names[] = {"none", "hardware", "software"};

	return names[owner];
}

const char *
rp_port_wish_name(enum rp_port_wish wish)
{
	static const char *const names[] = {"auto", "hardware", "software"};

	return names[wish];
}

const char *
rp_port_software_kind_name(enum rp_port_software_kind kind)
{
	static const char *const names[] = {"auto", "specification", "librte_vhost"};

	return names[kind];
}

const char *
rp_port_link_name(enum rp_port_link link)
{
	static const char *const names[] = {"unknown", "up", "down"};

	return names[link];
}

const char *
rp_port_event_level_name(enum rp_port_event_level level)
{
	static const char *const names[] = {"error", "warning", "notice", "debug"};

	return names[level];
}
