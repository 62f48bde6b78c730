/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "rp_vhu_vfio_files.h"
#include "rp_wire_fd.h"

struct rp_vhu_vfio_file {
	LIST_ENTRY(rp_vhu_vfio_file) link;
	struct rp_vhu_vfio_files *files;
	int fd;
	dev_t node; /* the device number: what it is known by where kcmp cannot be asked */
	enum rp_vhu_vfio_type type;
	unsigned int references;
};

struct rp_vhu_vfio_files {
	const struct rp_vhu_vfio_files_ops *ops;
	void *ctx;
	LIST_HEAD(rp_vhu_vfio_file_list, rp_vhu_vfio_file) head;
	unsigned int count;
};

int
rp_vhu_vfio_files_create(const struct rp_vhu_vfio_files_ops *ops, void *ctx, struct rp_vhu_vfio_files **ret_files)
{
	struct rp_vhu_vfio_files *files = calloc(1, sizeof(*files));

	if (files == NULL)
		return -ENOMEM;
	files->ops = ops;
	files->ctx = ctx;
	LIST_INIT(&files->head);
	*ret_files = files;
	return 0;
}

struct rp_vhu_vfio_files *
rp_vhu_vfio_files_destroy(struct rp_vhu_vfio_files *files)
{
	assert(files == NULL || files->count == 0);
	free(files);
	return NULL;
}

unsigned int
rp_vhu_vfio_files_count(const struct rp_vhu_vfio_files *files)
{
	return files->count;
}

static const char *
kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a regular file";
	case S_IFSOCK:
		return "a socket";
	case S_IFIFO:
		return "a pipe";
	case S_IFDIR:
		return "a directory";
	case S_IFBLK:
		return "a block device";
	default:
		return "an anonymous file"; /* an eventfd, an epoll, a VFIO device fd of a group */
	}
}

static int
check_kind(int fd, dev_t *ret_node, struct rp_wire_why *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: %s", strerror(errno));
	if (!S_ISCHR(st.st_mode))
		return rp_wire_why_set(why, -EBADMSG, "descriptor: %s, expected a VFIO group or cdev",
				       kind_of(st.st_mode));
	*ret_node = st.st_rdev;
	return 0;
}

static struct rp_vhu_vfio_file *
find(const struct rp_vhu_vfio_files *files, int fd, dev_t node)
{
	struct rp_vhu_vfio_file *file;

	for (file = LIST_FIRST(&files->head); file != NULL; file = LIST_NEXT(file, link)) {
		int same = rp_wire_fd_same(file->fd, fd);

		if (same == 1 || (same < 0 && file->node == node))
			return file;
	}
	return NULL;
}

static int
add(struct rp_vhu_vfio_files *files, int *fd, enum rp_vhu_vfio_type type, dev_t node,
    struct rp_vhu_vfio_file **ret_file, struct rp_wire_why *why)
{
	struct rp_vhu_vfio_file *file = calloc(1, sizeof(*file));
	int rc = 0;

	if (file == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	if (files->ops != NULL && files->ops->add != NULL)
		rc = files->ops->add(files->ctx, *fd, type, why);
	if (rc < 0) {
		free(file);
		return rc;
	}
	*file = (struct rp_vhu_vfio_file){
		.files = files, .fd = rp_wire_fd_take(fd), .node = node, .type = type, .references = 1};
	LIST_INSERT_HEAD(&files->head, file, link);
	files->count++;
	*ret_file = file;
	return 0;
}

int
rp_vhu_vfio_file_get(struct rp_vhu_vfio_files *files, int *fd, enum rp_vhu_vfio_type type,
		     struct rp_vhu_vfio_file **ret_file, struct rp_wire_why *why)
{
	struct rp_vhu_vfio_file *file;
	dev_t node = 0;
	int rc = check_kind(*fd, &node, why);

	if (rc < 0)
		return rc;
	file = find(files, *fd, node);
	if (file == NULL)
		return add(files, fd, type, node, ret_file, why);
	if (file->type != type)
		return rp_wire_why_set(why, -EBADMSG, "type: %u, but the file was given as %u before",
				       (unsigned int)type, (unsigned int)file->type);
	rp_wire_fd_close(fd);
	file->references++;
	*ret_file = file;
	return 0;
}

struct rp_vhu_vfio_file *
rp_vhu_vfio_file_put(struct rp_vhu_vfio_file *file)
{
	struct rp_vhu_vfio_files *files;

	if (file == NULL || --file->references > 0)
		return NULL;
	files = file->files;
	LIST_REMOVE(file, link);
	files->count--;
	if (files->ops != NULL && files->ops->remove != NULL)
		files->ops->remove(files->ctx, file->fd, file->type);
	rp_wire_fd_close(&file->fd);
	free(file);
	return NULL;
}

int
rp_vhu_vfio_file_fd(const struct rp_vhu_vfio_file *file)
{
	return file->fd;
}

enum rp_vhu_vfio_type
rp_vhu_vfio_file_type(const struct rp_vhu_vfio_file *file)
{
	return file->type;
}

unsigned int
rp_vhu_vfio_file_references(const struct rp_vhu_vfio_file *file)
{
	return file->references;
}
