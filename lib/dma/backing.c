/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backing.h"
#include "rp_wire_fd.h"

_Static_assert(RP_DMA_READ == PROT_READ && RP_DMA_WRITE == PROT_WRITE, "access bits are mmap's");
_Static_assert(sizeof(size_t) == 8 && sizeof(off_t) == 8, "a guest's memory does not fit a 32-bit process");

struct rp_dma_file {
	LIST_ENTRY(rp_dma_file) link;
	uint32_t refs_count;
	dev_t dev;
	ino_t ino;
	int fd;
};

struct rp_dma_backing {
	struct rp_dma_file *file;
	uint8_t *base;
	size_t size_bytes;
	uint32_t refs_count;
};

/* The inode only spares the system call: its number may repeat, and a file opened twice has two access modes. */
static struct rp_dma_file *
find_file(const struct rp_dma_files *files, int fd, const struct stat *st)
{
	struct rp_dma_file *file;

	for (file = LIST_FIRST(files); file != NULL; file = LIST_NEXT(file, link)) {
		if (file->ino == st->st_ino && file->dev == st->st_dev && rp_wire_fd_same(file->fd, fd) == 1)
			return file;
	}
	return NULL;
}

static int
file_get(struct rp_dma_files *files, int fd, const struct stat *st, struct rp_dma_file **ret_file,
	 struct rp_wire_why *why)
{
	struct rp_dma_file *file = find_file(files, fd, st);

	if (file != NULL) {
		file->refs_count++;
		*ret_file = file;
		return 0;
	}
	file = calloc(1, sizeof(*file));
	if (file == NULL)
		return rp_wire_why_set(why, -ENOSPC, "map: no memory");
	file->fd = rp_wire_fd_dup(fd);
	if (file->fd < 0) {
		int error = -file->fd;

		free(file);
		return rp_wire_why_set(why, -ENOSPC, "map: file: cannot keep a descriptor: %s", strerror(error));
	}
	file->dev = st->st_dev;
	file->ino = st->st_ino;
	file->refs_count = 1;
	LIST_INSERT_HEAD(files, file, link);
	*ret_file = file;
	return 0;
}

static void
file_put(struct rp_dma_file *file)
{
	if (--file->refs_count > 0)
		return;
	LIST_REMOVE(file, link);
	rp_wire_fd_close(&file->fd);
	free(file);
}

/* hugetlbfs maps, and above all unmaps, whole huge pages only. */
static uint64_t
page_bytes_of(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
		return (uint64_t)fs.f_bsize;
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The pages that a mapping needs of its file. */
struct window {
	uint64_t offset_bytes;
	uint64_t size_bytes;
	uint64_t lead_bytes; /* from the first page's start to the mapping's first byte */
};

static int
find_window(const struct rp_dma_mapping *mapping, const struct stat *st, struct window *ret_window,
	    struct rp_wire_why *why)
{
	uint64_t page_bytes = page_bytes_of(mapping->fd);
	uint64_t end_bytes;

	if (__builtin_add_overflow(mapping->offset_bytes, mapping->size_bytes, &end_bytes) ||
	    end_bytes > INT64_MAX - page_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "map: offset 0x%" PRIx64 " and size 0x%" PRIx64 " end beyond any file",
				       mapping->offset_bytes, mapping->size_bytes);
	/* The kernel maps what lies beyond a file's end and kills who touches it. */
	if (S_ISREG(st->st_mode) && end_bytes > (uint64_t)st->st_size)
		return rp_wire_why_set(why, -EBADMSG,
				       "map: file: has 0x%" PRIx64 " bytes, expected at least 0x%" PRIx64,
				       (uint64_t)st->st_size, end_bytes);
	/* Its size is not in st_size, and no frontend keeps memory there. */
	if (S_ISBLK(st->st_mode))
		return rp_wire_why_set(why, -EBADMSG, "map: file: is a block device, expected memory");
	ret_window->offset_bytes = mapping->offset_bytes / page_bytes * page_bytes;
	ret_window->lead_bytes = mapping->offset_bytes - ret_window->offset_bytes;
	ret_window->size_bytes = (end_bytes + page_bytes - 1) / page_bytes * page_bytes - ret_window->offset_bytes;
	return 0;
}

/*
 * How large a device's memory is nowhere to be read. Its last page is asked for here,
 * where the answer is an error and not a signal; kernels and devices that cannot say
 * (before 5.14, memory of hardware) are believed.
 */
static int
check_end(const struct stat *st, uint8_t *base, const struct window *window, uint32_t access_mask,
	  struct rp_wire_why *why)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	int advice = (access_mask & RP_DMA_READ) != 0 ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;

	if (S_ISREG(st->st_mode) || madvise(base + window->size_bytes - page_bytes, page_bytes, advice) == 0 ||
	    errno != EFAULT)
		return 0;
	return rp_wire_why_set(why, -EBADMSG, "map: file: a device that ends before offset 0x%" PRIx64,
			       window->offset_bytes + window->size_bytes);
}

int
rp_dma_backing_create(struct rp_dma_files *files, const struct rp_dma_mapping *mapping,
		      struct rp_dma_backing **ret_backing, uint8_t **ret_hva, struct rp_wire_why *why)
{
	struct rp_dma_backing *backing;
	struct window window = {0};
	struct stat st;
	int rc;

	if (fstat(mapping->fd, &st) < 0)
		return rp_wire_why_set(why, -EBADMSG, "map: file: %s", strerror(errno));
	rc = find_window(mapping, &st, &window, why);
	if (rc < 0)
		return rc;
	backing = calloc(1, sizeof(*backing));
	if (backing == NULL)
		return rp_wire_why_set(why, -ENOSPC, "map: no memory");
	backing->base = mmap(NULL, window.size_bytes, (int)mapping->access_mask, MAP_SHARED | MAP_NORESERVE,
			     mapping->fd, (off_t)window.offset_bytes);
	if (backing->base == MAP_FAILED) {
		rc = rp_wire_why_set(why, errno == ENOMEM ? -ENOSPC : -EBADMSG,
				     "map: file: mmap of 0x%" PRIx64 " bytes at 0x%" PRIx64 ": %s", window.size_bytes,
				     window.offset_bytes, strerror(errno));
		free(backing);
		return rc;
	}
	rc = check_end(&st, backing->base, &window, mapping->access_mask, why);
	if (rc == 0)
		rc = file_get(files, mapping->fd, &st, &backing->file, why);
	if (rc < 0) {
		munmap(backing->base, window.size_bytes);
		free(backing);
		return rc;
	}
	/* A guest's memory has no place in our core file. */
	madvise(backing->base, window.size_bytes, MADV_DONTDUMP);
	backing->size_bytes = window.size_bytes;
	backing->refs_count = 1;
	*ret_backing = backing;
	*ret_hva = backing->base + window.lead_bytes;
	return 0;
}

void
rp_dma_backing_ref(struct rp_dma_backing *backing)
{
	if (backing != NULL)
		backing->refs_count++;
}

void
rp_dma_backing_unref(struct rp_dma_backing *backing)
{
	if (backing == NULL || --backing->refs_count > 0)
		return;
	munmap(backing->base, backing->size_bytes);
	file_put(backing->file);
	free(backing);
}

int
rp_dma_backing_fd(const struct rp_dma_backing *backing)
{
	return backing == NULL ? -1 : backing->file->fd;
}
