# SPDX-License-Identifier: BSD-3-Clause
"""Giving functions to vfio-pci and back: everything is judged first, then done; what fails is undone."""

import os

from . import inuse
from .errors import DevbindError
from .sysfs import VFIO_DRIVER

# Drivers that leave a group viable (Linux, driver_managed_dma).
HARMLESS = (VFIO_DRIVER, "pci-stub", "pcieport")


def _refuse_group(sysfs, device, together):
    if device.group is None:
        raise DevbindError(f"{device.address}: it has no IOMMU group: switch the IOMMU on (firmware: VT-d or AMD-Vi; "
                           "kernel command line: intel_iommu=on or amd_iommu=on; QEMU: -device intel-iommu)")
    others = []
    for member in device.group_members:
        other = sysfs.device(member)
        if not other.is_bridge and other.driver not in HARMLESS and member not in together:
            others.append(f"{member} ({other.ids}, {other.driver or 'no driver'})")
    if others:
        raise DevbindError(f"{device.address}: it shares IOMMU group {device.group} with {', '.join(others)}: whoever "
                           "gets one function can reach the memory of all, so vfio hands out the whole group or "
                           "nothing. Name them all in one command, or put the card into another slot (one whose port "
                           "has ACS)")


def judge_bind(sysfs, devices, force):
    """@raises DevbindError naming the first function that cannot be bound."""
    together = {device.address for device in devices}
    for device in devices:
        if device.is_bridge:
            raise DevbindError(f"{device.address}: it is a bridge, which stays with the kernel")
        _refuse_group(sysfs, device, together)
        if force:
            continue
        if not device.is_network:
            raise DevbindError(f"{device.address}: class {device.class_code:06x} is no network function, and whatever "
                               "uses it would lose it (a disk, say); --force binds it all the same")
        if device.virtio == "legacy":
            raise DevbindError(f"{device.address}: legacy-only: it has no virtio 1.x registers, so Ringpass cannot use "
                               "it (QEMU: disable-legacy=on); --force binds it all the same")
        reason = inuse.why_used(sysfs, device)
        if reason is not None:
            raise DevbindError(f"{device.address}: {reason}: it would be gone; take it down first, or --force")


def judge_unbind(devices, force, holder_of=inuse.holder_of):
    """@raises DevbindError: a function is not vfio-pci's, or somebody would be waited for without end."""
    for device in devices:
        if device.driver != VFIO_DRIVER:
            raise DevbindError(f"{device.address}: its driver is {device.driver or 'none'}, expected {VFIO_DRIVER}")
        holder = holder_of(device.group) if device.group is not None and not force else None
        if holder is not None:
            raise DevbindError(f"{device.address}: process {holder[0]} ({holder[1]}) has its group {device.group} open; "
                               "the kernel would wait for it: end it first")


def _write(sysfs, address, text, *names):
    try:
        sysfs.write(text, *names)
    except PermissionError as error:
        raise DevbindError(f"{address}: {os.path.join(*names)}: {error.strerror}: only root may") from error
    except OSError as error:
        raise DevbindError(f"{address}: {os.path.join(*names)}: {error.strerror}") from error


def _move(sysfs, address, override):
    """Leave the driver it has, and let the kernel choose: the one named, or ("") whoever knows its ids."""
    _write(sysfs, address, f"{override}\n", sysfs.path(address, "driver_override"))
    if sysfs.driver(address) is not None:
        _write(sysfs, address, address, sysfs.path(address, "driver", "unbind"))
    _write(sysfs, address, address, sysfs.root, "bus", "pci", "drivers_probe")


def bind(sysfs, device):
    """@raises DevbindError: it has the driver from before, as far as the kernel lets us."""
    if device.driver == VFIO_DRIVER:
        return
    if not os.path.isdir(os.path.join(sysfs.drivers, VFIO_DRIVER)):
        raise DevbindError(f"{device.address}: the kernel has no driver {VFIO_DRIVER}: modprobe {VFIO_DRIVER}")
    try:
        _move(sysfs, device.address, VFIO_DRIVER)
        if sysfs.driver(device.address) != VFIO_DRIVER:
            raise DevbindError(f"{device.address}: {VFIO_DRIVER} did not take it; the kernel's log says why (dmesg)")
    except DevbindError:
        if sysfs.driver(device.address) != device.driver:
            _give_back(sysfs, device.address)
        raise


def _give_back(sysfs, address):
    try:
        _move(sysfs, address, "")
    except DevbindError:
        pass  # What went wrong first is what is told.


def bind_all(sysfs, devices):
    """All of them or none. @raises DevbindError."""
    changed = []
    try:
        for device in devices:
            bind(sysfs, device)
            changed.append(device)
    except DevbindError:
        for device in changed:
            if device.driver != VFIO_DRIVER:
                _give_back(sysfs, device.address)
        raise


def unbind(sysfs, device):
    """@raises DevbindError."""
    _move(sysfs, device.address, "")
    if sysfs.driver(device.address) == VFIO_DRIVER:
        raise DevbindError(f"{device.address}: it still is {VFIO_DRIVER}'s: its ids were given to that driver "
                           "(vfio-pci.ids=, new_id); take them back with remove_id")
