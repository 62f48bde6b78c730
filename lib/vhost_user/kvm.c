/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "rp_vhu_kvm.h"
#include "rp_wire_fd.h"

/* Named KVM_DEV_VFIO_GROUP* in headers before Linux 6.6; the numbers are these in all of them. */
#define VFIO_FILE 1u
#define VFIO_FILE_ADD 1u
#define VFIO_FILE_DEL 2u

struct rp_vhu_kvm {
	struct rp_vhu_kvm_config config;
	int device_fd;
	int own_fd; /* device_fd if it was made here; -1: borrowed */
};

static int
ask_kernel(void *ctx, int fd, unsigned long request, void *argument)
{
	int rc = ioctl(fd, request, argument);

	(void)ctx;
	return rc < 0 ? -errno : rc;
}

static int
make_device(struct rp_vhu_kvm *kvm, struct rp_wire_why *why)
{
	struct kvm_create_device device = {.type = KVM_DEV_TYPE_VFIO};
	int rc = kvm->config.ioctl(kvm->config.ioctl_ctx, kvm->config.vm_fd, KVM_CREATE_DEVICE, &device);

	if (rc == -EBUSY)
		return rp_wire_why_set(why, -EEXIST,
				       "KVM_CREATE_DEVICE: the machine has a VFIO device, made by somebody else");
	if (rc == -ENODEV || rc == -ENOTTY)
		return rp_wire_why_set(why, -ENOTSUP, "KVM_CREATE_DEVICE: this kernel has no VFIO device for KVM");
	if (rc < 0)
		return rp_wire_why_set(why, rc, "KVM_CREATE_DEVICE: %s", strerror(-rc));
	kvm->own_fd = kvm->device_fd = (int)device.fd;
	return 0;
}

static int
check_device(const struct rp_vhu_kvm *kvm, struct rp_wire_why *why)
{
	struct kvm_device_attr attr = {.group = VFIO_FILE, .attr = VFIO_FILE_ADD};
	int rc = kvm->config.ioctl(kvm->config.ioctl_ctx, kvm->device_fd, KVM_HAS_DEVICE_ATTR, &attr);

	if (rc == -ENXIO || rc == -ENOTTY || rc == -EPERM)
		return rp_wire_why_set(why, -ENOTSUP,
				       "KVM_HAS_DEVICE_ATTR: not KVM's VFIO device, or one that takes no files");
	if (rc < 0)
		return rp_wire_why_set(why, rc, "KVM_HAS_DEVICE_ATTR: %s", strerror(-rc));
	return 0;
}

int
rp_vhu_kvm_create(const struct rp_vhu_kvm_config *config, struct rp_vhu_kvm **ret_kvm, struct rp_wire_why *why)
{
	struct rp_vhu_kvm *kvm = calloc(1, sizeof(*kvm));
	int rc = 0;

	if (kvm == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	kvm->config = *config;
	if (kvm->config.ioctl == NULL)
		kvm->config.ioctl = ask_kernel;
	kvm->own_fd = -1;
	kvm->device_fd = config->device_fd;
	if (kvm->device_fd < 0)
		rc = make_device(kvm, why);
	if (rc == 0)
		rc = check_device(kvm, why);
	if (rc < 0) {
		rp_vhu_kvm_destroy(kvm);
		return rc;
	}
	*ret_kvm = kvm;
	return 0;
}

struct rp_vhu_kvm *
rp_vhu_kvm_destroy(struct rp_vhu_kvm *kvm)
{
	if (kvm != NULL)
		rp_wire_fd_close(&kvm->own_fd);
	free(kvm);
	return NULL;
}

int
rp_vhu_kvm_device_fd(const struct rp_vhu_kvm *kvm)
{
	return kvm->device_fd;
}

static int
set_attr(struct rp_vhu_kvm *kvm, uint64_t what, int fd)
{
	int32_t number = fd;
	struct kvm_device_attr attr = {.group = VFIO_FILE, .attr = what, .addr = (uint64_t)(uintptr_t)&number};

	return kvm->config.ioctl(kvm->config.ioctl_ctx, kvm->device_fd, KVM_SET_DEVICE_ATTR, &attr);
}

int
rp_vhu_kvm_add(struct rp_vhu_kvm *kvm, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why)
{
	int rc = set_attr(kvm, VFIO_FILE_ADD, fd);

	if (rc == -EINVAL || rc == -EBADF)
		return rp_wire_why_set(why, -EBADMSG, "KVM_DEV_VFIO_FILE_ADD: not a VFIO %s%s",
				       type == RP_VHU_VFIO_CDEV ? "cdev" : "group",
				       type == RP_VHU_VFIO_CDEV ? ", or a kernel before 6.6, which knows groups only" :
								  "");
	if (rc < 0)
		return rp_wire_why_set(why, rc, "KVM_DEV_VFIO_FILE_ADD: %s", strerror(-rc));
	return 0;
}

int
rp_vhu_kvm_remove(struct rp_vhu_kvm *kvm, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why)
{
	int rc = set_attr(kvm, VFIO_FILE_DEL, fd);

	(void)type;
	return rc < 0 ? rp_wire_why_set(why, rc, "KVM_DEV_VFIO_FILE_DEL: %s", strerror(-rc)) : 0;
}

static int
add(void *ctx, int fd, enum rp_vhu_vfio_type type, struct rp_wire_why *why)
{
	return rp_vhu_kvm_add(ctx, fd, type, why);
}

static void
remove_file(void *ctx, int fd, enum rp_vhu_vfio_type type)
{
	/* It can fail only if somebody else removed it: then it is gone, too. */
	rp_vhu_kvm_remove(ctx, fd, type, NULL);
}

const struct rp_vhu_vfio_files_ops rp_vhu_kvm_vfio_files_ops = {
	.add = add,
	.remove = remove_file,
};
