/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_BACKEND_H
#define FAKE_BACKEND_H

#include <sys/types.h>

#include "rp_vhu_proto.h"
#include "test_support.h"

/*
 * A vhost-user backend that serves rings as an application behind a port would: what is
 * sent on a pair is received on it. It is written from what backends do, not from what ours
 * does, and has the peculiarities of librte_vhost or those of the specification. It can be
 * slow, hang, refuse, lie and die at any request. It runs in a thread of the test, or in a
 * process of its own, which can be killed; either way the test sees, and sets, one shared
 * structure.
 */

#define FAKE_BACKEND_RINGS 16
#define FAKE_BACKEND_HISTORY 4096

enum fake_backend_kind {
	/* GET_VRING_BASE stops a ring. A ring that is started and disabled is emptied: what was sent is discarded. */
	FAKE_BACKEND_SPECIFICATION,
	/*
	 * GET_VRING_BASE stops the device. Nothing is served before rings 0 and 1 are complete and
	 * enabled together. A disabled ring is left alone. Addresses are looked at again whenever
	 * memory changes, and flags of used rings are written then.
	 */
	FAKE_BACKEND_LIBRTE_VHOST,
};

struct fake_backend_ring {
	/* What happened. */
	bool has_address, has_kick, has_call, has_err, enabled, mentioned;
	bool started; /* specification: since SET_VRING_KICK */
	bool serving; /* entries move now, when there are any */
	uint16_t num;
	uint32_t base; /* as told last */
	uint32_t position; /* valid while serving */
	uint64_t desc_uva; /* as told last */
	uint32_t addr_flags;
	uint64_t log_gpa;
	uint64_t moved, discarded; /* entries */
	unsigned int bases_told;
	unsigned int stopped_enabled; /* asked for where it stands while its application might still serve it */
};

struct fake_backend {
	/* What the test sets. */
	enum fake_backend_kind kind;
	bool client; /* it connects, the port listens */
	uint64_t features;
	uint64_t protocol_features;
	uint64_t queues; /* what it answers to GET_QUEUE_NUM */
	bool deaf; /* reads nothing from now on: it hangs */
	uint32_t hang_at; /* at this request it hangs for ever (until `deaf` is set to false); 0: at none */
	uint32_t refuse; /* this request is refused */
	uint32_t die_at; /* at this request it closes the connection, unanswered; once */
	uint32_t die_after; /* likewise, when it has answered */
	uint32_t slow_ms; /* before each answer */
	uint32_t lie_base; /* valid with lies: what GET_VRING_BASE answers */
	bool lies;
	uint32_t lie_index; /* added to the index in that answer */
	uint32_t lingers_ms; /* when it has closed a connection it serves on for so long, and answers nobody */
	bool polls; /* wants no kicks: says so in the rings it serves. Else it looks at a ring only after one */
	bool paused; /* takes nothing from its rings */
	uint8_t config[64]; /* with CONFIG */
	uint64_t ask_iova; /* a translation that it misses */
	uint8_t ask_perm; /* it asks for that now; 0: it does not */

	/* What happened. */
	unsigned int connections;
	bool connected;
	bool device_ready; /* librte_vhost: the application was told of the device */
	unsigned int ready_count; /* how often */
	unsigned int rings_at_ready;
	uint64_t features_acked, protocol_features_acked;
	bool has_log, has_log_fd, has_inflight;
	unsigned int regions_count;
	struct rp_vhu_wire_region regions[RP_VHU_REGIONS_MAX];
	unsigned int rarps;
	uint64_t mtu_bytes;
	unsigned int iotlb_updates, iotlb_invalidations;
	struct rp_vhu_wire_iotlb iotlb; /* the last of either */
	uint64_t dropped; /* sent, and there was no room to receive it in */
	unsigned int history_count;
	struct {
		uint8_t request, ring; /* 255: none */
	} history[FAKE_BACKEND_HISTORY];
	struct fake_backend_ring rings[FAKE_BACKEND_RINGS];
};

/* Set up what it will be; nothing runs yet. */
void fake_backend_setup(enum fake_backend_kind kind, const char *socket_path);
/* A thread of this process. */
void fake_backend_start(void);
/* A process of its own. @return its id. */
pid_t fake_backend_fork(void);
/* Thread or process, gone; what the test set stays. */
void fake_backend_stop(void);
void fake_backend_kill(void);
/* The process stands still, without the lock in its hands; and goes on. */
void fake_backend_freeze(void);
void fake_backend_thaw(void);
void fake_backend_teardown(void);

/* A copy; and the thing itself, under its lock. */
struct fake_backend fake_backend_now(void);
struct fake_backend *fake_backend_take(void);
void fake_backend_give(void);
#define FAKE_BACKEND_SET(field, value)                                                                                 \
	do {                                                                                                           \
		__typeof__(value) fake_value_ = (value);                                                               \
		fake_backend_take()->field = fake_value_;                                                              \
		fake_backend_give();                                                                                   \
	} while (0)

/* The configuration changes, and it says so. */
void fake_backend_change_config(void);
/* How often it was asked that. */
unsigned int fake_backend_asked(uint32_t request);
/* Where in the history, from an index on, this is; or -1. ring 255: of any. */
int fake_backend_find(unsigned int from, uint32_t request, unsigned int ring);

#endif
