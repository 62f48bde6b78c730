/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CARRIED_H
#define CARRIED_H

#include "bytes.h"
#include "device.h"
#include "rp_dma_io.h"

/*
 * A client made of bytes that maps 16 MiB without a descriptor, and accesses of the
 * device's to it: the tests of the server's own commands.
 */

#define CARRIED_IOVA 0x100000ull
#define CARRIED_BYTES 0x1000000ull

struct carried {
	struct device device;
	struct peer peer;
	struct peer twin; /* the second socket, where one was agreed on */
	struct peer_msg msg; /* the last command of the server's */
	struct peer_msg reply; /* the last reply of the server's */
	int window_fd; /* -1: none was agreed on */
	struct test_leaks before;
};

/* The one of the running test. */
extern struct carried carried;

int carried_setup(void **state);
int carried_teardown(void **state);

/*
 * Connect, negotiate, map.
 * @param description NULL: the device as it is.
 * @param capabilities the inside of the JSON object.
 */
void carried_begin(const struct device_description *description, const char *capabilities);
void carried_leave(void);

/* @return the error of the reply. */
uint32_t carried_map(uint32_t flags, uint64_t iova, uint64_t size_bytes);

/* An access of the device's whose end is counted. */
struct access {
	struct rp_dma_io io;
	struct rp_dma_segment segment;
	unsigned int ends;
	int error;
};

int carried_start(struct access *access, bool write, uint64_t iova, void *bytes, uint64_t size_bytes);
void carried_ended(const struct access *access, int error);

/* A command of the server's, as it came. */
struct asked {
	uint16_t id;
	uint16_t command;
	uint64_t iova;
	uint64_t count;
	uint64_t at; /* in the window */
};

/* From the second socket where there is one. */
struct asked carried_take(uint16_t command);

/* @param data NULL: none. */
bool carried_answer(const struct asked *asked, uint64_t iova, uint64_t count, const void *data, size_t data_bytes);
bool carried_refuse(const struct asked *asked, uint32_t error);
bool carried_silent(void);

#endif
