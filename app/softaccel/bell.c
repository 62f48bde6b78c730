/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "sa_bell.h"

int
sa_bells_init(struct sa_bells *bells, const struct sa_doorbells *doorbells)
{
	unsigned int queue, bell = 0;

	*bells = (struct sa_bells){NULL, NULL};
	if (doorbells->sharing == 1)
		return 0;
	bells->bells = calloc(doorbells->count, sizeof(*bells->bells));
	bells->rings = calloc(doorbells->count, sizeof(*bells->rings));
	if (bells->bells == NULL || bells->rings == NULL) {
		sa_bells_fini(bells);
		return -ENOMEM;
	}
	for (queue = 0; queue < doorbells->count; queue += doorbells->sharing)
		bells->bells[bell++] = (struct sa_bell){
			.word = sa_doorbell_word(doorbells, queue),
			.first = queue,
			.rings = &bells->rings[queue],
		};
	return 0;
}

void
sa_bells_fini(struct sa_bells *bells)
{
	free(bells->rings);
	free(bells->bells);
	*bells = (struct sa_bells){NULL, NULL};
}

void
sa_bells_add(struct sa_bells *bells, const struct sa_doorbells *doorbells, unsigned int number, struct sa_ring *ring)
{
	if (bells->bells == NULL)
		return;
	ring->bell = &bells->bells[number / doorbells->sharing];
	bells->rings[number] = ring;
	ring->bell->count++;
}

static void
answer_one(struct sa_ring *ring, bool named, struct sa_switch *sw, unsigned int *kicked)
{
	if (!sa_ring_heard(ring, named))
		return;
	sa_switch_deliver_held(sw, ring);
	++*kicked;
}

unsigned int
sa_bell_answer(struct sa_bell *bell, struct sa_switch *sw)
{
	uint32_t taken = sa_doorbell_take(bell->word);
	/* Of a queue before the first one: beyond the last. */
	unsigned int named = sa_doorbell_named(taken) - bell->first, i, kicked = 0;

	if (taken == SA_DOORBELL_SENTINEL)
		return 0;
	if (named < bell->count)
		answer_one(bell->rings[named], true, sw, &kicked);
	for (i = 0; i < bell->count; i++)
		if (i != named)
			answer_one(bell->rings[i], false, sw, &kicked);
	return kicked > 0 ? kicked : 1;
}

bool
sa_bell_unheard(struct sa_ring *ring)
{
	bool unheard = ring->unheard;

	ring->unheard = false;
	return unheard;
}

/* A courier is rung as by the data path, which for the others has an eventfd. */
static void
tell(struct sa_ring *ring)
{
	if (!ring->running)
		ring->unheard = true;
	else if (ring->carried)
		sa_ring_rung(ring);
	else
		eventfd_write(ring->said_fd, 1);
}

bool
sa_bell_forget(struct sa_ring *ring)
{
	unsigned int i;

	if (ring->bell == NULL)
		return sa_doorbell_observe(ring->doorbell);
	if (sa_doorbell_observe(ring->bell->word))
		for (i = 0; i < ring->bell->count; i++)
			tell(ring->bell->rings[i]);
	return sa_bell_unheard(ring);
}
