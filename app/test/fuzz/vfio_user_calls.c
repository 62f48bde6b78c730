/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "vfio_user_caller.h"

#define ACCESS_MAX 8192u
#define WRITES_MAX 300u
#define VECTORS_MAX 40u /* more than one message has room for */
#define PLACES_ROOM 16u
#define FEATURE_UNKNOWN 9u /* to both: its data is bytes */

void
fuzz_vfu_call_begin(struct fuzz_vfu_caller *caller)
{
	caller->judged = caller->started_count == 0 && !caller->unframed;
	caller->lied = false;
}

int
fuzz_vfu_call_end(struct fuzz_vfu_caller *caller, int rc)
{
	fuzz_require(rc != 0 || !caller->judged || caller->unframed || !caller->lied,
		     "no call succeeds by an answer that breaks a rule");
	return rc;
}

void
fuzz_vfu_answered(struct fuzz_vfu_caller *caller, const struct fuzz_vfu_message *message,
		  const struct fuzz_vfu_asked *asked, bool whole)
{
	caller->unframed |= !whole || !fuzz_vfu_is_framed(message);
	caller->lied |= fuzz_vfu_reply_lies(message, asked);
}

static void
on_done(void *ctx, int error, const struct rp_wire_why *why)
{
	struct fuzz_vfu_caller *caller = ctx;

	fuzz_require(caller->started_count > 0, "a command ends once");
	fuzz_require(error <= 0 && (error == 0 || why->text[0] != '\0'), "an error has a reason");
	caller->started_count--;
}

struct rp_vfu_client_done
fuzz_vfu_done(struct fuzz_vfu_caller *caller)
{
	return (struct rp_vfu_client_done){on_done, caller};
}

/* What a caller would mmap lies in the region and in the file, in whole pages and apart. */
static void
check_region(const struct rp_vfu_client_region *region)
{
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct stat file;
	uint32_t i, j;

	if (region->fd < 0)
		return;
	fuzz_require(fstat(region->fd, &file) == 0, "a region's descriptor is open");
	fuzz_require(region->fd_offset_bytes % page_bytes == 0, "a region begins at a page of its file");
	for (i = 0; i < region->areas_count; i++) {
		uint64_t offset_bytes = region->areas[i].offset_bytes, size_bytes = region->areas[i].size_bytes;

		fuzz_require(offset_bytes <= region->size_bytes && size_bytes <= region->size_bytes - offset_bytes,
			     "an area lies in its region");
		fuzz_require(size_bytes > 0 && offset_bytes % page_bytes == 0 && size_bytes % page_bytes == 0,
			     "an area is of whole pages");
		if (S_ISREG(file.st_mode))
			fuzz_require(region->fd_offset_bytes + offset_bytes + size_bytes <= (uint64_t)file.st_size,
				     "an area lies in its file");
		for (j = 0; j < i; j++)
			fuzz_require(offset_bytes >= region->areas[j].offset_bytes + region->areas[j].size_bytes ||
					     region->areas[j].offset_bytes >= offset_bytes + size_bytes,
				     "areas do not overlap");
	}
}

void
fuzz_vfu_learn(struct fuzz_vfu_caller *caller)
{
	struct rp_vfu_client_device device;
	struct rp_vfu_client_region region;
	uint32_t index, count, flags;

	switch (fuzz_below(caller->input, 3)) {
	case 0:
		if (FUZZ_VFU_CALL(caller, rp_vfu_client_device_info(caller->client, &device, NULL)) != 0)
			break;
		fuzz_require(device.regions_count <= RP_VFU_REGIONS_MAX && device.irqs_count <= RP_VFU_IRQ_INDICES_MAX,
			     "regions and interrupts have a limit");
		fuzz_require(!device.pci || (device.regions_count > RP_VFU_PCI_CONFIG_REGION &&
					     device.irqs_count > RP_VFU_PCI_MSIX_IRQ),
			     "a PCI device has what PCI devices have");
		break;
	case 1:
		index = fuzz_below(caller->input, FUZZ_VFU_REGIONS);
		if (FUZZ_VFU_CALL(caller, rp_vfu_client_region_info(caller->client, index, &region, NULL)) == 0)
			check_region(&region);
		break;
	default:
		index = fuzz_below(caller->input, RP_VFU_PCI_IRQS_COUNT);
		if (FUZZ_VFU_CALL(caller, rp_vfu_client_irq_info(caller->client, index, &count, &flags, NULL)) == 0)
			fuzz_require(count <= RP_VFU_IRQ_VECTORS_MAX, "vectors have a limit");
		break;
	}
}

void
fuzz_vfu_access(struct fuzz_vfu_caller *caller)
{
	uint32_t region = fuzz_below(caller->input, FUZZ_VFU_REGIONS);
	uint64_t offset_bytes = fuzz_u16(caller->input);
	uint32_t count_bytes = 1 + fuzz_u16(caller->input) % ACCESS_MAX;
	unsigned int kind = fuzz_u8(caller->input);
	uint8_t *bytes = calloc(1, count_bytes);

	fuzz_require(bytes != NULL, "memory for an access");
	if (kind < 128)
		FUZZ_VFU_CALL(caller, rp_vfu_client_region_read(caller->client, region, offset_bytes, count_bytes,
								bytes, NULL));
	else if (kind < 240)
		FUZZ_VFU_CALL(caller, rp_vfu_client_region_write(caller->client, region, offset_bytes, count_bytes,
								 bytes, NULL));
	else
		rp_vfu_client_region_write_post(caller->client, region, offset_bytes, count_bytes, bytes, NULL);
	free(bytes);
}

void
fuzz_vfu_access_start(struct fuzz_vfu_caller *caller)
{
	uint32_t region = fuzz_below(caller->input, FUZZ_VFU_REGIONS);
	uint64_t offset_bytes = fuzz_u16(caller->input);
	uint32_t count_bytes = 1 + fuzz_below(caller->input, sizeof(caller->late));
	const struct rp_vfu_client_done done = fuzz_vfu_done(caller);
	int rc;

	if (fuzz_u8(caller->input) < 128)
		rc = rp_vfu_client_region_read_start(caller->client, region, offset_bytes, count_bytes, caller->late,
						     &done, NULL);
	else
		rc = rp_vfu_client_region_write_start(caller->client, region, offset_bytes, count_bytes, caller->late,
						      &done, NULL);
	caller->started_count += rc == 0;
}

void
fuzz_vfu_write_multi(struct fuzz_vfu_caller *caller)
{
	static struct rp_vfu_client_write writes[WRITES_MAX];
	unsigned int count = fuzz_u16(caller->input) % (WRITES_MAX + 1), done = 0, i;
	uint32_t region = fuzz_below(caller->input, FUZZ_VFU_REGIONS), count_bytes = fuzz_below(caller->input, 10);
	int rc;

	for (i = 0; i < count; i++)
		writes[i] = (struct rp_vfu_client_write){region, count_bytes, 8ull * i, {(uint8_t)i}};
	rc = FUZZ_VFU_CALL(caller, rp_vfu_client_region_write_multi(caller->client, writes, count, &done, NULL));
	fuzz_require(done <= count, "no more writes are done than there were");
	fuzz_require(rc != 0 || done == count, "who wrote all of them wrote all of them");
}

void
fuzz_vfu_interrupts(struct fuzz_vfu_caller *caller)
{
	static const uint32_t actions[] = {RP_VFU_IRQ_ACTION_TRIGGER_MASK, RP_VFU_IRQ_ACTION_MASK_MASK,
					   RP_VFU_IRQ_ACTION_UNMASK_MASK};
	uint32_t irq_index = fuzz_below(caller->input, RP_VFU_PCI_IRQS_COUNT);
	uint32_t vector = fuzz_below(caller->input, FUZZ_VFU_VECTORS), action, count, i;
	unsigned int kind = fuzz_u8(caller->input), holes;
	uint8_t bools[VECTORS_MAX];
	int eventfds[VECTORS_MAX];

	if (kind < 128) {
		FUZZ_VFU_CALL(caller, rp_vfu_client_irq_set(caller->client, irq_index, vector,
							    kind < 96 ? fuzz_fd(FUZZ_FD_EVENT) : -1, NULL));
		return;
	}
	if (kind < 160) {
		FUZZ_VFU_CALL(caller, rp_vfu_client_irq_disable(caller->client, irq_index, NULL));
		return;
	}
	action = actions[fuzz_below(caller->input, 3)];
	count = fuzz_below(caller->input, VECTORS_MAX + 1);
	holes = fuzz_u8(caller->input);
	for (i = 0; i < count; i++) {
		bools[i] = (uint8_t)(holes >> i % 8 & 1);
		eventfds[i] = bools[i] != 0 ? -1 : fuzz_fd(FUZZ_FD_EVENT);
	}
	if (kind < 208)
		FUZZ_VFU_CALL(caller, rp_vfu_client_irq_eventfds(caller->client, irq_index, action, vector, count,
								 eventfds, NULL));
	else
		FUZZ_VFU_CALL(caller, rp_vfu_client_irq_action(caller->client, irq_index, action, vector, count,
							       kind % 2 == 0 ? bools : NULL, NULL));
}

static bool
is_eventfd(int fd)
{
	char path[32], target[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "eventfd") != NULL;
}

void
fuzz_vfu_doorbell(struct fuzz_vfu_caller *caller)
{
	uint32_t region = fuzz_below(caller->input, FUZZ_VFU_REGIONS);
	uint64_t offset_bytes = 4ull * fuzz_below(caller->input, 8);
	int fd = -1;

	if (FUZZ_VFU_CALL(caller, rp_vfu_client_io_fd(caller->client, region, offset_bytes, 4, offset_bytes / 8, &fd,
						      NULL)) == 0)
		fuzz_require(is_eventfd(fd), "a doorbell is an eventfd");
	rp_wire_fd_close(&fd);
}

static void
check_place(const struct rp_vfu_client_place *place, uint64_t region_bytes)
{
	const uint64_t size_bytes = place->size_bytes;
	const uint64_t value_bytes = size_bytes == 0 ? 8 : size_bytes;
	struct stat file;

	fuzz_require(size_bytes <= 8 && (size_bytes & (size_bytes - 1)) == 0, "a place is of a width");
	fuzz_require(place->offset_bytes < region_bytes && size_bytes <= region_bytes - place->offset_bytes,
		     "a place lies in its region");
	fuzz_require(place->type <= RP_VFU_IO_FD_TYPE_SHADOW, "a place is of a type");
	fuzz_require(place->type == RP_VFU_IO_FD_TYPE_IOREGIONFD ? fcntl(place->fd, F_GETFD) >= 0 :
								   is_eventfd(place->fd),
		     "a place has its descriptor");
	fuzz_require(place->type == RP_VFU_IO_FD_TYPE_IOREGIONFD ||
			     (place->flags & ~(RP_VFU_IO_FD_DATAMATCH_MASK | RP_VFU_IO_FD_PIO_MASK)) == 0,
		     "a place has flags that KVM knows");
	fuzz_require((place->type == RP_VFU_IO_FD_TYPE_SHADOW) == (place->shadow_fd >= 0), "a shadow has a file");
	if (place->shadow_fd < 0)
		return;
	fuzz_require(fstat(place->shadow_fd, &file) == 0 && S_ISREG(file.st_mode), "a shadow's file is one");
	fuzz_require(place->shadow_offset_bytes % value_bytes == 0 &&
			     place->shadow_offset_bytes <= (uint64_t)file.st_size &&
			     value_bytes <= (uint64_t)file.st_size - place->shadow_offset_bytes,
		     "a shadow lies in its file");
}

void
fuzz_vfu_places(struct fuzz_vfu_caller *caller)
{
	uint32_t region = fuzz_below(caller->input, FUZZ_VFU_REGIONS);
	unsigned int room = fuzz_below(caller->input, PLACES_ROOM + 1), count = 0, i;
	struct rp_vfu_client_place *places = calloc(room + 1, sizeof(*places));
	struct rp_vfu_client_region info;

	fuzz_require(places != NULL, "memory for places");
	if (FUZZ_VFU_CALL(caller, rp_vfu_client_places(caller->client, region, places, room, &count, NULL)) == 0) {
		fuzz_require(count <= room, "places fit");
		/* Known by now, also when the server has left: asked for the places. */
		if (count > 0 && rp_vfu_client_connected(caller->client)) {
			fuzz_require(rp_vfu_client_region_info(caller->client, region, &info, NULL) == 0,
				     "a region is known");
			for (i = 0; i < count; i++)
				check_place(&places[i], info.size_bytes);
		}
		rp_vfu_client_places_close(places, count);
	}
	free(places);
}

void
fuzz_vfu_feature(struct fuzz_vfu_caller *caller)
{
	static const uint32_t methods[] = {0, RP_VFU_FEATURE_GET_MASK, RP_VFU_FEATURE_SET_MASK,
					   RP_VFU_FEATURE_GET_MASK | RP_VFU_FEATURE_SET_MASK};
	unsigned int kind = fuzz_below(caller->input, 3);
	uint32_t room_bytes = fuzz_below(caller->input, 100), got_bytes = 0;
	uint8_t *data = calloc(1, room_bytes + 1);
	uint8_t *exact = realloc(data, room_bytes > 0 ? room_bytes : 1);

	fuzz_require(exact != NULL, "memory for a feature");
	if (kind == 0) {
		uint32_t feature = fuzz_below(caller->input, 12);

		FUZZ_VFU_CALL(caller, rp_vfu_client_feature_probe(caller->client, feature,
								  methods[fuzz_below(caller->input, 4)], NULL));
	} else if (kind == 1) {
		if (FUZZ_VFU_CALL(caller, rp_vfu_client_feature_get(caller->client, FEATURE_UNKNOWN, exact, room_bytes,
								    &got_bytes, NULL)) == 0)
			fuzz_require(got_bytes <= room_bytes, "a feature fits");
	} else {
		FUZZ_VFU_CALL(caller,
			      rp_vfu_client_feature_set(caller->client, FEATURE_UNKNOWN, exact, room_bytes, NULL));
	}
	free(exact);
}

void
fuzz_vfu_migrate(struct fuzz_vfu_caller *caller)
{
	unsigned int kind = fuzz_below(caller->input, 5);
	enum rp_vfu_mig_state state = (enum rp_vfu_mig_state)fuzz_below(caller->input, RP_VFU_MIG_STATES_COUNT);
	size_t room_bytes = 1 + fuzz_u16(caller->input) % ACCESS_MAX, got_bytes = 0;
	uint8_t *bytes = calloc(1, room_bytes);
	uint64_t flags = 0;

	fuzz_require(bytes != NULL, "memory for a state");
	if (kind == 0) {
		if (FUZZ_VFU_CALL(caller, rp_vfu_client_migration_flags(caller->client, &flags, NULL)) == 0)
			fuzz_require((flags & RP_VFU_MIGRATION_STOP_COPY_MASK) != 0, "migration has STOP_COPY");
	} else if (kind == 1) {
		if (FUZZ_VFU_CALL(caller, rp_vfu_client_migration_state(caller->client, &state, NULL)) == 0)
			fuzz_require(state < RP_VFU_MIG_STATES_COUNT, "a state has a name");
	} else if (kind == 2) {
		FUZZ_VFU_CALL(caller, rp_vfu_client_migration_set_state(caller->client, state, NULL));
	} else if (kind == 3) {
		if (FUZZ_VFU_CALL(caller, rp_vfu_client_migration_read(caller->client, bytes, room_bytes, &got_bytes,
								       NULL)) == 0)
			fuzz_require(got_bytes <= room_bytes, "a state fits");
	} else {
		FUZZ_VFU_CALL(caller, rp_vfu_client_migration_write(caller->client, bytes, room_bytes, NULL));
	}
	free(bytes);
}
