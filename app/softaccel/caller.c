/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/aio_abi.h>

#include "rp_wire_fd.h"
#include "sa_caller.h"

/* Each is complete when io_submit() returns, and taken from the ring then. */
#define COMPLETIONS 1u

struct sa_caller {
	aio_context_t context;
	int null_fd; /* read from: nothing, at once; -1: it was given back */
	struct sa_caller *next; /* that was given back */
};

/* Of the process, because contexts are: its address space has them. */
static struct {
	pthread_mutex_t mutex;
	struct sa_caller *first;
} kept = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* The begin of what a context's number points to, as the kernel made it; it has been so since Linux 2.6. */
struct completions {
	uint32_t id;
	uint32_t room_count;
	uint32_t head; /* ours */
	uint32_t tail; /* the kernel's */
};

static void
keep(struct sa_caller *caller)
{
	pthread_mutex_lock(&kept.mutex);
	caller->next = kept.first;
	kept.first = caller;
	pthread_mutex_unlock(&kept.mutex);
}

static struct sa_caller *
take_kept(void)
{
	struct sa_caller *caller;

	pthread_mutex_lock(&kept.mutex);
	caller = kept.first;
	if (caller != NULL)
		kept.first = caller->next;
	pthread_mutex_unlock(&kept.mutex);
	return caller;
}

static int
make(struct sa_caller **ret_caller)
{
	struct sa_caller *caller = calloc(1, sizeof(*caller));
	int rc;

	if (caller == NULL)
		return -ENOMEM;
	caller->null_fd = -1;
	if (syscall(SYS_io_setup, COMPLETIONS, &caller->context) < 0) {
		rc = -errno;
		free(caller);
		return rc;
	}
	*ret_caller = caller;
	return 0;
}

int
sa_caller_take(struct sa_caller **ret_caller)
{
	struct sa_caller *caller = take_kept();
	int rc = caller == NULL ? make(&caller) : 0;

	if (rc < 0)
		return rc;
	caller->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (caller->null_fd < 0) {
		rc = -errno;
		keep(caller);
		return rc;
	}
	*ret_caller = caller;
	return 0;
}

struct sa_caller *
sa_caller_give(struct sa_caller *caller)
{
	if (caller == NULL)
		return NULL;
	rp_wire_fd_close(&caller->null_fd);
	keep(caller);
	return NULL;
}

int
sa_caller_call(struct sa_caller *caller, int eventfd)
{
	struct completions *completions = (struct completions *)(uintptr_t)caller->context;
	struct iocb nothing = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)caller->null_fd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)eventfd,
	};
	struct iocb *list[] = {&nothing};
	int rc = syscall(SYS_io_submit, caller->context, 1, list) == 1 ? 0 : -errno;

	__atomic_store_n(&completions->head, __atomic_load_n(&completions->tail, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
	return rc;
}
