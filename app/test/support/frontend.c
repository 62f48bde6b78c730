/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A frontend as a process, which can be killed and made to hang: it does as it is told,
 * a command a line, and says "ok ..." or "refused ...". Its traffic is pings to an address
 * of the kernel's: each is counted once as answered, lost (no answer within a second), or,
 * what must not be, answered twice or with other bytes than were sent.
 *
 *   connect          to the port; again: the rings go on from their used index
 *   traffic on|off
 *   stat
 *   log on|off       a migration begins; it ends
 *   missed           while the rings stand: what the port wrote since it was last asked and did not log
 *   plug, unplug     a region of memory more; without it
 *   stop, cont       the rings, as a VMM does with its guest
 *   direct           wait until every queue has its doorbell
 *   quit
 */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "test_vm.h"

#define RING_ENTRIES 256u
#define RX 0u
#define TX 1u
#define WINDOW 4u /* pings on their way */
#define PERIOD_MS 2u
#define LOST_MS 1000u
#define PINGS_MAX (1u << 20)
#define PAYLOAD_MIN_BYTES 32u
#define PAYLOAD_MAX_BYTES 1400u
#define ETHERNET_BYTES 14u
#define IP_BYTES 20u
#define ICMP_BYTES 8u
#define HEADERS_BYTES (ETHERNET_BYTES + IP_BYTES + ICMP_BYTES)
#define LOG_BYTES ((TEST_VM_GPA + 2 * TEST_VM_QUEUES_MAX * TEST_VM_QUEUE_BYTES) / RP_VHU_LOG_PAGE_BYTES / 8)
#define PLUGGED_GPA (TEST_VM_GPA + TEST_VM_QUEUES_MAX * TEST_VM_QUEUE_BYTES)
#define PLUGGED_BYTES TEST_VM_QUEUE_BYTES
#define DIRECT_MS 20000u
#define RING_ROOM_BYTES 0x10000u /* of a queue's memory, before its buffers: as test_vm.c has it */
#define USED_BYTES (6u + 8u * RING_ENTRIES)

enum ping_state {
	PING_UNSENT,
	PING_OUT,
	PING_ANSWERED,
	PING_LOST,
};

struct one_ping {
	uint64_t sent_ms;
	enum ping_state state;
};

struct frontend {
	struct test_vm vm;
	const char *socket_path;
	unsigned int queues_count;
	struct test_vm_options options;
	uint8_t mac[6], peer_mac[6];
	struct in_addr address, peer_address;
	bool opened, connected, traffic;
	int log_fd, plugged_fd;
	uint8_t *log, *before; /* the log; and the memory when it was last compared */
	void *plugged;
	struct one_ping *pings;
	uint32_t sent, oldest; /* oldest: all before it are answered or lost */
	uint64_t answered, lost, late, twice, bad;
	uint64_t next_ms;
};

static void
say(const char *word, const char *text)
{
	printf("%s%s%s\n", word, text[0] == '\0' ? "" : " ", text);
	fflush(stdout);
}

static void
said(int rc, const struct rp_wire_why *why)
{
	if (rc == 0)
		say("ok", "");
	else
		say("refused", why->text[0] == '\0' ? strerror(-rc) : why->text);
}

static uint16_t
checksum(const uint8_t *bytes, uint32_t size_bytes)
{
	uint32_t sum = 0, i;

	for (i = 0; i < size_bytes; i++)
		sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static uint32_t
payload_bytes(uint32_t sequence)
{
	return PAYLOAD_MIN_BYTES + sequence * 389u % (PAYLOAD_MAX_BYTES - PAYLOAD_MIN_BYTES);
}

/* The echo request's payload: RFC 792 has the answer bring it back. */
static void
make_payload(uint8_t *at, uint32_t sequence)
{
	uint32_t i, size_bytes = payload_bytes(sequence);

	memcpy(at, &sequence, sizeof(sequence));
	for (i = sizeof(sequence); i < size_bytes; i++)
		at[i] = (uint8_t)(sequence * 31 + i);
}

static uint32_t
make_ping(const struct frontend *f, uint32_t sequence, uint8_t *frame)
{
	uint8_t *ip = frame + ETHERNET_BYTES, *icmp = ip + IP_BYTES;
	uint16_t ip_bytes = (uint16_t)(IP_BYTES + ICMP_BYTES + payload_bytes(sequence));
	uint16_t sum;

	memcpy(frame, f->peer_mac, 6);
	memcpy(frame + 6, f->mac, 6);
	memcpy(frame + 12, (const uint8_t[]){0x08, 0x00}, 2);
	memset(ip, 0, IP_BYTES + ICMP_BYTES);
	ip[0] = 0x45; /* version 4, five words */
	ip[2] = (uint8_t)(ip_bytes >> 8);
	ip[3] = (uint8_t)ip_bytes;
	ip[8] = 64; /* time to live */
	ip[9] = IPPROTO_ICMP;
	memcpy(ip + 12, &f->address, 4);
	memcpy(ip + 16, &f->peer_address, 4);
	sum = checksum(ip, IP_BYTES);
	memcpy(ip + 10, &sum, 2);
	icmp[0] = 8; /* echo request */
	make_payload(icmp + ICMP_BYTES, sequence);
	sum = checksum(icmp, ICMP_BYTES + payload_bytes(sequence));
	memcpy(icmp + 2, &sum, 2);
	return HEADERS_BYTES + payload_bytes(sequence);
}

static void
send_pings(struct frontend *f, uint64_t now_ms)
{
	uint8_t frame[HEADERS_BYTES + PAYLOAD_MAX_BYTES];

	if (!f->traffic || now_ms < f->next_ms || f->sent == PINGS_MAX || f->sent - f->oldest >= WINDOW)
		return;
	if (!test_vm_send(&f->vm, TX, frame, make_ping(f, f->sent, frame)))
		return;
	f->pings[f->sent++] = (struct one_ping){now_ms, PING_OUT};
	f->next_ms = now_ms + PERIOD_MS;
}

static void
check_answer(struct frontend *f, const uint8_t *frame, uint32_t size_bytes)
{
	uint8_t wanted[PAYLOAD_MAX_BYTES];
	const uint8_t *payload = frame + HEADERS_BYTES;
	uint32_t sequence;

	if (size_bytes < HEADERS_BYTES + PAYLOAD_MIN_BYTES || frame[12] != 0x08 || frame[13] != 0x00 ||
	    frame[ETHERNET_BYTES + 9] != IPPROTO_ICMP || frame[ETHERNET_BYTES + IP_BYTES] != 0)
		return; /* no answer: the network's own chatter */
	memcpy(&sequence, payload, sizeof(sequence));
	if (sequence >= f->sent || size_bytes != HEADERS_BYTES + payload_bytes(sequence)) {
		f->bad++;
		return;
	}
	make_payload(wanted, sequence);
	if (memcmp(wanted, payload, payload_bytes(sequence)) != 0)
		f->bad++;
	else if (f->pings[sequence].state == PING_ANSWERED)
		f->twice++;
	else if (f->pings[sequence].state == PING_LOST)
		f->late++;
	else
		f->answered++;
	f->pings[sequence].state = PING_ANSWERED;
}

static void
count_lost(struct frontend *f, uint64_t now_ms)
{
	for (; f->oldest < f->sent; f->oldest++) {
		struct one_ping *ping = &f->pings[f->oldest];

		if (ping->state == PING_OUT) {
			if (now_ms - ping->sent_ms < LOST_MS)
				return;
			ping->state = PING_LOST;
			f->lost++;
		}
	}
}

static void
turn(struct frontend *f)
{
	uint8_t frame[TEST_VM_BUFFER_BYTES];
	uint64_t now_ms = rp_wire_clock_ms();
	uint32_t size_bytes;
	unsigned int i;

	if (f->connected && rp_vhu_frontend_process(f->vm.frontend) < 0) {
		test_vm_disconnect(&f->vm);
		f->connected = false;
	}
	if (!f->opened)
		return;
	for (i = 0; i < f->queues_count; i += 2)
		while ((size_bytes = test_vm_receive(&f->vm, i, frame, sizeof(frame))) > 0)
			check_answer(f, frame, size_bytes);
	count_lost(f, now_ms);
	if (f->connected)
		send_pings(f, now_ms);
}

static uint16_t
used_index(struct test_vm *vm, unsigned int queue)
{
	struct rp_vring_layout layout;

	rp_vring_drv_layout(vm->queues[queue].ring, &layout);
	return *(volatile uint16_t *)(vm->memory + (layout.used_iova - TEST_VM_GPA) + 2);
}

static void
do_connect(struct frontend *f)
{
	unsigned int i;

	if (!f->opened) {
		test_vm_open(&f->vm, f->socket_path, f->queues_count, RING_ENTRIES, &f->options);
		test_vm_start_all(&f->vm);
	} else {
		test_vm_connect(&f->vm, f->socket_path, NULL);
		for (i = 0; i < f->queues_count; i++)
			test_vm_queue_start(&f->vm, i, used_index(&f->vm, i));
	}
	f->opened = f->connected = true;
	say("ok", "");
}

static int
set_memory(struct frontend *f, bool plugged, struct rp_wire_why *why)
{
	const struct rp_vhu_region regions[2] = {
		{
			.gpa = TEST_VM_GPA,
			.size_bytes = f->vm.memory_bytes,
			.uva = (uint64_t)(uintptr_t)f->vm.memory,
			.fd = f->vm.memory_fd,
		},
		{
			.gpa = PLUGGED_GPA,
			.size_bytes = PLUGGED_BYTES,
			.uva = (uint64_t)(uintptr_t)f->plugged,
			.fd = f->plugged_fd,
		},
	};

	return rp_vhu_frontend_set_mem_table(f->vm.frontend, regions, plugged ? 2 : 1, why);
}

static int
ring_log(struct frontend *f, unsigned int queue, bool on, struct rp_wire_why *why)
{
	uint64_t uva = (uint64_t)(uintptr_t)f->vm.memory - TEST_VM_GPA;
	struct rp_vring_layout layout;
	struct rp_vhu_frontend_ring ring;

	rp_vring_drv_layout(f->vm.queues[queue].ring, &layout);
	ring = (struct rp_vhu_frontend_ring){
		.num = layout.num,
		.desc_uva = layout.desc_iova + uva,
		.avail_uva = layout.avail_iova + uva,
		.used_uva = layout.used_iova + uva,
		.flags = on ? RP_VHU_VRING_ADDR_LOG_MASK : 0,
		.log_gpa = on ? layout.used_iova : 0,
	};
	return rp_vhu_frontend_ring_addr(f->vm.frontend, queue, &ring, why);
}

/* As QEMU: SET_LOG_BASE, SET_FEATURES, then the addresses of running rings. */
static int
set_log(struct frontend *f, bool on, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	if (on)
		rc = rp_vhu_frontend_set_log_base(f->vm.frontend, f->log_fd, LOG_BYTES, 0, why);
	if (rc == 0)
		rc = rp_vhu_frontend_set_features(f->vm.frontend, f->vm.features | (on ? TEST_VM_LOG_ALL : 0), why);
	for (i = 0; rc == 0 && i < f->queues_count; i++)
		rc = ring_log(f, i, on, why);
	f->vm.log_used = rc == 0 && on;
	return rc;
}

/* What only a device writes: buffers of receive queues, and the used rings. */
static bool
is_devices(const struct frontend *f, uint64_t offset)
{
	unsigned int queue = (unsigned int)(offset / TEST_VM_QUEUE_BYTES);
	struct rp_vring_layout layout;

	if (queue % 2 == RX && offset % TEST_VM_QUEUE_BYTES >= RING_ROOM_BYTES)
		return true;
	rp_vring_drv_layout(f->vm.queues[queue].ring, &layout);
	return layout.used_iova - TEST_VM_GPA <= offset && offset < layout.used_iova - TEST_VM_GPA + USED_BYTES;
}

static bool
take_mark(struct frontend *f, uint64_t offset)
{
	uint64_t page = (TEST_VM_GPA + offset) / RP_VHU_LOG_PAGE_BYTES;
	uint8_t bit = (uint8_t)(1u << page % 8);

	return (__atomic_fetch_and(&f->log[page / 8], (uint8_t)~bit, __ATOMIC_SEQ_CST) & bit) != 0;
}

static void
do_missed(struct frontend *f)
{
	uint64_t page, at, first = 0, first_was = 0;
	unsigned int changed = 0, missed = 0;
	char text[160];

	for (page = 0; page < f->vm.memory_bytes; page += RP_VHU_LOG_PAGE_BYTES) {
		bool marked = take_mark(f, page), differs = false;

		for (at = page; at < page + RP_VHU_LOG_PAGE_BYTES && !differs; at++)
			differs = f->vm.memory[at] != f->before[at] && is_devices(f, at);
		changed += differs;
		if (differs && !marked && missed++ == 0) {
			first = at - 1;
			first_was = f->before[at - 1];
		}
	}
	memcpy(f->before, f->vm.memory, f->vm.memory_bytes);
	snprintf(text, sizeof(text), "changed=%u missed=%u first=%" PRIu64 " was=%" PRIu64 " is=%u", changed, missed,
		 first, first_was, f->vm.memory[first]);
	say("ok", text);
}

static void
do_stop(struct frontend *f, bool stop)
{
	static uint32_t bases[TEST_VM_QUEUES_MAX];
	unsigned int i;

	for (i = 0; i < f->queues_count; i++) {
		if (stop)
			bases[i] = test_vm_queue_stop(&f->vm, i);
		else
			test_vm_queue_start(&f->vm, i, bases[i]);
	}
	say("ok", "");
}

static void
do_direct(struct frontend *f)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + DIRECT_MS;
	unsigned int i;

	for (i = 0; i < f->queues_count;) {
		turn(f);
		if (f->connected && rp_vhu_frontend_notify_map(f->vm.frontend, i).address != NULL)
			i++;
		else if (!f->connected || rp_wire_clock_ms() > deadline_ms)
			return say("refused", f->connected ? "no doorbell in time" : "not connected");
		else
			usleep(500);
	}
	say("ok", "");
}

static void
do_stat(const struct frontend *f)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "sent=%" PRIu32 " answered=%" PRIu64 " lost=%" PRIu64 " late=%" PRIu64 " twice=%" PRIu64
		 " bad=%" PRIu64 " out=%" PRIu32 " connected=%d maps=%u",
		 f->sent, f->answered, f->lost, f->late, f->twice, f->bad, f->sent - f->oldest, f->connected,
		 f->vm.maps);
	say("ok", text);
}

/* What is asked of the port: only when there is one. */
static void
do_request(struct frontend *f, const char *command)
{
	struct rp_wire_why why = {0};

	if (!f->connected)
		say("refused", "not connected");
	else if (strcmp(command, "log on") == 0 || strcmp(command, "log off") == 0)
		said(set_log(f, command[5] == 'n', &why), &why);
	else if (strcmp(command, "missed") == 0)
		do_missed(f);
	else if (strcmp(command, "plug") == 0 || strcmp(command, "unplug") == 0)
		said(set_memory(f, command[0] == 'p', &why), &why);
	else if (strcmp(command, "stop") == 0 || strcmp(command, "cont") == 0)
		do_stop(f, command[0] == 's');
	else if (strcmp(command, "direct") == 0)
		do_direct(f);
	else
		say("refused", "unknown command");
}

static void
do_command(struct frontend *f, const char *command)
{
	if (strcmp(command, "connect") == 0) {
		do_connect(f);
	} else if (strcmp(command, "traffic on") == 0 || strcmp(command, "traffic off") == 0) {
		f->traffic = command[9] == 'n';
		say("ok", "");
	} else if (strcmp(command, "stat") == 0) {
		do_stat(f);
	} else {
		do_request(f, command);
	}
}

/* @return false at the end of commands. */
static bool
serve_commands(struct frontend *f)
{
	static char line[256];
	static size_t line_bytes;
	struct pollfd waits[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = f->connected ? rp_vhu_frontend_fd(f->vm.frontend) : -1, .events = POLLIN},
		{.fd = f->opened ? f->vm.queues[RX].call_fd : -1, .events = POLLIN},
	};
	char *end;
	ssize_t got_bytes;

	poll(waits, 3, 1);
	if (f->opened)
		test_vm_interrupts(&f->vm, RX);
	if (waits[0].revents == 0)
		return true;
	got_bytes = read(STDIN_FILENO, line + line_bytes, sizeof(line) - 1 - line_bytes);
	if (got_bytes <= 0)
		return false;
	line_bytes += (size_t)got_bytes;
	while ((end = memchr(line, '\n', line_bytes)) != NULL) {
		*end = '\0';
		if (strcmp(line, "quit") == 0)
			return false;
		do_command(f, line);
		line_bytes -= (size_t)(end + 1 - line);
		memmove(line, end + 1, line_bytes);
	}
	return line_bytes < sizeof(line) - 1;
}

static bool
read_mac(const char *text, uint8_t mac[6])
{
	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		      &mac[5]) == 6;
}

int
main(int argc, char **argv)
{
	static struct frontend f;

	if (argc < 7 || argc > 8 || !read_mac(argv[3], f.mac) || !inet_aton(argv[4], &f.address) ||
	    !read_mac(argv[5], f.peer_mac) || !inet_aton(argv[6], &f.peer_address)) {
		fprintf(stderr, "usage: %s SOCKET PAIRS MAC ADDRESS PEER-MAC PEER-ADDRESS [packed]\n", argv[0]);
		return 2;
	}
	f.socket_path = argv[1];
	f.queues_count = 2 * (unsigned int)strtoul(argv[2], NULL, 10);
	f.options.ring_features = argc == 8 ? TEST_VM_PACKED : 0;
	f.pings = calloc(PINGS_MAX, sizeof(*f.pings));
	f.log_fd = memfd_create("vhost-log", MFD_CLOEXEC); /* as QEMU calls it */
	if (f.log_fd < 0 || ftruncate(f.log_fd, LOG_BYTES) < 0)
		return 1;
	f.log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f.log_fd, 0);
	f.before = calloc(f.queues_count, TEST_VM_QUEUE_BYTES);
	f.plugged_fd = test_memfd(PLUGGED_BYTES, false);
	f.plugged = mmap(NULL, PLUGGED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f.plugged_fd, 0);
	if (f.pings == NULL || f.before == NULL || f.log == MAP_FAILED || f.plugged == MAP_FAILED)
		return 1;
	say("ok", "ready");
	while (serve_commands(&f))
		turn(&f);
	return 0;
}
