/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>

#include "devargs.h"
#include "rp_accel_hand_over.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"

/* Drivers put words in front of others' words: they always have some. */
#define WORDS(why) ((why) != NULL ? (why) : &(struct rp_wire_why){0})

int
rp_accel_give(const struct rp_accel *accel, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	if (accel->ops->give == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "its driver cannot give it away");
	return accel->ops->give(accel->priv, parcel, WORDS(why));
}

void
rp_accel_leave(struct rp_accel *accel)
{
	if (accel->ops == NULL || accel->ops->leave == NULL) {
		rp_accel_close(accel);
		return;
	}
	accel->ops->leave(accel->priv);
	accel->ops = NULL;
	accel->priv = NULL;
}

int
rp_accel_adopt(const struct rp_accel_registry *registry, const char *device_arguments, struct rp_wire_parcel *parcel,
	       const struct rp_accel_memory *memories, unsigned int memories_count, struct rp_accel *ret_accel,
	       struct rp_wire_why *why)
{
	struct rp_wire_why *words = WORDS(why);
	struct rp_accel_devargs args;
	int rc = accel_devargs_parse(registry, device_arguments, &args, words);

	if (rc < 0)
		return rc;
	if (args.driver->adopt == NULL)
		rc = rp_wire_why_set(words, -ENOTSUP, "cannot adopt a device");
	else
		rc = args.driver->adopt(&args, parcel, memories, memories_count, ret_accel, words);
	if (rc < 0)
		rp_wire_why_prefix(words, "%s: ", args.driver->name);
	accel_devargs_release(&args);
	return rc;
}

/* A file of the kernel's own has no type; its flags are its owner's, which we are now. */
static bool
is_eventfd(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == 0 && flags >= 0 &&
	       fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

int
rp_accel_hand_over_eventfd(struct rp_wire_parcel *parcel, const char *name, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = rp_wire_parcel_need_fd(parcel, name);

	if (fd < 0)
		return -1;
	if (is_eventfd(fd))
		return rp_wire_fd_take(&fd);
	rp_wire_why_set(why, -EBADMSG, "%s: not an eventfd", name);
	return -1;
}
