/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kvfio.h"

/*
 * A balanced tree (tsearch(3)) in which ranges that overlap compare as equal: a
 * look-up finds what is in the way of a range, at a cost that grows with the
 * logarithm of their number, whatever the order in which memory comes. To go through
 * all of them they are in a list as well.
 */

static int
compare(const void *a, const void *b)
{
	const struct kvfio_mapping *left = a, *right = b;

	if (left->iova + (left->size_bytes - 1) < right->iova)
		return -1;
	return right->iova + (right->size_bytes - 1) < left->iova;
}

struct kvfio_mapping *
kvfio_books_find(const struct kvfio_books *books, uint64_t iova, uint64_t size_bytes)
{
	const struct kvfio_mapping key = {.iova = iova, .size_bytes = size_bytes};
	void *node = tfind(&key, (void *const *)&books->root, compare);

	return node != NULL ? *(struct kvfio_mapping **)node : NULL;
}

int
kvfio_books_add(struct kvfio_books *books, const struct kvfio_mapping *mapping)
{
	struct kvfio_mapping *copy = malloc(sizeof(*copy));

	if (copy == NULL)
		return -ENOMEM;
	*copy = *mapping;
	if (tsearch(copy, &books->root, compare) == NULL) {
		free(copy);
		return -ENOMEM;
	}
	copy->previous = NULL;
	copy->next = books->first;
	if (copy->next != NULL)
		copy->next->previous = copy;
	books->first = copy;
	books->count++;
	return 0;
}

void
kvfio_mapping_forget(struct kvfio_mapping *mapping)
{
	if (mapping->own_hva != NULL)
		munmap(mapping->own_hva, mapping->size_bytes);
	mapping->own_hva = NULL;
}

void
kvfio_books_remove(struct kvfio_books *books, struct kvfio_mapping *mapping)
{
	tdelete(mapping, &books->root, compare);
	if (mapping->previous != NULL)
		mapping->previous->next = mapping->next;
	else
		books->first = mapping->next;
	if (mapping->next != NULL)
		mapping->next->previous = mapping->previous;
	kvfio_mapping_forget(mapping);
	free(mapping);
	books->count--;
}

void
kvfio_books_free(struct kvfio_books *books)
{
	while (books->first != NULL)
		kvfio_books_remove(books, books->first);
}
