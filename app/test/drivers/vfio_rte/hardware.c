/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A container that an application of DPDK's lends. Runs in the hardware VM, by app/test/e2e/test_vfio_kernel.py.
 *
 *   RINGPASS_VFIO_DEVICES="0000:00:10.0 0000:01:00.0" test_vfio_rte_hardware
 */
#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_vfio.h>

#include "rp_vfio_rte.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define MIB 0x100000u

static char addresses[2][24];

static struct rp_accel_transport
open_ok(const char *address, int container_fd, struct rp_vfio_config *ret_config)
{
	struct rp_accel_transport transport = {0};
	struct rp_wire_why why = {0};
	int rc = rp_vfio_rte_borrow(address, container_fd, ret_config, &why);

	if (rc == 0)
		rc = rp_vfio_open(ret_config, &transport, &why);
	if (rc < 0)
		print_error("%s\n", why.text);
	assert_int_equal(rc, 0);
	return transport;
}

/* Memory in, an overlap out, a vector; then everything is given back. */
static void
use(struct rp_accel_transport *transport)
{
	RP_WIRE_FD_SCOPED int fd = test_memfd(4 * MIB, true), event = eventfd(0, EFD_CLOEXEC);
	struct rp_wire_why why = {0};

	assert_int_equal(transport->ops->dma_map(transport->priv, 0, 4 * MIB, fd, 0, NULL, &why), 0);
	assert_int_equal(transport->ops->dma_map(transport->priv, MIB, MIB, fd, 0, NULL, &why), -EEXIST);
	assert_int_equal(transport->ops->irq_set(transport->priv, 1, event, &why), 0);
	assert_int_equal(transport->ops->dma_unmap(transport->priv, 0, 4 * MIB, &why), 0);
	assert_int_equal(transport->ops->process(transport->priv, &why), 0);
}

static void
the_container_of_eal(void **state)
{
	struct rp_vfio_config config;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct rp_accel_transport transport = open_ok(addresses[0], -1, &config);

		use(&transport);
		transport.ops->close(transport.priv);
		rp_vfio_rte_give_back(&config);
	}
	assert_true(rte_vfio_get_container_fd() >= 0);
}

static void
a_container_that_the_application_made(void **state)
{
	int container_fd = rte_vfio_container_create();
	struct rp_accel_transport first, second;
	struct rp_vfio_config configs[2];
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.iova = 64 * MIB,
	};
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	void *hva = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct rp_wire_why why = {0};

	(void)state;
	assert_true(container_fd >= 0);
	first = open_ok(addresses[0], container_fd, &configs[0]);
	second = open_ok(addresses[1], container_fd, &configs[1]);
	use(&first);
	use(&second);
	/* An address of the application's own. EAL maps only for devices that it has set up itself. */
	*(volatile char *)hva = 1;
	map.vaddr = (uintptr_t)hva;
	map.size = page_bytes;
	assert_int_equal(ioctl(container_fd, VFIO_IOMMU_MAP_DMA, &map), 0);
	assert_int_equal(first.ops->dma_map(first.priv, map.iova, page_bytes, -1, 0, hva, &why), -EEXIST);
	assert_non_null(strstr(why.text, "the application that lent its container has mapped something there"));
	first.ops->close(first.priv);
	use(&second);
	second.ops->close(second.priv);
	rp_vfio_rte_give_back(&configs[0]);
	rp_vfio_rte_give_back(&configs[1]);
	assert_int_equal(rte_vfio_container_destroy(container_fd), 0);
	munmap(hva, page_bytes);
}

static void
a_device_that_is_not_there(void **state)
{
	struct rp_vfio_config config;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfio_rte_borrow("0000:77:00.0", -1, &config, &why), -ENOENT);
}

int
main(int argc, char **argv)
{
	const char *text = getenv("RINGPASS_VFIO_DEVICES");
	char *options[] = {argv[0],
			   (char *)(uintptr_t) "--no-huge",
			   (char *)(uintptr_t) "--no-pci",
			   (char *)(uintptr_t) "-m",
			   (char *)(uintptr_t) "64",
			   (char *)(uintptr_t) "--no-telemetry"};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_container_of_eal),
		cmocka_unit_test(a_container_that_the_application_made),
		cmocka_unit_test(a_device_that_is_not_there),
	};

	(void)argc;
	if (text == NULL || sscanf(text, "%23s %23s", addresses[0], addresses[1]) != 2 ||
	    rte_eal_init(sizeof(options) / sizeof(options[0]), options) < 0)
		return EXIT_FAILURE;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
