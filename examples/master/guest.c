/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"

#define SLOT_RAM 0u
#define SLOT_RINGS 1u
#define SLOT_DOORBELLS 2u
#define TSS_ADDRESS 0xfffbd000u /* three pages that KVM wants on Intel's machines, where the guest has nothing */
#define CPU_LIMIT_MS 10000u /* for the CPU to do what it was asked for */
#define SIGNAL_PAUSE SIGUSR1

extern const uint8_t guest_code[], guest_code_handlers[], guest_code_end[];

enum cpu_state {
	CPU_RUNS,
	CPU_STANDS, /* until it may run again */
	CPU_ENDED, /* it has left for good: asked to, or by itself (an exit that nobody expects) */
};

struct guest {
	struct guest_config config;
	int kvm_fd, vm_fd, cpu_fd;
	int done_fd; /* the guest to us: I have done something */
	int ask_fd; /* we to the guest: look at the desk */
	uint8_t *ram;
	struct kvm_run *run;
	size_t run_bytes;
	struct rp_vhu_notify_map doorbells[GUEST_QUEUES_MAX]; /* that are slots */
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum cpu_state wanted, state; /* under the lock */
	uint32_t exit_reason; /* of a CPU that left by itself */
};

static int
ask(int fd, unsigned long request, const char *name, void *argument, struct rp_wire_why *why)
{
	int rc = ioctl(fd, request, argument);

	return rc < 0 ? rp_wire_why_set(why, -errno, "%s: %s", name, strerror(errno)) : rc;
}
#define ASK(fd, request, argument, why) ask(fd, request, #request, argument, why)

static uint32_t *
count_at(const struct guest *guest, unsigned int place, unsigned int queue)
{
	return (uint32_t *)(guest->ram + place) + queue;
}

static uint64_t
doorbell_gpa(unsigned int queue)
{
	return GUEST_DOORBELLS + (uint64_t)queue * GUEST_DOORBELL_BYTES;
}

/* size_bytes 0: the slot goes. */
static int
set_slot(struct guest *guest, uint32_t slot, uint64_t gpa, void *address, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size_bytes,
		.userspace_addr = (uint64_t)(uintptr_t)address,
	};

	return ASK(guest->vm_fd, KVM_SET_USER_MEMORY_REGION, &region, why);
}

static int
open_machine(struct guest *guest, struct rp_wire_why *why)
{
	int rc;

	guest->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (guest->kvm_fd < 0)
		return rp_wire_why_set(why, -ENOTSUP, "/dev/kvm: %s", strerror(errno));
	rc = guest->vm_fd = ASK(guest->kvm_fd, KVM_CREATE_VM, NULL, why);
	if (rc >= 0)
		rc = ASK(guest->vm_fd, KVM_SET_TSS_ADDR, (void *)(uintptr_t)TSS_ADDRESS, why);
	if (rc >= 0)
		rc = ASK(guest->vm_fd, KVM_CREATE_IRQCHIP, NULL, why);
	return rc;
}

static int
open_memory(struct guest *guest, struct rp_wire_why *why)
{
	const struct guest_config *config = &guest->config;
	uint16_t handler = (uint16_t)(GUEST_CODE + (guest_code_handlers - guest_code));
	uint16_t *vectors;
	unsigned int i;
	int rc;

	if ((uint64_t)sysconf(_SC_PAGESIZE) != GUEST_DOORBELL_BYTES)
		return rp_wire_why_set(why, -ENOTSUP, "pages of this machine: %ld bytes, expected %d",
				       sysconf(_SC_PAGESIZE), GUEST_DOORBELL_BYTES);
	guest->ram = mmap(NULL, GUEST_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest->ram == MAP_FAILED) {
		guest->ram = NULL;
		return rp_wire_why_set(why, -ENOMEM, "guest memory: %s", strerror(errno));
	}
	memcpy(guest->ram + GUEST_CODE, guest_code, (size_t)(guest_code_end - guest_code));
	vectors = (uint16_t *)guest->ram; /* of each: offset, segment */
	for (i = 0; i <= GUEST_ASK; i++)
		vectors[2 * (GUEST_VECTORS + i)] = (uint16_t)(handler + i * GUEST_HANDLER_BYTES);
	*count_at(guest, GUEST_QUEUES_BYTES, 0) = (uint32_t)(config->queues_count * sizeof(uint32_t));
	rc = set_slot(guest, SLOT_RAM, 0, guest->ram, GUEST_RAM_BYTES, why);
	if (rc >= 0)
		rc = set_slot(guest, SLOT_RINGS, config->memory_gpa, config->memory, config->memory_bytes, why);
	return rc;
}

static int
open_cpu(struct guest *guest, struct rp_wire_why *why)
{
	struct kvm_regs registers = {
		.rip = GUEST_CODE, .rsp = GUEST_STACK_END, .rflags = 2 /* a bit that is always 1 */};
	struct kvm_sregs segments;
	int rc;

	rc = guest->cpu_fd = ASK(guest->vm_fd, KVM_CREATE_VCPU, NULL, why);
	if (rc >= 0)
		rc = ASK(guest->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL, why);
	if (rc < 0)
		return rc;
	guest->run_bytes = (size_t)rc;
	guest->run = mmap(NULL, guest->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, guest->cpu_fd, 0);
	if (guest->run == MAP_FAILED) {
		guest->run = NULL;
		return rp_wire_why_set(why, -ENOMEM, "virtual CPU: %s", strerror(errno));
	}
	rc = ASK(guest->cpu_fd, KVM_GET_SREGS, &segments, why);
	if (rc < 0)
		return rc;
	segments.cs.base = segments.cs.selector = 0;
	segments.fs.base = GUEST_APIC;
	rc = ASK(guest->cpu_fd, KVM_SET_SREGS, &segments, why);
	if (rc >= 0)
		rc = ASK(guest->cpu_fd, KVM_SET_REGS, &registers, why);
	return rc;
}

/* Interrupt line i of the machine is a message with the vector of queue i, as a function's MSI-X entry is. */
static int
open_interrupts(struct guest *guest, struct rp_wire_why *why)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[GUEST_ASK + 1];
	} routes = {.head.nr = GUEST_ASK + 1};
	struct kvm_irqfd look = {.gsi = GUEST_ASK};
	struct kvm_ioeventfd done = {.addr = GUEST_PORT_DONE, .len = 1, .flags = KVM_IOEVENTFD_FLAG_PIO};
	unsigned int i;
	int rc;

	guest->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	guest->ask_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (guest->done_fd < 0 || guest->ask_fd < 0)
		return rp_wire_why_set(why, -errno, "eventfd: %s", strerror(errno));
	for (i = 0; i <= GUEST_ASK; i++) {
		routes.entries[i].gsi = i;
		routes.entries[i].type = KVM_IRQ_ROUTING_MSI;
		routes.entries[i].u.msi.address_lo = GUEST_APIC;
		routes.entries[i].u.msi.data = GUEST_VECTORS + i;
	}
	look.fd = (uint32_t)guest->ask_fd;
	done.fd = guest->done_fd;
	rc = ASK(guest->vm_fd, KVM_SET_GSI_ROUTING, &routes, why);
	if (rc >= 0)
		rc = ASK(guest->vm_fd, KVM_IRQFD, &look, why);
	if (rc >= 0)
		rc = ASK(guest->vm_fd, KVM_IOEVENTFD, &done, why);
	return rc;
}

static void
on_signal(int number)
{
	(void)number; /* it ends KVM_RUN: no more is needed */
}

int
guest_open(const struct guest_config *config, struct guest **ret_guest, struct rp_wire_why *why)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct guest *guest;
	int rc;

	if (config->queues_count == 0 || config->queues_count > GUEST_QUEUES_MAX)
		return rp_wire_why_set(why, -EINVAL, "queues of the guest: %u, expected 1 to %d", config->queues_count,
				       GUEST_QUEUES_MAX);
	guest = calloc(1, sizeof(*guest));
	if (guest == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	guest->config = *config;
	guest->kvm_fd = guest->vm_fd = guest->cpu_fd = guest->done_fd = guest->ask_fd = -1;
	pthread_mutex_init(&guest->lock, NULL);
	pthread_cond_init(&guest->changed, NULL);
	sigaction(SIGNAL_PAUSE, &action, NULL);
	rc = open_machine(guest, why);
	if (rc >= 0)
		rc = open_memory(guest, why);
	if (rc >= 0)
		rc = open_interrupts(guest, why);
	if (rc >= 0)
		rc = open_cpu(guest, why);
	if (rc < 0) {
		guest_close(guest);
		return rc;
	}
	*ret_guest = guest;
	return 0;
}

/* @return whether the CPU is to go on. */
static bool
stand_while_wanted(struct guest *guest)
{
	bool go_on;

	pthread_mutex_lock(&guest->lock);
	while (guest->wanted == CPU_STANDS) {
		guest->state = CPU_STANDS;
		pthread_cond_broadcast(&guest->changed);
		pthread_cond_wait(&guest->changed, &guest->lock);
	}
	go_on = guest->wanted == CPU_RUNS;
	guest->state = go_on ? CPU_RUNS : CPU_ENDED;
	pthread_cond_broadcast(&guest->changed);
	pthread_mutex_unlock(&guest->lock);
	return go_on;
}

static void *
cpu_thread(void *argument)
{
	struct guest *guest = argument;

	/* Sleep, kicks and interrupts are all inside of KVM: what comes out is a signal, or the end. */
	while (stand_while_wanted(guest) && (ioctl(guest->cpu_fd, KVM_RUN, NULL) < 0 && errno == EINTR))
		;
	pthread_mutex_lock(&guest->lock);
	guest->state = CPU_ENDED;
	guest->exit_reason = guest->run->exit_reason;
	pthread_cond_broadcast(&guest->changed);
	pthread_mutex_unlock(&guest->lock);
	eventfd_write(guest->done_fd, 1);
	return NULL;
}

/* Until the CPU does what is wanted, or has ended. */
static void
want(struct guest *guest, enum cpu_state wanted)
{
	if (!guest->has_thread)
		return;
	pthread_mutex_lock(&guest->lock);
	guest->wanted = wanted;
	/* First this, then the signal: a CPU that is about to enter the guest comes back at once. */
	__atomic_store_n(&guest->run->immediate_exit, wanted == CPU_RUNS ? 0 : 1, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&guest->changed);
	if (guest->state == CPU_RUNS)
		pthread_kill(guest->thread, SIGNAL_PAUSE);
	while (guest->state != wanted && guest->state != CPU_ENDED)
		pthread_cond_wait(&guest->changed, &guest->lock);
	pthread_mutex_unlock(&guest->lock);
}

struct guest *
guest_close(struct guest *guest)
{
	if (guest == NULL)
		return NULL;
	if (guest->has_thread) {
		want(guest, CPU_ENDED);
		pthread_join(guest->thread, NULL);
	}
	if (guest->run != NULL)
		munmap(guest->run, guest->run_bytes);
	rp_wire_fd_close(&guest->cpu_fd);
	rp_wire_fd_close(&guest->vm_fd);
	rp_wire_fd_close(&guest->kvm_fd);
	rp_wire_fd_close(&guest->done_fd);
	rp_wire_fd_close(&guest->ask_fd);
	if (guest->ram != NULL)
		munmap(guest->ram, GUEST_RAM_BYTES);
	pthread_cond_destroy(&guest->changed);
	pthread_mutex_destroy(&guest->lock);
	free(guest);
	return NULL;
}

int
guest_vm_fd(const struct guest *guest)
{
	return guest->vm_fd;
}

int
guest_wire(struct guest *guest, unsigned int queue, int kick_fd, int call_fd, struct rp_wire_why *why)
{
	struct kvm_ioeventfd kick = {.addr = doorbell_gpa(queue), .len = sizeof(uint16_t), .fd = kick_fd};
	struct kvm_irqfd call = {.gsi = queue, .fd = (uint32_t)call_fd};
	int rc = ASK(guest->vm_fd, KVM_IOEVENTFD, &kick, why);

	if (rc >= 0)
		rc = ASK(guest->vm_fd, KVM_IRQFD, &call, why);
	return rc < 0 ? rc : 0;
}

/* A slot cannot be pointed elsewhere: the old one goes before the new one comes. */
static int
replace_slot(struct guest *guest, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why)
{
	struct rp_vhu_notify_map *held = &guest->doorbells[queue];
	uint32_t slot = SLOT_DOORBELLS + queue;
	int rc = 0;

	if (held->address != NULL)
		rc = set_slot(guest, slot, doorbell_gpa(queue), NULL, 0, why);
	held->address = NULL;
	if (rc >= 0 && map->address != NULL)
		rc = set_slot(guest, slot, doorbell_gpa(queue), map->address, map->size_bytes, why);
	if (rc >= 0)
		*held = *map;
	return rc < 0 ? rc : 0;
}

int
guest_doorbell(struct guest *guest, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why)
{
	const struct rp_vhu_notify_map old = guest->doorbells[queue];
	int rc;

	/* A CPU that stands meanwhile rings neither the old doorbell nor, for no reason, the ioeventfd. */
	want(guest, CPU_STANDS);
	rc = replace_slot(guest, queue, map, why);
	if (rc < 0 && old.address != NULL)
		replace_slot(guest, queue, &old, NULL);
	want(guest, CPU_RUNS);
	return rc;
}

static int
check_cpu(struct guest *guest, struct rp_wire_why *why)
{
	uint32_t exit_reason;
	bool ended;

	pthread_mutex_lock(&guest->lock);
	ended = guest->state == CPU_ENDED;
	exit_reason = guest->exit_reason;
	pthread_mutex_unlock(&guest->lock);
	return ended ? rp_wire_why_set(why, -EIO, "the virtual CPU has left the guest, exit reason %u", exit_reason) :
		       0;
}

/* Until the guest has done something, at most until the deadline. */
static int
wait_done(struct guest *guest, uint64_t deadline_ms, struct rp_wire_why *why)
{
	struct pollfd wait = {.fd = guest->done_fd, .events = POLLIN};
	uint64_t now_ms = rp_wire_clock_ms();

	if (now_ms >= deadline_ms)
		return rp_wire_why_set(why, -ETIMEDOUT, "the virtual CPU does nothing");
	poll(&wait, 1, (int)(deadline_ms - now_ms));
	guest_settle(guest);
	return check_cpu(guest, why);
}

int
guest_run(struct guest *guest, struct rp_wire_why *why)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + CPU_LIMIT_MS;
	int rc = pthread_create(&guest->thread, NULL, cpu_thread, guest);

	if (rc != 0)
		return rp_wire_why_set(why, -rc, "thread of the virtual CPU: %s", strerror(rc));
	guest->has_thread = true;
	/* Its interrupt controller drops what comes before it is switched on. */
	rc = 0;
	while (rc == 0 && __atomic_load_n(count_at(guest, GUEST_AWAKE, 0), __ATOMIC_ACQUIRE) == 0)
		rc = wait_done(guest, deadline_ms, why);
	return rc;
}

int
guest_kick(struct guest *guest, unsigned int queue, struct rp_wire_why *why)
{
	uint32_t *asked = count_at(guest, GUEST_ASKED, queue), *stored = count_at(guest, GUEST_STORED, queue);
	uint64_t deadline_ms = rp_wire_clock_ms() + CPU_LIMIT_MS;
	int rc = check_cpu(guest, why);

	if (rc < 0)
		return rc;
	__atomic_add_fetch(asked, 1, __ATOMIC_SEQ_CST);
	if (eventfd_write(guest->ask_fd, 1) < 0)
		return rp_wire_why_set(why, -errno, "eventfd: %s", strerror(errno));
	while (rc == 0 && __atomic_load_n(stored, __ATOMIC_ACQUIRE) != *asked)
		rc = wait_done(guest, deadline_ms, why);
	return rc < 0 ? rc : guest->doorbells[queue].address != NULL;
}

int
guest_done_fd(const struct guest *guest)
{
	return guest->done_fd;
}

void
guest_settle(struct guest *guest)
{
	eventfd_t count;

	eventfd_read(guest->done_fd, &count);
}

struct guest_counts
guest_counts(const struct guest *guest, unsigned int queue)
{
	return (struct guest_counts){
		.kicks = __atomic_load_n(count_at(guest, GUEST_STORED, queue), __ATOMIC_ACQUIRE),
		.interrupts = __atomic_load_n(count_at(guest, GUEST_TAKEN, queue), __ATOMIC_ACQUIRE),
	};
}
