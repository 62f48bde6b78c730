/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "peer.h"
#include "rp_vhu_kvm.h"
#include "rp_wire_fd.h"

/* A KVM of our own, handed in where ioctl(2) would be: it writes down what it is asked, and fails on request. */
struct fake {
	int create_error, has_error, add_error, del_error;
	unsigned int creates;
	unsigned int files; /* added and not removed */
	int last_fd; /* of an add or a removal */
	int device_fd; /* what it makes */
	int asked_fd; /* whom the last call was made to */
};

static int
fake_attr(struct fake *fake, const struct kvm_device_attr *attr)
{
	int error = attr->attr == 1 ? fake->add_error : fake->del_error;

	assert_int_equal(attr->group, 1);
	assert_int_equal(attr->flags, 0);
	assert_true(attr->attr == 1 || attr->attr == 2);
	memcpy(&fake->last_fd, (const void *)(uintptr_t)attr->addr, sizeof(int32_t));
	if (error != 0)
		return error;
	fake->files += attr->attr == 1 ? 1 : (unsigned int)-1;
	return 0;
}

static int
fake_ioctl(void *ctx, int fd, unsigned long request, void *argument)
{
	struct fake *fake = ctx;

	fake->asked_fd = fd;
	if (request == KVM_CREATE_DEVICE) {
		struct kvm_create_device *device = argument;

		assert_int_equal(device->type, KVM_DEV_TYPE_VFIO);
		assert_int_equal(device->flags, 0);
		fake->creates++;
		if (fake->create_error != 0)
			return fake->create_error;
		device->fd = (uint32_t)(fake->device_fd = peer_eventfd());
		return 0;
	}
	if (request == KVM_HAS_DEVICE_ATTR) {
		assert_int_equal(((struct kvm_device_attr *)argument)->group, 1);
		assert_int_equal(((struct kvm_device_attr *)argument)->attr, 1);
		return fake->has_error;
	}
	assert_int_equal(request, KVM_SET_DEVICE_ATTR);
	return fake_attr(fake, argument);
}

static struct rp_vhu_kvm_config
config_of(struct fake *fake)
{
	return (struct rp_vhu_kvm_config){.vm_fd = 12345, .device_fd = -1, .ioctl = fake_ioctl, .ioctl_ctx = fake};
}

static void
one_device_for_all_files(void **state)
{
	struct fake fake = {0};
	struct rp_vhu_kvm_config config = config_of(&fake);
	struct rp_vhu_kvm *kvm;
	struct test_leaks before;

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rp_vhu_kvm_create(&config, &kvm, NULL), 0);
	assert_int_equal(fake.creates, 1);
	assert_int_equal(rp_vhu_kvm_device_fd(kvm), fake.device_fd);
	assert_int_equal(rp_vhu_kvm_add(kvm, 77, RP_VHU_VFIO_GROUP, NULL), 0);
	assert_int_equal(fake.last_fd, 77);
	assert_int_equal(rp_vhu_kvm_add(kvm, 78, RP_VHU_VFIO_CDEV, NULL), 0);
	assert_int_equal(fake.last_fd, 78);
	assert_int_equal(fake.asked_fd, fake.device_fd);
	assert_int_equal(fake.files, 2);
	assert_int_equal(rp_vhu_kvm_remove(kvm, 77, RP_VHU_VFIO_GROUP, NULL), 0);
	assert_int_equal(rp_vhu_kvm_remove(kvm, 78, RP_VHU_VFIO_CDEV, NULL), 0);
	assert_int_equal(fake.files, 0);
	assert_int_equal(fake.creates, 1);
	assert_null(rp_vhu_kvm_destroy(kvm));
	assert_null(rp_vhu_kvm_destroy(NULL));
	test_leaks_assert_none(&before);
}

/* A VMM that has one for devices of its own hands it in, and keeps it. */
static void
a_device_that_is_there_already(void **state)
{
	struct fake fake = {0};
	struct rp_vhu_kvm_config config = config_of(&fake);
	struct rp_vhu_kvm *kvm;
	int device_fd = peer_eventfd();

	(void)state;
	config.device_fd = device_fd;
	assert_int_equal(rp_vhu_kvm_create(&config, &kvm, NULL), 0);
	assert_int_equal(fake.creates, 0);
	assert_int_equal(rp_vhu_kvm_device_fd(kvm), device_fd);
	rp_vhu_kvm_destroy(kvm);
	assert_true(fcntl(device_fd, F_GETFD) >= 0);
	rp_wire_fd_close(&device_fd);
}

static void
cannot_create(struct fake fake, int error, const char *words)
{
	struct rp_vhu_kvm_config config = config_of(&fake);
	struct rp_wire_why why = {0};
	struct rp_vhu_kvm *kvm = NULL;
	struct test_leaks before;

	test_leaks_read(&before);
	assert_int_equal(rp_vhu_kvm_create(&config, &kvm, &why), error);
	assert_null(kvm);
	if (strstr(why.text, words) != why.text)
		fail_msg("'%s', expected '%s' first", why.text, words);
	test_leaks_assert_none(&before);
}

static void
errors_have_names(void **state)
{
	struct fake fake = {0};
	struct rp_vhu_kvm_config config = config_of(&fake);
	struct rp_wire_why why = {0};
	struct rp_vhu_kvm *kvm;

	(void)state;
	cannot_create((struct fake){.create_error = -EBUSY}, -EEXIST,
		      "KVM_CREATE_DEVICE: the machine has a VFIO device");
	cannot_create((struct fake){.create_error = -ENODEV}, -ENOTSUP, "KVM_CREATE_DEVICE: this kernel has no");
	cannot_create((struct fake){.create_error = -EMFILE}, -EMFILE, "KVM_CREATE_DEVICE: Too many open files");
	cannot_create((struct fake){.has_error = -ENXIO}, -ENOTSUP, "KVM_HAS_DEVICE_ATTR: not KVM's VFIO device");
	cannot_create((struct fake){.has_error = -EFAULT}, -EFAULT, "KVM_HAS_DEVICE_ATTR: Bad address");
	assert_int_equal(rp_vhu_kvm_create(&config, &kvm, NULL), 0);
	fake.add_error = -EINVAL;
	assert_int_equal(rp_vhu_kvm_add(kvm, 1, RP_VHU_VFIO_GROUP, &why), -EBADMSG);
	assert_string_equal(why.text, "KVM_DEV_VFIO_FILE_ADD: not a VFIO group");
	assert_int_equal(rp_vhu_kvm_add(kvm, 1, RP_VHU_VFIO_CDEV, &why), -EBADMSG);
	assert_string_equal(why.text, "KVM_DEV_VFIO_FILE_ADD: not a VFIO cdev, or a kernel before 6.6, which knows "
				      "groups only");
	fake.add_error = -EEXIST;
	assert_int_equal(rp_vhu_kvm_add(kvm, 1, RP_VHU_VFIO_GROUP, &why), -EEXIST);
	assert_string_equal(why.text, "KVM_DEV_VFIO_FILE_ADD: File exists");
	fake.del_error = -ENOENT;
	assert_int_equal(rp_vhu_kvm_remove(kvm, 1, RP_VHU_VFIO_GROUP, &why), -ENOENT);
	assert_string_equal(why.text, "KVM_DEV_VFIO_FILE_DEL: No such file or directory");
	rp_vhu_kvm_destroy(kvm);
}

/* The set and KVM together: one addition for a file, whatever its number. */
static void
a_set_of_files(void **state)
{
	struct fake fake = {0};
	struct rp_vhu_kvm_config config = config_of(&fake);
	struct rp_vhu_vfio_file *a = NULL, *b = NULL;
	struct rp_vhu_vfio_files *files;
	struct rp_wire_why why = {0};
	struct rp_vhu_kvm *kvm;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), copy = rp_wire_fd_dup(fd);

	(void)state;
	assert_int_equal(rp_vhu_kvm_create(&config, &kvm, NULL), 0);
	assert_int_equal(rp_vhu_vfio_files_create(&rp_vhu_kvm_vfio_files_ops, kvm, &files), 0);
	fake.add_error = -EINVAL;
	assert_int_equal(rp_vhu_vfio_file_get(files, &fd, RP_VHU_VFIO_GROUP, &a, &why), -EBADMSG);
	assert_string_equal(why.text, "KVM_DEV_VFIO_FILE_ADD: not a VFIO group");
	fake.add_error = 0;
	assert_int_equal(rp_vhu_vfio_file_get(files, &fd, RP_VHU_VFIO_GROUP, &a, NULL), 0);
	assert_int_equal(rp_vhu_vfio_file_get(files, &copy, RP_VHU_VFIO_GROUP, &b, NULL), 0);
	assert_int_equal(fake.files, 1);
	rp_vhu_vfio_file_put(a);
	assert_int_equal(fake.files, 1);
	rp_vhu_vfio_file_put(b);
	assert_int_equal(fake.files, 0);
	rp_vhu_vfio_files_destroy(files);
	rp_vhu_kvm_destroy(kvm);
}

static int
open_machine(int *ret_machine)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int machine = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	rp_wire_fd_close(&kvm);
	*ret_machine = machine;
	return machine < 0 ? -1 : 0;
}

/* What the kernel itself says. A file that it accepts needs a VFIO device. */
static void
the_real_kernel(void **state)
{
	struct rp_vhu_kvm_config config = {.device_fd = -1};
	struct rp_vhu_kvm *kvm = NULL, *second = NULL;
	struct rp_wire_why why = {0};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), rc;

	(void)state;
	if (open_machine(&config.vm_fd) < 0) {
		rp_wire_fd_close(&null);
		print_message("skipped: /dev/kvm cannot be used here\n");
		skip();
	}
	rc = rp_vhu_kvm_create(&config, &kvm, &why);
	if (rc == -ENOTSUP) {
		rp_wire_fd_close(&config.vm_fd);
		rp_wire_fd_close(&null);
		print_message("skipped: this kernel has no VFIO device for KVM\n");
		skip();
	}
	if (rc < 0)
		fail_msg("%s", why.text);
	assert_int_equal(rp_vhu_kvm_create(&config, &second, &why), -EEXIST);
	config.device_fd = rp_vhu_kvm_device_fd(kvm);
	assert_int_equal(rp_vhu_kvm_create(&config, &second, &why), 0);
	second = rp_vhu_kvm_destroy(second);
	assert_int_equal(rp_vhu_kvm_add(kvm, null, RP_VHU_VFIO_GROUP, &why), -EBADMSG);
	assert_string_equal(why.text, "KVM_DEV_VFIO_FILE_ADD: not a VFIO group");
	assert_int_equal(rp_vhu_kvm_add(kvm, -1, RP_VHU_VFIO_GROUP, &why), -EBADMSG);
	assert_int_equal(rp_vhu_kvm_remove(kvm, null, RP_VHU_VFIO_GROUP, &why), -ENOENT);
	kvm = rp_vhu_kvm_destroy(kvm);
	/* An ordinary file where KVM's device is expected. */
	config.device_fd = null;
	assert_int_equal(rp_vhu_kvm_create(&config, &kvm, &why), -ENOTSUP);
	rp_wire_fd_close(&null);
	rp_wire_fd_close(&config.vm_fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_device_for_all_files), cmocka_unit_test(a_device_that_is_there_already),
		cmocka_unit_test(errors_have_names),	    cmocka_unit_test(a_set_of_files),
		cmocka_unit_test(the_real_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
