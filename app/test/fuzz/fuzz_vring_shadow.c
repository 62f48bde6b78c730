/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "rp_dma.h"
#include "rp_vring_copy.h"
#include "rp_vring_shadow.h"
#include "vring_driver.h"

/*
 * A driver that writes anything to its ring and a device that writes anything to the
 * private one, with a shadow in between that is drained, rebased and begun again. What is
 * asserted: a device that did not lie finds a sound ring and is not called a liar, books
 * balance, and who broke a rule stays the one who did.
 */

#define PRIVATE_IOVA UINT64_C(0x7f0000000000)
#define PRIVATE_BYTES 0x2000u /* the largest ring of either format */
#define TAKEN_MAX 64u

struct bench {
	struct fuzz_driver driver;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_vring_shadow *shadow; /* NULL: the ring could not be taken */
	struct rp_vring_dev device;
	struct rp_vring_chain chain;
	struct rp_vring_note device_notes[FUZZ_DRIVER_NUM_MAX];
	uint16_t taken[TAKEN_MAX]; /* by the device */
	unsigned int taken_count;
	bool lied; /* the device did something that it must not, or may have */
	unsigned int memory_at; /* which of the private rings */
};

static uint8_t private_rings[2][PRIVATE_BYTES] __attribute__((aligned(4096)));

static void
written(void *ctx, uint64_t iova, uint64_t size_bytes)
{
	uint64_t last_iova;

	fuzz_require(ctx == &private_rings, "the context that was given");
	fuzz_require(size_bytes > 0 && !__builtin_add_overflow(iova, size_bytes - 1, &last_iova), "a range of bytes");
}

/* The device begins on the private ring. */
static void
attach(struct bench *bench)
{
	struct rp_vring_layout layout;
	struct rp_vring_copy copy;
	uint8_t *memory = private_rings[bench->memory_at];

	rp_vring_shadow_layout(bench->shadow, &layout);
	fuzz_require(layout.num == bench->driver.layout.num && layout.features == bench->driver.layout.features,
		     "a ring like the driver's");
	copy.parts[0] = memory;
	copy.parts[1] = memory + (layout.avail_iova - layout.desc_iova);
	copy.parts[2] = memory + (layout.used_iova - layout.desc_iova);
	layout.notes = bench->device_notes;
	fuzz_require(rp_vring_dev_init_copy(&bench->device, &layout, rp_vring_position_fresh(layout.features), &copy,
					    NULL) == 0,
		     "a device on the private ring");
	bench->taken_count = 0;
	bench->lied = false;
}

static void
begin(struct bench *bench, uint32_t position)
{
	struct rp_vring_shadow_config config = {
		.guest = &bench->driver.layout,
		.position = position,
		.reader = bench->reader,
		.memory = private_rings[bench->memory_at],
		.memory_iova = PRIVATE_IOVA,
		.written = written,
		.ctx = &private_rings,
	};

	fuzz_require(rp_vring_shadow_bytes(config.guest->num, config.guest->features) <= PRIVATE_BYTES,
		     "room for the private ring");
	if (rp_vring_shadow_create(&config, &bench->shadow, NULL) == 0)
		attach(bench);
}

static void
check_books(const struct bench *bench)
{
	const struct rp_vring_shadow *shadow = bench->shadow;

	fuzz_require(rp_vring_shadow_out(shadow) <= bench->driver.layout.num, "no more is out than the ring has");
	fuzz_require(rp_vring_shadow_lost(shadow) == 0, "nothing is lost in memory that can be written");
	if (rp_vring_shadow_why(shadow) == NULL)
		fuzz_require(rp_vring_shadow_forwarded(shadow) ==
				     rp_vring_shadow_returned(shadow) + rp_vring_shadow_out(shadow),
			     "what was forwarded is out or was returned");
	if (!bench->lied)
		fuzz_require(rp_vring_dev_why(&bench->device) == NULL, "the device has a sound ring");
}

static void
forward(struct bench *bench)
{
	bool kick;
	int rc = rp_vring_shadow_forward(bench->shadow, &kick);

	fuzz_require(rc == -EBADMSG || (rc >= 0 && rc <= bench->driver.layout.num), "some, or the driver lied");
	fuzz_require(rc != -EBADMSG || rp_vring_shadow_why(bench->shadow) != NULL, "it says why");
}

static void
give_to_driver(struct bench *bench)
{
	bool call;
	int rc = rp_vring_shadow_return(bench->shadow, &call);

	fuzz_require(rc == -EBADMSG || rc == -EPROTO || (rc >= 0 && rc <= bench->driver.layout.num),
		     "some, or one of the two lied");
	fuzz_require(rc != -EPROTO || bench->lied, "a device that did not lie is believed");
	fuzz_require(rc >= 0 || rp_vring_shadow_why(bench->shadow) != NULL, "it says why");
}

static void
device_take(struct bench *bench)
{
	if (bench->taken_count < TAKEN_MAX && rp_vring_dev_pop(&bench->device, &bench->chain) == 1)
		bench->taken[bench->taken_count++] = bench->chain.head;
}

static void
device_give(struct bench *bench)
{
	uint32_t written_bytes = fuzz_u8(bench->driver.input);
	unsigned int which;

	if (bench->taken_count == 0)
		return;
	which = fuzz_below(bench->driver.input, bench->taken_count);
	/* More than the chain takes, perhaps. */
	bench->lied |= written_bytes != 0;
	if (rp_vring_dev_push(&bench->device, bench->taken[which], written_bytes) == 0)
		bench->taken[which] = bench->taken[--bench->taken_count];
	rp_vring_dev_needs_interrupt(&bench->device);
}

static void
device_scribble(struct bench *bench)
{
	size_t at = fuzz_u16(bench->driver.input) % PRIVATE_BYTES, i,
	       size_bytes = 1 + fuzz_below(bench->driver.input, 16);

	bench->lied = true;
	for (i = 0; i < size_bytes; i++)
		private_rings[bench->memory_at][(at + i) % PRIVATE_BYTES] = fuzz_u8(bench->driver.input);
}

static void
rebase(struct bench *bench)
{
	unsigned int next = fuzz_below(bench->driver.input, 2);
	int rc = rp_vring_shadow_rebase(bench->shadow, private_rings[next], PRIVATE_IOVA + next * 0x100000u);

	fuzz_require(rc == 0 || rc == -EBADMSG, "a fresh ring, or the driver lied");
	if (rc < 0)
		return;
	bench->memory_at = next;
	attach(bench);
}

static void
drain(struct bench *bench)
{
	unsigned int redone;
	uint32_t position;
	bool call;
	int rc = rp_vring_shadow_drain(bench->shadow, &position, &redone, &call);

	fuzz_require(rc == 0 || rc == -EBADMSG, "drained, or the driver lied");
	check_books(bench);
	if (rc < 0)
		return;
	fuzz_require(rp_vring_position_check(bench->driver.layout.features, bench->driver.layout.num, position, NULL) ==
			     0,
		     "where another owner can begin");
	fuzz_require(redone == rp_vring_shadow_out(bench->shadow), "what is out is done again");
	fuzz_require(rp_vring_shadow_forward(bench->shadow, &call) == -EINVAL, "drained is drained");
	bench->shadow = rp_vring_shadow_destroy(bench->shadow);
	begin(bench, position);
}

static void
step(struct bench *bench)
{
	struct fuzz_input *input = bench->driver.input;

	switch (fuzz_below(input, 16)) {
	case 0:
	case 1:
	case 2:
		fuzz_driver_offer(&bench->driver);
		break;
	case 3:
		fuzz_driver_table(&bench->driver);
		break;
	case 4:
		fuzz_driver_scribble(&bench->driver);
		break;
	case 5:
	case 6:
		forward(bench);
		break;
	case 7:
		give_to_driver(bench);
		break;
	case 8:
	case 9:
		device_take(bench);
		break;
	case 10:
		device_give(bench);
		break;
	case 11:
		device_scribble(bench);
		break;
	case 12:
		rp_vring_shadow_set_notify(bench->shadow, fuzz_u8(input) % 2 != 0);
		break;
	case 13:
		rebase(bench);
		break;
	case 14:
		drain(bench);
		break;
	default:
		fuzz_driver_map(bench->space, bench->reader, fuzz_u8(input) < 192);
		break;
	}
	if (bench->shadow != NULL)
		check_books(bench);
	rp_dma_reader_quiescent(bench->reader);
}

/* A shadow of a ring of either format. */
int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	static struct bench bench;
	struct fuzz_input input = {bytes, size_bytes};
	uint64_t format;

	fuzz_begin();
	memset(&bench, 0, sizeof(bench));
	bench.driver.input = &input;
	bench.driver.memory =
		mmap(NULL, FUZZ_DRIVER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fuzz_fd(FUZZ_FD_SEALED), 0);
	fuzz_require(bench.driver.memory != MAP_FAILED, "the driver's mapping");
	memset(bench.driver.memory, 0, FUZZ_DRIVER_BYTES);
	fuzz_require(rp_dma_space_create(NULL, &bench.space) == 0, "a space");
	fuzz_require(rp_dma_reader_create(bench.space, &bench.reader) == 0, "a reader");
	rp_dma_reader_online(bench.reader);
	fuzz_driver_map(bench.space, bench.reader, true);
	format = fuzz_u8(&input) % 2 != 0 ? UINT64_C(1) << 34 : 0;
	begin(&bench, fuzz_driver_start(&bench.driver, format, NULL));
	while (input.left_bytes > 0 && bench.shadow != NULL)
		step(&bench);
	rp_vring_shadow_destroy(bench.shadow);
	rp_dma_reader_offline(bench.reader);
	rp_dma_reader_destroy(bench.reader);
	rp_dma_space_destroy(bench.space);
	munmap(bench.driver.memory, FUZZ_DRIVER_BYTES);
	fuzz_end();
	return 0;
}
