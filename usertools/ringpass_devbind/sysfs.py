# SPDX-License-Identifier: BSD-3-Clause
"""PCI functions as the kernel shows them in /sys: read only what is there, believe in nothing that may be missing."""

import dataclasses
import os
import re

from .errors import DevbindError

VFIO_DRIVER = "vfio-pci"
ADDRESS = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])")
CLASS_NETWORK = 0x02
CLASS_BRIDGE = 0x06
VIRTIO_VENDOR = 0x1af4
VIRTIO_FIRST, VIRTIO_MODERN, VIRTIO_LAST = 0x1000, 0x1040, 0x107f
# PCI configuration space; virtio 1.2, 4.1.4.
STATUS, STATUS_CAP_LIST, CAP_LIST = 0x06, 0x10, 0x34
CAP_VENDOR, VIRTIO_CAP_COMMON = 0x09, 1
HEADER_BYTES, CAPS_MAX = 64, 48


@dataclasses.dataclass
class Device:
    """One PCI function. None: not known, or there is none."""

    address: str
    vendor: int
    device: int
    class_code: int
    driver: str = None
    group: str = None
    group_members: list = dataclasses.field(default_factory=list)  # the others, addresses
    numa_node: int = None
    virtio: str = None  # "modern", "transitional", "legacy", "unknown"; None: not virtio
    interfaces: list = dataclasses.field(default_factory=list)

    @property
    def is_network(self):
        return self.class_code >> 16 == CLASS_NETWORK

    @property
    def is_bridge(self):
        return self.class_code >> 16 == CLASS_BRIDGE

    @property
    def ids(self):
        return f"{self.vendor:04x}:{self.device:04x}"

    def as_json(self):
        return {**dataclasses.asdict(self), "vendor": f"{self.vendor:04x}", "device": f"{self.device:04x}",
                "class_code": f"{self.class_code:06x}"}


def virtio_kind(vendor, device, config):
    """Whether it speaks virtio 1.x, by its ids and the bytes of configuration space that can be read."""
    if vendor != VIRTIO_VENDOR or not VIRTIO_FIRST <= device <= VIRTIO_LAST:
        return None
    if device >= VIRTIO_MODERN:
        return "modern"
    # The kernel shows who is not root the header alone.
    if len(config) <= HEADER_BYTES:
        return "unknown"
    return "transitional" if _has_common_configuration(config) else "legacy"


def _has_common_configuration(config):
    if not config[STATUS] & STATUS_CAP_LIST:
        return False
    at = config[CAP_LIST] & 0xfc
    for _ in range(CAPS_MAX):
        if at < HEADER_BYTES or at + 4 > len(config):
            return False
        if config[at] == CAP_VENDOR and config[at + 3] == VIRTIO_CAP_COMMON:
            return True
        at = config[at + 1] & 0xfc
    return False


class Sysfs:
    """The tree below `root`. Changes go through write(), and nothing else."""

    def __init__(self, root="/sys"):
        self.root = root
        self.devices = os.path.join(root, "bus", "pci", "devices")
        self.drivers = os.path.join(root, "bus", "pci", "drivers")

    def path(self, address, *names):
        return os.path.join(self.devices, address, *names)

    def text(self, *names):
        """What a file says, without its line end; None: it cannot be read."""
        try:
            with open(os.path.join(*names), encoding="ascii", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return None

    def write(self, text, *names):
        """@raises OSError."""
        with open(os.path.join(*names), "w", encoding="ascii") as file:
            file.write(text)

    def _number(self, address, name):
        try:
            return int(self.text(self.path(address), name), 16)
        except (TypeError, ValueError) as error:
            raise DevbindError(f"{address}: {self.path(address, name)} cannot be read") from error

    def _link(self, address, name):
        try:
            return os.path.basename(os.readlink(self.path(address, name)))
        except OSError:
            return None

    def _list(self, *names):
        try:
            return sorted(os.listdir(os.path.join(*names)))
        except OSError:
            return []

    def _config(self, address):
        try:
            with open(self.path(address, "config"), "rb") as file:
                return file.read(256)
        except OSError:
            return b""

    def _interfaces(self, address):
        """Network interfaces of the function, and of the virtio device that is on it."""
        found = self._list(self.path(address), "net")
        for name in self._list(self.path(address)):
            if re.fullmatch(r"virtio\d+", name):
                found += self._list(self.path(address), name, "net")
        return found

    def addresses(self):
        """Of all functions. @raises DevbindError."""
        try:
            return sorted(name for name in os.listdir(self.devices) if ADDRESS.fullmatch(name))
        except OSError as error:
            raise DevbindError(f"{self.devices}: {error.strerror}: is there a PCI bus?") from error

    def driver(self, address):
        return self._link(address, "driver")

    def device(self, address):
        """@raises DevbindError: there is none."""
        if not os.path.isdir(self.path(address)):
            raise DevbindError(f"{address}: no such PCI function; `ringpass-devbind show --all` lists them")
        vendor, device = self._number(address, "vendor"), self._number(address, "device")
        members = self._list(self.path(address), "iommu_group", "devices")
        node = self.text(self.path(address), "numa_node")
        return Device(address, vendor, device, self._number(address, "class"), driver=self.driver(address),
                      group=self._link(address, "iommu_group"),
                      group_members=[member for member in members if member != address],
                      numa_node=int(node) if node is not None and re.fullmatch(r"\d+", node) else None,
                      virtio=virtio_kind(vendor, device, self._config(address)),
                      interfaces=self._interfaces(address))

    def find(self, text):
        """The address that a user meant: "0000:00:04.0", "00:04.0" or "eth0". @raises DevbindError."""
        match = ADDRESS.fullmatch(text)
        if match:
            domain, bus, slot, function = match.groups()
            return f"{domain or '0000'}:{bus}:{slot}.{function}".lower()
        for address in self.addresses():
            if text in self._interfaces(address):
                return address
        raise DevbindError(f"{text}: no PCI address (0000:00:04.0) and no network interface of a PCI function")
