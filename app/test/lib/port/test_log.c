/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_caller.h"
#include "rp_wire_fd.h"
#include "traffic.h"

/*
 * A live migration of a guest whose queues are hardware's: what is written is logged by
 * serving private rings meanwhile. The bitmap is compared with what the memory itself says.
 */

#define PAGE_BYTES RP_VHU_LOG_PAGE_BYTES
#define LOG_BYTES ((TEST_VM_GPA + 4 * TEST_VM_QUEUE_BYTES) / PAGE_BYTES / 8)
#define BUFFERS_AT 0x10000u /* in a queue's memory (test_vm.c) */
#define LOG_USED_AT(queue) (3 * TEST_VM_QUEUE_BYTES + 0x80000 + (queue)*PAGE_BYTES) /* nobody else's */

/* Who waits is ended. */
#define PATIENCE_S 20u

struct migration {
	int fd;
	int signal_fd;
	uint8_t *bitmap;
	uint8_t *before; /* the guest's memory when the bitmap was cleared */
};

static void
open_log(struct migration *m, struct traffic *t)
{
	m->fd = test_memfd(LOG_BYTES, false);
	m->signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->bitmap = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	m->before = malloc(t->f.vm.memory_bytes);
	assert_true(m->bitmap != MAP_FAILED && m->signal_fd >= 0 && m->before != NULL);
}

static void
close_log(struct migration *m)
{
	munmap(m->bitmap, LOG_BYTES);
	rp_wire_fd_close(&m->fd);
	rp_wire_fd_close(&m->signal_fd);
	free(m->before);
}

static void
log_used(struct traffic *t, unsigned int queue)
{
	struct rp_vhu_frontend_ring ring = {
		.flags = RP_VHU_VRING_ADDR_LOG_MASK,
		.log_gpa = TEST_VM_GPA + LOG_USED_AT(queue),
	};
	uint64_t uva = (uint64_t)(uintptr_t)t->f.vm.memory - TEST_VM_GPA;
	struct rp_vring_layout layout;
	struct rp_wire_why why;

	rp_vring_drv_layout(t->f.vm.queues[queue].ring, &layout);
	ring.num = layout.num;
	ring.desc_uva = layout.desc_iova + uva;
	ring.avail_uva = layout.avail_iova + uva;
	ring.used_uva = layout.used_iova + uva;
	assert_int_equal(rp_vhu_frontend_ring_addr(t->f.vm.frontend, queue, &ring, &why), 0);
}

/* As QEMU does it: the log, the feature, then the used rings. */
static void
begin_migration(struct migration *m, struct traffic *t)
{
	struct rp_vhu_frontend *frontend = t->f.vm.frontend;
	struct rp_wire_why why;

	assert_int_equal(rp_vhu_frontend_set_log_base(frontend, m->fd, LOG_BYTES, 0, &why), 0);
	assert_int_equal(rp_vhu_frontend_set_log_fd(frontend, m->signal_fd, &why), 0);
	assert_int_equal(rp_vhu_frontend_set_features(frontend, t->f.vm.features | TEST_VM_LOG_ALL, &why), 0);
	log_used(t, RX);
	log_used(t, TX);
}

static void
end_migration(struct traffic *t)
{
	struct rp_wire_why why;

	assert_int_equal(rp_vhu_frontend_set_features(t->f.vm.frontend, t->f.vm.features, &why), 0);
}

/* A sync point: what comes later is seen anew. Nothing is under way. */
static void
clear(struct migration *m, struct traffic *t)
{
	uint64_t count;

	all_arrive_once(t);
	test_port_queue(&t->f.port, RX); /* the port is past what it did for that */
	memset(m->bitmap, 0, LOG_BYTES);
	memcpy(m->before, t->f.vm.memory, t->f.vm.memory_bytes);
	(void)!read(m->signal_fd, &count, sizeof(count));
}

static bool
is_marked(const struct migration *m, uint64_t offset)
{
	uint64_t page = (TEST_VM_GPA + offset) / PAGE_BYTES;

	return (m->bitmap[page / 8] >> page % 8 & 1) != 0;
}

static bool
has_changed(const struct migration *m, const struct traffic *t, uint64_t offset)
{
	return memcmp(m->before + offset, t->f.vm.memory + offset, PAGE_BYTES) != 0;
}

/* Of the ring's own pages those that the device's side writes; the used ring is logged elsewhere. */
static bool
ring_page_is_written(const struct traffic *t, unsigned int queue, uint64_t offset)
{
	struct rp_vring_layout layout;
	uint64_t gpa = TEST_VM_GPA + offset;

	rp_vring_drv_layout(t->f.vm.queues[queue].ring, &layout);
	return (layout.features & TEST_VM_PACKED) != 0 && gpa + PAGE_BYTES > layout.desc_iova &&
	       gpa < layout.desc_iova + 16ull * layout.num;
}

static bool
is_written(const struct migration *m, const struct traffic *t, uint64_t offset)
{
	unsigned int queue = (unsigned int)(offset / TEST_VM_QUEUE_BYTES);

	if (offset == LOG_USED_AT(RX) || offset == LOG_USED_AT(TX))
		return true;
	if (queue == RX && offset % TEST_VM_QUEUE_BYTES >= BUFFERS_AT)
		return has_changed(m, t, offset); /* the guest writes nothing there */
	return queue <= TX && offset % TEST_VM_QUEUE_BYTES < BUFFERS_AT && ring_page_is_written(t, queue, offset);
}

/* The first page that is marked and was not written, or the other way round; UINT64_MAX: none. */
static uint64_t
first_wrong(const struct migration *m, const struct traffic *t)
{
	uint64_t offset;

	for (offset = 0; offset < t->f.vm.memory_bytes; offset += PAGE_BYTES)
		if (is_marked(m, offset) != is_written(m, t, offset))
			return offset;
	return UINT64_MAX;
}

static struct migration *judged; /* by the wait below */

static bool
all_is_right(struct fixture *f)
{
	return first_wrong(judged, (struct traffic *)f) == UINT64_MAX;
}

/*
 * Every page of guest memory, and nothing else. The port may still be about to look at a
 * ring (a packed one's event suppression is written then). @return how many are marked.
 */
static unsigned int
compare(struct migration *m, struct traffic *t)
{
	unsigned int marked = 0;
	uint64_t offset, i;

	judged = m;
	if (!fixture_becomes(&t->f, all_is_right)) {
		offset = first_wrong(m, t);
		fail_msg("page at 0x%lx of queue %lu is%s marked", offset % TEST_VM_QUEUE_BYTES,
			 offset / TEST_VM_QUEUE_BYTES, is_marked(m, offset) ? "" : " not");
	}
	for (offset = 0; offset < t->f.vm.memory_bytes; offset += PAGE_BYTES)
		marked += is_marked(m, offset);
	for (i = 0; i < TEST_VM_GPA / PAGE_BYTES / 8; i++)
		assert_int_equal(m->bitmap[i], 0);
	return marked;
}

static void
the_bitmap_is_what_was_written(void **state)
{
	struct migration m;
	struct traffic t;
	uint64_t signals;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2 * FORMATS_COUNT; i++) {
		const struct setting setting = {
			.format = formats[i / 2],
			.class = RP_ACCEL_CLASS_B,
			.migratable = true,
			.indirect = i % 2 != 0,
		};

		open_traffic(&t, &setting);
		start_pair(&t);
		send_frames(&t, 70);
		open_log(&m, &t);
		begin_migration(&m, &t);
		send_frames(&t, 90);
		clear(&m, &t);
		send_frames(&t, 5);
		all_arrive_once(&t);
		test_port_queue(&t.f.port, RX);
		assert_in_range(compare(&m, &t), 2 + 3, 2 + 5 + 2);
		assert_int_equal(read(m.signal_fd, &signals, sizeof(signals)), sizeof(signals));
		clear(&m, &t);
		send_frames(&t, 300);
		all_arrive_once(&t);
		test_port_queue(&t.f.port, RX);
		assert_true(compare(&m, &t) > 20);
		close_log(&m);
		close_traffic(&t);
	}
}

/* Direct until it begins; without the device's help nothing is lost on the way. */
static void
moved_in_mid_life(void **state)
{
	struct migration m;
	struct traffic t;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		const struct setting setting = {
			.format = i == 2 ? TEST_VM_PACKED : 0,
			.class = i == 1 ? RP_ACCEL_CLASS_B : RP_ACCEL_CLASS_A,
			.migratable = true,
		};

		open_traffic(&t, &setting);
		start_pair(&t);
		assert_true(fixture_becomes(&t.f, is_direct));
		open_log(&m, &t);
		send_frames(&t, 40);
		begin_migration(&m, &t);
		expect_mode(&t, RP_PORT_QUEUE_SHADOW, "a migration wants to know what is written");
		send_frames(&t, 40);
		clear(&m, &t);
		send_frames(&t, 40);
		all_arrive_once(&t);
		test_port_queue(&t.f.port, RX);
		assert_true(compare(&m, &t) > 2);
		/* It was given up. */
		end_migration(&t);
		if (setting.class == RP_ACCEL_CLASS_A)
			assert_true(fixture_becomes(&t.f, is_direct));
		else
			expect_mode(&t, RP_PORT_QUEUE_SHADOW, "");
		clear(&m, &t);
		send_frames(&t, 40);
		all_arrive_once(&t);
		assert_false(is_marked(&m, BUFFERS_AT));
		/* And begins again. */
		begin_migration(&m, &t);
		send_frames(&t, 40);
		stop_and_cont(&t, 1);
		all_arrive_once(&t);
		close_log(&m);
		close_traffic(&t);
	}
}

/* A device that stops only whole is moved whole. */
static void
moved_by_a_reset(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B, .migratable = true};
	struct migration m;
	struct traffic t;

	(void)state;
	open_traffic(&t, &setting);
	start_pair(&t);
	assert_true(fixture_becomes(&t.f, is_direct));
	send_frames(&t, 40);
	all_arrive_once(&t);
	FAKE_SET(stop_error, -ENOTSUP);
	open_log(&m, &t);
	begin_migration(&m, &t);
	expect_mode(&t, RP_PORT_QUEUE_SHADOW, "a migration wants to know what is written");
	assert_int_equal(fake_now().resets, 1);
	send_frames(&t, 40);
	all_arrive_once(&t);
	FAKE_SET(stop_error, 0);
	close_log(&m);
	close_traffic(&t);
}

static bool
is_refused_for_room(struct fixture *f)
{
	return test_port_warned(&f->port, "LOG_ALL: private rings: map refused");
}

/* No room for private rings: the migration is refused, and the guest keeps its queues. */
static void
not_without_room_for_private_rings(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_A, .migratable = true};
	struct rp_wire_why why;
	struct migration m;
	struct traffic t;

	(void)state;
	open_traffic(&t, &setting);
	start_pair(&t);
	assert_true(fixture_becomes(&t.f, is_direct));
	FAKE_SET(map_error, -ENOSPC);
	open_log(&m, &t);
	assert_int_equal(rp_vhu_frontend_set_log_base(t.f.vm.frontend, m.fd, LOG_BYTES, 0, &why), 0);
	rp_vhu_frontend_set_features(t.f.vm.frontend, t.f.vm.features | TEST_VM_LOG_ALL, &why);
	assert_true(fixture_becomes(&t.f, is_refused_for_room));
	assert_true(is_direct(&t.f));
	send_frames(&t, 40);
	all_arrive_once(&t);
	close_log(&m);
	close_traffic(&t);
}

static void
offered_by_a_migratable_port_only(void **state)
{
	struct rp_port_config config = fixture_config();
	struct rp_port_info info;
	struct rp_wire_why why;
	struct rp_port *port = NULL;
	struct fixture f;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		config.migratable = i == 1;
		fixture_begin(&f);
		fixture_open_with(&f, &config, NULL);
		info = test_port_info(&f.port);
		assert_int_equal((info.features_offered & TEST_VM_LOG_ALL) != 0, i == 1);
		assert_int_equal(info.protocol_features >> RP_VHU_PF_LOG_SHMFD_BIT & 1, i == 1);
		/* The device is never told. */
		assert_true((fake_now().negotiated & TEST_VM_LOG_ALL) == 0);
		fixture_close(&f);
	}
	config.ring = RP_PORT_RING_DIRECT;
	assert_int_equal(rp_port_create(&config, &fake_accel_registry, NULL, NULL, &port, &why), -EINVAL);
	assert_string_equal(why.text, "migratable: expected ring \"auto\" or \"shadow\" with it");
}

static bool
was_refused(struct fixture *f)
{
	return test_port_warned(&f->port, "LOG_ALL: a device may write to the guest's memory, and nobody sees what");
}

static bool
is_waited_for(struct fixture *f)
{
	return test_port_events(&f->port, "accelerator-waiting") == 1;
}

/* A migration that would be corrupt is refused. */
static void
not_while_a_device_may_write_unseen(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B, .migratable = true, .peer_pid = 100};
	struct rp_wire_why why;
	struct migration m;
	struct traffic t;

	(void)state;
	open_traffic(&t, &setting);
	start_pair(&t);
	FAKE_SET(peer_pid, 101);
	fake_accel_die(false);
	assert_true(fixture_becomes(&t.f, is_waited_for));
	open_log(&m, &t);
	assert_int_equal(rp_vhu_frontend_set_log_base(t.f.vm.frontend, m.fd, LOG_BYTES, 0, &why), 0);
	rp_vhu_frontend_set_features(t.f.vm.frontend, t.f.vm.features | TEST_VM_LOG_ALL, &why);
	assert_true(fixture_becomes(&t.f, was_refused));
	close_log(&m);
	close_traffic(&t);
}

/* The linker's --wrap: a VMM that fills its eventfd when it was looked at. */
static _Atomic int filled_fd = -1;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	int rc = __real_poll(fds, count, timeout_ms);

	if (filled_fd >= 0 && count == 1 && fds->events == POLLOUT) {
		rp_wire_caller_drain(filled_fd, NULL);
		assert_int_equal(eventfd_write(filled_fd, UINT64_MAX - 1), 0);
	}
	return rc;
}

/* The eventfd of a log is the VMM's as well. */
static void
a_full_signal_is_not_waited_for(void **state)
{
	const struct setting setting = {.class = RP_ACCEL_CLASS_B, .migratable = true};
	struct migration m;
	struct traffic t;

	(void)state;
	alarm(PATIENCE_S);
	open_traffic(&t, &setting);
	start_pair(&t);
	open_log(&m, &t);
	begin_migration(&m, &t);
	assert_int_equal(fcntl(m.signal_fd, F_SETFL, 0), 0);
	filled_fd = m.signal_fd;
	send_frames(&t, 90);
	all_arrive_once(&t);
	filled_fd = -1;
	assert_int_equal(test_port_events(&t.f.port, "log-signal-failed"), 0);
	assert_int_equal(rp_wire_caller_drain(m.signal_fd, NULL), 1);
	alarm(0);
	close_log(&m);
	close_traffic(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_bitmap_is_what_was_written),
		cmocka_unit_test(a_full_signal_is_not_waited_for),
		cmocka_unit_test(moved_in_mid_life),
		cmocka_unit_test(moved_by_a_reset),
		cmocka_unit_test(not_without_room_for_private_rings),
		cmocka_unit_test(offered_by_a_migratable_port_only),
		cmocka_unit_test(not_while_a_device_may_write_unseen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
