/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "files.h"
#include "rp_port.h"
#include "rp_wire_fd.h"

#define FILES_MAX 1024u

struct given {
	int fd;
	pid_t vmm;
	const void *owner; /* NULL: gone */
	char name[RP_PORT_NAME_MAX];
};

struct rp_port_files {
	struct given *given;
	unsigned int count;
};

int
rp_port_files_create(struct rp_port_files **ret_files)
{
	struct rp_port_files *files = calloc(1, sizeof(*files));

	if (files == NULL)
		return -ENOMEM;
	*ret_files = files;
	return 0;
}

static void
forget(struct rp_port_files *files, unsigned int index)
{
	rp_wire_fd_close(&files->given[index].fd);
	files->given[index] = files->given[--files->count];
}

struct rp_port_files *
rp_port_files_destroy(struct rp_port_files *files)
{
	if (files == NULL)
		return NULL;
	while (files->count > 0)
		forget(files, files->count - 1);
	free(files->given);
	free(files);
	return NULL;
}

/*
 * One open file; or one memory file, opened twice. Other files (a VFIO device) may all
 * have the inode of the kernel's anonymous files, which says nothing.
 */
static bool
same_file(int a, int b)
{
	struct stat stat_a, stat_b;

	if (rp_wire_fd_same(a, b) == 1)
		return true;
	return fstat(a, &stat_a) == 0 && fstat(b, &stat_b) == 0 && S_ISREG(stat_a.st_mode) && S_ISREG(stat_b.st_mode) &&
	       stat_a.st_dev == stat_b.st_dev && stat_a.st_ino == stat_b.st_ino;
}

/* A number that was given to another process since makes us careful, not wrong. */
static bool
is_gone(pid_t vmm)
{
	return kill(vmm, 0) < 0 && errno == ESRCH;
}

static int
give(struct rp_port_files *files, const struct given *given, struct rp_wire_why *why)
{
	struct given *grown;

	if (files->count == FILES_MAX)
		return rp_wire_why_set(why, -ENOSPC, "doorbell file: %u are given out", FILES_MAX);
	grown = realloc(files->given, (files->count + 1) * sizeof(*grown));
	if (grown == NULL)
		return rp_wire_why_set(why, -ENOSPC, "doorbell file: no memory");
	files->given = grown;
	grown[files->count] = *given;
	grown[files->count].fd = rp_wire_fd_dup(given->fd);
	if (grown[files->count].fd < 0)
		return rp_wire_why_set(why, grown[files->count].fd, "doorbell file: %s",
				       strerror(-grown[files->count].fd));
	files->count++;
	return 0;
}

int
port_files_claim(struct rp_port_files *files, const void *owner, const char *name, pid_t vmm, int fd,
		 struct rp_wire_why *why)
{
	struct given given = {.fd = fd, .vmm = vmm, .owner = owner};
	bool has_it = false;
	unsigned int i;

	if (files == NULL)
		return 0;
	for (i = files->count; i-- > 0;) {
		const struct given *other = &files->given[i];

		if (!same_file(other->fd, fd))
			continue;
		if (other->owner == owner && other->vmm == vmm)
			has_it = true;
		else if (other->vmm != vmm && is_gone(other->vmm))
			forget(files, i);
		else if (other->vmm != vmm)
			return rp_wire_why_set(
				why, -EBUSY,
				"doorbell file: the guest of port %s (process %d) has it; a file carries the "
				"doorbells of one guest only",
				other->name, (int)other->vmm);
	}
	strncpy(given.name, name, sizeof(given.name) - 1);
	return has_it ? 0 : give(files, &given, why);
}

void
port_files_release(struct rp_port_files *files, const void *owner, bool taken_back)
{
	unsigned int i;

	if (files == NULL)
		return;
	for (i = files->count; i-- > 0;) {
		if (files->given[i].owner != owner)
			continue;
		files->given[i].owner = NULL;
		if (taken_back || is_gone(files->given[i].vmm))
			forget(files, i);
	}
}
