/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_VFIO_USER_CALLER_H
#define FUZZ_VFIO_USER_CALLER_H

#include "rp_vfu_client.h"
#include "rp_vfu_client_iommu.h"
#include "vfio_user.h"

/*
 * Whoever uses a client: a call of each public function, and what must hold for what
 * comes back whatever the server said.
 */

#define FUZZ_VFU_SLOTS_COUNT 4u /* of FUZZ_MEMORY_BYTES each, from FUZZ_GPA on */

#define FUZZ_VFU_QUESTIONS 8u

struct fuzz_vfu_caller {
	struct rp_vfu_client *client;
	struct fuzz_input *input;
	unsigned int started_count; /* commands that somebody listens for */
	bool judged; /* nothing else is under way, and what the server said begins where it should */
	bool unframed; /* for good: the client may see other messages than were sent */
	bool lied; /* since the call began */
	uint8_t late[64]; /* what a started read fills */
	uint64_t tokens[FUZZ_VFU_QUESTIONS]; /* of questions that are answered later */
	uint32_t groups[FUZZ_VFU_QUESTIONS]; /* that may be outstanding */
	unsigned int questions_count;
	uint8_t memory[FUZZ_MEMORY_BYTES];
};

/* Around what waits: FUZZ_VFU_CALL(caller, rp_vfu_client_reset(caller->client, NULL)). @return what it did. */
#define FUZZ_VFU_CALL(caller, call) (fuzz_vfu_call_begin(caller), fuzz_vfu_call_end((caller), (call)))
void fuzz_vfu_call_begin(struct fuzz_vfu_caller *caller);
int fuzz_vfu_call_end(struct fuzz_vfu_caller *caller, int rc);

/* The server has sent an answer. @param whole false: not all of it went. */
void fuzz_vfu_answered(struct fuzz_vfu_caller *caller, const struct fuzz_vfu_message *message,
		       const struct fuzz_vfu_asked *asked, bool whole);

/* Who listens for what was started. */
struct rp_vfu_client_done fuzz_vfu_done(struct fuzz_vfu_caller *caller);

/* One call of a kind, or a few that belong together. */
void fuzz_vfu_learn(struct fuzz_vfu_caller *caller);
void fuzz_vfu_access(struct fuzz_vfu_caller *caller);
void fuzz_vfu_access_start(struct fuzz_vfu_caller *caller);
void fuzz_vfu_write_multi(struct fuzz_vfu_caller *caller);
void fuzz_vfu_interrupts(struct fuzz_vfu_caller *caller);
void fuzz_vfu_doorbell(struct fuzz_vfu_caller *caller);
void fuzz_vfu_places(struct fuzz_vfu_caller *caller);
void fuzz_vfu_feature(struct fuzz_vfu_caller *caller);
void fuzz_vfu_migrate(struct fuzz_vfu_caller *caller);

/* vfio_user_calls_memory.c */
void fuzz_vfu_memory(struct fuzz_vfu_caller *caller);
void fuzz_vfu_memory_many(struct fuzz_vfu_caller *caller);
void fuzz_vfu_remap(struct fuzz_vfu_caller *caller);
void fuzz_vfu_log(struct fuzz_vfu_caller *caller);

/* vfio_user_calls_iommu.c: what a caller that is an IOMMU is asked, its context being the caller, and does. */
extern const struct rp_vfu_client_iommu fuzz_vfu_client_iommu;
void fuzz_vfu_iommu(struct fuzz_vfu_caller *caller);

#endif
