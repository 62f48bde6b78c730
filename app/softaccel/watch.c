/* SPDX-License-Identifier: BSD-3-Clause */
#include "rp_accel_vendor.h"
#include "sa_watch.h"

static void
want(struct sa_watch *watch, bool page)
{
	__atomic_store_n(&watch->wants_page, page, __ATOMIC_RELAXED);
}

static void
decide(struct sa_watch *watch)
{
	bool watched = watch->doorbell != RP_ACCEL_VENDOR_DOORBELL_EVENTFD || watch->until_ms != 0;

	__atomic_store_n(&watch->watched, watched && !watch->never, __ATOMIC_RELAXED);
}

static void
set_doorbell(struct sa_watch *watch, uint8_t doorbell)
{
	__atomic_store_n(&watch->doorbell, doorbell, __ATOMIC_RELAXED);
}

void
sa_watch_begin(struct sa_watch *watch, uint8_t doorbell, uint64_t now_ms, uint64_t uses)
{
	/* What was given back before the queue stopped may be stored to for as long as if it had not. */
	set_doorbell(watch, doorbell);
	watch->period_ms = now_ms;
	watch->period_uses = uses;
	watch->kicks = 0;
	want(watch, true);
	decide(watch);
}

void
sa_watch_tell(struct sa_watch *watch, uint8_t doorbell, uint64_t now_ms)
{
	set_doorbell(watch, doorbell);
	watch->until_ms = doorbell == RP_ACCEL_VENDOR_DOORBELL_EVENTFD ? now_ms + RP_ACCEL_VENDOR_DOORBELL_WATCH_MS : 0;
	decide(watch);
}

bool
sa_watch_kicked(struct sa_watch *watch, uint64_t count, uint64_t now_ms)
{
	if (watch->idle_ms == 0 || sa_watch_wants_page(watch))
		return false;
	if (now_ms - watch->kicks_ms >= SA_WATCH_KICKS_MS) {
		watch->kicks_ms = now_ms;
		watch->kicks = 0;
	}
	watch->kicks += count < SA_WATCH_KICKS ? (uint32_t)count : SA_WATCH_KICKS;
	if (watch->kicks < SA_WATCH_KICKS)
		return false;
	/* For a whole period, whatever came before. */
	watch->period_ms = now_ms;
	watch->kicks = 0;
	want(watch, true);
	return true;
}

enum sa_watch_verdict
sa_watch_judge(struct sa_watch *watch, uint64_t uses, uint64_t now_ms)
{
	bool was_idle = uses - watch->period_uses < SA_WATCH_USES;

	if (watch->until_ms != 0 && now_ms >= watch->until_ms) {
		watch->until_ms = 0;
		decide(watch);
		if (!watch->watched)
			return SA_WATCH_KICK;
	}
	if (watch->idle_ms == 0 || now_ms - watch->period_ms < watch->idle_ms)
		return SA_WATCH_SAME;
	watch->period_ms = now_ms;
	watch->period_uses = uses;
	if (!was_idle || !sa_watch_wants_page(watch))
		return SA_WATCH_SAME;
	want(watch, false);
	return SA_WATCH_WISH;
}
