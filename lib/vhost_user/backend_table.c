/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * SET_MEM_TABLE says the whole table anew, often the same one while rings run.
 * It is compared with what is known: what is in both stays untouched, what is new
 * is added before the answer, what is missing is removed.
 *
 * Nothing that stays in use is ever absent, so the order is: what is new and lies
 * nowhere in the way; stop the rings whose memory goes, which the new table must have
 * a place for (else nothing is done at all); take away what is in the way and add what
 * takes its place; start those rings again where they stopped; remove the rest. An
 * owner that refuses anything in between gets back what it had.
 */

#include <errno.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "vhu_backend.h"

struct table {
	struct rp_vhu_region regions[RP_VHU_REGIONS_MAX]; /* descriptors owned until moved */
	bool known[RP_VHU_REGIONS_MAX]; /* the same as a region that is there */
	bool waits[RP_VHU_REGIONS_MAX]; /* lies where an old one must go first */
	unsigned int count;
	bool moves[RP_VHU_QUEUES_MAX]; /* rings that are stopped meanwhile */
	struct rp_vhu_region gone[RP_VHU_SLOTS_MAX]; /* what was in the way; descriptors owned */
	unsigned int gone_adds[RP_VHU_SLOTS_MAX];
	unsigned int gone_count;
};

static int
parse(struct vhu_request *request, struct table *table, struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_table wire;
	unsigned int i, j;

	memcpy(&wire, request->payload, request->size_bytes);
	for (i = 0; i < wire.count; i++) {
		int rc = vhu_region_from_wire(&wire.regions[i], &table->regions[i], why);

		if (rc < 0)
			return rc;
		for (j = 0; j < i; j++)
			if (vhu_region_overlaps(&table->regions[i], &table->regions[j]))
				return vhu_region_overlap_error(&table->regions[i], &table->regions[j], why);
		table->regions[i].fd = rp_wire_fd_take(&request->msg->fds[i]);
		table->count++;
	}
	return 0;
}

static void
release(struct table *table)
{
	unsigned int i;

	for (i = 0; i < table->count; i++)
		rp_wire_fd_close(&table->regions[i].fd);
	for (i = 0; i < table->gone_count; i++)
		rp_wire_fd_close(&table->gone[i].fd);
}

static void
compare(struct rp_vhu_backend *backend, struct table *table)
{
	unsigned int i, j;

	for (i = 0; i < backend->regions_count; i++) {
		const struct rp_vhu_region *old = &backend->regions[i];

		backend->region_marks[i] = VHU_MARK_GOES;
		for (j = 0; j < table->count; j++) {
			if (vhu_region_same(&table->regions[j], table->regions[j].fd, old)) {
				backend->region_marks[i] = VHU_MARK_STAYS;
				table->known[j] = true;
			} else if (vhu_region_overlaps(old, &table->regions[j])) {
				backend->region_marks[i] = VHU_MARK_GOES_FIRST;
				table->waits[j] = true;
			}
		}
	}
}

static bool
differs(const struct rp_vhu_backend *backend, const struct table *table)
{
	unsigned int i;

	for (i = 0; i < backend->regions_count; i++)
		if (backend->region_marks[i] != VHU_MARK_STAYS)
			return true;
	/* All that there was is in the table, each once: what is more is new. */
	return table->count != backend->regions_count;
}

/* Rings whose memory goes, each with a place in the new table. */
static int
plan_rings(const struct rp_vhu_backend *backend, struct table *table, struct rp_wire_why *why)
{
	struct rp_wire_why ignored;
	struct rp_vhu_vring unused;
	unsigned int i, queue;

	for (i = 0; i < backend->regions_count; i++) {
		const struct rp_vhu_region *old = &backend->regions[i];

		if (backend->region_marks[i] == VHU_MARK_STAYS)
			continue;
		for (queue = 0; queue < backend->config.queues_max; queue++) {
			if (!vhu_vring_inside(backend, queue, old))
				continue;
			if (vhu_vring_translate(backend, queue, table->regions, table->count, &unused, &ignored) < 0)
				return rp_wire_why_set(
					why, -EBUSY,
					"region at 0x%llx: ring %u lies in it and is started, and would lie in none",
					(unsigned long long)old->gpa, queue);
			table->moves[queue] = true;
		}
	}
	return 0;
}

static int
add_new(struct rp_vhu_backend *backend, struct table *table, bool waits, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < table->count && rc == 0; i++)
		if (!table->known[i] && table->waits[i] == waits)
			rc = vhu_memory_add(backend, &table->regions[i], why);
	return rc;
}

static void
remove_marked(struct rp_vhu_backend *backend, enum vhu_mark mark)
{
	unsigned int i;

	for (i = backend->regions_count; i-- > 0;)
		if (backend->region_marks[i] == mark)
			vhu_memory_remove(backend, i);
}

static void
make_room(struct rp_vhu_backend *backend, struct table *table)
{
	unsigned int i;

	for (i = backend->regions_count; i-- > 0;) {
		if (backend->region_marks[i] != VHU_MARK_GOES_FIRST)
			continue;
		table->gone_adds[table->gone_count] = backend->region_adds[i];
		table->gone[table->gone_count++] = vhu_memory_take_out(backend, i);
	}
}

static void
stop_rings(struct rp_vhu_backend *backend, const struct table *table)
{
	unsigned int queue;

	for (queue = 0; queue < backend->config.queues_max; queue++)
		if (table->moves[queue])
			vhu_vring_pause(backend, queue);
}

static int
start_rings(struct rp_vhu_backend *backend, const struct table *table, struct rp_wire_why *why)
{
	unsigned int queue;
	int rc = 0;

	for (queue = 0; queue < backend->config.queues_max && rc == 0; queue++)
		if (table->moves[queue])
			rc = vhu_vring_resume(backend, queue, why);
	return rc;
}

static void
report(const struct rp_vhu_backend *backend, const struct rp_wire_why *why)
{
	if (backend->ops->refused != NULL)
		backend->ops->refused(backend->ctx, why);
}

/* Back to what it was. An owner that refuses even that is told what is missing, and which ring stays stopped. */
static void
undo(struct rp_vhu_backend *backend, struct table *table)
{
	struct rp_wire_why why;
	bool missing = false;
	unsigned int i, queue;

	stop_rings(backend, table);
	remove_marked(backend, VHU_MARK_NEW);
	for (i = 0; i < table->gone_count; i++)
		if (vhu_memory_add(backend, &table->gone[i], &why) == 0)
			backend->region_adds[backend->regions_count - 1] = table->gone_adds[i];
		else
			missing = true;
	for (queue = 0; queue < backend->config.queues_max; queue++) {
		if (!table->moves[queue] || vhu_vring_resume(backend, queue, &why) == 0)
			continue;
		vhu_vring_give_up(backend, queue);
		rp_wire_why_prefix(&why, "SET_MEM_TABLE: ring %u stays stopped: ", queue);
		report(backend, &why);
	}
	if (missing && vhu_memory_changed(backend, &why) < 0)
		report(backend, &why);
}

static int
apply(struct rp_vhu_backend *backend, struct table *table, struct rp_wire_why *why)
{
	int rc = add_new(backend, table, false, why);

	if (rc < 0) {
		remove_marked(backend, VHU_MARK_NEW);
		return rc;
	}
	stop_rings(backend, table);
	make_room(backend, table);
	rc = add_new(backend, table, true, why);
	if (rc == 0)
		rc = start_rings(backend, table, why);
	if (rc < 0) {
		undo(backend, table);
		return rc;
	}
	remove_marked(backend, VHU_MARK_GOES);
	return vhu_memory_changed(backend, why);
}

int
vhu_on_set_mem_table(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct table table = {0};
	int rc = parse(request, &table, why);

	if (rc == 0) {
		compare(backend, &table);
		rc = plan_rings(backend, &table, why);
	}
	if (rc == 0 && differs(backend, &table))
		rc = apply(backend, &table, why);
	release(&table);
	return rc;
}
