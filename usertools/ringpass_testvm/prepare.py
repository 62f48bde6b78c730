# SPDX-License-Identifier: BSD-3-Clause
"""From what is installed here to a description of a guest."""

from . import accel, initramfs, kernel, qemu
from .cache import Cache


def machine(nics=(), cache=None, accelerator=None, modules=kernel.DEFAULT_MODULES, programs=(), libraries=(),
            kernel_root="/", **fields):
    """@return qemu.Machine. cache: a Cache. accelerator: "kvm", "tcg" or None (probe). programs: of this machine, for
    the guest too. libraries: paths of what these load by themselves. kernel_root: the folder whose boot/ and
    lib/modules/ have the kernel. fields: more of Machine's."""
    store = cache or Cache()
    guest = kernel.newest(kernel_root)
    archive = initramfs.build(store, guest, modules, programs, libraries=libraries)
    return qemu.Machine(guest.image, archive, accelerator or accel.choose(store), nics=list(nics), **fields)
