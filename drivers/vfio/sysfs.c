/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvfio.h"

#define DRIVER "vfio-pci"

/* The last part of where a link points to. False: no such link. */
static bool
link_name(const char *path, char *ret_name, size_t room_bytes)
{
	char target[PATH_MAX];
	ssize_t length = readlink(path, target, sizeof(target) - 1);
	const char *name;

	if (length < 0)
		return false;
	target[length] = '\0';
	name = strrchr(target, '/');
	snprintf(ret_name, room_bytes, "%.*s", (int)room_bytes - 1, name != NULL ? name + 1 : target);
	return true;
}

int
kvfio_address_parse(const char *text, char ret_address[VFIO_ADDRESS_BYTES], struct rp_wire_why *why)
{
	unsigned int domain = 0, bus, slot, function;
	int end = 0;

	/* The widths allow one character more than is legal, so that what is too long does not pass. */
	if (sscanf(text, "%9x:%3x:%3x.%1x%n", &domain, &bus, &slot, &function, &end) != 4) {
		domain = 0;
		end = 0;
		if (sscanf(text, "%3x:%3x.%1x%n", &bus, &slot, &function, &end) != 3)
			end = -1;
	}
	/* sscanf takes blanks, signs and 0x as well. */
	if (end < 0 || text[end] != '\0' || strspn(text, "0123456789abcdefABCDEF:.") != strlen(text) || bus > 0xff ||
	    slot > 0x1f || function > 7 || domain > 0xfffff)
		return rp_wire_why_set(why, -EBADMSG,
				       "device: '%.40s': expected a PCI address like 0000:00:04.0 (lspci -D)", text);
	snprintf(ret_address, VFIO_ADDRESS_BYTES, "%04x:%02x:%02x.%x", domain & 0xfffff, bus & 0xff, slot & 0x1f,
		 function & 7);
	return 0;
}

static int
explain_driver(const char *address, const char *driver, struct rp_wire_why *why)
{
	if (driver[0] != '\0')
		return rp_wire_why_set(why, -ENOENT,
				       "%s is bound to %s, expected " DRIVER ": bind it with: ringpass-devbind bind %s",
				       address, driver, address);
	return rp_wire_why_set(why, -ENOENT,
			       "%s is bound to no driver, expected " DRIVER ": bind it with: ringpass-devbind bind %s",
			       address, address);
}

static int
explain_no_group(const char *address, struct rp_wire_why *why)
{
	return rp_wire_why_set(why, -ENOTSUP,
			       "%s has no IOMMU group: turn the IOMMU on in the firmware (VT-d, AMD-Vi) and on the "
			       "kernel's command line (intel_iommu=on)",
			       address);
}

int
kvfio_sysfs_find(const struct kvfio_kernel *kernel, const char *address, unsigned int *ret_group,
		 struct rp_wire_why *why)
{
	char path[PATH_MAX], driver[VFIO_DRIVER_NAME_BYTES] = "", group[16], *end;
	unsigned long number;

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", kernel->sysfs, address);
	if (access(path, F_OK) < 0)
		return rp_wire_why_set(why, -ENOENT, "%s: no such PCI device: lspci -D lists those of this machine",
				       address);
	/* Before the driver: without an IOMMU vfio-pci does not bind, and that is the news. */
	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/iommu_group", kernel->sysfs, address);
	if (!link_name(path, group, sizeof(group)))
		return explain_no_group(address, why);
	number = strtoul(group, &end, 10);
	if (group[0] < '0' || group[0] > '9' || *end != '\0' || number > INT_MAX)
		return rp_wire_why_set(why, -EBADMSG, "%s: iommu_group: '%s', expected a number", address, group);
	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/driver", kernel->sysfs, address);
	if (!link_name(path, driver, sizeof(driver)) || strcmp(driver, DRIVER) != 0)
		return explain_driver(address, driver, why);
	*ret_group = (unsigned int)number;
	return 0;
}

/* What the kernel lets be in a group that user space has: VFIO's own, stubs, and bridges. */
static bool
is_harmless(const char *driver)
{
	static const char *const names[] = {"", DRIVER, "pci-stub", "pcieport", "shpchp"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(driver, names[i]) == 0)
			return true;
	return false;
}

int
kvfio_sysfs_explain_group(const struct kvfio_kernel *kernel, unsigned int group, struct rp_wire_why *why)
{
	char path[PATH_MAX], words[160] = "", driver[VFIO_DRIVER_NAME_BYTES];
	size_t used = 0;
	struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/devices", kernel->sysfs, group);
	directory = opendir(path);
	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		driver[0] = '\0';
		snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/devices/%s/driver", kernel->sysfs, group,
			 entry->d_name);
		link_name(path, driver, sizeof(driver));
		if (is_harmless(driver) || used > sizeof(words) - 64)
			continue;
		used += (size_t)snprintf(words + used, sizeof(words) - used, "%s%.20s (%.24s)", used > 0 ? ", " : "",
					 entry->d_name, driver);
	}
	if (directory != NULL)
		closedir(directory);
	return rp_wire_why_set(why, -EBUSY,
			       "group %u is not viable: %s in it must be bound to " DRIVER " or to no driver "
			       "(ringpass-devbind)",
			       group, used > 0 ? words : "a device");
}
