/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/aio_abi.h>

#include "rp_wire_caller.h"
#include "rp_wire_fd.h"

/* Each is complete when io_submit() returns, and taken from the ring then. */
#define COMPLETIONS 1u

struct rp_wire_caller {
	aio_context_t context; /* 0: the kernel has none */
	pid_t pid; /* whose it is */
	int null_fd; /* read from: nothing, at once; -1: it was given back */
	struct rp_wire_caller *next; /* that was given back */
};

/* Of the process, because contexts are: its address space has them. */
static struct {
	pthread_mutex_t mutex;
	struct rp_wire_caller *first;
} kept = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* The begin of what a context's number points to, as the kernel made it; it has been so since Linux 2.6. */
struct completions {
	uint32_t id;
	uint32_t room_count;
	uint32_t head; /* ours */
	uint32_t tail; /* the kernel's */
};

static void
keep(struct rp_wire_caller *caller)
{
	if (caller->context == 0) {
		free(caller);
		return;
	}
	pthread_mutex_lock(&kept.mutex);
	caller->next = kept.first;
	kept.first = caller;
	pthread_mutex_unlock(&kept.mutex);
}

static struct rp_wire_caller *
take_kept(void)
{
	struct rp_wire_caller *caller;
	pid_t pid = getpid();

	pthread_mutex_lock(&kept.mutex);
	while ((caller = kept.first) != NULL) {
		kept.first = caller->next;
		if (caller->pid == pid)
			break;
		/* A parent's: its number says nothing here. */
		free(caller);
	}
	pthread_mutex_unlock(&kept.mutex);
	return caller;
}

/* @return NULL: errno says why. */
static struct rp_wire_caller *
make(void)
{
	struct rp_wire_caller *caller = calloc(1, sizeof(*caller));
	int error;

	if (caller == NULL)
		return NULL;
	caller->null_fd = -1;
	caller->pid = getpid();
	if (syscall(SYS_io_setup, COMPLETIONS, &caller->context) < 0 && errno != ENOSYS) {
		error = errno;
		free(caller);
		errno = error;
		return NULL;
	}
	return caller;
}

int
rp_wire_caller_take(struct rp_wire_caller **ret_caller)
{
	struct rp_wire_caller *caller = take_kept();
	int rc;

	if (caller == NULL)
		caller = make();
	if (caller == NULL)
		return -errno;
	caller->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (caller->null_fd < 0) {
		rc = -errno;
		keep(caller);
		return rc;
	}
	*ret_caller = caller;
	return 0;
}

struct rp_wire_caller *
rp_wire_caller_give(struct rp_wire_caller *caller)
{
	if (caller == NULL)
		return NULL;
	rp_wire_fd_close(&caller->null_fd);
	keep(caller);
	return NULL;
}

static bool
is_eventfd(int fd)
{
	struct stat st;

	/* An anonymous inode, which has no file type; /proc, which would say more, may be missing. */
	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == 0;
}

/* Where the kernel has no signal for us. @return 1: it is an eventfd, and ready; 0: not ready. */
static int
look(int eventfd, short events)
{
	struct pollfd ready = {.fd = eventfd, .events = events};

	if (poll(&ready, 1, 0) < 0)
		return -errno;
	if (eventfd < 0 || (ready.revents & POLLNVAL) != 0)
		return -EBADF;
	if (!is_eventfd(eventfd))
		return -EINVAL;
	return (ready.revents & events) != 0;
}

static int
call_plainly(int eventfd)
{
	int rc = look(eventfd, POLLOUT);

	if (rc > 0 && eventfd_write(eventfd, 1) < 0 && errno != EAGAIN)
		return -errno;
	return rc < 0 ? rc : 0;
}

static int
drain_plainly(int eventfd, uint64_t *ret_count)
{
	eventfd_t count;
	int rc = look(eventfd, POLLIN);

	if (rc <= 0)
		return rc;
	if (eventfd_read(eventfd, &count) < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (ret_count != NULL)
		*ret_count = count;
	return 1;
}

int
rp_wire_caller_call(struct rp_wire_caller *caller, int eventfd)
{
	struct completions *completions = (struct completions *)(uintptr_t)caller->context;
	struct iocb nothing = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)caller->null_fd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)eventfd,
	};
	struct iocb *list[] = {&nothing};

	if (caller->context == 0)
		return call_plainly(eventfd);
	if (syscall(SYS_io_submit, caller->context, 1, list) != 1)
		return -errno;
	__atomic_store_n(&completions->head, __atomic_load_n(&completions->tail, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
	return 0;
}

int
rp_wire_caller_drain(int eventfd, uint64_t *ret_count)
{
	uint64_t count;
	struct iovec iov = {.iov_base = &count, .iov_len = sizeof(count)};
	/* Not the C library's, which makes one answer of a kernel without the call and a file that cannot. */
	long size = syscall(SYS_preadv2, eventfd, &iov, 1ul, -1l, -1l, RWF_NOWAIT);

	if (size < 0 && errno == ENOSYS)
		return drain_plainly(eventfd, ret_count);
	if (size < 0 && errno == EAGAIN)
		return 0;
	if (size < 0)
		return errno == EOPNOTSUPP ? -EINVAL : -errno;
	if (size != (long)sizeof(count))
		return -EINVAL;
	if (ret_count != NULL)
		*ret_count = count;
	return 1;
}
