/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_vfio.h>

#include "rp_vfio_rte.h"
#include "rp_wire_fd.h"

#define SYSFS "/sys/bus/pci/devices"
#define ADDRESS_BYTES 24u

/* EAL wants the domain too. The address was judged before. */
static void
complete(const char *device, char ret_address[ADDRESS_BYTES])
{
	bool has_domain = strchr(device, ':') != strrchr(device, ':');

	snprintf(ret_address, ADDRESS_BYTES, "%s%.13s", has_domain ? "" : "0000:", device);
}

static int
find_container(int container_fd, int *ret_fd, struct rp_wire_why *why)
{
	*ret_fd = container_fd >= 0 ? container_fd : -1;
	if (!rte_vfio_is_enabled("vfio"))
		return rp_wire_why_set(
			why, -ENOTSUP,
			"the application has no VFIO: load it (modprobe vfio-pci) before EAL is initialised");
	if (container_fd < 0)
		*ret_fd = rte_vfio_get_container_fd();
	return *ret_fd < 0 ? rp_wire_why_set(why, -ENOTSUP, "EAL has no VFIO container") : 0;
}

int
rp_vfio_rte_borrow(const char *device, int container_fd, struct rp_vfio_config *ret_config, struct rp_wire_why *why)
{
	struct rp_vfio_config config = {.device = device, .container_fd = -1, .group_fd = -1};
	char address[ADDRESS_BYTES];
	int number, rc = rp_vfio_check(&config, why);

	if (rc == 0)
		rc = find_container(container_fd, &config.container_fd, why);
	if (rc < 0)
		return rc;
	complete(device, address);
	if (rte_vfio_get_group_num(SYSFS, address, &number) <= 0)
		return rp_wire_why_set(why, -ENOENT, "%s has no IOMMU group: bind it with: ringpass-devbind bind %s",
				       address, address);
	config.group_fd =
		container_fd >= 0 ? rte_vfio_container_group_bind(container_fd, number) : rte_vfio_get_group_fd(number);
	if (config.group_fd == -ENOENT)
		return rp_wire_why_set(why, -ENOENT,
				       "%s: its group %d is not VFIO's: bind it with: ringpass-devbind bind %s",
				       address, number, address);
	if (config.group_fd < 0)
		return rp_wire_why_set(why, -EBUSY, "%s: EAL cannot open group %d: is it open in another process?",
				       address, number);
	*ret_config = config;
	return 0;
}

void
rp_vfio_rte_give_back(const struct rp_vfio_config *config)
{
	char address[ADDRESS_BYTES];
	int number, group_fd = config->group_fd;

	if (config->container_fd != rte_vfio_get_container_fd()) {
		complete(config->device, address);
		if (rte_vfio_get_group_num(SYSFS, address, &number) > 0)
			rte_vfio_container_group_unbind(config->container_fd, number);
		return;
	}
	/* EAL forgets the number, and leaves the closing to who asks for that, as for its own devices. */
	rte_vfio_clear_group(group_fd);
	rp_wire_fd_close(&group_fd);
}
