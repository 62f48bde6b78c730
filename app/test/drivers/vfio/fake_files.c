/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_kernel.h"

/* sysfs, /dev/vfio and /proc as the driver looks at them: directories, files and links. */

static void
make_parents(char *path, size_t root_length)
{
	char *slash = path + root_length;

	while ((slash = strchr(slash + 1, '/')) != NULL) {
		*slash = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
}

void
fake_file(const char *root, const char *path, const char *text)
{
	char whole[256];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	make_parents(whole, strlen(root) - 1);
	file = fopen(whole, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

void
fake_link(const char *root, const char *path, const char *target)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	make_parents(whole, strlen(root) - 1);
	unlink(whole);
	assert_int_equal(symlink(target, whole), 0);
}

void
fake_remove(const char *root, const char *path)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	assert_int_equal(remove(whole), 0);
}

void
fake_bind(struct fake_kernel *fake, const char *address, const char *driver)
{
	char path[64], target[80];

	snprintf(path, sizeof(path), "bus/pci/devices/%s/driver", address);
	if (driver == NULL) {
		fake_remove(fake->sysfs, path);
		return;
	}
	snprintf(target, sizeof(target), "../../../../bus/pci/drivers/%s", driver);
	fake_link(fake->sysfs, path, target);
}

static void
add_device(struct fake_kernel *fake, const char *address, const char *driver, int group)
{
	char path[96], target[128];

	snprintf(path, sizeof(path), "bus/pci/devices/%s/vendor", address);
	fake_file(fake->sysfs, path, "0x1af4\n");
	fake_bind(fake, address, driver);
	if (group < 0)
		return;
	snprintf(path, sizeof(path), "bus/pci/devices/%s/iommu_group", address);
	snprintf(target, sizeof(target), "../../../kernel/iommu_groups/%d", group);
	fake_link(fake->sysfs, path, target);
	snprintf(path, sizeof(path), "kernel/iommu_groups/%d/devices/%s", group, address);
	snprintf(target, sizeof(target), "%s/bus/pci/devices/%s", fake->sysfs, address);
	fake_link(fake->sysfs, path, target);
}

void
fake_files_make(struct fake_kernel *fake)
{
	snprintf(fake->root, sizeof(fake->root), "/tmp/ringpass-vfio-XXXXXX");
	assert_non_null(mkdtemp(fake->root));
	snprintf(fake->sysfs, sizeof(fake->sysfs), "%s/sys", fake->root);
	snprintf(fake->dev, sizeof(fake->dev), "%s/dev", fake->root);
	snprintf(fake->proc, sizeof(fake->proc), "%s/proc", fake->root);
	add_device(fake, FAKE_ALONE, "vfio-pci", 4);
	add_device(fake, FAKE_FIRST, "vfio-pci", 7);
	add_device(fake, FAKE_SECOND, "vfio-pci", 7);
	add_device(fake, "0000:00:05.0", "virtio-pci", 5);
	add_device(fake, "0000:00:06.0", "vfio-pci", -1);
	fake_file(fake->dev, "vfio", "");
	fake_file(fake->dev, "4", "");
	fake_file(fake->dev, "7", "");
	fake_file(fake->proc, "self/status", "Name:\ttest\nVmLck:\t    2048 kB\nVmPin:\t       0 kB\n");
	fake_file(fake->proc, "self/limits",
		  "Limit                     Soft Limit           Hard Limit           Units     \n"
		  "Max locked memory         8388608              8388608              bytes     \n");
	fake_file(fake->sysfs, "module/vfio_iommu_type1/parameters/dma_entry_limit", "65535\n");
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
fake_files_remove(struct fake_kernel *fake)
{
	nftw(fake->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
