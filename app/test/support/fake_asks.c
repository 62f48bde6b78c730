/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "fake_asks.h"

static void
wake(const struct fake_accel *fake)
{
	uint64_t one = 1;

	assert_int_equal(write(fake->failure_fd, &one, sizeof(one)), sizeof(one));
}

void
fake_accel_die(bool quiet)
{
	struct fake_accel *fake = fake_take();

	fake->quiet = quiet;
	fake->dead = true;
	wake(fake);
	fake_give();
}

void
fake_accel_wish(unsigned int queue, bool woken)
{
	struct fake_accel *fake = fake_take();

	fake->queues[queue].woken = woken;
	fake->wishes_changed = true;
	wake(fake);
	fake_give();
}

void
fake_accel_change(uint16_t offset_bytes, uint8_t value)
{
	struct fake_accel *fake = fake_take();

	fake->config[offset_bytes] = value;
	fake->config_changed = true;
	wake(fake);
	fake_give();
}

static unsigned int
add_question(const struct fake_question *question)
{
	struct fake_accel *fake = fake_take();
	unsigned int number = fake->questions_count++;

	assert_true(number < FAKE_ACCEL_QUESTIONS);
	fake->questions[number] = *question;
	if (!question->inside)
		wake(fake);
	fake_give();
	return number;
}

unsigned int
fake_accel_ask(uint64_t iova, uint32_t access_mask, bool inside)
{
	return add_question(&(struct fake_question){.iova = iova, .access_mask = access_mask, .inside = inside});
}

unsigned int
fake_accel_request(uint64_t iova, uint32_t access_mask, bool inside)
{
	return add_question(
		&(struct fake_question){.iova = iova, .access_mask = access_mask, .is_page = true, .inside = inside});
}

struct fake_question
fake_accel_question(unsigned int number)
{
	struct fake_question question = fake_take()->questions[number];

	fake_give();
	return question;
}

static bool
next_question(bool inside, unsigned int *ret_number)
{
	struct fake_accel *fake = fake_take();
	bool found = false;
	unsigned int i;

	for (i = 0; i < fake->questions_count && !found; i++) {
		found = !fake->questions[i].put && fake->questions[i].inside == inside;
		fake->questions[i].put |= found;
		*ret_number = i;
	}
	fake_give();
	return found;
}

static void
hear(unsigned int number, int error, const struct rp_accel_translation *translation)
{
	struct fake_question *question = &fake_take()->questions[number];

	assert_false(question->answered);
	question->answered = true;
	question->error = error;
	if (translation != NULL)
		question->translation = *translation;
	fake_give();
}

/* A number on the way is one more than the question's, for 0 means nothing. */
void
fake_asks_put(bool inside)
{
	unsigned int number;

	while (next_question(inside, &number)) {
		const struct fake_question question = fake_accel_question(number);
		const struct rp_accel_page page = {.iova = question.iova, .access_mask = question.access_mask};
		const struct rp_accel_iommu *iommu = fake_now().iommu;
		struct rp_accel_translation translation = {.iova = 0};
		int rc = -EINPROGRESS;

		if (question.is_page)
			iommu->page_request(iommu->ctx, number + 1, &page, 1);
		else
			rc = iommu->translate(iommu->ctx, number + 1, question.iova, question.access_mask,
					      &translation);
		if (rc != -EINPROGRESS)
			hear(number, rc, &translation);
	}
}

int
fake_asks_translated(void *priv, uint64_t token, const struct rp_accel_translation *translation)
{
	(void)priv;
	hear((unsigned int)token - 1, translation == NULL ? -EIO : 0, translation);
	return 0;
}

int
fake_asks_page_respond(void *priv, uint32_t group, bool present)
{
	(void)priv;
	hear(group - 1, present ? 0 : -EFAULT, NULL);
	return 0;
}

int
fake_asks_invalidate(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct fake_accel *fake;
	int error;

	(void)priv;
	fake_asks_put(true);
	fake = fake_take();
	error = fake->invalidate_error;
	fake->invalidations += error == 0;
	fake->invalidated_iova = iova;
	fake->invalidated_bytes = size_bytes;
	fake_give();
	return error == 0 ? 0 : rp_wire_why_set(why, error, "the invalidation is not answered");
}
