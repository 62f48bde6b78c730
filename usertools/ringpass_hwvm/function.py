# SPDX-License-Identifier: BSD-3-Clause
"""The hardware: virtio-net functions of an emulated machine, and where each one is plugged in."""

import dataclasses

# Slots of the root bus. The devices of the machine itself take the ones below.
FIRST_SLOT = 0x10
FIRST_PORT_SLOT = 0x8
FUNCTIONS_MAX = FIRST_SLOT - FIRST_PORT_SLOT
BRIDGE_SLOT = FIRST_SLOT + FUNCTIONS_MAX


def _switch(value):
    return "on" if value else "off"


@dataclasses.dataclass
class Function:
    """One virtio-net-pci device of the emulated machine."""

    queues: int = 1  # pairs; more than one needs a tap
    packed: bool = False  # offered
    page_per_vq: bool = True
    queue_reset: bool = True
    root_port: bool = False  # behind a root port of its own, where it can be reset alone; else on the root bus
    shared_group: bool = False  # behind one PCIe-to-PCI bridge with all others that say so: one IOMMU group
    modern: bool = True  # False: a device with the legacy interface only
    iommu: bool = True  # its rings go through the IOMMU; False, and where it is legacy: past it
    driver: str = "vfio-pci"  # what is bound to it at boot; empty: what the kernel finds
    mac: str = ""
    vectors: int = -1  # MSI-X vectors; negative: one for each queue, and two
    tap: str = ""  # the network device of this machine that is its wire; empty: QEMU's own network, which only answers
    more: str = ""  # further properties of virtio-net-pci, as its command line has them

    def netdev(self, index):
        if self.tap:
            queues = f",queues={self.queues}" if self.queues > 1 else ""
            return f"tap,id=n{index},ifname={self.tap},script=no,downscript=no,vhost=off{queues}"
        return f"user,id=n{index},restrict=on"

    def properties(self, index, bus, slot):
        vectors = self.vectors if self.vectors >= 0 else 2 * self.queues + 2
        text = (f"virtio-net-pci,id=function{index},netdev=n{index},bus={bus},addr={slot:#x},romfile=,"
                f"mac={self.mac or f'52:54:00:00:02:{index + 1:02x}'},vectors={vectors},"
                f"page-per-vq={_switch(self.page_per_vq)},packed={_switch(self.packed)},"
                f"queue_reset={_switch(self.queue_reset)},iommu_platform={_switch(self.iommu and self.modern)},"
                f"disable-legacy={_switch(self.modern)},disable-modern={_switch(not self.modern)}")
        if self.queues > 1:
            text += ",mq=on"
        return f"{text},{self.more}" if self.more else text


@dataclasses.dataclass
class Place:
    """Where a function is: its bus and slot for QEMU, and below /sys/bus/pci/devices, with a * for what is not known
    before the machine has numbered its buses."""

    bus: str
    slot: int
    sysfs: str


def places(functions):
    """@return a Place for each."""
    found, behind_bridge = [], 0
    for index, function in enumerate(functions):
        if function.shared_group:
            behind_bridge += 1
            found.append(Place("bridge", behind_bridge, f"0000:00:{BRIDGE_SLOT:02x}.0/0000:*:{behind_bridge:02x}.0"))
        elif function.root_port:
            found.append(Place(f"port{index}", 0, f"0000:00:{FIRST_PORT_SLOT + index:02x}.0/0000:*:00.0"))
        else:
            found.append(Place("pcie.0", FIRST_SLOT + index, f"0000:00:{FIRST_SLOT + index:02x}.0"))
    return found


def arguments(functions):
    """QEMU's, for all functions and what they are plugged into."""
    command = []
    for index, function in enumerate(functions):
        if function.root_port and not function.shared_group:
            command += ["-device", f"pcie-root-port,id=port{index},chassis={index + 1},slot={index + 1},"
                                   f"addr={FIRST_PORT_SLOT + index:#x}"]
    if any(function.shared_group for function in functions):
        command += ["-device", f"pcie-pci-bridge,id=bridge,addr={BRIDGE_SLOT:#x}"]
    for index, (function, place) in enumerate(zip(functions, places(functions))):
        command += ["-netdev", function.netdev(index), "-device", function.properties(index, place.bus, place.slot)]
    return command
