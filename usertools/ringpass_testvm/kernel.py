# SPDX-License-Identifier: BSD-3-Clause
"""The newest installed cloud kernel, and the modules that a guest needs, in the order of loading."""

import glob
import lzma
import os
import re

from .errors import TestvmError

DEFAULT_MODULES = ("virtio_pci", "virtio_net")


def _module_name(path):
    return re.sub(r"\.ko(\.xz)?$", "", os.path.basename(path)).replace("-", "_")


class Kernel:
    def __init__(self, image, release, root="/"):
        self.image = image
        self.release = release
        self._modules_directory = os.path.join(root, "lib/modules", release)

    def _lines(self, name):
        path = os.path.join(self._modules_directory, name)
        try:
            with open(path, encoding="utf-8") as file:
                return file.read().splitlines()
        except OSError as error:
            raise TestvmError(f"{path}: {error.strerror}: is the kernel package complete?") from error

    def modules(self, names):
        """[(name, bytes of the .ko)] with dependencies first; what is built in is left out."""
        dependencies = {}
        for line in self._lines("modules.dep"):
            path, _, needed = line.partition(":")
            dependencies[_module_name(path)] = (path, needed.split())
        builtin = {_module_name(line) for line in self._lines("modules.builtin")}
        order = {}
        for name in names:
            if name in builtin:
                continue
            if name not in dependencies:
                raise TestvmError(f"{self._modules_directory}: no module {name}")
            path, needed = dependencies[name]
            # depmod lists all dependencies, indirect ones too, the first to be loaded last
            for one in [*reversed(needed), path]:
                order.setdefault(_module_name(one), one)
        return [(name, self._read(path)) for name, path in order.items()]

    def _read(self, path):
        with open(os.path.join(self._modules_directory, path), "rb") as file:
            data = file.read()
        return lzma.decompress(data) if path.endswith(".xz") else data


def _version_key(release):
    return [int(number) for number in re.findall(r"\d+", release)]


def newest(root="/"):
    """@return Kernel."""
    images = glob.glob(os.path.join(root, "boot/vmlinuz-*-cloud-amd64"))
    if not images:
        raise TestvmError("no kernel for the guest: install linux-image-cloud-amd64")
    releases = {image: os.path.basename(image).removeprefix("vmlinuz-") for image in images}
    image = max(images, key=lambda one: _version_key(releases[one]))
    return Kernel(image, releases[image], root)
