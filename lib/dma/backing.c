/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backing.h"
#include "rp_wire_fd.h"

_Static_assert(RP_DMA_READ == PROT_READ && RP_DMA_WRITE == PROT_WRITE, "access bits are mmap's");
_Static_assert(sizeof(size_t) == 8 && sizeof(off_t) == 8, "a guest's memory does not fit a 32-bit process");

/* Of a file's windows, but where one mapping is larger: a terabyte takes 16. */
#define WINDOW_BYTES (UINT64_C(64) << 30)

struct rp_dma_file {
	LIST_ENTRY(rp_dma_file) link;
	LIST_HEAD(rp_dma_windows, rp_dma_window) windows; /* the one used last first */
	uint32_t users_count; /* windows, and who is about to make one */
	uint64_t page_bytes;
	dev_t dev;
	ino_t ino;
	int fd;
};

struct rp_dma_window {
	uint8_t *base;
	uint64_t size_bytes;
	uint64_t offset_bytes;
	struct rp_dma_file *file;
	LIST_ENTRY(rp_dma_window) link;
	uint32_t access_mask;
	uint32_t refs_count;
};

/* Bytes of a file, in whole pages. */
struct pages {
	uint64_t offset_bytes;
	uint64_t size_bytes;
};

void
rp_dma_backing_init(struct rp_dma_backing *backing)
{
	*backing = (struct rp_dma_backing){0};
	LIST_INIT(&backing->files);
}

/* Windows do not overlap here; what lies in one is equal to it. */
static int
compare_windows(const void *left, const void *right)
{
	const struct rp_dma_window *a = left, *b = right;

	if (a->base + a->size_bytes <= b->base)
		return -1;
	return a->base >= b->base + b->size_bytes;
}

static struct rp_dma_window *
find_window(const struct rp_dma_backing *backing, const uint8_t *hva)
{
	struct rp_dma_window key = {.base = (uint8_t *)(uintptr_t)hva, .size_bytes = 1};
	struct rp_dma_window *const *found;

	if (backing->last != NULL && compare_windows(&key, backing->last) == 0)
		return backing->last;
	found = tfind(&key, &backing->windows, compare_windows);
	assert(found != NULL);
	return *found;
}

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

/* @return one more use of it, or NULL: -ENOSPC, and why says so. */
static struct rp_dma_file *
file_get(struct rp_dma_backing *backing, int fd, const struct stat *st, struct rp_wire_why *why)
{
	struct rp_dma_file *file = find_file(&backing->files, fd, st);

	if (file == NULL) {
		file = calloc(1, sizeof(*file));
		if (file == NULL) {
			rp_wire_why_set(why, -ENOSPC, "map: no memory");
			return NULL;
		}
		file->fd = rp_wire_fd_dup(fd);
		if (file->fd < 0) {
			rp_wire_why_set(why, -ENOSPC, "map: file: cannot keep a descriptor: %s", strerror(-file->fd));
			free(file);
			return NULL;
		}
		file->dev = st->st_dev;
		file->ino = st->st_ino;
		file->page_bytes = rp_wire_fd_page_bytes(file->fd);
		LIST_INIT(&file->windows);
		LIST_INSERT_HEAD(&backing->files, file, link);
	}
	file->users_count++;
	return file;
}

static void
file_put(struct rp_dma_file *file)
{
	if (--file->users_count > 0)
		return;
	LIST_REMOVE(file, link);
	rp_wire_fd_close(&file->fd);
	free(file);
}

static int
check_size(const struct rp_dma_file *file, const struct rp_dma_mapping *mapping, const struct stat *st,
	   struct rp_wire_why *why)
{
	uint64_t end_bytes;

	if (__builtin_add_overflow(mapping->offset_bytes, mapping->size_bytes, &end_bytes) ||
	    end_bytes > INT64_MAX - file->page_bytes)
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
	return 0;
}

/* The pages that a mapping needs of its file. */
static struct pages
needed_pages(const struct rp_dma_file *file, const struct rp_dma_mapping *mapping)
{
	uint64_t end_bytes = mapping->offset_bytes + mapping->size_bytes + file->page_bytes - 1;
	uint64_t offset_bytes = mapping->offset_bytes / file->page_bytes * file->page_bytes;

	return (struct pages){offset_bytes, end_bytes / file->page_bytes * file->page_bytes - offset_bytes};
}

/*
 * The pages to map for it: what others will ask for too. A file that grows page by page
 * would get a window for each, so they reach to the next power of two: what lies beyond
 * its end is not touched before somebody maps it, and then its size is looked at again.
 * Not so on hugetlbfs, where mapping beyond the end makes the file larger.
 */
static struct pages
wanted_pages(const struct rp_dma_file *file, const struct pages *needed, const struct stat *st)
{
	uint64_t end_bytes = needed->offset_bytes + needed->size_bytes, most_bytes = (uint64_t)st->st_size;
	struct pages wanted = *needed;
	bool huge = file->page_bytes > (uint64_t)sysconf(_SC_PAGESIZE);

	if (!S_ISREG(st->st_mode) || end_bytes > (UINT64_C(1) << 62))
		return wanted;
	while (!huge && (most_bytes & (most_bytes - 1)) != 0)
		most_bytes += most_bytes & -most_bytes;
	wanted.offset_bytes = needed->offset_bytes / WINDOW_BYTES * WINDOW_BYTES;
	wanted.size_bytes = (end_bytes + WINDOW_BYTES - 1) / WINDOW_BYTES * WINDOW_BYTES;
	if (wanted.size_bytes > most_bytes)
		wanted.size_bytes = most_bytes;
	if (wanted.size_bytes < end_bytes)
		wanted.size_bytes = end_bytes;
	wanted.size_bytes -= wanted.offset_bytes;
	return wanted;
}

/*
 * How large a device's memory is nowhere to be read. Its last page is asked for here,
 * where the answer is an error and not a signal; kernels and devices that cannot say
 * (before 5.14, memory of hardware) are believed.
 */
static int
check_end(const struct stat *st, const struct rp_dma_window *window, struct rp_wire_why *why)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	int advice = (window->access_mask & RP_DMA_READ) != 0 ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;

	if (S_ISREG(st->st_mode) || madvise(window->base + window->size_bytes - page_bytes, page_bytes, advice) == 0 ||
	    errno != EFAULT)
		return 0;
	return rp_wire_why_set(why, -EBADMSG, "map: file: a device that ends before offset 0x%" PRIx64,
			       window->offset_bytes + window->size_bytes);
}

static bool
try_mmap(struct rp_dma_window *window, const struct pages *pages)
{
	window->offset_bytes = pages->offset_bytes;
	window->size_bytes = pages->size_bytes;
	window->base = mmap(NULL, pages->size_bytes, (int)window->access_mask, MAP_SHARED | MAP_NORESERVE,
			    window->file->fd, (off_t)pages->offset_bytes);
	return window->base != MAP_FAILED;
}

static int
window_mmap(struct rp_dma_window *window, const struct pages *needed, const struct stat *st, struct rp_wire_why *why)
{
	const struct pages wanted = wanted_pages(window->file, needed, st);
	int rc;

	/* What is more than needed may be more than there is. */
	if (!try_mmap(window, &wanted) && !try_mmap(window, needed))
		return rp_wire_why_set(why, errno == ENOMEM ? -ENOSPC : -EBADMSG,
				       "map: file: mmap of 0x%" PRIx64 " bytes at 0x%" PRIx64 ": %s",
				       needed->size_bytes, needed->offset_bytes, strerror(errno));
	rc = check_end(st, window, why);
	if (rc < 0) {
		munmap(window->base, window->size_bytes);
		return rc;
	}
	/* A guest's memory has no place in our core file. */
	madvise(window->base, window->size_bytes, MADV_DONTDUMP);
	return 0;
}

/* The window takes the caller's use of the file on success. */
static int
window_create(struct rp_dma_backing *backing, struct rp_dma_file *file, uint32_t access_mask,
	      const struct pages *needed, const struct stat *st, struct rp_dma_window **ret_window,
	      struct rp_wire_why *why)
{
	struct rp_dma_window *window = calloc(1, sizeof(*window));
	int rc;

	if (window == NULL)
		return rp_wire_why_set(why, -ENOSPC, "map: no memory");
	window->file = file;
	window->access_mask = access_mask;
	rc = window_mmap(window, needed, st, why);
	if (rc < 0) {
		free(window);
		return rc;
	}
	if (tsearch(window, &backing->windows, compare_windows) == NULL) {
		munmap(window->base, window->size_bytes);
		free(window);
		return rp_wire_why_set(why, -ENOSPC, "map: no memory");
	}
	LIST_INSERT_HEAD(&file->windows, window, link);
	backing->windows_count++;
	*ret_window = window;
	return 0;
}

/* One that has these pages with that access, no more and no less. */
static struct rp_dma_window *
find_among(struct rp_dma_file *file, uint32_t access_mask, const struct pages *needed)
{
	struct rp_dma_window *window;

	for (window = LIST_FIRST(&file->windows); window != NULL; window = LIST_NEXT(window, link)) {
		if (window->access_mask == access_mask && window->offset_bytes <= needed->offset_bytes &&
		    needed->offset_bytes - window->offset_bytes <= window->size_bytes &&
		    needed->size_bytes <= window->size_bytes - (needed->offset_bytes - window->offset_bytes))
			break;
	}
	if (window != NULL && window != LIST_FIRST(&file->windows)) {
		LIST_REMOVE(window, link);
		LIST_INSERT_HEAD(&file->windows, window, link);
	}
	return window;
}

int
rp_dma_backing_get(struct rp_dma_backing *backing, const struct rp_dma_mapping *mapping, uint8_t **ret_hva,
		   struct rp_wire_why *why)
{
	struct rp_dma_window *window = NULL;
	struct rp_dma_file *file;
	struct pages needed;
	struct stat st;
	int rc;

	if (fstat(mapping->fd, &st) < 0)
		return rp_wire_why_set(why, -EBADMSG, "map: file: %s", strerror(errno));
	file = file_get(backing, mapping->fd, &st, why);
	if (file == NULL)
		return -ENOSPC;
	rc = check_size(file, mapping, &st, why);
	if (rc < 0) {
		file_put(file);
		return rc;
	}
	needed = needed_pages(file, mapping);
	window = find_among(file, mapping->access_mask, &needed);
	if (window == NULL)
		rc = window_create(backing, file, mapping->access_mask, &needed, &st, &window, why);
	if (window == NULL || window->refs_count > 0)
		file_put(file);
	if (window == NULL)
		return rc;
	window->refs_count++;
	backing->last = window;
	*ret_hva = window->base + (mapping->offset_bytes - window->offset_bytes);
	return 0;
}

void
rp_dma_backing_ref(struct rp_dma_backing *backing, uint8_t *hva)
{
	if (hva != NULL)
		find_window(backing, hva)->refs_count++;
}

void
rp_dma_backing_unref(struct rp_dma_backing *backing, uint8_t *hva)
{
	struct rp_dma_window *window;

	if (hva == NULL)
		return;
	window = find_window(backing, hva);
	backing->last = window;
	if (--window->refs_count > 0)
		return;
	backing->last = NULL;
	backing->windows_count--;
	tdelete(window, &backing->windows, compare_windows);
	LIST_REMOVE(window, link);
	munmap(window->base, window->size_bytes);
	file_put(window->file);
	free(window);
}

int
rp_dma_backing_fd(const struct rp_dma_backing *backing, const uint8_t *hva, uint64_t *ret_offset_bytes)
{
	const struct rp_dma_window *window;

	*ret_offset_bytes = 0;
	if (hva == NULL)
		return -1;
	window = find_window(backing, hva);
	*ret_offset_bytes = window->offset_bytes + (uint64_t)(hva - window->base);
	return window->file->fd;
}
